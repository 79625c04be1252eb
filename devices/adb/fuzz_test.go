package adb_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/internal/peers"
)

func FuzzDemux(f *testing.F) {
	f.Add([]byte("\x01\x03\x00\x00\x00abc\x02\x01\x00\x00\x00e\x03\x01\x00\x00\x00\x07"))
	f.Add([]byte("\x01\xff\xff\xff\xffabc"))
	f.Add([]byte("\x03\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 1 << 16
		stdout, stderr, exit, err := adb.Demux(bytes.NewReader(b), most)
		if len(stdout)+len(stderr) > len(b) {
			t.Error("more came out than went in")
		}
		// Success needs an exit packet of one byte in the input.
		if err == nil && !bytes.Contains(b, append([]byte("\x03\x01\x00\x00\x00"), byte(exit))) {
			t.Error("success without an exit packet")
		}
		out2, err2, exit2, again := adb.Demux(iotest.OneByteReader(bytes.NewReader(b)), most)
		if !bytes.Equal(stdout, out2) || !bytes.Equal(stderr, err2) || exit != exit2 || (err == nil) != (again == nil) {
			t.Error("the pieces in which bytes arrive change the result")
		}
	})
}

func FuzzTrailer(f *testing.F) {
	f.Add([]byte("out\nNONCE:0\n"), "NONCE")
	f.Add([]byte("NONCE:255\r\n"), "NONCE")
	f.Add([]byte("NONCE:NONCE:256\n"), "NONCE")
	f.Fuzz(func(t *testing.T, b []byte, nonce string) {
		if nonce == "" {
			return
		}
		var whole, pieces bytes.Buffer
		exit1, err1 := adb.PumpTrailer(bytes.NewReader(b), &whole, nonce)
		exit2, err2 := adb.PumpTrailer(iotest.HalfReader(bytes.NewReader(b)), &pieces, nonce)
		if exit1 != exit2 || (err1 == nil) != (err2 == nil) || !bytes.Equal(whole.Bytes(), pieces.Bytes()) {
			t.Error("the pieces in which bytes arrive change the result")
		}
		if err1 == nil && (exit1 < 0 || exit1 > 255 || !bytes.HasPrefix(b, whole.Bytes())) {
			t.Errorf("got %q, %d", whole.Bytes(), exit1)
		}
		if err1 != nil && !bytes.Equal(whole.Bytes(), b) {
			t.Error("a cut output lost bytes")
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add("R58M0000000 device usb:1-1.4:1.0 product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:3\n")
	f.Add("S no permissions (x); see [http://y] usb:1\nT offline")
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range adb.ParseTable(text) {
			if e.Serial == "" || e.State == "" || e.Props == nil {
				t.Errorf("half an entry: %+v", e)
			}
		}
		for _, u := range adb.ParseTunnels(text) {
			if u.DevicePort < 0 || u.DevicePort > 65535 || u.HostPort < 0 || u.HostPort > 65535 {
				t.Errorf("no port: %+v", u)
			}
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte("OKAY"))
	f.Add([]byte("FAIL0006closed"))
	f.Add([]byte("FAIL-001x"))
	f.Add([]byte("DATA\x03\x00\x00\x00abcDONE\x00\x00\x00\x00"))
	f.Add([]byte("FAIL\xff\xff\xff\xff"))
	f.Add(append([]byte("STA2"), make([]byte, 68)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		message, err := adb.ReadStatus(bytes.NewReader(b))
		if err == nil && message == nil && !bytes.HasPrefix(b, []byte("OKAY")) {
			t.Error("an OKAY out of nothing")
		}
		var pulled bytes.Buffer
		if err := adb.PullFrom(b, &pulled); err == nil && !bytes.Contains(b, []byte("DONE")) {
			t.Error("a file without an end")
		}
		if pulled.Len() > len(b) {
			t.Error("more came out than went in")
		}
		info, _, err := adb.StatFrom(b)
		if err == nil && info.Size < 0 {
			t.Errorf("size %d", info.Size)
		}
	})
}

// A shell must take every quoted argument for what it was.
func FuzzQuote(f *testing.F) {
	f.Add("a b", "'")
	f.Add("", "$(reboot)")
	f.Add("\n;`x`", `\"`)
	f.Add("~", "*?[]{}!#&|<>=")
	sh := peers.Require(f, "sh")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ContainsRune(a+b, 0) || len(a)+len(b) > 10_000 {
			return // No shell can be given a NUL byte.
		}
		cmd := exec.CommandContext(t.Context(), sh, "-c", "printf '%s\\001%s\\001' "+adb.Quote(a, b))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if string(out) != a+"\x01"+b+"\x01" {
			t.Errorf("the shell got %q for %q and %q", out, a, b)
		}
	})
}

func TestQuote(t *testing.T) {
	for want, args := range map[string][]string{
		"":                              nil,
		"''":                            {""},
		"settings put global x":         {"settings", "put", "global", "x"},
		"echo 'a b' 'it'\\''s' '$HOME'": {"echo", "a b", "it's", "$HOME"},
		"'A=b' '~' -n":                  {"A=b", "~", "-n"},
	} {
		if got := adb.Quote(args...); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
