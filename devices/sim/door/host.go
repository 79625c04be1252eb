package door

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// errEnd ends a connection that has been answered.
var errEnd = errors.New("door: connection is done")

// A client is one connection of an adb client.
type client struct {
	s    *Server
	conn net.Conn
	// link and phone are set once the client has chosen a phone.
	phone adbd.Phone
	link  *adbd.Link
}

func (c *client) okay() error { return adbd.SendOkay(c.conn) }

// fail answers FAIL and ends the connection.
func (c *client) fail(format string, args ...any) error {
	return errors.Join(errEnd, adbd.SendFail(c.conn, fmt.Sprintf(format, args...)))
}

func (c *client) block(text string) error { return adbd.SendBlock(c.conn, text) }

// answer is OKAY with a block, and the end.
func (c *client) answer(text string) error {
	return errors.Join(c.okay(), c.block(text), errEnd)
}

func (c *client) request() (string, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return "", fmt.Errorf("door: read request: length %q", head)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(c.conn, text); err != nil {
		return "", err
	}
	return string(text), nil
}

// serial is the phone that the client has chosen, empty before.
func (c *client) serial() string {
	if c.phone == nil {
		return ""
	}
	return c.phone.Serial()
}

func (s *Server) serve(ctx context.Context, conn net.Conn) {
	c := &client{s: s, conn: conn}
	defer func() {
		if c.link != nil {
			c.link.Untie(conn)
		}
	}()
	for {
		_ = conn.SetReadDeadline(time.Now().Add(requestTimeout)) // a closed connection says so when read
		req, err := c.request()
		if err != nil {
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		s.log.Debug("adb request", "service", req, "phone", c.serial())
		if c.phone != nil && !strings.HasPrefix(req, "host") {
			c.link.Serve(ctx, req, stream{conn})
			return
		}
		if err := c.host(ctx, req); err != nil {
			return
		}
	}
}

// host answers a request to the server itself. A nil error means that another
// request follows.
func (c *client) host(ctx context.Context, req string) error {
	want := chosen{}
	rest, ok := strings.CutPrefix(req, "host:")
	switch {
	case ok && c.phone != nil:
		want.serial = c.phone.Serial() // adb chooses a phone first when it forwards
	case ok:
	case strings.HasPrefix(req, "host-serial:"):
		want.serial, rest = c.s.splitSerial(strings.TrimPrefix(req, "host-serial:"))
	case strings.HasPrefix(req, "host-usb:"):
		rest = strings.TrimPrefix(req, "host-usb:")
	case strings.HasPrefix(req, "host-local:"):
		want.local, rest = true, strings.TrimPrefix(req, "host-local:")
	case strings.HasPrefix(req, "host-transport-id:"):
		id, after, _ := strings.Cut(strings.TrimPrefix(req, "host-transport-id:"), ":")
		want.id, _ = strconv.Atoi(id)
		want.byID, rest = true, after
	default:
		return c.fail("unknown host service")
	}
	switch rest {
	case "version":
		return c.answer(fmt.Sprintf("%04x", Version))
	case "kill":
		err := c.okay()
		c.s.shut()
		return errors.Join(errEnd, err)
	case "devices", "devices-l":
		return c.answer(c.s.table(rest == "devices-l"))
	case "track-devices", "track-devices-l":
		return c.track(rest == "track-devices-l")
	case "host-features":
		return c.answer(adbd.Features)
	case "features":
		return c.about(want, func(*entry) string { return adbd.Features })
	case "get-state":
		return c.about(want, func(e *entry) string { return string(e.state) })
	case "get-serialno":
		return c.about(want, func(e *entry) string { return e.phone.Serial() })
	case "get-devpath":
		return c.about(want, func(e *entry) string { return devpath(e) })
	case "list-forward":
		return c.answer(c.s.listForward())
	case "killforward-all":
		c.s.killForwards("")
		return errors.Join(c.okay(), c.okay(), errEnd)
	case "reconnect":
		return c.answer(c.s.reconnect(want)) // errors too come behind an OKAY
	case "reconnect-offline", "mdns:check", "mdns:services":
		return c.answer("")
	}
	return c.hostWithArgument(ctx, want, rest)
}

func (c *client) hostWithArgument(ctx context.Context, want chosen, rest string) error {
	verb, arg, _ := strings.Cut(rest, ":")
	switch verb {
	case "transport":
		return c.transport(chosen{serial: arg}, false)
	case "transport-any", "transport-usb":
		return c.transport(chosen{}, false)
	case "transport-local":
		return c.transport(chosen{local: true}, false)
	case "transport-id":
		id, err := strconv.Atoi(arg)
		if err != nil {
			return c.fail("invalid transport id '%s'", arg)
		}
		return c.transport(chosen{byID: true, id: id}, false)
	case "tport":
		kind, serial, _ := strings.Cut(arg, ":")
		switch kind {
		case "serial":
			return c.transport(chosen{serial: serial}, true)
		case "any", "usb":
			return c.transport(chosen{}, true)
		case "local":
			return c.transport(chosen{local: true}, true)
		}
	case "forward":
		return c.forward(ctx, want, arg)
	case "killforward":
		if !c.s.killForwards(arg) {
			return c.fail("listener '%s' not found", arg)
		}
		return errors.Join(c.okay(), c.okay(), errEnd)
	case "connect":
		return c.answer("failed to connect to " + arg + ": this farm has simulated phones only")
	case "disconnect":
		if arg == "" {
			return c.answer("disconnected everything")
		}
		return c.fail("no such device '%s'", arg)
	default:
		if state, ok := strings.CutPrefix(verb, "wait-for-"); ok {
			return c.waitFor(ctx, want, state)
		}
	}
	return c.fail("unknown host service")
}

// chosen says which phone a request is about; the zero value is the only one.
type chosen struct {
	serial string
	byID   bool
	id     int
	local  bool
}

// splitSerial cuts "SERIAL:rest", where a serial may hold colons.
func (s *Server) splitSerial(text string) (serial, rest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if after, ok := strings.CutPrefix(text, e.phone.Serial()+":"); ok {
			return e.phone.Serial(), after
		}
	}
	serial, rest, _ = strings.Cut(text, ":")
	if port, after, ok := strings.Cut(rest, ":"); ok {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return serial + ":" + port, after
		}
	}
	return serial, rest
}

const unauthorizedText = "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n" +
	"Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device."

// choose finds the phone that a request is about, if it can be talked to.
// Callers hold the lock.
func (s *Server) choose(want chosen) (*entry, error) {
	found, err := s.chooseAny(want)
	if err != nil {
		return nil, err
	}
	switch found.state {
	case adbd.Offline:
		return nil, errors.New("device offline")
	case adbd.Unauthorized:
		return nil, errors.New(unauthorizedText) //nolint:staticcheck // The genuine server's words, full stop and all.
	case adbd.Authorizing:
		return nil, errors.New("device still authorizing")
	case adbd.NoPermissions:
		return nil, errors.New("insufficient permissions for device: user in plugdev group; are your udev rules wrong?\nSee [http://developer.android.com/tools/device.html] for more information")
	case adbd.Device, adbd.Recovery, adbd.Sideload, adbd.Rescue, adbd.Absent:
	}
	return found, nil
}

// chooseAny finds it in whatever state. Callers hold the lock.
func (s *Server) chooseAny(want chosen) (*entry, error) {
	var found *entry
	for _, e := range s.entries {
		switch {
		case e.state == adbd.Absent || want.local:
			continue
		case want.byID && e.id != want.id:
			continue
		case want.serial != "" && e.phone.Serial() != want.serial:
			continue
		case found != nil:
			return nil, errors.New("more than one device/emulator")
		}
		found = e
	}
	switch {
	case found == nil && want.byID:
		return nil, fmt.Errorf("no device with transport id '%d'", want.id)
	case found == nil && want.serial != "":
		return nil, fmt.Errorf("device '%s' not found", want.serial)
	case found == nil && want.local:
		return nil, errors.New("no emulators found")
	case found == nil:
		return nil, errors.New("no devices/emulators found")
	}
	return found, nil
}

func (c *client) about(want chosen, tell func(*entry) string) error {
	c.s.mu.Lock()
	e, err := c.s.choose(want)
	text := ""
	if err == nil {
		text = tell(e)
	}
	c.s.mu.Unlock()
	if err != nil {
		return c.fail("%s", err)
	}
	return c.answer(text)
}

// transport ties the rest of the connection to a phone.
func (c *client) transport(want chosen, withID bool) error {
	c.s.mu.Lock()
	e, err := c.s.choose(want)
	id := 0
	if err == nil {
		c.phone, c.link, id = e.phone, e.link, e.id
		if e.link == nil {
			err = errors.New("device offline")
		}
	}
	c.s.mu.Unlock()
	if err != nil {
		return c.fail("%s", err)
	}
	if !c.link.Tie(c.conn) {
		return errEnd
	}
	reply := []byte("OKAY")
	if withID {
		reply = binary.LittleEndian.AppendUint64(reply, uint64(id)) //nolint:gosec // Counts from 1.
	}
	_, err = c.conn.Write(reply)
	return err
}

func devpath(e *entry) string { return fmt.Sprintf("usb:1-%d", e.id) }

// table is the list of phones, short or long.
func (s *Server) table(long bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, e := range s.entries {
		if e.state == adbd.Absent {
			continue
		}
		if !long {
			fmt.Fprintf(&b, "%s\t%s\n", e.phone.Serial(), e.state)
			continue
		}
		fmt.Fprintf(&b, "%-22s %s %s", e.phone.Serial(), e.state, devpath(e))
		if e.state.Online() {
			fmt.Fprintf(&b, " product:%s model:%s device:%s", word(e.phone.Product()), word(e.phone.Model()), word(e.phone.Device()))
		}
		fmt.Fprintf(&b, " transport_id:%d\n", e.id)
	}
	return b.String()
}

// word is a property as the long list shows it: blanks become underscores.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, s)
}

// track sends the table now and after every change.
func (c *client) track(long bool) error {
	if err := c.okay(); err != nil {
		return err
	}
	gone := c.watch()
	last, first := "", true
	for {
		c.s.mu.Lock()
		changed := c.s.changed
		stopped := c.s.stopped
		c.s.mu.Unlock()
		if text := c.s.table(long); first || text != last {
			if err := c.block(text); err != nil {
				return err
			}
			last, first = text, false
		}
		select {
		case <-changed:
		case <-gone:
			return errEnd
		case <-stopped:
			return errEnd
		}
	}
}

// watch reads what a client should not send, to notice its end.
func (c *client) watch() <-chan struct{} {
	gone := make(chan struct{})
	c.s.mu.Lock()
	c.s.running.Add(1)
	running := c.s.running
	c.s.mu.Unlock()
	go func() {
		defer running.Done()
		defer close(gone)
		_, _ = io.Copy(io.Discard, c.conn) // only its end counts
	}()
	return gone
}

// waitFor answers once at once, and again when the state is reached.
func (c *client) waitFor(ctx context.Context, want chosen, what string) error {
	kind, state, ok := strings.Cut(what, "-")
	if !ok {
		kind, state = "any", what
	}
	if !slices.Contains([]string{"any", "usb", "local"}, kind) {
		return c.fail("unknown host service")
	}
	want.local = kind == "local"
	switch state {
	case "device", "any", "disconnect", "bootloader", "recovery", "rescue", "sideload":
	default:
		return c.fail("unknown host service")
	}
	if err := c.okay(); err != nil {
		return err
	}
	gone := c.watch()
	for {
		c.s.mu.Lock()
		changed, stopped := c.s.changed, c.s.stopped
		reached := c.s.reached(want, state)
		c.s.mu.Unlock()
		if reached {
			return errors.Join(c.okay(), errEnd)
		}
		select {
		case <-changed:
		case <-gone:
			return errEnd
		case <-stopped:
			return errEnd
		case <-ctx.Done():
			return errEnd
		}
	}
}

// reached says whether a phone that was waited for is in that state. Callers
// hold the lock.
func (s *Server) reached(want chosen, state string) bool {
	some := false
	for _, e := range s.entries {
		if e.state == adbd.Absent || want.local || want.serial != "" && e.phone.Serial() != want.serial || want.byID && e.id != want.id {
			continue
		}
		some = true
		if state == "any" || state == string(e.state) {
			return true
		}
	}
	return state == "disconnect" && !some
}
