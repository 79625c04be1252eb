package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// A Decoder reads what this package calls opaque. Decoders are handed to each
// call of [Read]; there is no list of them.
type Decoder interface {
	// Name goes into evidence as Event.Decoder. It must not hold a key.
	Name() string
	// Decode opens what one opaque event stands for. What it does not know it
	// answers with the zero Opened and no error; an error is kept as the event's
	// Doubt, so it must not hold a key either.
	Decode(ctx context.Context, s Sealed) (Opened, error)
}

// Sealed is what a Decoder is asked to open.
type Sealed struct {
	// SDK and Type are those of the opaque event.
	SDK, Type string
	URL       string
	Header    []capture.Header
	// Document is the whole of what the format sealed, with what it says in clear
	// around it: OneTrack's body, one envelope of Sensors as JSON, MiStat's p.
	Document []byte
	// Pieces are the ciphertexts in it, without base64 or hex around them.
	Pieces [][]byte
}

// Opened is what a Decoder found.
type Opened struct {
	// Plain holds the plaintext of each of Sealed.Pieces, nil for one that was not
	// opened. Whoever gives a plaintext vouches that it is the whole of its piece:
	// the piece is no longer counted as opaque.
	Plain [][]byte
	// Events are for a decoder that knows what is said and not how it is written.
	// They can show that something was sent; what they came from stays opaque.
	Events []Event
}

// sealed is what an opaque event may be opened from.
type sealed struct {
	document []byte
	pieces   []piece
	// read makes events of one opened piece.
	read func(like Event, plain []byte) []Event
}

type piece struct {
	bytes []byte
	node  *payload.Node
}

// maxSealed bounds how many opaque events of one request decoders are asked
// about: each may start a program.
const maxSealed = 64

// outside gives the opaque events to the decoders, in order, until one opens it.
func (r *request) outside(ctx context.Context, events []Event, decoders []Decoder) []Event {
	if len(decoders) == 0 {
		return events
	}
	var all []Event
	asked := 0
	for _, e := range events {
		if !e.Opaque || e.sealed == nil {
			all = append(all, e)
			continue
		}
		if asked++; asked > maxSealed {
			e.doubt(fmt.Sprintf("no decoder was asked: the request has more than %d sealed records", maxSealed))
			all = append(all, e)
			continue
		}
		all = append(all, r.open(ctx, e, decoders)...)
	}
	return all
}

// open asks the decoders about one opaque event.
func (r *request) open(ctx context.Context, e Event, decoders []Decoder) []Event {
	s := Sealed{SDK: e.SDK, Type: e.Type, URL: r.ex.URL, Header: r.ex.RequestHeader, Document: e.sealed.document}
	for _, p := range e.sealed.pieces {
		s.Pieces = append(s.Pieces, p.bytes)
	}
	for _, d := range decoders {
		opened, err := d.Decode(ctx, s)
		if err != nil {
			e.doubt("decoder " + d.Name() + ": " + err.Error())
		}
		events, whole := e.opened(d.Name(), opened)
		if len(events) == 0 {
			continue
		}
		if !whole {
			e.doubt("decoder " + d.Name() + " opened a part of it")
			events = append(events, e)
		}
		return events
	}
	return []Event{e}
}

func (e *Event) doubt(why string) {
	if e.Doubt != "" {
		why = e.Doubt + "; " + why
	}
	e.Doubt = why
}

// opened makes events of what a decoder gave, and puts it into the tree. whole
// is true when nothing of the event stays opaque.
func (e Event) opened(name string, o Opened) (events []Event, whole bool) {
	step := "decoder:" + strings.ReplaceAll(name, " > ", " ")
	like := e
	like.Opaque, like.Reason, like.Doubt, like.sealed = false, "", "", nil
	like.Decoder, like.Path = name, joined(e.Path, step)
	left := 0
	for i, p := range e.sealed.pieces {
		if i >= len(o.Plain) || len(o.Plain[i]) == 0 {
			left++
			continue
		}
		found := e.sealed.read(like, o.Plain[i])
		if len(found) == 0 {
			left++ // Readable, but who knows what it says.
		}
		events = append(events, found...)
		p.attach(step, o.Plain[i], false)
	}
	for _, given := range o.Events {
		given.Opaque, given.Reason, given.sealed = false, "", nil
		given.Decoder, given.Where, given.Path = name, like.Where, like.Path
		if given.SDK == "" {
			given.SDK = like.SDK
		}
		if given.App == "" {
			given.App = like.App
		}
		if given.Project == "" {
			given.Project = like.Project
		}
		if given.Flushed.IsZero() {
			given.Flushed = like.Flushed
		}
		events = append(events, given)
	}
	if len(o.Events) > 0 && len(e.sealed.pieces) > 0 {
		if said, err := eventsText(o.Events); err == nil {
			e.sealed.pieces[0].attach(step, said, true)
		}
	}
	return events, left == 0 && len(e.sealed.pieces) > 0
}

// attach puts plaintext below a piece of the tree, so that a search sees it.
// keep leaves the piece's own bytes there too, so that they stay opaque.
func (p piece) attach(step string, plain []byte, keep bool) {
	if p.node == nil {
		return
	}
	child := payload.Peel(plain, "")
	child.Step = step
	if len(p.node.Children) > 0 {
		p.node.Children = append(p.node.Children, child)
		return
	}
	original := *p.node
	p.node.Kind = payload.KindUnknown
	p.node.Children = []*payload.Node{child}
	if keep {
		original.Step = "sealed"
		p.node.Children = append(p.node.Children, &original)
	}
}

// Keys are the AES keys that a bench knows, for what OneTrack, Sensors and MiStat
// encrypt: a key read out of the phone's memory, or the session key that goes
// with a private key that is known. Every key is tried on every piece; one that
// fits is told by its padding and by the gzip and JSON beneath.
//
// A Keys never shows its keys, by whatever verb it is printed.
type Keys struct {
	name string
	aes  [][]byte
}

// NewKeys names some AES keys of 16, 24 or 32 bytes. The name goes into
// evidence, the keys do not.
func NewKeys(name string, keys ...[]byte) (Keys, error) {
	k := Keys{name: name}
	if name == "" || len(keys) == 0 {
		return Keys{}, errors.New("telemetry keys: read keys: a name and at least one key are needed")
	}
	for i, key := range keys {
		switch len(key) {
		case 16, 24, 32:
			k.aes = append(k.aes, bytes.Clone(key))
		default:
			return Keys{}, fmt.Errorf("telemetry keys: read keys: key %d of %s has %d bytes; AES keys have 16, 24 or 32: give the bytes, not their hex", i+1, name, len(key))
		}
	}
	return k, nil
}

// Name is the name that was given to the keys.
func (k Keys) Name() string { return k.name }

// Format writes the name and how many keys there are, whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, fmt.Sprint(len(k.aes))+" keys named "+k.name)
}

// MarshalText writes what Format does.
func (k Keys) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%v", k), nil }

// Decode tries the keys on every piece.
func (k Keys) Decode(ctx context.Context, s Sealed) (Opened, error) {
	o := Opened{Plain: make([][]byte, len(s.Pieces))}
	total := 0
	for i, sealed := range s.Pieces {
		for _, key := range k.aes {
			if err := ctx.Err(); err != nil {
				return o, err
			}
			if plain, ok := decryptAs(s.SDK, s.Type, key, sealed); ok {
				o.Plain[i] = plain
				break
			}
		}
		if total += len(o.Plain[i]); total > payload.MaxOutput {
			return o, errTooLong
		}
	}
	return o, nil
}

// decryptAs decrypts a piece as an SDK encrypts it.
func decryptAs(sdk, kind string, key, sealed []byte) ([]byte, bool) {
	var plain []byte
	var ok bool
	switch {
	case sdk == OneTrack, sdk == MiStat && kind == mistatV2Type:
		plain, ok = decryptECB(key, sealed)
	case sdk == MiStat:
		plain, ok = decryptCBC(key, []byte(mistatIV), sealed)
	case sdk == Sensors && len(sealed) > ivSize:
		plain, ok = decryptCBC(key, sealed[:ivSize], sealed[ivSize:])
	}
	if !ok {
		return nil, false
	}
	if len(plain) > 1 && plain[0] == 0x1f && plain[1] == 0x8b {
		out, err := gunzip(plain)
		if err != nil {
			return nil, false
		}
		plain = out
	}
	_, damage := records(plain)
	return plain, damage == ""
}

// ivSize is how many bytes of a Sensors payload are the initialisation vector
// that precedes the ciphertext.
const ivSize = 16
