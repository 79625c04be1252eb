package dissect_test

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// library finds the captures that come with the gopacket module.
func library(t testing.TB) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gopacket/gopacket").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []string
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, _ os.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".pcap", ".pcapng", ".cap":
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) < 60 {
		t.Fatalf("found %d captures in the gopacket module: %v", len(all), err)
	}
	return all
}

// facts are what tshark and this package both say of a capture.
type facts struct {
	// packets counts all of them.
	packets int
	// tcp and udp count conversations.
	tcp, udp int
	// questions are the names and types that were asked, servers the names in
	// ClientHellos, hosts the Host fields of requests; each with its count.
	questions, servers, hosts map[string]int
}

// tshark asks tshark for the fields of a file, one row for each packet that
// passes the filter. A field that occurs several times is separated by commas.
func tshark(t testing.TB, path, filter string, fields ...string) [][]string {
	t.Helper()
	args := []string{"-n", "-r", path, "-Y", filter, "-T", "fields", "-E", "separator=\t", "-E", "aggregator=\x01"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), peers.Require(t, "tshark"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && !strings.Contains(stderr.String(), "cut short") && !strings.Contains(stderr.String(), "damaged or corrupt") {
		t.Fatalf("tshark %s: %v: %s", path, err, stderr.String())
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows
}

func values(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x01")
}

// tsharkFacts are the facts as tshark sees them.
func tsharkFacts(t testing.TB, path string) facts {
	t.Helper()
	f := facts{questions: map[string]int{}, servers: map[string]int{}, hosts: map[string]int{}}
	tcp, udp := map[string]bool{}, map[string]bool{}
	type question struct{ stream, id, name, kind string }
	asked := map[question]bool{}
	for _, row := range tshark(t, path, "frame", "tcp.stream", "udp.stream", "dns.id", "dns.qry.name", "dns.qry.type", "tls.handshake.extensions_server_name", "http.host", "http.request", "icmp", "icmpv6") {
		f.packets++
		// What an ICMP error quotes is no packet of its own.
		if row[8] == "" && row[9] == "" {
			for _, s := range values(row[0]) {
				tcp[s] = true
			}
			for _, s := range values(row[1]) {
				udp[s] = true
			}
		}
		names, kinds := values(row[3]), values(row[4])
		for i, name := range names {
			if i >= len(kinds) || len(values(row[2])) == 0 {
				break
			}
			// A question and its answer are one lookup, and so is a repetition.
			q := question{row[0] + "/" + row[1], values(row[2])[0], name, kinds[i]}
			if !asked[q] {
				asked[q] = true
				f.questions[strings.ToLower(strings.ReplaceAll(name, "<Root>", ""))]++
			}
		}
		for _, s := range values(row[5]) {
			f.servers[s]++
		}
		if row[7] != "" {
			for _, s := range values(row[6]) {
				f.hosts[s]++
			}
		}
	}
	f.tcp, f.udp = len(tcp), len(udp)
	return f
}

// factsOf are the facts as this package sees them.
func factsOf(c *dissect.Capture) facts {
	f := facts{packets: int(c.Health.Packets), questions: map[string]int{}, servers: map[string]int{}, hosts: map[string]int{}}
	for _, x := range c.Flows {
		switch x.Proto {
		case capture.TCP:
			f.tcp++
		case capture.UDP:
			f.udp++
		case capture.ICMP, capture.OtherIP:
		}
		if x.SNI != "" {
			f.servers[x.SNI]++
		}
	}
	for _, l := range c.Lookups {
		f.questions[strings.ToLower(l.Name)]++
	}
	for _, x := range c.Exchanges {
		for _, h := range x.RequestHeader {
			if strings.EqualFold(h.Name, "Host") {
				f.hosts[h.Value]++
			}
		}
	}
	return f
}

// compare reports where the two differ.
func compare(t *testing.T, path string, ours, theirs facts) {
	t.Helper()
	if ours.packets != theirs.packets {
		t.Errorf("%s: %d packets, tshark has %d", path, ours.packets, theirs.packets)
	}
	if ours.tcp != theirs.tcp || ours.udp != theirs.udp {
		t.Errorf("%s: %d TCP and %d UDP flows, tshark has %d and %d", path, ours.tcp, ours.udp, theirs.tcp, theirs.udp)
	}
	for _, c := range []struct {
		what         string
		ours, theirs map[string]int
	}{{"DNS names", ours.questions, theirs.questions}, {"server names", ours.servers, theirs.servers}, {"Host fields", ours.hosts, theirs.hosts}} {
		if !maps.Equal(c.ours, c.theirs) {
			t.Errorf("%s: %s %v, tshark has %v", path, c.what, c.ours, c.theirs)
		}
	}
}

// A difference is one that is right: mend turns our facts into tshark's, so
// that everything else is compared all the same.
type difference struct {
	why  string
	mend func(ours *facts)
}

// explained are the captures on which the two differ rightly.
var explained = map[string]difference{
	"be/test017.pcapng": {"tshark counts custom blocks as packets of an unknown kind", func(f *facts) { f.packets += 4 }},
	"le/test017.pcapng": {"as in be", func(f *facts) { f.packets += 4 }},
	"be/test018.pcapng": {"as test017", func(f *facts) { f.packets += 4 }},
	"le/test018.pcapng": {"as test017", func(f *facts) { f.packets += 4 }},
	"be/test102.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"le/test102.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"be/test202.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"le/test202.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"testdata/cip.pcap": {
		"a request whose head never ends, which tshark takes for no request although 1,845 bytes of it were sent",
		func(f *facts) { delete(f.hosts, "sinfulcelebs.freesexycomics.com") },
	},
	"le/test301.pcapng": {
		"the file holds the TLS keys, which tshark uses",
		func(f *facts) { f.hosts["www.baidu.com"]++ },
	},
}

// refused are the captures that tshark does not read at all.
var refused = map[string]string{
	"be/test901.pcapng": "a section of version 2, the packets of which are read here and reported as damage",
	"le/test901.pcapng": "as in be",
}

func TestLibraryCapturesAgreeWithTshark(t *testing.T) {
	peers.Require(t, "tshark")
	compared, mended := 0, 0
	for _, path := range library(t) {
		name := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, b, dissect.Options{})
		if _, ok := refused[name]; ok {
			if !c.Damaged {
				t.Errorf("%s: tshark refuses it, and it is not reported as damaged", name)
			}
			continue
		}
		ours := factsOf(c)
		if d, ok := explained[name]; ok {
			d.mend(&ours)
			mended++
		}
		compare(t, name, ours, tsharkFacts(t, path))
		compared++
	}
	if compared < 50 || mended != len(explained) {
		t.Errorf("%d captures were compared, %d of %d with an explained difference", compared, mended, len(explained))
	}
}
