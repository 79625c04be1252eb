package adbd_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/internal/fakephone"
)

// FuzzTransport says anything to a phone: at first, once let in, with a command
// running, and when asked for a key. A phone may answer or end the connection;
// when the host has ended it does the latter.
func FuzzTransport(f *testing.F) {
	join := func(messages ...message) []byte {
		var b []byte
		for _, m := range messages {
			b = append(b, m.bytes()...)
		}
		return b
	}
	key := makeKey(f).public()
	greeting := message{cnxn, newest, 1 << 20, "host::features=shell_v2"}
	f.Add(join(greeting), uint8(0))
	f.Add(join(message{cnxn, 0x01000000, 4096, "host::"}, message{open, 1, 0, "exec:cat\x00"}), uint8(0))
	f.Add(join(message{open, 1, 0, "sync:\x00"}, message{wrte, 1, 1, "LIST\x01\x00\x00\x00/"}, message{clse, 1, 1, ""}), uint8(1))
	f.Add(join(message{open, 7, 0, "shell,v2,raw:cat\x00"}, message{wrte, 7, 1, "\x00\x01\x00\x00\x00x"}, message{okay, 7, 1, ""}), uint8(1))
	f.Add(join(message{wrte, 1, 1, "x"}, message{wrte, 1, 1, "y"}, message{clse, 0, 1, ""}), uint8(2))
	f.Add(join(message{auth, 2, 0, strings.Repeat("s", 256)}, message{auth, 3, 0, key}), uint8(3))
	f.Add([]byte(key), uint8(4))
	f.Add(bytes.Repeat([]byte{0xff}, 24), uint8(1))
	_, lax := serve(f, false)
	_, strict := serve(f, true)
	f.Fuzz(func(t *testing.T, data []byte, where uint8) {
		if bytes.Contains(data, []byte("tcp:")) {
			return // it would use ports of this host
		}
		where %= 5
		tr := lax
		if where >= 3 {
			tr = strict
			tr.SetState(adbd.Unauthorized) // It forgets every key.
			tr.SetState(adbd.Device)
		}
		ours, its, err := fakephone.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		// The last connections may still be on their way out; one that never ends
		// would be a fault.
		for end := time.Now().Add(patience); !tr.Serve(t.Context(), its); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the phone keeps connections that have ended")
			}
		}
		h := &host{TB: t, conn: ours}
		if where > 0 {
			h.greet()
			h.next()
		}
		switch where {
		case 2:
			h.open(1, "exec:cat")
		case 4:
			data = message{auth, 3, 0, string(data)}.bytes()
		}
		_, _ = ours.Write(data) // the phone may have had enough before the end
		_ = ours.CloseWrite()
		_ = h.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, h.conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the phone goes on with a host that has said everything")
		}
	})
}
