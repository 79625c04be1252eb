package dissect_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

func notes(w *wire) dissect.Notes {
	return dissect.Notes{
		Application: "offproof", Comment: "a \x00 comment \xff of all",
		Names: map[netip.Addr][]string{
			netip.MustParseAddr("203.0.113.7"):   {"sa.example", "alias.example"},
			netip.MustParseAddr("2001:db8:1::7"): {"six.example"},
			netip.MustParseAddr("203.0.113.8"):   {"", strings.Repeat("n", 1000)},
			netip.MustParseAddr("203.0.113.9"):   {},
			{}:                                   {"nobody.example"},
		},
		Comments: []dissect.Comment{
			{At: w.frames[3].at.Add(-time.Microsecond), Text: "step: search"},
			{At: noon.Add(time.Hour), Text: "after the last packet"},
			{At: noon.Add(-time.Hour), Text: strings.Repeat("é", 50_000)},
		},
	}
}

func TestWritePcapng(t *testing.T) {
	w := sample(t)
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, bytes.NewReader(w.pcap()), notes(w)); err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(out.Bytes()), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	comments := map[int]string{}
	for i, f := range w.frames {
		data, ci, opts, err := r.ReadPacketDataWithOptions()
		if err != nil || !bytes.Equal(data, f.bytes()) || !ci.Timestamp.Equal(f.at) {
			t.Fatalf("packet %d: %v at %v, want %v", i, err, ci.Timestamp, f.at)
		}
		if len(opts.Comments) > 0 {
			comments[i] = strings.Join(opts.Comments, "|")
		}
	}
	last := len(w.frames) - 1
	if len(comments) != 3 || comments[3] != "step: search" || comments[last] != "after the last packet" || !strings.HasPrefix(comments[0], "ééé") || len(comments[0]) != 60_000 {
		t.Errorf("comments on packets %v", comments)
	}
	var names []string
	for i := range r.NNames() {
		n, err := r.Name(i)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, n.Names...)
	}
	if want := []string{"sa.example", "alias.example", strings.Repeat("n", 255), "six.example"}; !slices.Equal(names, want) {
		t.Errorf("names %q", names)
	}
	if info := r.SectionInfo(); info.Application != "offproof" || info.Comment != "a  comment \uFFFD of all" {
		t.Errorf("section %+v", info)
	}
	if got, want := factsOf(read(t, out.Bytes(), dissect.Options{})), factsOf(readClean(t, w)); got.packets != want.packets || got.tcp != want.tcp {
		t.Errorf("facts of the copy %+v, want %+v", got, want)
	}
}

// TestCopyKeepsInterfacesAndDrops copies a file of two interfaces of different
// links that knows of drops.
func TestCopyKeepsInterfacesAndDrops(t *testing.T) {
	o := binary.BigEndian
	f := sample(t).frames[0]
	file := bytes.Join([][]byte{
		section(o), describe(o, 1), describe(o, 101),
		enhanced(o, 1, uint64(noon.UnixMicro()), f.data, len(f.data)+100), enhanced(o, 0, uint64(noon.UnixMicro()), f.bytes(), len(f.bytes())),
		block(o, 5, append(make([]byte, 12), option(o, 5, o.AppendUint64(nil, 9))...)),
	}, nil)
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, bytes.NewReader(file), dissect.Notes{}); err != nil {
		t.Fatal(err)
	}
	a, b := read(t, file, dissect.Options{}), read(t, out.Bytes(), dissect.Options{})
	if b.Health.Dropped == nil || *b.Health.Dropped != 9 || b.Health.Packets != 2 || len(b.Flows) != 1 || a.Flows[0].BytesUp != b.Flows[0].BytesUp || !slices.Equal(a.Health.Doubts(), b.Health.Doubts()) {
		t.Errorf("copy %+v, original %+v", b, a)
	}
}

func TestCopyOfDamagedAndEmptyFiles(t *testing.T) {
	w := sample(t)
	var out bytes.Buffer
	err := dissect.WritePcapng(&out, bytes.NewReader(w.pcap()[:600]), notes(w))
	if !errors.Is(err, dissect.ErrDamaged) {
		t.Errorf("error %v", err)
	}
	if c := read(t, out.Bytes(), dissect.Options{}); c.Health.Packets == 0 || c.Damaged {
		t.Errorf("copy of what could be read: %+v", c.Health)
	}
	out.Reset()
	if err := dissect.WritePcapng(&out, bytes.NewReader(w.pcap()[:24]), notes(w)); err != nil {
		t.Fatal(err)
	}
	if c := read(t, out.Bytes(), dissect.Options{}); c.Health.Packets != 0 || c.Damaged {
		t.Errorf("copy of an empty file: %+v", c.Health)
	}
}

func TestTsharkReadsTheCopy(t *testing.T) {
	peers.Require(t, "tshark")
	w := sample(t)
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, bytes.NewReader(w.pcap()), notes(w)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "copy.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	compare(t, path, factsOf(readClean(t, w)), tsharkFacts(t, path))
	var comments []string
	for _, row := range tshark(t, path, "frame.comment", "frame.number", "frame.comment") {
		comments = append(comments, row[0]+" "+row[1][:min(len(row[1]), 30)])
	}
	if len(comments) != 3 || comments[1] != "4 step: search" {
		t.Errorf("tshark sees the comments %q", comments)
	}
	if rows := tshark(t, path, "_ws.malformed or ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0", "frame.number"); len(rows) > 0 {
		t.Errorf("tshark finds faults in packets %v", rows)
	}
}
