package door_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/door"
	"github.com/offproof/offproof/devices/sim/internal/fakephone"
)

func serve(t testing.TB, phones ...*fakephone.Phone) *door.Server {
	t.Helper()
	daemons := make([]*adbd.Daemon, len(phones))
	for i, p := range phones {
		daemons[i] = adbd.New(p, nil)
	}
	return serveDaemons(t, daemons...)
}

func serveDaemons(t testing.TB, daemons ...*adbd.Daemon) *door.Server {
	t.Helper()
	s := door.NewServer(nil)
	for _, d := range daemons {
		s.Add(d, adbd.Device)
	}
	if err := s.Start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// talk sends requests over one connection and returns it with what answers each.
func talk(t testing.TB, s *door.Server, requests ...string) (net.Conn, string) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, ask(t, conn, requests...)
}

// ask sends requests over a connection and returns what answers the last.
func ask(t testing.TB, conn net.Conn, requests ...string) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer := ""
	for _, r := range requests {
		if _, err := fmt.Fprintf(conn, "%04x%s", len(r), r); err != nil {
			t.Fatal(err)
		}
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err != nil {
			t.Fatalf("%s: no answer: %v", r, err)
		}
		if answer = string(word[:]); answer == "FAIL" {
			return "FAIL " + block(t, conn)
		}
	}
	return answer
}

func block(t testing.TB, r io.Reader) string {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		t.Fatalf("no block: %v", err)
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		t.Fatalf("length %q", head)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		t.Fatalf("short block: %v", err)
	}
	return string(text)
}

func TestHostServices(t *testing.T) {
	a, b := fakephone.New("AAA"), fakephone.New("BBB")
	s := serve(t, a, b)
	const features = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
	for request, want := range map[string]string{
		"host:version": "0029", "host:features": "FAIL more than one device/emulator", "host:host-features": features,
		"host-serial:AAA:features": features, "host-serial:BBB:get-state": "device", "host-serial:AAA:get-serialno": "AAA",
		"host-transport-id:2:get-serialno": "BBB", "host-serial:NO:get-state": "FAIL device 'NO' not found",
		"host:devices": "AAA\tdevice\nBBB\tdevice\n",
		"host:devices-l": "AAA                    device usb:1-1 product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:1\n" +
			"BBB                    device usb:1-2 product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:2\n",
		"host:nonsense": "FAIL unknown host service", "nonsense": "FAIL unknown host service",
		"host:transport:NO": "FAIL device 'NO' not found", "host:transport-any": "FAIL more than one device/emulator",
		"host:connect:10.0.0.1:5555":        "failed to connect to 10.0.0.1:5555: this farm has simulated phones only",
		"host:killforward:tcp:1":            "FAIL listener 'tcp:1' not found",
		"host-serial:AAA:forward:tcp:1":     "FAIL bad forward: missing destination",
		"host-serial:AAA:forward:x:1;tcp:2": "FAIL unknown socket specification 'x:1'",
		"host:wait-for-any-nonsense":        "FAIL unknown host service",
	} {
		conn, got := talk(t, s, request)
		if got == "OKAY" {
			got = block(t, conn)
		}
		if got != want {
			t.Errorf("%s: %q, wanted %q", request, got, want)
		}
	}
	conn, _ := talk(t, s, "host:tport:serial:BBB")
	var id [8]byte
	if _, err := io.ReadFull(conn, id[:]); err != nil || binary.LittleEndian.Uint64(id[:]) != 2 {
		t.Errorf("transport id % x, %v", id, err)
	}
	s.SetState("AAA", adbd.Unauthorized)
	s.SetState("BBB", adbd.Offline)
	if conn, _ := talk(t, s, "host:devices-l"); block(t, conn) != "AAA                    unauthorized usb:1-1 transport_id:1\nBBB                    offline usb:1-2 transport_id:2\n" {
		t.Error("the states are not shown")
	}
	if _, got := talk(t, s, "host:transport:AAA"); !strings.HasPrefix(got, "FAIL device unauthorized.\n") {
		t.Errorf("unauthorized: %q", got)
	}
	if _, got := talk(t, s, "host:transport:BBB"); got != "FAIL device offline" {
		t.Errorf("offline: %q", got)
	}
}

func TestTrackAndWait(t *testing.T) {
	s := serve(t, fakephone.New("AAA"))
	track, _ := talk(t, s, "host:track-devices")
	wait, _ := talk(t, s, "host-serial:AAA:wait-for-any-disconnect")
	back, _ := talk(t, s, "host-serial:BBB:wait-for-any-device")
	if got := block(t, track); got != "AAA\tdevice\n" {
		t.Errorf("at first %q", got)
	}
	s.SetState("AAA", adbd.Absent)
	if got := block(t, track); got != "" {
		t.Errorf("after unplugging %q", got)
	}
	s.Add(adbd.New(fakephone.New("BBB"), nil), adbd.Device)
	if got := block(t, track); got != "BBB\tdevice\n" {
		t.Errorf("after another came %q", got)
	}
	for _, conn := range []net.Conn{wait, back} {
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err != nil || string(word[:]) != "OKAY" {
			t.Errorf("waiting ended with %q, %v", word, err)
		}
	}
}

// packets reads shell v2 packets to the end of the connection.
func packets(t testing.TB, r io.Reader) map[byte]string {
	t.Helper()
	got := map[byte]string{}
	var head [5]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return got
		}
		data := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(r, data); err != nil {
			return got
		}
		got[head[0]] += string(data)
	}
}

func TestShells(t *testing.T) {
	s := serve(t, fakephone.New("AAA"))
	conn, _ := talk(t, s, "host:transport:AAA", "shell,v2,raw:fail 7")
	if got := packets(t, conn); got[1] != "o1" || got[2] != "e" || got[3] != "\x07" {
		t.Errorf("shell v2: %q", got)
	}
	conn, _ = talk(t, s, "host:transport-any", "shell,v2,TERM=xterm,pty:fail 0")
	if got := packets(t, conn); got[1] != "o2" || got[3] != "\x00" {
		t.Errorf("a terminal: %q", got)
	}
	conn, _ = talk(t, s, "host:transport:AAA", "exec:fail 7")
	if got, _ := io.ReadAll(conn); string(got) != "o0e" {
		t.Errorf("exec: %q", got)
	}
	conn, _ = talk(t, s, "host:transport:AAA", "shell,v2,raw:cat")
	if _, err := conn.Write([]byte("\x00\x03\x00\x00\x00abc\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if got := packets(t, conn); got[1] != "abc" || got[3] != "\x00" {
		t.Errorf("input: %q", got)
	}
	if _, got := talk(t, s, "host:transport:AAA", "shell,v2,raw:full"); got != "FAIL closed" {
		t.Errorf("a phone without processes: %q", got)
	}
	if _, got := talk(t, s, "host:transport:AAA", "abb:x"); got != "FAIL closed" {
		t.Errorf("an unknown service: %q", got)
	}
}

// TestALostPhoneTellsNoStatus cuts every way in which a phone can go.
func TestALostPhoneTellsNoStatus(t *testing.T) {
	for name, cut := range map[string]func(s *door.Server){
		"unplugged":    func(s *door.Server) { s.SetState("AAA", adbd.Absent) },
		"unauthorized": func(s *door.Server) { s.SetState("AAA", adbd.Unauthorized) },
		"offline":      func(s *door.Server) { s.SetState("AAA", adbd.Offline) },
		"server":       func(s *door.Server) { s.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			daemon := adbd.New(fakephone.New("AAA"), nil)
			s := serveDaemons(t, daemon)
			conn, _ := talk(t, s, "host:transport:AAA", "shell,v2,raw:cat")
			reverse, _ := talk(t, s, "host:transport:AAA", "reverse:forward:tcp:0;tcp:9")
			if _, err := io.ReadFull(reverse, make([]byte, 4)); err != nil || block(t, reverse) == "" {
				t.Fatalf("reverse: %v", err)
			}
			if r := daemon.Reverses(); len(r) != 1 {
				t.Errorf("reverses %q", r)
			}
			cut(s)
			if got := packets(t, conn); len(got) != 0 {
				t.Errorf("after the cut: %q", got)
			}
			if r := daemon.Reverses(); len(r) != 0 {
				t.Errorf("reverses %q", r)
			}
		})
	}
}

func TestKillAndStartAgain(t *testing.T) {
	s := serve(t, fakephone.New("AAA"))
	addr := s.Addr()
	if _, got := talk(t, s, "host:kill"); got != "OKAY" {
		t.Errorf("kill: %q", got)
	}
	s.Stop()
	if s.Running() {
		t.Error("the server runs after it was killed")
	}
	if err := s.Start(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr {
		t.Errorf("address %s, %s before", s.Addr(), addr)
	}
	if err := s.Start(t.Context(), ""); !errors.Is(err, door.ErrRunning) {
		t.Errorf("started twice: %v", err)
	}
	if conn, _ := talk(t, s, "host:devices"); block(t, conn) != "AAA\tdevice\n" {
		t.Error("the phone is forgotten")
	}
}

func TestOnlyLoopback(t *testing.T) {
	if err := door.NewServer(nil).Start(t.Context(), "0.0.0.0:0"); err == nil {
		t.Error("the server listens on every interface")
	}
}

// TestReverse carries bytes from a port of the phone to one of the host.
func TestReverse(t *testing.T) {
	daemon := adbd.New(fakephone.New("AAA"), nil)
	s := serveDaemons(t, daemon)
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	second := func(requests ...string) string {
		conn, _ := talk(t, s, requests...)
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err != nil {
			t.Fatal(err)
		}
		if string(word[:]) == "FAIL" {
			return "FAIL " + block(t, conn)
		}
		if strings.Contains(requests[len(requests)-1], "killforward") {
			return string(word[:])
		}
		return block(t, conn)
	}
	device := second("host:transport:AAA", "reverse:forward:tcp:0;tcp:"+port)
	if want := "tcp:" + device + " tcp:" + port; strings.Join(daemon.Reverses(), ";") != want {
		t.Errorf("reverses %q, wanted %q", daemon.Reverses(), want)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+device) //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello" {
		t.Errorf("%q came back, %v", got, err)
	}
	list, _ := talk(t, s, "host:transport:AAA", "reverse:list-forward")
	if got := block(t, list); got != "UsbFfs tcp:"+device+" tcp:"+port+"\n" {
		t.Errorf("list %q", got)
	}
	if got := second("host:transport:AAA", "reverse:forward:norebind:tcp:"+device+";tcp:1"); got != "FAIL cannot rebind existing socket" {
		t.Errorf("rebinding: %q", got)
	}
	if got := second("host:transport:AAA", "reverse:killforward:tcp:"+device); got != "OKAY" {
		t.Errorf("killing: %q", got)
	}
	if _, err := conn.Read(got); err == nil {
		t.Error("the connection outlived its reverse")
	}
	if got := second("host:transport:AAA", "reverse:killforward:tcp:"+device); !strings.HasPrefix(got, "FAIL listener") {
		t.Errorf("killing twice: %q", got)
	}
}

func TestSync(t *testing.T) {
	p := fakephone.New("AAA")
	s := serve(t, p)
	conn, _ := talk(t, s, "host:transport:AAA", "sync:")
	send := func(id string, n int, data string) {
		t.Helper()
		b := binary.LittleEndian.AppendUint32([]byte(id), uint32(n)) //nolint:gosec // Short.
		if _, err := conn.Write(append(b, data...)); err != nil {
			t.Fatal(err)
		}
	}
	read := func(n int) string {
		t.Helper()
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	send("STAT", 2, "/f")
	if got := read(16); got != "STAT\xa4\x81\x00\x00\x07\x00\x00\x00\x00\x10\x5e\x5f" {
		t.Errorf("STAT % x", got)
	}
	send("LST2", 2, "/f")
	if got := read(72); got[:8] != "LST2\x00\x00\x00\x00" || got[24:28] != "\xa4\x81\x00\x00" || got[40:41] != "\x07" {
		t.Errorf("LST2 % x", got)
	}
	send("STA2", 2, "/x")
	if got := read(72); got[:4] != "STA2" || got[4:8] == "\x00\x00\x00\x00" {
		t.Errorf("STA2 of nothing % x", got)
	}
	send("LIST", 1, "/")
	if got := read(21 + 20); got[:4] != "DENT" || got[20:25] != "fDONE" {
		t.Errorf("LIST % x", got)
	}
	send("RECV", 2, "/f")
	if got := read(8 + 7 + 8); got != "DATA\x07\x00\x00\x00contentDONE\x00\x00\x00\x00" {
		t.Errorf("RECV %q", got)
	}
	send("RECV", 2, "/x")
	if got := read(8); got[:4] != "FAIL" {
		t.Errorf("RECV of nothing %q", got)
	} else {
		read(int(got[4]))
	}
	send("SEND", 8, "/new,420")
	send("DATA", 3, "abc")
	send("DATA", 2, "de")
	send("DONE", 1600000000, "")
	if got := read(8); got != "OKAY\x00\x00\x00\x00" || p.File("/new") != "abcde" {
		t.Errorf("SEND %q stored %q", got, p.File("/new"))
	}
	send("SEND", 13, "/readonly,420")
	send("DATA", 3, "abc")
	send("DONE", 0, "")
	if got := read(8); got[:4] != "FAIL" {
		t.Errorf("SEND to a read-only file %q", got)
	} else {
		read(int(got[4]))
	}
	send("QUIT", 0, "")
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after QUIT: %v", err)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	s := serve(t, fakephone.New("AAA"))
	for _, last := range []string{"shell,v2,raw:cat", "exec:cat", "sync:", "reverse:forward:tcp:0;tcp:1"} {
		talk(t, s, "host:transport:AAA", last)
	}
	talk(t, s, "host:track-devices-l")
	talk(t, s, "host-serial:BBB:wait-for-any-device")
	talk(t, s, "host:transport:AAA", "reboot:")
	s.Stop()
	for deadline := time.Now().Add(2 * time.Minute); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// FuzzServer sends anything to a server, alone and behind each service.
func FuzzServer(f *testing.F) {
	f.Add([]byte("000chost:version"), uint8(0))
	f.Add([]byte("\x00\x03\x00\x00\x00abc\x04\x00\x00\x00\x00"), uint8(1))
	f.Add([]byte("SEND\x08\x00\x00\x00/new,420DATA\x03\x00\x00\x00abcDONE\x00\x00\x00\x00"), uint8(2))
	f.Add([]byte("LIST\x01\x00\x00\x00/QUIT"), uint8(2))
	f.Add([]byte("\xff\xff\xff\xff\xff"), uint8(1))
	f.Add([]byte("ffff"), uint8(0))
	s := serve(f, fakephone.New("AAA"))
	f.Fuzz(func(t *testing.T, data []byte, where uint8) {
		if strings.Contains(string(data), "forward") {
			return // it would open ports of this host
		}
		if !s.Running() { // It was asked to end.
			if err := s.Start(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		ours, its, err := fakephone.Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		var served sync.WaitGroup
		served.Go(func() { s.Serve(t.Context(), its) })
		defer served.Wait()
		requests := [][]string{nil, {"host:transport:AAA", "shell,v2,raw:cat"}, {"host:transport:AAA", "sync:"}, {"host:transport:AAA"}}
		ask(t, ours, requests[int(where)%len(requests)]...)
		_, _ = ours.Write(data)
		_ = ours.CloseWrite()
		_ = ours.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, ours); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the server goes on with a client that has said everything")
		}
	})
}
