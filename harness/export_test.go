package harness

import (
	"time"

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
