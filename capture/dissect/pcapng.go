package dissect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// ErrDamaged is the error for a file of packets that could not be copied to its
// end. What could be read has been copied.
var ErrDamaged = errors.New("the file is damaged")

const (
	// maxNote bounds one comment; a pcapng option has at most 65,535 bytes.
	maxNote = 60_000
	// maxName bounds a name of the name resolution block.
	maxName = 255
)

// Notes are what WritePcapng adds to packets, for people who open the file in
// Wireshark.
type Notes struct {
	// Application is the program that made the file, Comment is about the whole.
	Application, Comment string
	// Names are the host names of addresses.
	Names map[netip.Addr][]string
	// Comments are put on the first packet at or after their time, or on the
	// last one.
	Comments []Comment
	// Secrets is a key log with which the packets' TLS is read, as ReadKeyLog
	// takes it; empty for none.
	Secrets []byte
}

// A Comment is a remark about a moment of a capture.
type Comment struct {
	At   time.Time
	Text string
}

// WritePcapng copies a pcap or pcapng file to a pcapng file with notes. The
// packets, their times, interfaces and drop counts are kept. A file of no such
// format is ErrFormat; a damaged one is copied as far as it can be read, and
// the error is then ErrDamaged.
func WritePcapng(w io.Writer, pcap io.Reader, notes Notes) error {
	src, err := newSource(pcap)
	if err != nil {
		return err
	}
	c := &copier{w: w, notes: notes, ids: map[int]int{}}
	c.notes.Comments = slices.Clone(notes.Comments)
	slices.SortStableFunc(c.notes.Comments, func(a, b Comment) int { return a.At.Compare(b.At) })
	var rec record
	for {
		if err = src.next(&rec); err != nil {
			break
		}
		if err := c.add(&rec); err != nil {
			return fmt.Errorf("pcapng: write packet: %w", err)
		}
	}
	if err := c.finish(src.dropped()); err != nil {
		return fmt.Errorf("pcapng: write end: %w", err)
	}
	var broken *damage
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &broken):
		return fmt.Errorf("pcapng: copy packets: %w: %s", ErrDamaged, broken.reason)
	}
	return err
}

// A copier writes the copy. It holds back one packet, because the last one gets
// the comments that are left over.
type copier struct {
	w     io.Writer
	ng    *pcapgo.NgWriter
	notes Notes
	ids   map[int]int // from interfaces of the source to those of the copy
	next  int
	held  record
	id    int
	full  bool
}

func (c *copier) add(rec *record) error {
	if err := c.release(false); err != nil {
		return err
	}
	id, known := c.ids[rec.iface]
	if !known {
		id = c.next
		c.next++
		c.ids[rec.iface] = id
		if err := c.describe(rec.link); err != nil {
			return err
		}
	}
	data := append(c.held.data[:0], rec.data...)
	c.held, c.id, c.full = *rec, id, true
	c.held.data = data
	return nil
}

// describe writes an interface, and before the first one the section's header.
func (c *copier) describe(link uint16) error {
	described := pcapgo.NgInterface{LinkType: layers.LinkType(link)}
	if c.ng != nil {
		_, err := c.ng.AddInterface(described)
		return err
	}
	var err error
	c.ng, err = pcapgo.NewNgWriterInterface(c.w, described, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Application: clean(c.notes.Application, maxNote), Comment: clean(c.notes.Comment, maxNote),
	}})
	if err != nil {
		return err
	}
	if err := c.ng.Flush(); err != nil {
		return err
	}
	// The writer knows neither name resolution blocks nor secrets.
	_, err = c.w.Write(append(nameBlock(c.notes.Names), secretsBlock(c.notes.Secrets)...))
	return err
}

// release writes the packet that was held back.
func (c *copier) release(last bool) error {
	if !c.full {
		return nil
	}
	c.full = false
	var texts []string
	for len(c.notes.Comments) > 0 && (last || !c.notes.Comments[0].At.After(c.held.at)) {
		texts = append(texts, clean(c.notes.Comments[0].Text, maxNote))
		c.notes.Comments = c.notes.Comments[1:]
	}
	info := gopacket.CaptureInfo{Timestamp: c.held.at, CaptureLength: len(c.held.data), Length: c.held.wire, InterfaceIndex: c.id}
	return c.ng.WritePacketWithOptions(info, c.held.data, pcapgo.NgPacketOptions{Comments: texts})
}

func (c *copier) finish(dropped *int64) error {
	at := c.held.at
	if err := c.release(true); err != nil {
		return err
	}
	if c.ng == nil {
		// A capture without packets still says that it is one.
		if err := c.describe(linkEthernet); err != nil {
			return err
		}
	}
	if dropped != nil {
		err := c.ng.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{
			LastUpdate: at, PacketsReceived: pcapgo.NgNoValue64, PacketsDropped: uint64(max(*dropped, 0)), // #nosec G115 -- not negative
		})
		if err != nil {
			return err
		}
	}
	return c.ng.Flush()
}

// clean makes a text fit for an option: valid, without NUL, not too long.
func clean(s string, limit int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// nameBlock is the name resolution block of the names, empty when there are
// none. A block of the format may have any length.
func nameBlock(all map[netip.Addr][]string) []byte {
	var body bytes.Buffer
	le := binary.LittleEndian
	addrs := make([]netip.Addr, 0, len(all))
	for a := range all {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		var names []byte
		for _, s := range all[a] {
			if s = clean(s, maxName); s == "" || len(names) > maxNote {
				continue
			}
			names = append(append(names, s...), 0)
		}
		if len(names) == 0 || !a.IsValid() {
			continue
		}
		kind, addr := uint16(1), a.AsSlice()
		if len(addr) == 16 {
			kind = 2
		}
		size := len(addr) + len(names)
		var head [4]byte
		le.PutUint16(head[:], kind)
		le.PutUint16(head[2:], uint16(size)) // #nosec G115 -- at most maxNote and a name
		body.Write(head[:])
		body.Write(addr)
		body.Write(names)
		body.Write(make([]byte, -size&3))
	}
	if body.Len() == 0 {
		return nil
	}
	body.Write(make([]byte, 4))     // end of records
	size := uint32(body.Len() + 12) // #nosec G115 -- names of a few thousand hosts
	block := le.AppendUint32(le.AppendUint32(nil, blockNames), size)
	return le.AppendUint32(append(block, body.Bytes()...), size)
}

// secretsBlock is the block of a key log, empty when there is none or it is too
// long to be read back.
func secretsBlock(log []byte) []byte {
	if len(log) == 0 || len(log) > maxSecretsBlock-16 {
		return nil
	}
	padded := len(log) + -len(log)&3
	size := uint32(padded + 20) // #nosec G115 -- at most maxSecretsBlock
	le := binary.LittleEndian
	block := le.AppendUint32(le.AppendUint32(nil, blockSecrets), size)
	block = le.AppendUint32(le.AppendUint32(block, secretsTLS), uint32(len(log))) // #nosec G115 -- at most maxSecretsBlock
	block = append(append(block, log...), make([]byte, padded-len(log))...)
	return le.AppendUint32(block, size)
}
