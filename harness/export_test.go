package harness

import (
	"time"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/devices/android"
)

// Looks gives the looks at the socket tables that arrived at certain times, and
// returns what is known of the sockets.
func Looks(start time.Time, at []time.Time, tables []android.SocketTable) ([]Owner, []Stretch) {
	l := newLooks(start)
	for i, t := range tables {
		l.take(at[i], t)
	}
	return l.owners(), l.unwatched
}

// ReadCarried reads what the phone's source says of the sockets of a VPN's app.
func ReadCarried(source, tunnel string, uid int, text string) (Carried, error) {
	c := Carried{Source: source, Tunnel: tunnel, UID: uid}
	err := c.read(text)
	return c, err
}

// Shifted moves the losses and holes of a capture to the host's clock, as the
// observations of a trial measured the phone's.
func Shifted(c *dissect.Capture, all []*Observation) {
	shift(c, -clockOf(all), drift+strayOf(all))
}
