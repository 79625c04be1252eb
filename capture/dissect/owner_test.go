package dissect_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/offproof/offproof/capture/dissect"
)

// owned writes a packet as PCAPdroid does with its extension: the bogus header,
// at most snap bytes of the packet, padding, trailer.
func owned(f frame, snap, uid int, app string) frame {
	link := make([]byte, 12, 14)
	link = append(link, ethernet(f.data)[12:]...)
	kept := f.data[:min(len(f.data), snap)]
	b := append(bytes.Clone(link), kept...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, 0x01072021)
	b = binary.BigEndian.AppendUint32(b, uint32(uid))
	var name [20]byte
	copy(name[:19], app)
	b = append(b, name[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return frame{at: f.at, link: link, data: b[14:]}
}

// tailed is the capture as PCAPdroid writes it, all packets of one owner.
func (w *wire) tailed(uid int, app string) []byte {
	all := make([]frame, len(w.frames))
	for i, f := range w.frames {
		all[i] = owned(f, 1<<16, uid, app)
	}
	return pcapOf(binary.LittleEndian, false, 1, all)
}

// TestTrailerNamesTheOwnerAndIsNoPayload: what PCAPdroid writes behind a packet
// must not become bytes that the phone is said to have sent, whatever the length
// of the packet.
func TestTrailerNamesTheOwnerAndIsNoPayload(t *testing.T) {
	for size := range 9 {
		w := newWire(t)
		for _, server := range []string{host4, "[2001:db8::7]:80"} {
			client := phone4
			if server[0] == '[' {
				client = "[2001:db8::2]:40000"
			}
			x := w.dial(client, server).open()
			x.up(posted + string(make([]byte, size)))
			x.down(answered)
			x.close()
		}
		w.udp("10.0.0.2:40001", "203.0.113.8:9999", bytes.Repeat([]byte{7}, size+1))
		plain := readClean(t, w)
		got := read(t, w.tailed(10123, "Mi Browser"), dissect.Options{})
		if len(got.Health.Doubts()) > 0 || got.Damaged || len(got.Flows) != len(plain.Flows) || len(got.Exchanges) != len(plain.Exchanges) {
			t.Fatalf("%+v, %d flows of %d", got.Health, len(got.Flows), len(plain.Flows))
		}
		for i, f := range got.Flows {
			p := plain.Flows[i]
			if f.UID == nil || *f.UID != 10123 || f.AppName != "Mi Browser" {
				t.Errorf("flow %s: uid %v, app %q", f.ID, f.UID, f.AppName)
			}
			if p.UID != nil || p.AppName != "" {
				t.Errorf("flow %s has an owner without a trailer: %+v", p.ID, p)
			}
			if f.BytesUp != p.BytesUp || f.BytesDown != p.BytesDown || f.PayloadUp != p.PayloadUp || f.PayloadDown != p.PayloadDown {
				t.Errorf("flow %s: %d and %d bytes with the trailer, %d and %d without", f.ID, f.BytesUp, f.PayloadUp, p.BytesUp, p.PayloadUp)
			}
		}
		for i, u := range got.Unread {
			if !bytes.Equal(u.Data, plain.Unread[i].Data) {
				t.Errorf("unread payload became %q", u.Data)
			}
		}
	}
}

// TestOwnersThatDiffer: a conversation of which two are said to be the owner has
// none, and an unknown owner is not user 0.
func TestOwnersThatDiffer(t *testing.T) {
	w := newWire(t)
	for range 4 {
		w.udp("10.0.0.2:40001", "203.0.113.8:9999", []byte("one"))
	}
	for name, c := range map[string]struct {
		uids []int
		apps []string
		uid  int // -1 for nil
		app  string
	}{
		"one":               {[]int{10001, 10001, 10001, 10001}, []string{"", "a", "", "b"}, 10001, "a"},
		"two":               {[]int{10001, 10001, 10002, 10001}, []string{"a", "a", "b", "a"}, -1, ""},
		"two, then one":     {[]int{10001, 10002, 10002, 10002}, []string{"a", "b", "b", "b"}, -1, ""},
		"unknown":           {[]int{-1, -1, -1, -1}, []string{"", "", "", ""}, -1, ""},
		"unknown, then one": {[]int{-1, 10001, -1, 10001}, []string{"", "a", "", "a"}, 10001, "a"},
		"root":              {[]int{0, 0, 0, 0}, []string{"root", "root", "root", "root"}, 0, "root"},
		"a cut character":   {[]int{1, 1, 1, 1}, []string{"abcdefghijklmnopq€", "", "", ""}, 1, "abcdefghijklmnopq"},
	} {
		var all []frame
		for i, f := range w.frames {
			all = append(all, owned(f, 1<<16, c.uids[i], c.apps[i]))
		}
		got := read(t, pcapOf(binary.LittleEndian, false, 1, all), dissect.Options{}).Flows[0]
		uid := -1
		if got.UID != nil {
			uid = *got.UID
		}
		if uid != c.uid || got.AppName != c.app {
			t.Errorf("%s: uid %d, app %q, want %d, %q", name, uid, got.AppName, c.uid, c.app)
		}
	}
}

// TestTrailerOfACutPacket: a capture that was asked to cut packets short has the
// trailer behind what it kept.
func TestTrailerOfACutPacket(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40001", "203.0.113.8:9999", bytes.Repeat([]byte("x"), 500))
	f := owned(w.frames[0], 96, 10123, "Mi Browser")
	file := pcapOf(binary.LittleEndian, false, 1, []frame{f})
	binary.LittleEndian.PutUint32(file[24+12:], uint32(14+len(w.frames[0].data)+32))
	c := read(t, file, dissect.Options{})
	got := c.Flows[0]
	if got.UID == nil || *got.UID != 10123 || got.BytesUp != 528 || len(c.Unread) != 1 || len(c.Unread[0].Data) > 96-28+2 {
		t.Errorf("%+v, unread %d bytes", got, len(c.Unread[0].Data))
	}
	if bytes.Contains(c.Unread[0].Data, []byte("Mi Browser")) {
		t.Error("the trailer is taken for payload")
	}
}

// TestForgedTrailer: what an app sends cannot name another app as its sender.
func TestForgedTrailer(t *testing.T) {
	w := newWire(t)
	w.udp("127.0.0.1:40001", "127.0.0.1:9999", []byte("xx"))
	forged := owned(w.frames[0], 1<<16, 10001, "victim").data[30:] // from the payload on
	w.frames = nil
	w.packet(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1"), layers.IPProtocolUDP,
		&layers.UDP{SrcPort: 40001, DstPort: 9999}, gopacket.Payload(forged))
	link := append(make([]byte, 12), 8, 0)
	b := append(bytes.Clone(link), w.frames[0].data...)
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	w.frames[0].link, w.frames[0].data = link, b[14:]
	if got := read(t, w.pcap(), dissect.Options{}).Flows[0]; got.UID != nil {
		t.Errorf("the payload of a packet named user %d", *got.UID)
	}
	// And a frame of a wire has addresses.
	w = newWire(t)
	w.udp(phone4, host4, []byte("xx"))
	f := owned(w.frames[0], 1<<16, 10001, "victim")
	f.link = ethernet(w.frames[0].data)
	if got := read(t, pcapOf(binary.LittleEndian, false, 1, []frame{f}), dissect.Options{}).Flows[0]; got.UID != nil {
		t.Errorf("a frame of a wire named user %d", *got.UID)
	}
}

// TestTrailerByTshark: a reader that knows nothing of the trailer sees the same
// packets.
func TestTrailerByTshark(t *testing.T) {
	w := sample(t)
	file := t.TempDir() + "/owned.pcap"
	if err := os.WriteFile(file, w.tailed(10123, "Mi Browser"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := tshark(t, file, "frame", "ip.len", "ipv6.plen")
	var want int64
	for _, r := range rows {
		for i, header := range []int64{0, 40} {
			if r[i] == "" {
				continue
			}
			n, err := strconv.ParseInt(r[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			want += header + n
		}
	}
	var got int64
	for _, f := range read(t, w.tailed(10123, "Mi Browser"), dissect.Options{}).Flows {
		got += f.BytesUp + f.BytesDown
	}
	if got != want || len(rows) != len(w.frames) {
		t.Errorf("%d IP bytes, tshark says %d in %d packets of %d", got, want, len(rows), len(w.frames))
	}
}

// FuzzTrailer: whatever stands behind a packet, the packet's own bytes are
// counted and no others.
func FuzzTrailer(f *testing.F) {
	w := newWire(f)
	w.udp("10.0.0.2:40001", "203.0.113.8:9999", []byte("hello"))
	ip := w.frames[0].data
	good := owned(w.frames[0], 1<<16, 10123, "Mi Browser").data
	f.Add(good[len(ip):])
	f.Add([]byte{})
	f.Add(good)
	f.Fuzz(func(t *testing.T, behind []byte) {
		if len(behind) > 1<<12 {
			return
		}
		fr := frame{at: noon, link: append(make([]byte, 12), 8, 0), data: append(bytes.Clone(ip), behind...)}
		c := read(t, pcapOf(binary.LittleEndian, false, 1, []frame{fr}), dissect.Options{})
		if len(c.Flows) != 1 || c.Flows[0].BytesUp != int64(len(ip)) || c.Flows[0].PayloadUp != 5 {
			t.Fatalf("%+v", c.Flows)
		}
		if u := c.Flows[0].UID; u != nil && *u < 0 {
			t.Fatalf("uid %d", *u)
		}
	})
}
