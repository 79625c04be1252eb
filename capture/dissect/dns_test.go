package dissect_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// question is a DNS query.
func question(t testing.TB, id uint16, name string, kind dnsmessage.Type) []byte {
	return answer(t, id, name, kind, nil, func(m *dnsmessage.Message) { m.Response = false })
}

// answer is a DNS reply.
func answer(t testing.TB, id uint16, name string, kind dnsmessage.Type, bodies []dnsmessage.ResourceBody, change ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	n := dnsmessage.MustNewName(name + ".")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}},
	}
	for _, b := range bodies {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET, TTL: 60}, Body: b})
	}
	for _, f := range change {
		f(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func a(s ...byte) *dnsmessage.AResource { return &dnsmessage.AResource{A: [4]byte(s)} }

const resolver, stub = "10.0.0.1:53", "10.0.0.2:50000"

func TestLookups(t *testing.T) {
	w := newWire(t)
	w.udp(stub, resolver, question(t, 1, "Sa.Api.example", dnsmessage.TypeA))
	w.udp(stub, resolver, question(t, 1, "Sa.Api.example", dnsmessage.TypeA)) // repeated
	w.udp(stub, resolver, question(t, 2, "sa.api.example", dnsmessage.TypeAAAA))
	w.udp(resolver, stub, answer(t, 2, "sa.api.example", dnsmessage.TypeAAAA, []dnsmessage.ResourceBody{&dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 7}}}))
	w.udp(resolver, stub, answer(t, 1, "sa.api.EXAMPLE", dnsmessage.TypeA, []dnsmessage.ResourceBody{
		&dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("edge.cdn.example.")}, a(203, 0, 113, 7), a(203, 0, 113, 8),
	}))
	w.udp(stub, resolver, question(t, 3, "gone.example", dnsmessage.TypeHTTPS))
	w.udp(resolver, stub, answer(t, 3, "gone.example", dnsmessage.TypeHTTPS, nil, func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError }))
	w.udp(stub, resolver, question(t, 4, "silent.example", dnsmessage.TypeTXT))
	c := readClean(t, w)
	f := only(t, c)
	want := []capture.Lookup{
		{Flow: "1", Name: "Sa.Api.example", Type: "A", Answers: []string{"edge.cdn.example", "203.0.113.7", "203.0.113.8"}, RCode: "NOERROR", At: noon},
		{Flow: "1", Name: "sa.api.example", Type: "AAAA", Answers: []string{"2001:db8::7"}, RCode: "NOERROR", At: noon.Add(2 * time.Millisecond)},
		{Flow: "1", Name: "gone.example", Type: "HTTPS", RCode: "NXDOMAIN", At: noon.Add(5 * time.Millisecond)},
		{Flow: "1", Name: "silent.example", Type: "TXT", At: noon.Add(7 * time.Millisecond)},
	}
	if len(c.Lookups) != len(want) {
		t.Fatalf("lookups %+v", c.Lookups)
	}
	for i, w := range want {
		if g := c.Lookups[i]; g.Name != w.Name || g.Type != w.Type || !slices.Equal(g.Answers, w.Answers) || g.RCode != w.RCode || !g.At.Equal(w.At) || g.Flow != w.Flow {
			t.Errorf("lookup %d\n got %+v\nwant %+v", i, g, w)
		}
	}
	if f.App != "dns" || f.Visibility != capture.Plaintext || len(c.Unread) > 0 {
		t.Errorf("flow %+v", f)
	}
}

func TestNamesOfFlows(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40000", "203.0.113.7:443", []byte("before any answer"))
	for i, name := range []string{"old.example", "new.example"} {
		w.udp(stub, resolver, question(t, uint16(i), name, dnsmessage.TypeA))
		w.udp(resolver, stub, answer(t, uint16(i), name, dnsmessage.TypeA, []dnsmessage.ResourceBody{a(203, 0, 113, 7)}))
		w.udp(netipPort(40001+i), "203.0.113.7:443", []byte("after it"))
	}
	w.udp(netipPort(40003), "203.0.113.9:443", []byte("never answered"))
	c := readClean(t, w)
	got := map[uint16]string{}
	for _, f := range c.Flows {
		got[f.Client.Port()] = f.Host + " " + string(f.HostFrom)
	}
	for port, want := range map[uint16]string{40000: " ", 40001: "old.example dns", 40002: "new.example dns", 40003: " "} {
		if got[port] != want {
			t.Errorf("flow from port %d is to %q, want %q", port, got[port], want)
		}
	}
}

func netipPort(port int) string { return "10.0.0.2:" + itoa(port) }

func TestDNSOverTCP(t *testing.T) {
	framed := func(b []byte) string {
		return string(binary.BigEndian.AppendUint16(nil, uint16(len(b)))) + string(b)
	}
	for _, mss := range []int{1, 5, 1400} {
		w := newWire(t)
		x := w.dial("10.0.0.2:40000", "10.0.0.1:53").open()
		x.mss = mss
		x.up(framed(question(t, 1, "one.example", dnsmessage.TypeA)) + framed(question(t, 2, "two.example", dnsmessage.TypeA)))
		x.down(framed(answer(t, 2, "two.example", dnsmessage.TypeA, []dnsmessage.ResourceBody{a(203, 0, 113, 7)})))
		x.close()
		c := readClean(t, w)
		if f := only(t, c); f.App != "dns" || len(c.Lookups) != 2 || c.Lookups[1].Name != "two.example" || len(c.Lookups[1].Answers) != 1 || c.Lookups[0].RCode != "" {
			t.Errorf("segments of %d: flow %+v, lookups %+v", mss, f, c.Lookups)
		}
	}
}

func TestNoDNSOnItsPortIsKept(t *testing.T) {
	w := newWire(t)
	w.udp(stub, resolver, []byte("words through a hole in the firewall"))
	x := w.dial("10.0.0.2:40000", "10.0.0.1:53").open()
	x.up("words through the same hole over TCP")
	c := readClean(t, w)
	if len(c.Unread) != 2 || len(c.Lookups) != 0 || !strings.HasPrefix(string(c.Unread[0].Data), "words") || !strings.HasPrefix(string(c.Unread[1].Data), "words") {
		t.Errorf("unread %+v", c.Unread)
	}
}

func TestDNSRecords(t *testing.T) {
	service := []byte{0, 1, 0, 0, 1, 0, 6, 2, 'h', '3', 2, 'h', '2', 0, 4, 0, 4, 203, 0, 113, 7, 0, 5, 0, 1, 0}
	b := answer(t, 1, "x.example", dnsmessage.TypeALL, []dnsmessage.ResourceBody{
		&dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName("mx.example.")},
		&dnsmessage.TXTResource{TXT: []string{"one ", "two"}},
		&dnsmessage.SRVResource{Priority: 1, Weight: 2, Port: 3, Target: dnsmessage.MustNewName("srv.example.")},
		&dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("ptr.example.")},
		&dnsmessage.UnknownResource{Type: 65, Data: service},
		&dnsmessage.UnknownResource{Type: 999, Data: []byte{1, 2}},
	})
	questions, answers, ok := dissect.ParseDNS(b)
	want := []string{"10 mx.example", "one two", "1 2 3 srv.example", "ptr.example", "1 . alpn=h3,h2 ipv4hint=203.0.113.7 ech", "TYPE999 0102"}
	if !ok || !slices.Equal(questions, []string{"x.example ANY"}) || !slices.Equal(answers, want) {
		t.Errorf("questions %q, answers %q", questions, answers)
	}
	for cut := range b {
		if _, got, ok := dissect.ParseDNS(b[:cut]); ok && len(got) > len(want) {
			t.Errorf("cut at %d: %q", cut, got)
		}
	}
}

func TestHostileNames(t *testing.T) {
	head := []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for name, c := range map[string]struct {
		body string
		want string
	}{
		"pointer to itself":   {"\xc0\x0c\x00\x01\x00\x01", ""},
		"pointer forward":     {"\xc0\x20\x00\x01\x00\x01", ""},
		"pointer in a circle": {"\x01a\xc0\x0c\x00\x01\x00\x01", ""},
		"label past the end":  {"\x3fabc", ""},
		"reserved label":      {"\x80a\x00\x00\x01\x00\x01", ""},
		"dot in a label":      {"\x03a.b\x01\\\x00\x00\x01\x00\x01", `a\.b.\\ A`},
		"control characters":  {"\x03a\x00\x1b\x00\x00\x01\x00\x01", "a\x00\x1b A"},
		"root":                {"\x00\x00\x02\x00\x01", " NS"},
	} {
		questions, _, ok := dissect.ParseDNS(append(slices.Clone(head), c.body...))
		if ok != (c.want != "") || ok && questions[0] != c.want {
			t.Errorf("%s: %q %v", name, questions, ok)
		}
	}
}
