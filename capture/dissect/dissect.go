// Package dissect turns recorded packets into what they meant: flows with
// their exact bytes, DNS lookups, and the HTTP exchanges that can be read. It
// reads pcap and pcapng, reads and writes HAR, and writes annotated pcapng.
//
// Everything is a pure function of a reader. Captures are hostile input: a
// damaged file gives what could be read and a Health that says what could not,
// and every buffer has a limit.
//
// Packets are read and streams reassembled here rather than by gopacket, whose
// readers end at the first odd block and whose reassembly neither tells bytes
// that the capture lost from bytes that were never sent, nor counts each byte
// of a stream once. Its pcapgo package writes the pcapng files, and its layers
// are what the tests compare with.
package dissect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/offproof/offproof/capture"
)

// ErrFormat is the error for a file that is in none of the known formats.
var ErrFormat = errors.New("not a pcap, pcapng or HAR file")

// A Capture is what a file of packets, or a HAR file, says.
type Capture struct {
	// Flows are in the order of their first packets. A HAR file has none: it
	// does not record conversations.
	Flows []capture.Flow
	// Exchanges are in the order in which their requests began.
	Exchanges []capture.Exchange
	// Lookups are in the order in which they were asked.
	Lookups []capture.Lookup
	// Unread is what clients sent in flows, or parts of flows, in which no
	// protocol was recognised and which need not be encrypted.
	Unread []Unread
	// Greetings are what clients said in clear in handshakes of TLS and QUIC, so that
	// it can be searched: it has room for more than the fields that a Flow has.
	Greetings []Unread
	Health    capture.Health
	// Damaged is true when the file, or a packet in it, is not what its format
	// asks for, or goes beyond a limit, so that something of it was not read. A
	// sound file that lacks something (packets cut short on purpose, fragments
	// from before its start) is not damaged; its Health says what it lacks.
	Damaged bool
}

// Unread is the beginning of what a client sent in a protocol that is not
// known, so that it can be searched all the same.
type Unread struct {
	Flow string
	Data []byte
	// Truncated is true when more was sent than Data holds, or when bytes of the
	// flow are missing from the capture.
	Truncated bool
}

// Options say how to read a file. The zero value is useful.
type Options struct {
	// Local says whether an address is the phone's own, so that it becomes the
	// client of its flows. When it is nil, or says the same of both ends, the
	// client is the end that sent the SYN, asked the question, or used the port
	// that is less likely a server's.
	Local func(netip.Addr) bool
	// MaxBody is how many bytes of a body, and of a flow's unread payload, are
	// kept; 0 means 4 MiB.
	MaxBody int
	// MaxBodies is how many bytes of bodies are kept of a whole file, half of them
	// of replies at most; 0 means 256 MiB. Bodies beyond it are counted and not
	// kept, and where the phone sent them, the capture is damaged.
	MaxBodies int64
	// MaxFlows is how many conversations are told apart; 0 means 200,000. The
	// bytes of further ones are counted in one flow without addresses.
	MaxFlows int
	// KeyLog holds secrets with which TLS conversations are read; nil for none.
	// Those that a pcapng file carries itself are used as well.
	KeyLog *KeyLog
}

func (o Options) withDefaults() Options {
	if o.MaxBody <= 0 {
		o.MaxBody = 4 << 20
	}
	if o.MaxBodies <= 0 {
		o.MaxBodies = 256 << 20
	}
	if o.MaxFlows <= 0 {
		o.MaxFlows = 200_000
	}
	return o
}

// Read reads a pcap or pcapng file to its end. A file that is damaged, or ends
// in the middle of a packet, is no error: the Capture holds what could be read
// and its Health says what is wrong. A file of another format is ErrFormat; any
// other error is one of r's, and comes with what was read before it.
func Read(r io.Reader, o Options) (*Capture, error) {
	src, err := newSource(r)
	if err != nil {
		return nil, err
	}
	e := newEngine(o.withDefaults())
	var (
		rec    record
		broken *damage
	)
	for {
		err = src.next(&rec)
		if err != nil {
			break
		}
		e.inFile = src.secrets()
		e.record(&rec)
	}
	out := e.finish()
	out.Health.Dropped = src.dropped()
	problems, odd := src.problems()
	out.Damaged = out.Damaged || odd
	if errors.As(err, &broken) {
		out.Health.Truncated = true
		problems = append(problems, broken.reason)
		out.Damaged = true
		err = nil
	}
	out.Health.Problems = append(problems, out.Health.Problems...)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}

// Open reads a file of any known format: pcap, pcapng or HAR. It answers as
// Read and ReadHAR do.
func Open(r io.Reader, o Options) (*Capture, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dissect: read file: %w", err)
	}
	if looksLikeJSON(head) {
		return ReadHAR(br)
	}
	return Read(br, o)
}

func looksLikeJSON(head []byte) bool {
	head = bytes.TrimPrefix(head, utf8BOM)
	return bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{"))
}

var utf8BOM = []byte("\xef\xbb\xbf")
