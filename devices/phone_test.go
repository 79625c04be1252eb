package devices_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
)

// patience bounds what a test waits for; no test asserts a time.
const patience = 2 * time.Minute

// A phone is a stand-in behind the genuine server protocol. It runs scripts by
// the host's own sh, so that quoting, exit statuses and streams are real, with
// a folder of Android's commands in front of the path.
type phone struct {
	t      *testing.T
	serial string
	addr   string
	root   string // what the phone's commands keep
	// prefix is put before sh, to run it in a mount namespace.
	prefix []string

	mu       sync.Mutex
	reverses map[int]int
	commands int
	// hook, if set, is called before and after each command is carried out;
	// false breaks the connection instead of answering.
	hook func(n int, after bool, service string) bool
}

// settingsCommand does what Android's does, the derived proxy settings included.
const settingsCommand = `#!/bin/sh
d="$PHONE/settings/$2"
mkdir -p "$d"
if [ -f "$PHONE/gate" ] && [ "$1" != get ]; then
	echo "java.lang.SecurityException: Permission denial: writing to settings requires:android.permission.WRITE_SECURE_SETTINGS" >&2
	exit 255
fi
put() { printf %s "$2" > "$d/$1"; }
case $1 in
get) if [ -f "$d/$3" ]; then cat "$d/$3"; echo; else echo null; fi ;;
put)
	[ -f "$PHONE/stubborn" ] || put "$3" "$4"
	if [ "$3" = http_proxy ]; then
		if [ "$4" = ":0" ]; then put global_http_proxy_host ""; put global_http_proxy_port 0
		else put global_http_proxy_host "${4%:*}"; put global_http_proxy_port "${4##*:}"; put global_http_proxy_exclusion_list ""; fi
	fi ;;
delete) rm -f "$d/$3"; echo "Deleted 1 rows" ;;
*) exit 255 ;;
esac
`

func newPhone(t *testing.T) *phone {
	t.Helper()
	p := &phone{t: t, serial: "SIM0001", root: t.TempDir(), reverses: map[int]int{}}
	p.command("settings", settingsCommand)
	p.command("getprop", "#!/bin/sh\ncase $1 in ro.build.version.sdk) echo 28 ;; esac\n")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				_ = p.serve(ctx, conn)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		wg.Wait()
	})
	return p
}

func (p *phone) device() *devices.Device { return devices.Open(p.addr, p.serial) }

// command puts one of Android's commands into the phone.
func (p *phone) command(name, script string) {
	p.t.Helper()
	dir := filepath.Join(p.root, "commands")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil { //nolint:gosec // A command must be executable.
		p.t.Fatal(err)
	}
}

// flag sets or clears one of the switches that the commands look at.
func (p *phone) flag(name string, on bool) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if on {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			p.t.Fatal(err)
		}
	} else if err := os.Remove(path); err != nil {
		p.t.Fatal(err)
	}
}

// settings is everything that is set, as "namespace/key=value".
func (p *phone) settings() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(p.root, "settings", "*", "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			p.t.Fatal(err)
		}
		all[filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f)] = string(b)
	}
	return all
}

func (p *phone) set(namespace, key, value string) {
	p.t.Helper()
	dir := filepath.Join(p.root, "settings", namespace)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *phone) tunnels() map[int]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := map[int]int{}
	for d, h := range p.reverses {
		all[d] = h
	}
	return all
}

// during sets the hook and counts commands from 1 again.
func (p *phone) during(hook func(n int, after bool, service string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands, p.hook = 0, hook
}

func (p *phone) ask(n int, after bool, service string) bool {
	p.mu.Lock()
	hook := p.hook
	p.mu.Unlock()
	return hook == nil || hook(n, after, service)
}

func (p *phone) serve(ctx context.Context, conn net.Conn) error {
	r := bufio.NewReader(conn)
	say := func(s string) error { _, err := io.WriteString(conn, s); return err }
	block := func(s string) error { return say(fmt.Sprintf("%04x%s", len(s), s)) }
	service, err := request(r)
	if err != nil {
		return err
	}
	line := p.serial + "\tdevice product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:1\n"
	switch {
	case service == "host:version":
		return errors.Join(say("OKAY"), block("0029"))
	case service == "host:devices-l":
		return errors.Join(say("OKAY"), block(line))
	case service == "host:devices":
		return errors.Join(say("OKAY"), block(p.serial+"\tdevice\n"))
	case service == "host-serial:"+p.serial+":features":
		return errors.Join(say("OKAY"), block("shell_v2,cmd,stat_v2"))
	case service != "host:transport:"+p.serial:
		return errors.Join(say("FAIL"), block("device '"+service+"' not found"))
	}
	if err := say("OKAY"); err != nil {
		return err
	}
	if service, err = request(r); err != nil {
		return err
	}
	p.mu.Lock()
	p.commands++
	n := p.commands
	p.mu.Unlock()
	if !p.ask(n, false, service) {
		return nil
	}
	var answer string
	script, shell := strings.CutPrefix(service, "shell,v2,raw:")
	switch {
	case shell:
		if err := say("OKAY"); err != nil {
			return err
		}
		return p.shell(ctx, conn, r, script, func() bool { return p.ask(n, true, service) })
	case service == "sync:":
		if err := say("OKAY"); err != nil {
			return err
		}
		return p.sync(conn, r, func() bool { return p.ask(n, true, service) })
	case service == "reverse:list-forward":
		p.mu.Lock()
		text := ""
		for d, h := range p.reverses {
			text += fmt.Sprintf("UsbFfs tcp:%d tcp:%d\n", d, h)
		}
		p.mu.Unlock()
		answer = fmt.Sprintf("OKAY%04x%s", len(text), text)
	case strings.HasPrefix(service, "reverse:forward:"):
		var d, h int
		if _, err := fmt.Sscanf(service, "reverse:forward:tcp:%d;tcp:%d", &d, &h); err != nil {
			return err
		}
		p.mu.Lock()
		p.reverses[d] = h
		p.mu.Unlock()
		answer = "OKAYOKAY"
	case strings.HasPrefix(service, "reverse:killforward:"):
		d, err := strconv.Atoi(strings.TrimPrefix(service, "reverse:killforward:tcp:"))
		if err != nil {
			return err
		}
		p.mu.Lock()
		_, there := p.reverses[d]
		delete(p.reverses, d)
		p.mu.Unlock()
		answer = "OKAYOKAY"
		if !there {
			answer = "OKAYFAIL0009not found"
		}
	default:
		answer = "FAIL0006closed"
	}
	if !p.ask(n, true, service) {
		return nil
	}
	return say(answer)
}

func request(r io.Reader) (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// shell runs a script and frames what it prints. after may break the connection
// when the script has ended, before its status is told.
func (p *phone) shell(ctx context.Context, conn net.Conn, r io.Reader, script string, after func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := append(append([]string{}, p.prefix...), "sh", "-c", script)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	home := p.root
	if p.prefix != nil {
		home = "/phone"
	}
	cmd.Env = []string{"PATH=" + home + "/commands:/usr/sbin:/usr/bin:/sbin:/bin", "PHONE=" + home}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	cmd.Stdout, cmd.Stderr = &framed{conn, 1, &mu}, &framed{conn, 2, &mu}
	go func() {
		defer cancel() // The host has hung up.
		var head [5]byte
		for {
			if _, err := io.ReadFull(r, head[:]); err != nil {
				return
			}
			if head[0] == 4 {
				_ = stdin.Close()
				continue
			}
			if _, err := io.CopyN(stdin, r, int64(binary.LittleEndian.Uint32(head[1:]))); err != nil {
				return
			}
		}
	}()
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	if !after() {
		return nil
	}
	_, err = (&framed{conn, 3, &mu}).Write([]byte{byte(cmd.ProcessState.ExitCode())})
	return err
}

type framed struct {
	w  io.Writer
	id byte
	mu *sync.Mutex
}

func (f *framed) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	head := binary.LittleEndian.AppendUint32([]byte{f.id}, uint32(len(b)))
	if _, err := f.w.Write(append(head, b...)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// sync takes one pushed file, or sends one.
func (p *phone) sync(conn net.Conn, r io.Reader, after func() bool) error {
	head := func() (string, []byte, error) {
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return "", nil, err
		}
		if string(b[:4]) == "DONE" {
			return "DONE", nil, nil
		}
		data := make([]byte, binary.LittleEndian.Uint32(b[4:]))
		_, err := io.ReadFull(r, data)
		return string(b[:4]), data, err
	}
	id, path, err := head()
	if err != nil {
		return err
	}
	frame := func(id string, data []byte) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte(id), uint32(len(data))), data...)
	}
	switch id {
	case "SEND":
		name, _, _ := strings.Cut(string(path), ",")
		var content []byte
		for {
			id, data, err := head()
			if err != nil {
				return err
			}
			if id == "DONE" {
				break
			}
			content = append(content, data...)
		}
		answer := frame("OKAY", nil)
		if err := os.WriteFile(filepath.Join(p.root, name), content, 0o600); err != nil {
			answer = frame("FAIL", []byte(err.Error()))
		}
		if !after() {
			return nil
		}
		_, err = conn.Write(answer)
		return err
	case "RECV":
		content, err := os.ReadFile(filepath.Join(p.root, string(path)))
		var answer []byte
		for chunk := range slices.Chunk(content, 64<<10) {
			answer = append(answer, frame("DATA", chunk)...)
		}
		answer = append(answer, frame("DONE", nil)...)
		if err != nil {
			answer = frame("FAIL", []byte(err.Error()))
		}
		_, err = conn.Write(answer)
		return err
	}
	return errors.New("unknown sync request")
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
