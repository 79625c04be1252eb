// Package spikes is for asking the instruments a question whose answer is known:
// a page of the laboratory makes the browser under test send known bodies by the
// ways that collection may take, and whoever judges asks whether each was
// recovered from what was recorded. A body that arrived at the laboratory and was
// not recovered is a way by which data can leave unseen.
//
// The package holds what the laboratory's server and the judge have to agree on:
// the terms of a run, the page that sends them, and the reading of what the page
// shows. Make is a pure function of the run's name, so that nothing but the name
// has to travel, and a browser that reports the page's address reports no term.
package spikes

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/offproof/offproof/harness/canary"
)

// A Kind is a way by which a known body leaves.
type Kind string

// The kinds of spikes.
const (
	// Plain is a body of plain text over HTTP.
	Plain Kind = "plain"
	// Packed is the same under gzip and base64, as SDKs send theirs.
	Packed Kind = "gzip-base64"
	// IPv6 is a body of plain text to an address of IPv6.
	IPv6 Kind = "ipv6"
	// UDP is a datagram to port 443, as QUIC sends them: a STUN question, which
	// browsers send past an HTTP proxy. UDP6 is the same over IPv6.
	UDP  Kind = "udp-443"
	UDP6 Kind = "udp-443-ipv6"
)

func kinds() []Kind { return []Kind{Plain, Packed, IPv6, UDP, UDP6} }

// Port is the UDP port of the datagrams.
const Port = 443

// Words says what a kind is in a sentence: "the lab's page sent WORDS".
func (k Kind) Words() string {
	switch k {
	case Plain:
		return "a plain body over HTTP"
	case Packed:
		return "a body under gzip and base64"
	case IPv6:
		return "a body to an address of IPv6"
	case UDP:
		return "a datagram to UDP port 443"
	case UDP6:
		return "a datagram to UDP port 443 over IPv6"
	}
	return string(k)
}

// Body says whether a spike of this kind carries a term that can be read.
func (k Kind) Body() bool { return k == Plain || k == Packed || k == IPv6 }

// A State is what the page says of a spike.
type State string

// The states of a spike. A page that shows none is StateUnknown.
const (
	StateUnknown State = ""
	// Waiting is a spike that has no answer yet.
	Waiting State = "waiting"
	// Arrived is a spike that the laboratory answered.
	Arrived State = "arrived"
	// Failed is a spike without an answer: it may have been sent.
	Failed State = "failed"
)

// A Spike is one known body of a run.
type Spike struct {
	Kind Kind
	// Term is what its body holds, empty for a kind without one.
	Term canary.Canary
}

// version stands in the page's address: a laboratory of another version derives
// other terms.
const version = "1"

var runName = regexp.MustCompile(`^[a-z0-9]{8,32}$`)

// ValidRun says whether a run's name is 8 to 32 characters of a-z and 0-9.
func ValidRun(run string) bool { return runName.MatchString(run) }

// Make returns the spikes of a run. The same name gives the same terms.
func Make(run string) []Spike {
	var out []Spike
	for _, k := range kinds() {
		s := Spike{Kind: k}
		if k.Body() {
			s.Term = canary.Canary{ID: "spike/" + string(k), Field: "spike", Term: term(run, k), Observation: run}
		}
		out = append(out, s)
	}
	return out
}

// term is two words of eight letters.
func term(run string, k Kind) string {
	sum := sha256.Sum256([]byte("offproof spike " + version + " " + run + " " + string(k)))
	letters := make([]byte, 0, 17)
	for i := range 16 {
		if i == 8 {
			letters = append(letters, ' ')
		}
		letters = append(letters, 'a'+sum[i]%26)
	}
	return string(letters)
}

// Address is the page of a run at a laboratory whose page is base, such as
// http://lab.example/.
func Address(base, run string) string {
	return strings.TrimSuffix(base, "/") + "/" + version + "/" + run
}

// body is what a spike's request holds.
func body(s Spike) (string, error) {
	text := "offproof spike: " + s.Term.Term
	if s.Kind != Packed {
		return text, nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(text)); err != nil {
		return "", fmt.Errorf("spikes: pack a body: %w", err)
	}
	if err := z.Close(); err != nil {
		return "", fmt.Errorf("spikes: pack a body: %w", err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes()), nil
}

// Title is what the page of a run is called once every spike has its answer.
func Title(run string) string { return "offproof lab, run " + run + ": done" }

// Read returns what the page says of each spike. words are the texts that the
// screen shows, in any order; what they do not speak of is StateUnknown.
func Read(words []string) map[Kind]State {
	out := map[Kind]State{}
	for _, text := range words {
		for line := range strings.Lines(text) {
			name, state, ok := strings.Cut(strings.TrimSpace(line), ": ")
			k, s := Kind(name), State(state)
			if ok && slices.Contains(kinds(), k) && (s == Waiting || s == Arrived || s == Failed) {
				out[k] = s
			}
		}
	}
	return out
}
