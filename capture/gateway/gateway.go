// Package gateway records a phone's packets where the phone cannot know of it:
// at the lab's own access point or router, by a command of the bench that runs
// tcpdump or dumpcap there and writes a pcap stream to its standard output.
//
// Suspect firmware cannot hide from it, it needs nothing on the phone but a way
// to ask for a name, and it sees one phone only, by the hardware address. What
// leaves by another way than that network (mobile data, another access point) it
// does not see.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

// Name is the backend's word in farm.yaml.
const Name = "gateway"

// PlaceMAC stands in the command for the phone's hardware address.
const PlaceMAC = "{mac}"

// ErrNotReady is returned by Start when the phone's own question did not come
// back in the packets in time.
var ErrNotReady = errors.New("gateway: did not become ready")

// Options say how the gateway is reached. Command is needed; of the rest the
// zero value is useful.
type Options struct {
	// Command is a program with its arguments that records until its standard
	// input ends or it is interrupted, such as
	//
	//	tcpdump -i br-lan -U -w - ether host {mac}
	//
	// on the access point itself. One of the arguments holds {mac}. A recorder that
	// is reached over ssh is to be interrupted there, so that it says what it lost:
	//
	//	ssh ap "tcpdump -i br-lan -U -w - ether host {mac} & p=$!; cat >/dev/null; kill -INT $p; wait $p"
	Command []string
	// MAC is the phone's hardware address in the lab's network. Empty asks the
	// phone, which knows it where it may be read.
	MAC string
	// Interface is the phone's interface to that network, "wlan0" when empty.
	Interface string
	// StopWait bounds the wait for the command's end after each signal; 5 s when
	// zero.
	StopWait time.Duration
	// BeaconTries is how often a beacon's question is asked, 4 when zero, and
	// BeaconWait how long each is waited for, 3 s when zero.
	BeaconTries int
	BeaconWait  time.Duration
}

// A Backend records one phone's packets at a gateway.
type Backend struct {
	phone packets.Phone
	o     Options
}

var _ capture.Backend = (*Backend)(nil)

// New returns a backend for a phone.
func New(phone packets.Phone, o Options) *Backend {
	if o.Interface == "" {
		o.Interface = "wlan0"
	}
	if o.StopWait <= 0 {
		o.StopWait = 5 * time.Second
	}
	return &Backend{phone: phone, o: o}
}

// Name returns "gateway".
func (b *Backend) Name() string { return Name }

// CheckCommand says in words what is wrong with a command, empty when nothing
// is.
func CheckCommand(command []string) string {
	switch {
	case len(command) == 0 || command[0] == "":
		return "it names no program"
	case strings.Contains(command[0], PlaceMAC):
		return "the program may not be made of " + PlaceMAC
	case !slices.ContainsFunc(command[1:], func(arg string) bool { return strings.Contains(arg, PlaceMAC) }):
		return "no argument holds " + PlaceMAC + ", so it would record other people's devices too: end it with ether host " + PlaceMAC
	}
	return ""
}

// Probe says whether the command's program is there and the phone's hardware
// address is known. Whether the gateway answers shows when it is started.
func (b *Backend) Probe(ctx context.Context) (capture.Ability, error) {
	if why := CheckCommand(b.o.Command); why != "" {
		return capture.Ability{Reason: "the gateway's command cannot be right: " + why}, nil
	}
	if !runnable(b.o.Command[0]) {
		return capture.Ability{Reason: fmt.Sprintf("the program %s, by which the gateway is to be reached, cannot be run on this host: install it, or correct gateway: in farm.yaml", b.o.Command[0])}, nil
	}
	mac, err := b.mac(ctx)
	var unknown *unknownError
	if errors.As(err, &unknown) {
		return capture.Ability{Reason: err.Error()}, nil
	}
	if err != nil {
		return capture.Ability{}, err
	}
	return capture.Ability{OK: true, Sees: "packets of " + mac + " at the gateway"}, nil
}

func runnable(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// hardware is a hardware address, at the beginning of what sysfs says or in what
// ip says. It is put into a command, so nothing else may be taken for one.
var hardware = regexp.MustCompile(`(?:^|link/ether )((?:[0-9a-f]{2}:){5}[0-9a-f]{2})(?:\s|$)`)

// An unknownError says that nobody knows the phone's hardware address.
type unknownError struct{ iface, said string }

func (e *unknownError) Error() string {
	return fmt.Sprintf("the phone does not tell the hardware address of %s (%s): "+
		"look at it in Settings > About phone > Status and write it as mac: beside the phone in farm.yaml", e.iface, e.said)
}

// hidden are what Android says in place of an address that it does not tell.
var hidden = []string{"02:00:00:00:00:00", "00:00:00:00:00:00"}

// ParseMAC returns a hardware address as it stands in a packet filter, empty
// for a text that is none.
func ParseMAC(text string) string {
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), "-", ":"))
	if m := hardware.FindStringSubmatch(text); m != nil && m[1] == text && !slices.Contains(hidden, text) {
		return text
	}
	return ""
}

// mac is the phone's hardware address. The error is an *unknownError, or that of
// a phone which could not be asked.
func (b *Backend) mac(ctx context.Context) (string, error) {
	if b.o.MAC != "" {
		if mac := ParseMAC(b.o.MAC); mac != "" {
			return mac, nil
		}
		return "", &unknownError{b.o.Interface, fmt.Sprintf("mac: %q is no hardware address such as f4:60:e2:01:02:03", b.o.MAC)}
	}
	if !interfaceName.MatchString(b.o.Interface) {
		return "", &unknownError{b.o.Interface, "that is not the name of an interface"}
	}
	out, stderr, _, err := b.phone.Run(ctx, "cat /sys/class/net/"+b.o.Interface+"/address || ip -o link show "+b.o.Interface)
	if err != nil {
		return "", fmt.Errorf("gateway: ask for the hardware address: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if m := hardware.FindStringSubmatch(strings.ToLower(line)); m != nil && !slices.Contains(hidden, m[1]) {
			return m[1], nil
		}
	}
	return "", &unknownError{b.o.Interface, packets.Excerpt(append(out, stderr...))}
}

// interfaceName is what Linux allows and a shell takes as one plain word.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)

// A session is the command while it runs.
type session struct {
	*packets.Recorder
	o             Options
	cmd           *exec.Cmd
	stdin, stdout io.Closer

	mu       sync.Mutex
	said     packets.Counters
	stopping bool
	forced   bool
}

var _ capture.Session = (*session)(nil)

// Start runs the command and returns when a question that the phone asked has
// come back in its packets: then the gateway records, and this phone.
func (b *Backend) Start(ctx context.Context, dir string) (capture.Session, error) {
	if why := CheckCommand(b.o.Command); why != "" {
		return nil, fmt.Errorf("gateway: start: the command cannot be right: %s", why)
	}
	mac, err := b.mac(ctx)
	if err != nil {
		return nil, err
	}
	args := make([]string, len(b.o.Command))
	for i, a := range b.o.Command {
		args[i] = strings.ReplaceAll(a, PlaceMAC, mac)
	}
	rec, err := packets.Create(dir, b.phone, packets.Options{
		Name: Name, Where: "the gateway, which records " + mac, BeaconTries: b.o.BeaconTries, BeaconWait: b.o.BeaconWait, OwnClock: true,
	})
	if err != nil {
		return nil, err
	}
	s := &session{Recorder: rec, o: b.o, cmd: exec.Command(args[0], args[1:]...)} //nolint:gosec,noctx // The owner of the bench names it in farm.yaml; it outlives ctx and is ended by Stop.
	if err := s.run(); err != nil {
		rec.End(packets.How{Early: true})
		_, closeErr := rec.Close(func() error { return nil })
		return nil, errors.Join(fmt.Errorf("gateway: start %s: %w", args[0], err), closeErr, os.Remove(rec.Path()))
	}
	if _, err := rec.Beacon(ctx, packets.Nonce()); err != nil {
		words := rec.LastWords()
		_, stopErr := s.Stop(ctx)
		if !errors.Is(err, packets.ErrEnded) { // That one says them itself.
			err = fmt.Errorf("%w (of the command: %s)", err, words)
		}
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNotReady, err), stopErr, os.Remove(rec.Path()))
	}
	return s, nil
}

// run starts the command in a process group of its own, so that a Ctrl-C at the
// terminal does not end it before this program has decided.
func (s *session) run() error {
	s.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.stdin, s.stdout = stdin, stdout
	go s.record(stdout, stderr)
	return nil
}

// record moves everything that arrives to where it belongs, until the command
// ends.
func (s *session) record(stdout, stderr io.Reader) {
	var words sync.WaitGroup
	words.Go(func() { packets.Lines(stderr, s.hear) })
	buf := make([]byte, 64<<10)
	for {
		n, err := stdout.Read(buf)
		if n > 0 && !s.Take(buf[:n]) {
			s.signal(unix.SIGKILL)
			break
		}
		if err != nil {
			break
		}
	}
	words.Wait()
	err := s.cmd.Wait()
	s.mu.Lock()
	how := packets.How{Early: !s.stopping, Cut: s.stopping, Dropped: s.said.DroppedKernel}
	if !s.forced {
		how.Captured = s.said.Captured
	}
	lost := s.said.DroppedInterface
	s.mu.Unlock()
	if lost != nil && *lost > 0 {
		// What the gateway receives is what phones send.
		s.Doubt("the gateway's interface dropped %d packets before they were recorded", *lost)
	}
	if how.Early {
		how.Doubt = fmt.Sprintf("the command ended by itself (%s): %s", ending(err), packets.Excerpt([]byte(s.Words())))
	}
	s.End(how)
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// hear takes a line that the command says beside the packets.
func (s *session) hear(line string) {
	s.Hear(line)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Read(line)
}

// signal tells the command and what it started.
func (s *session) signal(sig unix.Signal) {
	// One that has ended needs no signal.
	_ = unix.Kill(-s.cmd.Process.Pid, sig)
}

func (s *session) wait(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.Done():
	case <-timer.C:
	}
}

// Stop ends the command's input, interrupts it if it does not mind that, reads until it has ended, and returns the trace.
// ctx gives the work its values only: an ended context must not leave a recorder
// running, so the limits are the session's own.
func (s *session) Stop(context.Context) (capture.Trace, error) {
	return s.Close(func() error {
		s.mu.Lock()
		s.stopping = true
		s.mu.Unlock()
		_ = s.stdin.Close()
		s.wait(s.o.StopWait / 2)
		for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
			select {
			case <-s.Done():
				return nil
			default:
			}
			s.mu.Lock()
			s.forced = s.forced || sig != unix.SIGINT
			s.mu.Unlock()
			s.signal(sig)
			s.wait(s.o.StopWait)
		}
		select {
		case <-s.Done():
			return nil
		default:
			// What it started holds its output, outside of its group.
			_ = s.stdout.Close()
			return fmt.Errorf("gateway: something that the command %s started lives on after SIGKILL: end it by hand", s.o.Command[0])
		}
	})
}
