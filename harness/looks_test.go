package harness_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/android"
	"github.com/offproof/offproof/harness"
)

// What a look does not show for certain is a stretch without looks: a connection
// that began in it could have had a socket that nobody saw.
func TestLooks(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	const ms = time.Millisecond
	both := []string{"tcp", "tcp6", "udp", "udp6"}
	type look struct {
		at, phone time.Duration // since the start, when it arrived and by the phone's clock
		read      []string
		socket    bool
	}
	for _, c := range []struct {
		name      string
		looks     []look
		owners    int
		unwatched []harness.Stretch
	}{
		{"steady", []look{{200 * ms, 190 * ms, both, true}, {400 * ms, 385 * ms, both, true}, {600 * ms, 590 * ms, both, true}}, 1, nil},
		{"a phone of another time", []look{{200 * ms, -time.Hour, both, true}, {400 * ms, 200*ms - time.Hour, both, true}}, 1, nil},
		{
			"far apart",
			[]look{{200 * ms, 190 * ms, both, false}, {3 * time.Second, 2990 * ms, both, true}},
			1,
			[]harness.Stretch{{From: start.Add(200 * ms), To: start.Add(3 * time.Second)}},
		},
		{
			"late, though steady",
			[]look{{200 * ms, 190 * ms, both, true}, {900 * ms, -700 * ms, both, true}, {1500 * ms, -300 * ms, both, true}},
			1,
			[]harness.Stretch{{From: start.Add(200 * ms), To: start.Add(1500 * ms)}},
		},
		{
			"a table was not read",
			[]look{{200 * ms, 190 * ms, both, true}, {400 * ms, 390 * ms, both[:1], false}, {600 * ms, 590 * ms, both, true}},
			1,
			[]harness.Stretch{{From: start.Add(200 * ms), To: start.Add(400 * ms)}},
		},
		{
			"a port that is used again",
			[]look{
				{200 * ms, 190 * ms, both, true},
				{600 * ms, 590 * ms, both, false},
				{1000 * ms, 990 * ms, both, false},
				{1400 * ms, 1390 * ms, both, true},
			},
			2, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var at []time.Time
			var tables []android.SocketTable
			for _, l := range c.looks {
				table := android.SocketTable{After: start.Add(l.phone), Read: l.read}
				if l.socket {
					table.Sockets = []android.Socket{{Proto: "tcp6", Local: netip.MustParseAddrPort("127.0.0.1:40001"), Remote: netip.MustParseAddrPort("127.0.0.1:8080"), State: 1, UID: claimUID, Inode: 7}}
				}
				at, tables = append(at, start.Add(l.at)), append(tables, table)
			}
			owners, unwatched := harness.Looks(start, at, tables)
			if len(owners) != c.owners {
				t.Errorf("sockets %v, want %d", owners, c.owners)
			}
			if len(unwatched) != len(c.unwatched) {
				t.Fatalf("unwatched %v, want %v", unwatched, c.unwatched)
			}
			for i, s := range unwatched {
				if !s.From.Equal(c.unwatched[i].From) || !s.To.Equal(c.unwatched[i].To) {
					t.Errorf("unwatched %v, want %v", s, c.unwatched[i])
				}
			}
		})
	}
}
