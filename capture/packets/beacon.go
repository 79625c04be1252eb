package packets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Zone is the zone under which nonces are asked for. "invalid" is reserved, so
// no name below it can ever belong to anybody.
const Zone = "beacon.offproof.invalid"

// Beacon asks for a name that holds the nonce, from the phone, and returns when
// the question has been read back from the packets. The name never resolves.
func (r *Recorder) Beacon(ctx context.Context, nonce string) (capture.Beacon, error) {
	if !ValidNonce(nonce) {
		return capture.Beacon{}, fmt.Errorf("%s: beacon: %q is not a nonce of a-z and 0-9", r.o.Name, nonce)
	}
	w := &sighting{pattern: wireName(nonce), seen: make(chan moment, 1)}
	r.mu.Lock()
	if r.waiting[nonce] != nil {
		r.mu.Unlock()
		return capture.Beacon{}, fmt.Errorf("%s: beacon: %s is already under way", r.o.Name, nonce)
	}
	r.waiting[nonce] = w
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiting, nonce)
		r.mu.Unlock()
	}()

	beacon := capture.Beacon{Nonce: nonce, Sent: time.Now(), Name: nonce + "." + Zone}
	var runErr error
	for range r.o.BeaconTries {
		got, err := r.ask(ctx, beacon.Name, w.seen)
		if !got.seen.IsZero() {
			beacon.Seen = got.seen
			r.mu.Lock()
			r.beacons = append(r.beacons, beacon)
			r.clock.tick(got.stamp, beacon.Sent, beacon.Seen)
			r.mu.Unlock()
			return beacon, nil
		}
		if errors.Is(err, ErrEnded) || ctx.Err() != nil {
			return capture.Beacon{}, err
		}
		runErr = err
	}
	if runErr != nil {
		return capture.Beacon{}, fmt.Errorf("%s: %w: %s: %w", r.o.Name, ErrBeaconUnseen, nonce, runErr)
	}
	return capture.Beacon{}, fmt.Errorf("%s: %w: %s, asked %d times on %s: is the phone online there, "+
		"and Private DNS off?", r.o.Name, ErrBeaconUnseen, nonce, r.o.BeaconTries, r.o.Where)
}

// ask puts the question once and waits for its sight. The zero moment means that
// it was not seen; the error then says why, nil for no known reason.
func (r *Recorder) ask(ctx context.Context, name string, seen <-chan moment) (moment, error) {
	run, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(asked)
		// ping fails, for the name does not exist: only its question matters.
		if _, _, _, err := r.phone.Run(run, "ping -c 1 -W 1 "+name); err != nil {
			failed <- fmt.Errorf("%s: beacon: ask on the phone: %w", r.o.Name, err)
		}
	}()
	// Whatever comes, no command is left running behind the caller's back.
	defer func() {
		cancel()
		<-asked
	}()
	timer := time.NewTimer(r.o.BeaconWait)
	defer timer.Stop()
	var failure error
	for {
		select {
		case at := <-seen:
			return at, nil
		case <-r.done:
			select { // the last packets may have held it
			case at := <-seen:
				return at, nil
			default:
				return moment{}, fmt.Errorf("%s: %w: %s", r.o.Name, ErrEnded, r.LastWords())
			}
		case <-ctx.Done():
			return moment{}, fmt.Errorf("%s: beacon: %w", r.o.Name, context.Cause(ctx))
		case failure = <-failed:
			// Nothing more will come of it, unless the nonce is on its way.
			timer.Reset(r.o.BeaconWait / 10)
		case <-timer.C:
			return moment{}, failure
		}
	}
}

// A clock is how far the packets' clock is ahead of the host's, as far as
// beacons tell: a packet was stamped after its question was asked and before it
// was seen here.
type clock struct {
	least, most time.Duration
	ticks       int
	moved       bool // it was set, or runs badly
}

// drift is how far apart what two beacons say of a clock may be: two clocks that
// nobody keeps together drift by seconds in a day.
const drift = 500 * time.Millisecond

func (c *clock) tick(stamp, sent, seen time.Time) {
	least, most := stamp.Sub(seen), stamp.Sub(sent)
	if c.ticks > 0 && (least > c.most || most < c.least) {
		c.moved = c.moved || least-c.most > drift || c.least-most > drift
		least, most = min(least, c.least), max(most, c.most)
	} else if c.ticks > 0 {
		least, most = max(least, c.least), min(most, c.most)
	}
	c.least, c.most = least, most
	c.ticks++
}

// read is the offset with its uncertainty, nil before the first beacon.
func (c *clock) read() *capture.ClockOffset {
	if c.ticks == 0 {
		return nil
	}
	half := (c.most - c.least) / 2
	return &capture.ClockOffset{Ahead: c.least + half, Uncertainty: half}
}

// wireName is how a nonce's name stands in a DNS question: labels behind their
// lengths. Looking for this form and not for the text keeps a wireless ADB
// connection, which carries the beacon's command, from being taken for its
// effect.
func wireName(nonce string) []byte {
	var b []byte
	for _, label := range strings.Split(nonce+"."+Zone, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return b
}

// holds says whether a packet holds a name in wire form. Letters are compared
// without case, because resolvers randomise it. pattern must be in lower case.
func holds(packet, pattern []byte) bool {
	for len(pattern) > 0 && len(packet) >= len(pattern) {
		i := bytes.IndexByte(packet[:len(packet)-len(pattern)+1], pattern[0])
		if i < 0 {
			return false
		}
		if equalFold(packet[i:i+len(pattern)], pattern) {
			return true
		}
		packet = packet[i+1:]
	}
	return false
}

func equalFold(a, lower []byte) bool {
	for i, c := range lower {
		x := a[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if x != c {
			return false
		}
	}
	return true
}

// ValidNonce keeps to what a DNS label and a shell both take as it is.
func ValidNonce(nonce string) bool {
	if nonce == "" || len(nonce) > 40 {
		return false
	}
	for _, c := range []byte(nonce) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
