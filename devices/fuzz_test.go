package devices_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/android"
)

func FuzzCounters(f *testing.F) {
	f.Add("1588586400.000000001\nInter-| x\n face | y\n lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n1588586400.000000002\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := devices.ParseCounters(text)
		if err == nil && (c.Before.IsZero() || c.After.IsZero() || c.Interfaces == nil) {
			t.Errorf("half a reading: %+v", c)
		}
	})
}

func FuzzTables(f *testing.F) {
	f.Add("N begin\n1588586400.1\nN table tcp\n  sl x\nN status 0\nN end\n1588586400.000000002\nN done\n")
	f.Add("N begin\n1588586400.000000001\nN table tcp\n  sl x\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2000        0 20482 1\nN status 0\nN table udp\nN status 1\nN end\n1588586400.000000002\nN done\n")
	f.Fuzz(func(t *testing.T, text string) {
		var whole, pieces int
		err1 := devices.ReadTables(strings.NewReader(text), "N", func(table android.SocketTable) {
			whole++
			if table.After.IsZero() {
				t.Error("a look without a time")
			}
		})
		err2 := devices.ReadTables(iotest.OneByteReader(strings.NewReader(text)), "N", func(android.SocketTable) { pieces++ })
		if whole != pieces || (err1 == nil) != (err2 == nil) {
			t.Error("the pieces in which bytes arrive change the result")
		}
	})
}
