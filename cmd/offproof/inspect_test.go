package main_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/offproof/offproof/internal/peers"
)

// command builds offproof once for all tests.
var command = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offproof")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "offproof")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil { // #nosec G204 -- a path made here
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	// Most tests wait for windows of a simulated phone; how many at once is said
	// by -parallel, if anybody does.
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		_ = flag.Set("test.parallel", "8") // a number, which it takes
	}
	status := m.Run()
	if path, err := command(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}

// offproof runs the command.
func offproof(t *testing.T, stdin []byte, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &problems
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, s := range []string{out.String(), problems.String()} {
		for _, r := range s {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("offproof %q prints %q", args, r)
				break
			}
		}
	}
	return out.String(), problems.String(), cmd.ProcessState.ExitCode()
}

// A capture is a pcap file of raw IPv4 packets in the making.
type capture struct{ b []byte }

const (
	phone  = "\x0a\x00\x00\x02"
	server = "\xcb\x00\x71\x07"
)

func newCapture() *capture {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0)
	return &capture{binary.LittleEndian.AppendUint32(b, 101)}
}

// packet adds a packet, with a transport header that begins with the ports.
func (c *capture) packet(src, dst string, proto byte, from, to uint16, rest []byte) {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = append(binary.BigEndian.AppendUint16(b, to), rest...)
	ip := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}, src+dst...)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(b)))
	ip = append(ip, b...)
	for _, v := range []uint32{1588593600, 0, uint32(len(ip)), uint32(len(ip))} {
		c.b = binary.LittleEndian.AppendUint32(c.b, v)
	}
	c.b = append(c.b, ip...)
}

// tcp adds what the phone sends over a connection of its own.
func (c *capture) tcp(from, to uint16, data string) {
	segment := func(src, dst string, a, b uint16, seq, ack uint32, flags byte, data string) {
		rest := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, seq), ack)
		c.packet(src, dst, 6, a, b, append(append(rest, 0x50, flags, 255, 255, 0, 0, 0, 0), data...))
	}
	segment(phone, server, from, to, 100, 0, 2, "")
	segment(server, phone, to, from, 500, 101, 18, "")
	segment(phone, server, from, to, 101, 501, 24, data)
	segment(server, phone, to, from, 501, 101+uint32(len(data)), 16, "")
}

// udp adds a datagram from the phone.
func (c *capture) udp(from, to uint16, data string) {
	c.packet(phone, server, 17, from, to, append(binary.BigEndian.AppendUint16(nil, uint16(8+len(data))), "\x00\x00"+data...))
}

// query is a DNS question for an A record.
func query(labels ...string) string {
	b := "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	for _, l := range labels {
		b += string(rune(len(l))) + l
	}
	return b + "\x00\x00\x01\x00\x01"
}

// hello is a ClientHello with a server name.
func hello(name string) string {
	u16 := func(n int) string { return string([]byte{byte(n >> 8), byte(n)}) }
	list := "\x00" + u16(len(name)) + name
	ext := "\x00\x00" + u16(len(list)+2) + u16(len(list)) + list
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\x13\x01\x01\x00" + u16(len(ext)) + ext
	message := "\x01\x00" + u16(len(body)) + body
	return "\x16\x03\x01" + u16(len(message)) + message
}

// write puts a file into the test's directory.
func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const term = "quibbleron vastimure"

// planted is a capture in which a term hides in several places.
func planted(t *testing.T) string {
	t.Helper()
	var zip bytes.Buffer
	z := gzip.NewWriter(&zip)
	if _, err := z.Write([]byte(`[{"type":"track","event":"search","time":1588593600000,"distinct_id":"abc","properties":{"search_word":"` + term + `"}}]`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	form := "crc=1&gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString(zip.Bytes()))
	c := newCapture()
	c.udp(40000, 53, query("sa", "collector", "example"))
	c.udp(40000, 53, query(strings.ReplaceAll(term, " ", "-"), "leak", "example"))
	c.tcp(40001, 80, "GET /?q="+strings.ReplaceAll(term, " ", "+")+" HTTP/1.1\r\nHost: www.Search.example\r\n\r\n")
	c.tcp(40002, 80, "POST /sa?project=x HTTP/1.1\r\nHost: sa.collector.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "+itoa(len(form))+"\r\n\r\n"+form)
	c.tcp(40003, 443, hello("quibbleron-vastimure.sni.example"))
	c.tcp(40004, 5222, "\xc2\xfe\x00\x05 "+term)
	return write(t, "planted.pcap", c.b)
}

func itoa(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// lines parses the output of --json.
func lines(t *testing.T, out string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(out) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, v)
	}
	return all
}

func ofType(all []map[string]any, kind string) []map[string]any {
	var out []map[string]any
	for _, v := range all {
		if v["type"] == kind {
			out = append(out, v)
		}
	}
	return out
}

func TestInspectJSON(t *testing.T) {
	path := planted(t)
	out, stderr, status := offproof(t, nil, "inspect", "--json", "--canary", term, "--expect", "search.example", path)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	all := lines(t, out)
	var order []string
	for _, v := range all {
		if kind := v["type"].(string); len(order) == 0 || order[len(order)-1] != kind {
			order = append(order, kind)
		}
	}
	if want := []string{"meta", "flow", "dns", "exchange", "sighting", "expected", "event", "health"}; !slices.Equal(order, want) {
		t.Errorf("lines of the types %q, want %q", order, want)
	}
	if meta := all[0]; meta["format"] != 1.0 || meta["file"] != path {
		t.Errorf("first line %v", meta)
	}
	if health := all[len(all)-1]; health["packets"] != 18.0 || health["truncated"] != false || health["skipped_bytes"] != 0.0 || health["dropped"] != nil {
		t.Errorf("last line %v", health)
	}
	flows := ofType(all, "flow")
	if len(flows) != 5 {
		t.Fatalf("%d flows", len(flows))
	}
	for _, key := range []string{"id", "proto", "app", "client", "server", "start", "end", "bytes_up", "bytes_down", "visibility"} {
		for _, f := range flows {
			if _, ok := f[key]; !ok {
				t.Errorf("flow %v has no %s", f["id"], key)
			}
		}
	}
	tls := flows[3]
	if tls["app"] != "tls" || tls["sni"] != "quibbleron-vastimure.sni.example" || tls["host"] != tls["sni"] || tls["host_from"] != "sni" || tls["visibility"] != "metadata" || tls["client"] != "10.0.0.2:40003" ||
		tls["server"] != "203.0.113.7:443" || tls["ja4"] == nil || tls["start"] != "2020-05-04T12:00:00Z" || tls["uid"] != nil || tls["proto"] != "tcp" {
		t.Errorf("flow %v", tls)
	}
	if x := ofType(all, "exchange")[1]; x["method"] != "POST" || x["url"] != "http://sa.collector.example/sa?project=x" || x["flow"] != "3" || x["bytes_up"].(float64) < 100 || x["status"] != nil {
		t.Errorf("exchange %v", x)
	}
	if d := ofType(all, "dns"); len(d) != 2 || d[0]["name"] != "sa.collector.example" || d[0]["at"] == nil || d[0]["answers"] != nil {
		t.Errorf("lookups %v", d)
	}
	got := map[string]string{}
	for _, s := range ofType(all, "sighting") {
		if s["canary"] != term || s["form"] != "plain" || s["flow"] == nil || s["host"] == nil {
			t.Errorf("sighting %v", s)
		}
		got[s["where"].(string)] = s["path"].(string)
	}
	if want := map[string]string{"body": "form:data_list > base64 > gzip > json:/0/properties/search_word", "dns": got["dns"], "sni": got["sni"], "stream": got["stream"]}; !maps.Equal(got, want) || len(got) != 4 {
		t.Errorf("sightings %q, want %q", got, want)
	}
	if e := ofType(all, "expected"); len(e) != 1 || e[0]["host"] != "www.search.example" || e[0]["where"] != "url" {
		t.Errorf("expected %v", e)
	}
	if e := ofType(all, "event"); len(e) != 1 || e[0]["sdk"] != "sensors" || e[0]["name"] != "search" || e[0]["flow"] != "3" || e[0]["properties"].(map[string]any)["search_word"] != term {
		t.Errorf("events %v", e)
	}
}

func TestInspectForPeople(t *testing.T) {
	path := planted(t)
	out, stderr, status := offproof(t, nil, "inspect", "--canary", term, "--canary", "never sent anywhere", "--expect", "search.example", path, path)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{
		"18 packets, 5 flows, 2020-05-04 12:00:00",
		"HOST ", "sa.collector.example ", "www.search.example ",
		"sa.collector.example ", "(no answer seen)",
		"POST  http://sa.collector.example/sa?project=x ",
		"sensors  search",
		`FOUND      "` + term + `" at sa.collector.example: body form:data_list > base64 > gzip > json:/0/properties/search_word (plain, flow 3)`,
		`expected   "` + term + `" at www.search.example: url query:q (plain, flow 2)`,
		`not found  "never sent anywhere" in what could be read`,
		"unread     ",
		"the file was read to its end",
	} {
		if strings.Count(out, want) < 2 {
			t.Errorf("the view does not say %q once for each file:\n%s", want, out)
		}
	}
}

func TestInspectHAR(t *testing.T) {
	har := `{"log":{"version":"1.2","entries":[{"startedDateTime":"2024-01-02T03:04:05Z","request":{"method":"POST","url":"https://a.example/x","headers":[],"postData":{"text":"` + term + `"}},"response":{"status":200}}]}}`
	out, stderr, status := offproof(t, []byte(har), "inspect", "--json", "--canary", term, "-")
	all := lines(t, out)
	if status != 0 || stderr != "" || len(ofType(all, "exchange")) != 1 || len(ofType(all, "sighting")) != 1 || ofType(all, "sighting")[0]["host"] != "a.example" || ofType(all, "health")[0]["truncated"] != false {
		t.Errorf("status %d: %s\n%s", status, stderr, out)
	}
	out, _, _ = offproof(t, []byte(har), "inspect", "--canary", term, "-")
	if !strings.Contains(out, "FOUND") || !strings.Contains(out, "REQUESTS") {
		t.Error(out)
	}
}

func TestInspectStatus(t *testing.T) {
	sound := planted(t)
	b, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	cut := write(t, "cut.pcap", b[:len(b)-3])
	hostile := write(t, "hostile.pcap", append(bytes.Clone(b), bytes.Repeat([]byte{0xff}, 40)...))
	text := write(t, "notes.txt", []byte("no capture at all"))
	empty := write(t, "empty", nil)
	for _, c := range []struct {
		name   string
		files  []string
		status int
		health int    // health lines
		says   string // on standard error
	}{
		{"sound", []string{sound}, 0, 1, ""},
		{"cut", []string{cut}, 1, 1, ""},
		{"hostile", []string{hostile}, 1, 1, ""},
		{"text", []string{text}, 2, 0, "offproof: inspect " + text + ": not a pcap, pcapng or HAR file"},
		{"empty", []string{empty}, 2, 0, "not a pcap, pcapng or HAR file"},
		{"missing", []string{"/nowhere/at.all"}, 2, 0, "offproof: inspect /nowhere/at.all: no such file or directory"},
		{"a directory", []string{filepath.Dir(sound)}, 2, 0, "is a directory"},
		{"the worst counts, the others are read", []string{text, cut, sound}, 2, 2, "notes.txt"},
		{"cut and sound", []string{cut, sound}, 1, 2, ""},
	} {
		out, stderr, status := offproof(t, nil, append([]string{"inspect", "--json"}, c.files...)...)
		if status != c.status || strings.Count(stderr, "\n") != min(1, len(c.says)) || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: status %d, want %d: %s", c.name, status, c.status, stderr)
		}
		all := lines(t, out)
		if got := len(ofType(all, "health")); got != c.health || got > 0 && all[len(all)-1]["type"] != "health" {
			t.Errorf("%s: %d health lines, want %d", c.name, got, c.health)
		}
	}
	for _, file := range []string{cut, hostile} {
		out, _, _ := offproof(t, nil, "inspect", "--json", file)
		all := lines(t, out)
		if h := all[len(all)-1]; h["truncated"] != true || len(h["problems"].([]any)) == 0 || len(ofType(all, "flow")) != 5 {
			t.Errorf("%s: health %v", file, h)
		}
		if out, _, status := offproof(t, nil, "inspect", file); status != 1 || !strings.Contains(out, "DAMAGED") {
			t.Errorf("%s: status %d: %s", file, status, out)
		}
	}
}

func TestWrongUses(t *testing.T) {
	sound := planted(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"inspect"}, "offproof: inspect: name at least one FILE"},
		{[]string{"inspect", "--keylog", "/nonexistent/x", sound}, "offproof: inspect: --keylog /nonexistent/x: no such file"},
		{[]string{"inspect", "--keylog", sound, sound}, "offproof: inspect: --keylog " + sound + ": not a TLS key log"},
		{[]string{"inspect", "--keylog", "/dev/null", sound}, "offproof: inspect: --keylog /dev/null: it holds no secret yet"},
		{[]string{"inspect", "--canary", "ab", sound}, `offproof: inspect: --canary "ab" is too short`},
		{[]string{"inspect", "--canary", "", sound}, `offproof: inspect: --canary "" is too short`},
		{[]string{"inspect", "--expect", "a.example", sound}, "offproof: inspect: --expect says where a canary is expected, so it needs --canary"},
		{[]string{"inspect", "--canary", term, "--expect", "https://a.example/", sound}, `offproof: inspect: --expect "https://a.example/" is no host name`},
		{[]string{"inspect", "--canary"}, "offproof: flag needs an argument: --canary"},
		{[]string{"inspct", sound}, `offproof: unknown command "inspct"`},
		{[]string{"--json"}, "offproof: unknown flag: --json"},
		{[]string{"inspect", "a\x1b[31mb\nc"}, `offproof: inspect a\x1b[31mb`},
	} {
		out, stderr, status := offproof(t, nil, c.args...)
		if status != 2 || out != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, c.says) {
			t.Errorf("offproof %q: status %d, %q, want %q; %q", c.args, status, stderr, c.says, out)
		}
	}
	for _, args := range [][]string{{}, {"--help"}, {"inspect", "--help"}, {"--version"}} {
		if out, stderr, status := offproof(t, nil, args...); status != 0 || stderr != "" || out == "" {
			t.Errorf("offproof %q: status %d, %q", args, status, stderr)
		}
	}
}

// TestHostileStrings has control characters wherever a capture can hold text;
// offproof() fails the test when one reaches a terminal.
func TestHostileStrings(t *testing.T) {
	evil := "e\x1b[2Jv\x07i\u009bl\u202e\xff\x00\r\n\t\x7f"
	c := newCapture()
	c.udp(40000, 53, query(evil))
	c.tcp(40001, 443, hello(evil))
	c.tcp(40002, 80, "G\x1bT / HTTP/1.1\r\n\r\n")
	oneLine := strings.NewReplacer("\r", "", "\n", "").Replace(evil)
	c.tcp(40003, 80, "GET /"+strings.ReplaceAll(oneLine, "\x00", "")+" HTTP/1.1\r\nHost: "+oneLine+"\r\nX: "+oneLine+"\r\n\r\n")
	c.tcp(40004, 80, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n"+evil)
	pcap := write(t, "evil.pcap", c.b)
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	har := write(t, "evil.har", []byte(strings.ReplaceAll(`{"log":{"entries":[{"request":{"method":E,"url":E,"headers":[{"name":E,"value":E}],"postData":{"text":E}},"response":{"status":0,"_error":E}}]}}`, "E", string(quoted))))
	for _, file := range []string{pcap, har} {
		for _, args := range [][]string{{"inspect"}, {"inspect", "--json"}, {"inspect", "--canary", "e\x1b[2Jv\x07i\u009bl"}, {"inspect", "--json", "--canary", "e\x1b[2Jv\x07i\u009bl"}} {
			out, _, _ := offproof(t, nil, append(args, file)...)
			if slices.Contains(args, "--json") {
				lines(t, out)
			}
			if !strings.Contains(out, "[2J") {
				t.Errorf("%s: the name is not shown: %s", file, out)
			}
		}
	}
}

// TestInspectAgreesWithTshark compares what the command prints with what tshark
// says, on a capture that came with gopacket.
func TestInspectAgreesWithTshark(t *testing.T) {
	tshark := peers.Require(t, "tshark")
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gopacket/gopacket").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"layers/testdata/cip.pcap", "pcap/test_dns.pcap", "pcap/test_loopback.pcap", "pcap/test_ethernet.pcap"} {
		path := filepath.Join(strings.TrimSpace(string(dir)), file)
		peer, err := exec.CommandContext(t.Context(), tshark, "-n", "-r", path, "-T", "fields", "-e", "tcp.stream", "-e", "udp.stream", "-e", "dns.qry.name").Output() // #nosec G204 -- the peer
		if err != nil {
			t.Fatal(err)
		}
		packets := 0
		theirs := map[string]map[string]bool{"tcp": {}, "udp": {}, "dns": {}}
		for row := range strings.Lines(string(peer)) {
			packets++
			cells := strings.Split(strings.TrimRight(row, "\n"), "\t")
			for i, kind := range []string{"tcp", "udp", "dns"} {
				if cells[i] != "" {
					theirs[kind][cells[i]] = true
				}
			}
		}
		out, stderr, status := offproof(t, nil, "inspect", "--json", path)
		if status != 0 {
			t.Fatalf("%s: status %d: %s", file, status, stderr)
		}
		all := lines(t, out)
		flows := map[string]int{}
		names := map[string]bool{}
		for _, f := range ofType(all, "flow") {
			flows[f["proto"].(string)]++
		}
		for _, d := range ofType(all, "dns") {
			names[d["name"].(string)] = true
		}
		if flows["tcp"] != len(theirs["tcp"]) || flows["udp"] != len(theirs["udp"]) || !maps.Equal(names, theirs["dns"]) || all[len(all)-1]["packets"] != float64(packets) {
			t.Errorf("%s: flows %v and names %v of %v packets; tshark has %d, %d and %v of %d", file, flows, names, all[len(all)-1]["packets"], len(theirs["tcp"]), len(theirs["udp"]), theirs["dns"], packets)
		}
	}
}
