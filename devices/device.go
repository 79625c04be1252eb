// Package devices is the shelf of phones: which are attached and in what state,
// who has which, what was asked of them, and what was changed in them and must
// be put back.
//
// Two ADB clients are behind it. The module gadb is used where it is sound: the
// server's version, the plain list of serials (a second opinion on the wire
// client's table), connecting to phones over TCP, and forward connections. It
// knows no contexts and may panic on a hostile answer, so each of its calls
// runs in a goroutine of its own with a limit. Everything that could flip a
// finding goes through devices/adb: gadb takes a lost phone for success, knows
// neither exit statuses nor standard error, cuts every stream after 60 s, joins
// arguments unquoted, and drops phones that are offline or unauthorized from
// its list.
//
// Changes to a phone go through a Journal, and a phone is used under a Lease.
package devices

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

// The types of the wire client that callers meet here.
type (
	// A Result is what a command left behind when it ended.
	Result = adb.Result
	// A Stream is a command while it runs.
	Stream = adb.Stream
	// A LostError says that the phone went away before it had answered.
	LostError = adb.LostError
	// A FileInfo is what the phone says of one path.
	FileInfo = adb.FileInfo
	// A Tunnel is one reverse connection.
	Tunnel = adb.Tunnel
)

// A Device is one phone, named by its ADB server and its serial. It may be used
// by many goroutines at once: every call opens a connection of its own.
type Device struct {
	server, serial string
	client         *adb.Client
}

// Open names a phone. Nothing is asked of it yet. An empty server means the
// default one of this host.
func Open(server, serial string) *Device {
	if server == "" {
		server = adb.DefaultAddr
	}
	return &Device{server: server, serial: serial, client: &adb.Client{Addr: server}}
}

// Serial is the phone's serial.
func (d *Device) Serial() string { return d.serial }

// Server is the address of the ADB server.
func (d *Device) Server() string { return d.server }

// String names the phone in messages.
func (d *Device) String() string { return d.serial }

// commandLimit bounds a command that ends by itself, and inputLimit one that
// reads something first, such as an app that is installed. A system service that
// has hung would otherwise keep the caller for as long as the caller's own time
// lasts, which is then missing for putting the phone back.
const (
	commandLimit = 90 * time.Second
	inputLimit   = 10 * time.Minute
)

// A SilentError says that a command did not come back within its limit.
type SilentError struct {
	Serial, Script string
	Limit          time.Duration
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("devices: phone %s: no answer within %v to %s: look at the phone's screen, then restart it", e.Serial, e.Limit, brief(e.Script))
}

// brief is the beginning of a script, in one line.
func brief(script string) string {
	const most = 60
	words := []rune(strings.Join(strings.Fields(script), " "))
	if len(words) > most {
		words = append(words[:most-1], '…')
	}
	return strconv.Quote(string(words))
}

// Script runs a shell script as it stands. An exit status other than 0 is no
// error; a phone lost before the status is a *LostError, a script that has not
// ended after 90 s a *SilentError.
func (d *Device) Script(ctx context.Context, script string) (Result, error) {
	return d.within(ctx, commandLimit, script, nil)
}

// ScriptInput is Script with a standard input, and may take ten minutes.
func (d *Device) ScriptInput(ctx context.Context, script string, stdin io.Reader) (Result, error) {
	return d.within(ctx, inputLimit, script, stdin)
}

func (d *Device) within(ctx context.Context, limit time.Duration, script string, stdin io.Reader) (Result, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	result, err := d.client.Run(limited, d.serial, script, stdin)
	if err != nil && over(limited) != nil && over(ctx) == nil {
		err = &SilentError{Serial: d.serial, Script: script, Limit: limit}
	}
	return result, err
}

// Shell runs one command with its arguments, each quoted.
func (d *Device) Shell(ctx context.Context, args ...string) (Result, error) {
	return d.Script(ctx, adb.Quote(args...))
}

// Output runs one command and returns its standard output without the blanks
// around it. An exit status other than 0 is an *ExitError.
func (d *Device) Output(ctx context.Context, args ...string) (string, error) {
	result, err := d.Shell(ctx, args...)
	if err != nil {
		return "", err
	}
	if err := d.check(result, args...); err != nil {
		return "", err
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// check is Check for this phone.
func (d *Device) check(r Result, args ...string) error { return Check(d.serial, r, args...) }

// Check turns the result of a command into an error: an *ExitError for a status
// other than 0, a *GateError where the phone's maker denies the shell the
// command, whatever the status.
func Check(serial string, r Result, args ...string) error {
	if err := gate(serial, r); err != nil {
		return err
	}
	if r.Exit == 0 {
		return nil
	}
	return &ExitError{Serial: serial, Args: args, Exit: r.Exit, Stderr: excerpt(r)}
}

// excerpt is the end of what a failed command said, for a person.
func excerpt(r Result) string {
	text := bytes.TrimSpace(r.Stderr)
	if len(text) == 0 {
		text = bytes.TrimSpace(r.Stdout)
	}
	const most = 400
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strings.ToValidUTF8(string(text), "?")
}

// Stream starts a shell script and returns while it runs.
func (d *Device) Stream(ctx context.Context, script string) (*Stream, error) {
	return d.client.Stream(ctx, d.serial, script)
}

// StreamInput is Stream for a script that reads stdin as it comes; see
// adb.Client.StreamInput.
func (d *Device) StreamInput(ctx context.Context, script string, stdin io.Reader) (*Stream, error) {
	return d.client.StreamInput(ctx, d.serial, script, stdin)
}

// Push writes r to a file of the phone.
func (d *Device) Push(ctx context.Context, r io.Reader, path string, mode fs.FileMode) error {
	return d.client.Push(ctx, d.serial, r, path, mode)
}

// Pull copies a file of the phone to w.
func (d *Device) Pull(ctx context.Context, path string, w io.Writer) error {
	return d.client.Pull(ctx, d.serial, path, w)
}

// Stat describes a path of the phone; one that is not there is fs.ErrNotExist.
func (d *Device) Stat(ctx context.Context, path string) (FileInfo, error) {
	return d.client.Stat(ctx, d.serial, path)
}

// Reverse makes a port of the phone's loopback lead to a port of this host's.
// A devicePort of 0 lets the phone choose. Changes that must be put back belong
// in the journal, as AddReverse.
func (d *Device) Reverse(ctx context.Context, devicePort, hostPort int) (int, error) {
	return d.client.Reverse(ctx, d.serial, devicePort, hostPort)
}

// ReverseRemove takes a tunnel away.
func (d *Device) ReverseRemove(ctx context.Context, devicePort int) error {
	return d.client.ReverseRemove(ctx, d.serial, devicePort)
}

// ReverseList lists the phone's tunnels.
func (d *Device) ReverseList(ctx context.Context) ([]Tunnel, error) {
	return d.client.ReverseList(ctx, d.serial)
}

// WaitOnline waits until the phone can be used.
func (d *Device) WaitOnline(ctx context.Context) error {
	return d.client.WaitDevice(ctx, d.serial)
}

// Watch calls each with the phone's state, now and whenever the server's table
// changes, until ctx ends, the server goes away or each returns an error. It
// never returns nil. A phone that is not in the table is StateAbsent.
func (d *Device) Watch(ctx context.Context, each func(State) error) error {
	return d.client.Track(ctx, func(table []adb.Entry) error {
		state := StateAbsent
		for _, e := range table {
			if e.Serial == d.serial {
				state = State(e.State)
			}
		}
		return each(state)
	})
}

// An ExitError says that a command of the phone ended with another status than 0.
type ExitError struct {
	Serial string
	Args   []string
	Exit   int
	Stderr string // the end of what it said
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("devices: phone %s: run %s: exit status %d: %s", e.Serial, adb.Quote(e.Args...), e.Exit, e.Stderr)
}

// A GateError says that the phone's maker denies the shell what was asked: on
// MIUI, until "USB debugging (Security settings)" is on.
type GateError struct {
	Serial string
	Text   string // the phone's own words
}

func (e *GateError) Error() string {
	return fmt.Sprintf("devices: phone %s: denied to the shell: turn on \"USB debugging (Security settings)\" in Developer options and restart the phone: %s", e.Serial, e.Text)
}

// gate recognises the refusals. The commands that print them exit with 0 on
// some versions, so the text decides.
func gate(serial string, r Result) error {
	for _, mark := range []string{
		"requires INJECT_EVENTS permission",
		"to have the INJECT_EVENTS permission",
		"was not granted WRITE_SETTINGS",
		"android.permission.WRITE_SECURE_SETTINGS",
		"does not have permission android.permission.CLEAR_APP_USER_DATA",
		"has android.permission.GRANT_RUNTIME_PERMISSIONS",
		"does not have android.permission.MANAGE_APP_OPS_MODES",
	} {
		for _, text := range [][]byte{r.Stderr, r.Stdout} {
			// The standard output of a success may quote anything; a refusal is short.
			if len(text) > 16<<10 || !bytes.Contains(text, []byte("Exception")) && r.Exit == 0 {
				continue
			}
			if i := bytes.Index(text, []byte(mark)); i >= 0 {
				return &GateError{Serial: serial, Text: lineAround(text, i)}
			}
		}
	}
	return nil
}

// lineAround is the line of text that holds offset i.
func lineAround(text []byte, i int) string {
	start := bytes.LastIndexByte(text[:i], '\n') + 1
	end := len(text)
	if n := bytes.IndexByte(text[i:], '\n'); n >= 0 {
		end = i + n
	}
	return strings.ToValidUTF8(strings.TrimSpace(string(text[start:end])), "?")
}
