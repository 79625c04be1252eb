package harness_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
)

const door = "127.0.0.1:8080"

// connection adds a connection of the proxy that is open from one time to another
// and in which nothing was read.
func (w *world) connection(from, to time.Time) {
	w.ev.Traces[1].Door = door
	w.proxied(capture.Flow{
		App: "tls", Host: "noise.example", HostFrom: capture.FromSNI, Start: from, End: to, BytesUp: 900, PayloadUp: 900, Visibility: capture.Metadata,
		Sent: []capture.Burst{{At: from, Bytes: 900, Payload: 900}},
	})
}

// socket adds a socket of an app at the proxy's door, as looks found it.
func (w *world) socket(from, to time.Time, uid int) {
	w.next++
	w.ev.Owners = append(w.ev.Owners, harness.Owner{Proto: capture.TCP, Local: fmt.Sprintf("[::ffff:127.0.0.1]:%d", 30000+w.next), Remote: "[::ffff:127.0.0.1]:8080", UID: uid, First: from, Last: to})
}

// A connection to the proxy belongs to an app where every socket that fits it is
// of that app and none that could be confused with it is missing. What belongs to
// another app does not decide; what belongs to nobody does.
func TestProxiedOwners(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		do    func(w *world, at time.Time)
		ours  bool
		alone bool // the connection is another app's
	}{
		{"another app's", func(w *world, at time.Time) { w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID) }, false, true},
		{"the claim's", func(w *world, at time.Time) { w.socket(at.Add(100*ms), at.Add(3900*ms), claimUID) }, true, false},
		{"nobody's", func(*world, time.Time) {}, false, false},
		{"a socket of other times", func(w *world, at time.Time) { w.socket(at.Add(-9*time.Second), at.Add(3900*ms), noiseUID) }, false, false},
		{"a socket that went on", func(w *world, at time.Time) { w.socket(at.Add(100*ms), at.Add(9*time.Second), noiseUID) }, false, false},
		{"a socket at another door", func(w *world, at time.Time) {
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.ev.Owners[len(w.ev.Owners)-1].Remote = "127.0.0.1:8081"
		}, false, false},
		{"two apps at once", func(w *world, at time.Time) {
			w.connection(at, at.Add(4*time.Second))
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.socket(at.Add(100*ms), at.Add(3900*ms), claimUID)
		}, false, false},
		{"one app twice", func(w *world, at time.Time) {
			w.connection(at, at.Add(4*time.Second))
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.socket(at.Add(200*ms), at.Add(3900*ms), noiseUID)
		}, false, true},
		{"another connection began shortly before", func(w *world, at time.Time) {
			w.connection(at.Add(-time.Second), at.Add(-900*ms))
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
		}, false, false},
		{"a socket is missing", func(w *world, at time.Time) {
			w.connection(at.Add(500*ms), at.Add(4*time.Second))
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
		}, false, false},
		// What keeps a connection of the claim from showing its own socket's end, while
		// another app's socket ends with it.
		{"its own socket lingers", func(w *world, at time.Time) {
			w.connection(at, at.Add(300*ms)) // Idle afterwards, until its socket ends.
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.socket(at.Add(100*ms), at.Add(time.Minute), claimUID)
		}, false, false},
		{"its own socket ended at once", func(w *world, at time.Time) {
			w.connection(at, at.Add(300*ms))
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
		}, false, false},
		{"its own socket waited for the cable", func(w *world, at time.Time) {
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.socket(at.Add(-4*time.Second), at.Add(3900*ms), claimUID)
		}, false, false},
		{"its own socket at the door's other address", func(w *world, at time.Time) {
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.socket(at.Add(100*ms), at.Add(3900*ms), claimUID)
			w.ev.Owners[len(w.ev.Owners)-1].Remote = "[::1]:8080"
		}, false, false},
		{"nobody looked when it began", func(w *world, at time.Time) {
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.ev.Unwatched = []harness.Stretch{{From: at.Add(-500 * ms), To: at.Add(500 * ms)}}
		}, false, false},
		{"nobody looked elsewhere", func(w *world, at time.Time) {
			w.socket(at.Add(100*ms), at.Add(3900*ms), noiseUID)
			w.ev.Unwatched = []harness.Stretch{{From: at.Add(-time.Minute), To: at.Add(-50 * time.Second)}}
		}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			at := w.get("off-1").Window.Open.Add(5 * time.Second) // Long after the search's connection.
			w.connection(at, at.Add(4*time.Second))
			w.socket(w.start, w.start.Add(time.Hour), 1000) // The looks go on for long.
			c.do(w, at)
			f := w.judge()
			want := harness.OutcomeInconclusive
			if c.alone {
				want = harness.Stops
			}
			if f.Outcome != want {
				t.Errorf("it came to %s: %q", f.Outcome, f.Because)
			}
			said := strings.Join(w.get("off-1").Finding.Elsewhere, "\n")
			if c.alone != strings.Contains(said, fmt.Sprintf("uid %d to noise.example", noiseUID)) {
				t.Errorf("elsewhere is %q", said)
			}
			for _, s := range w.get("off-1").Finding.Contacts {
				if c.ours != strings.Contains(s.Sender, "app of the claim") {
					t.Errorf("the contact is of %s", s.Sender)
				}
			}
		})
	}
}

// A connection too short to be seen by two looks belongs to nobody, whatever
// socket is there.
func TestShortConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.get("off-1").Window.Open.Add(2 * time.Second)
	w.connection(at, at.Add(time.Second))
	w.socket(at.Add(100*time.Millisecond), at.Add(900*time.Millisecond), noiseUID)
	if f := w.judge(); f.Outcome != harness.OutcomeInconclusive {
		t.Errorf("it came to %s: %q", f.Outcome, f.Because)
	}
}

// A window that does not know the sender shows the same channel as one that does;
// two senders are two channels.
func TestSendersOfChannels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		uids []int // of the calibration's, the pair's and the closing report
		want harness.Outcome
	}{
		{"all of one app", []int{claimUID, claimUID, claimUID}, harness.Stops},
		{"one of them unknown", []int{claimUID, 0, claimUID}, harness.Stops},
		{"the first unknown", []int{0, claimUID, claimUID}, harness.Stops},
		{"two senders", []int{claimUID, noiseUID, claimUID}, harness.OutcomeInconclusive},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.ev.Traces[1].Door = door
			w.socket(w.start, w.start.Add(time.Hour), 1000)
			for i, id := range []string{"calibration", "on-1", "closing"} {
				for j := range w.ev.Traces[1].Flows {
					f := &w.ev.Traces[1].Flows[j]
					if !w.get(id).Window.Holds(f.Start) {
						continue
					}
					f.End = f.Start.Add(4 * time.Second) // The search's as well as the report's.
					if uid := c.uids[i]; uid != 0 {
						w.socket(f.Start.Add(100*time.Millisecond), f.End, uid)
					}
				}
			}
			if f := w.judge(); f.Outcome != c.want {
				t.Errorf("it came to %s: %q", f.Outcome, f.Because)
			}
		})
	}
}
