package harness

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/devices/android"
)

// looks are what the phone's socket tables showed, look after look: which sockets
// were seen from when to when, and the stretches of which they say nothing.
type looks struct {
	open map[Owner]*Owner // the latest of each, by everything but the times
	gone []Owner
	// last is when the tables arrived last, unwatched the stretches before looks
	// that came too late, were too far apart or did not show every table.
	last      time.Time
	unwatched []Stretch
	// least is the shortest way of a look to the host, with the difference of the
	// two clocks.
	least time.Duration
	any   bool
}

func newLooks(now time.Time) *looks { return &looks{open: map[Owner]*Owner{}, last: now} }

// take adds a look that arrived at a time.
func (l *looks) take(now time.Time, t android.SocketTable) {
	way := now.Sub(t.After)
	if !l.any || way < l.least {
		l.least, l.any = way, true
	}
	whole := slices.Contains(t.Read, "tcp") && slices.Contains(t.Read, "tcp6")
	// A look that was long on its way shows what was, and a clock that was set
	// looks the same.
	if from := l.last; now.Sub(from) > lookSpan || way-l.least > doorSlack || !whole {
		if n := len(l.unwatched); n > 0 && l.unwatched[n-1].To.Equal(from) {
			l.unwatched[n-1].To = now
		} else {
			l.unwatched = append(l.unwatched, Stretch{from, now})
		}
	}
	l.last = now
	for _, s := range t.Sockets {
		// The kernel shows a socket that lingers after its owner closed it as
		// uid 0: that names no owner.
		if s.Closing() {
			continue
		}
		key := Owner{
			Proto: capture.Proto(strings.TrimSuffix(s.Proto, "6")),
			Local: s.Local.String(), Remote: s.Remote.String(), UID: s.UID,
		}
		seen := l.open[key]
		if seen != nil && now.Sub(seen.Last) > lookSpan && key.Proto == capture.TCP {
			// The port was used again: this is another conversation.
			l.gone = append(l.gone, *seen)
			seen = nil
		}
		if seen == nil {
			first := key
			first.First = now
			seen = &first
			l.open[key] = seen
		}
		seen.Last = now
	}
}

// owners are all sockets that were seen, in order.
func (l *looks) owners() []Owner {
	out := slices.Clone(l.gone)
	for _, o := range l.open {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(x, y Owner) int {
		return cmp.Or(strings.Compare(string(x.Proto)+x.Local+x.Remote, string(y.Proto)+y.Local+y.Remote), cmp.Compare(x.UID, y.UID), x.First.Compare(y.First))
	})
	return out
}
