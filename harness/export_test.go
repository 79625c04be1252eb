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
