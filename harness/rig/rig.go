package rig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/emulator"
	"github.com/offproof/offproof/capture/gateway"
	"github.com/offproof/offproof/capture/pcapdroid"
	"github.com/offproof/offproof/capture/proxy"
	"github.com/offproof/offproof/capture/tcpdump"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
	"github.com/offproof/offproof/harness/evidence"
)

// restoreLimit bounds how long a phone is waited for when it is to be put back
// as it was; what could not be undone stays in the journal.
const restoreLimit = 45 * time.Second

// restorePause lies between two tries to put a phone back.
const restorePause = 500 * time.Millisecond

// A Rig is a farm that is in use.
type Rig struct {
	Farm *Farm
	// Collectors is the list of who collects; Lists says what was made of the lists
	// that the farm adds to the built-in one, in words.
	Collectors *collector.List
	Lists      []string
	// Repair is true where a phone that cannot be used is to be mended at its
	// lease and after it, which may restart it and its ADB server.
	Repair bool
	// Waiting, if set, is told who has the phones when a lease has to wait.
	Waiting func([]devices.Holder)

	register   sync.Mutex
	decoders   []telemetry.Decoder
	recognised sync.Map // ports of this host whose server was looked at
	roots      *x509.CertPool
}

// New puts a rig together: it reads the collector list and the uplink's roots,
// and makes the state folder.
func New(f *Farm) (*Rig, error) {
	r := &Rig{Farm: f, Collectors: collector.Default()}
	if f.Uplink.Roots != "" {
		pem, err := os.ReadFile(f.Uplink.Roots)
		if err != nil {
			return nil, fmt.Errorf("rig: read uplink roots of %s: %w", f.Path, err)
		}
		r.roots = x509.NewCertPool()
		if !r.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("rig: read uplink roots of %s: %s holds no PEM certificate", f.Path, f.Uplink.Roots)
		}
	}
	var err error
	if r.decoders, err = f.openDecoders(); err != nil {
		return nil, err
	}
	if err := r.addCollectors(); err != nil {
		return nil, err
	}
	for _, dir := range []string{r.locks(), r.journals()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("rig: make state folder: %w (set state: in %s to a folder that can be written)", err, f.Path)
		}
	}
	return r, nil
}

func (r *Rig) locks() string      { return filepath.Join(r.Farm.State, "locks") }
func (r *Rig) known() string      { return filepath.Join(r.Farm.State, "phones") }
func (r *Rig) journals() string   { return filepath.Join(r.Farm.State, "journal") }
func (r *Rig) quarantine() string { return filepath.Join(r.Farm.State, "quarantine") }
func (r *Rig) canaries() string   { return filepath.Join(r.Farm.State, "canaries.jsonl") }

// phone returns what the farm says of a serial.
func (r *Rig) phone(serial string) (FarmPhone, error) {
	var names []string
	for _, p := range r.Farm.Phones {
		if p.Serial == serial {
			return p, nil
		}
		names = append(names, p.Serial)
	}
	return FarmPhone{}, fmt.Errorf("rig: phone %s is not in %s, which lists %s", serial, r.Farm.Path, strings.Join(names, ", "))
}

// serversOf are the ADB servers to which a phone may be attached.
func (r *Rig) serversOf(serial string) []string {
	if p, err := r.phone(serial); err == nil && p.Server != "" {
		return []string{p.Server}
	}
	return r.Farm.Servers
}

// find asks the ADB servers for a phone and says what to do when it cannot be
// used.
func (r *Rig) find(ctx context.Context, serial string) (devices.Entry, error) {
	at := r.serversOf(serial)
	entries, err := devices.Inventory(ctx, at)
	var known []string
	var servers []string
	for _, e := range entries {
		if e.Serial == serial {
			servers = append(servers, e.Server)
		}
	}
	if len(servers) > 1 {
		return devices.Entry{}, &harness.InfrastructureError{
			Stage: "lease", Device: serial, Advice: "attach it to one server only, or leave the others out of adb: in " + r.Farm.Path,
			Err: fmt.Errorf("%d ADB servers list a phone of this serial: %s", len(servers), strings.Join(servers, ", ")),
		}
	}
	for _, e := range entries {
		if e.Serial == serial {
			if e.State.Usable() {
				return e, nil
			}
			return e, &harness.InfrastructureError{Stage: "lease", Device: serial, Advice: e.Advice(), Err: fmt.Errorf("the phone's ADB state is %q", e.State)}
		}
		known = append(known, fmt.Sprintf("%s (%s)", e.Serial, e.State))
	}
	if err != nil {
		return devices.Entry{}, &harness.InfrastructureError{Stage: "lease", Device: serial, Advice: "start it with `adb start-server`, or correct adb: in " + r.Farm.Path, Err: err}
	}
	seen := "no phone is attached"
	if len(known) > 0 {
		seen = "attached are " + strings.Join(known, ", ")
	}
	return devices.Entry{}, &harness.InfrastructureError{
		Stage: "lease", Device: serial, Advice: "plug the phone in, or correct the serial in " + r.Farm.Path,
		Err: fmt.Errorf("no ADB server at %s knows it; %s", strings.Join(at, ", "), seen),
	}
}

// A Lease is a phone that is nobody else's until Release.
type Lease struct {
	Device  *devices.Device
	rig     *Rig
	config  FarmPhone
	lock    *devices.Lease
	journal *devices.Journal

	// known is what earlier leases remember of the phone; repairs are the remedies
	// that were tried under this one.
	known   devices.Known
	repairs []string
	// lost is why the phone could not be made usable again, nil while it can be.
	lost error
	// guard watches on the phone over the proxy that was set, nil for none.
	guard *devices.ProxyGuard
	log   *slog.Logger
	done  memory
}

// Lease takes one of the serials; see LeaseSome.
func (r *Rig) Lease(ctx context.Context, serials ...string) (*Lease, error) {
	leases, err := r.LeaseSome(ctx, 1, nil, serials...)
	if err != nil {
		return nil, err
	}
	return leases[0], nil
}

// LeaseSome takes n of the serials that meet the needs, all or none, waiting
// until they are free or ctx ends, and undoes what an earlier run left on them. A
// phone that turns out not to fit or not to be usable is left out, and another
// one takes its place. The error is a *harness.InfrastructureError for anything
// that is wrong with the bench, with the reason of each phone that was left out.
func (r *Rig) LeaseSome(ctx context.Context, n int, needs []devices.Requirement, serials ...string) ([]*Lease, error) {
	for _, s := range serials {
		if _, err := r.phone(s); err != nil {
			return nil, err
		}
	}
	var out error // why phones were left out
	also := func(err error) error {
		if out == nil {
			return err
		}
		return fmt.Errorf("%w; %w", out, err)
	}
	for left := slices.Clone(serials); ; {
		free, err := r.free(left)
		if err != nil {
			return nil, also(err)
		}
		if len(free) < n {
			return nil, also(&harness.InfrastructureError{
				Stage: "lease", Device: strings.Join(serials, " or "), Advice: "list more phones in " + r.Farm.Path,
				Err: fmt.Errorf("%d phones are needed at once, and %d can be had", n, len(free)),
			})
		}
		locks, err := r.lock(ctx, n, free)
		if err != nil {
			return nil, also(err)
		}
		leases, bad, err := r.openAll(ctx, needs, locks)
		if err == nil && bad == "" {
			return leases, nil
		}
		if err != nil {
			out = also(err)
		}
		left = slices.DeleteFunc(left, func(s string) bool { return s == bad })
		if len(left) < n || ctx.Err() != nil {
			return nil, out
		}
	}
}

// openAll makes all of the locked phones ready, or gives all of them back and
// says which one was bad and why. There is no reason for a phone that was taken
// out of the farm while it was waited for: the next look finds it.
func (r *Rig) openAll(ctx context.Context, needs []devices.Requirement, locks []*devices.Lease) (leases []*Lease, bad string, err error) {
	for i, lock := range locks {
		l, err := r.openFitting(ctx, needs, lock)
		if l != nil {
			leases = append(leases, l)
			continue
		}
		for _, l := range leases {
			err = errors.Join(err, l.Release(ctx))
		}
		for _, lock := range locks[i+1:] {
			err = errors.Join(err, lock.Release())
		}
		if err == nil {
			return nil, "", nil
		}
		return nil, lock.Serial(), err
	}
	return leases, "", nil
}

// openFitting makes a locked phone ready, or gives it back: without an error if
// it was taken out of the farm while it was waited for.
func (r *Rig) openFitting(ctx context.Context, needs []devices.Requirement, lock *devices.Lease) (*Lease, error) {
	// Whoever had the phone before may have had a reason to take it out.
	notice, err := r.Quarantined(lock.Serial())
	if err != nil || notice != nil {
		return nil, errors.Join(err, lock.Release())
	}
	l, err := r.open(ctx, lock)
	if err != nil || len(needs) == 0 {
		return l, err
	}
	facts, err := l.Device.Facts(ctx)
	facts.Capture = l.config.Capture
	if err == nil {
		why := devices.Misfit(needs, facts, true)
		if why == "" {
			return l, nil
		}
		err = errors.New(why)
	}
	err = &harness.InfrastructureError{
		Stage: "find a phone that fits", Device: lock.Serial(), Advice: "use another phone, or give this one what the spec needs", Err: err,
	}
	return nil, errors.Join(err, l.Release(ctx))
}

// Hold leases one phone for a person, who may want it because it is in
// quarantine; it is Lease in all else.
func (r *Rig) Hold(ctx context.Context, serial string) (*Lease, error) {
	if _, err := r.phone(serial); err != nil {
		return nil, err
	}
	locks, err := r.lock(ctx, 1, []string{serial})
	if err != nil {
		return nil, err
	}
	return r.open(ctx, locks[0])
}

// lock waits for the right to n of the phones.
func (r *Rig) lock(ctx context.Context, n int, serials []string) ([]*devices.Lease, error) {
	locks, err := (&devices.Pool{Locks: r.locks(), Waiting: r.Waiting}).Acquire(ctx, n, serials)
	if err != nil {
		return nil, &harness.InfrastructureError{Stage: "lease", Device: strings.Join(serials, " or "), Advice: "wait, or list more phones in " + r.Farm.Path, Err: err}
	}
	return locks, nil
}

// open makes a locked phone ready, or gives the lock back.
func (r *Rig) open(ctx context.Context, lock *devices.Lease) (*Lease, error) {
	l, err := r.take(ctx, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return l, nil
}

// free leaves out the phones that are in quarantine, or says why none is left.
func (r *Rig) free(serials []string) ([]string, error) {
	var free, why []string
	for _, s := range serials {
		notice, err := r.Quarantined(s)
		switch {
		case err != nil:
			return nil, &harness.InfrastructureError{Stage: "lease", Device: s, Advice: "look at the file, then run `offproof farm release " + s + "`", Err: err}
		case notice != nil:
			why = append(why, notice.String())
		default:
			free = append(free, s)
		}
	}
	if len(free) == 0 && len(why) > 0 {
		return nil, &harness.InfrastructureError{
			Stage: "lease", Device: strings.Join(serials, " or "), Advice: "mend what is wrong, then run `offproof farm release SERIAL`, or remove quarantine: from " + r.Farm.Path,
			Err: errors.New(strings.Join(why, "; ")),
		}
	}
	return free, nil
}

// Quarantine takes a listed phone out of the farm until Readmit. Whoever has it
// leased now keeps it.
func (r *Rig) Quarantine(serial, reason string) error {
	if _, err := r.phone(serial); err != nil {
		return err
	}
	return devices.Quarantine(r.quarantine(), serial, reason)
}

// Quarantined says why a phone is in quarantine; nil when it is not.
func (r *Rig) Quarantined(serial string) (*devices.Notice, error) {
	if p, err := r.phone(serial); err == nil && p.Quarantine != "" {
		return &devices.Notice{Serial: serial, Reason: p.Quarantine + " (" + r.Farm.Path + ")"}, nil
	}
	return devices.Quarantined(r.quarantine(), serial)
}

// Readmit ends a quarantine. A phone that is in none is an error, and so is one
// that farm.yaml keeps out.
func (r *Rig) Readmit(serial string) error {
	if p, err := r.phone(serial); err == nil && p.Quarantine != "" {
		return fmt.Errorf("rig: phone %s is kept out by %s: remove its quarantine: line", serial, r.Farm.Path)
	}
	return devices.Readmit(r.quarantine(), serial)
}

// take examines a locked phone, and once more from the start after a repair.
func (r *Rig) take(ctx context.Context, lock *devices.Lease) (*Lease, error) {
	l, err := r.newLease(ctx, lock)
	if err != nil {
		return nil, err
	}
	first := l.examine(ctx)
	if first == nil {
		return l, nil
	}
	if !r.Repair {
		return nil, first
	}
	if err := l.Mend(ctx, first); err != nil {
		return nil, fmt.Errorf("%w; %w", first, err)
	}
	if err := l.examine(ctx); err != nil {
		return nil, l.takeOut(ctx, err)
	}
	return l, nil
}

// examine finds the phone and undoes what an earlier run left on it.
func (l *Lease) examine(ctx context.Context) error {
	entry, err := l.rig.find(ctx, l.lock.Serial())
	if err != nil {
		return err
	}
	l.Device = entry.Device()
	// Where it can be mended, one that does not answer is not waited for here.
	if l.rig.Repair {
		if ailment, err := l.Device.Look(ctx, l.rig.repairLimits().Ask); err != nil {
			return &harness.InfrastructureError{
				Stage: "examine the phone", Device: l.lock.Serial(), Advice: "check the cable, and look at the phone's screen", Err: fmt.Errorf("%s: %w", ailment, err),
			}
		}
	}
	if err := l.restore(ctx); err != nil {
		return &harness.InfrastructureError{
			Stage: "undo what an earlier run left", Device: l.lock.Serial(), Advice: "the journal " + l.journal.Path() + " says what is still to be undone", Err: err,
		}
	}
	l.sweep(ctx)
	_, err = l.recognise(ctx, "")
	return err
}

// sweep removes what is no change and yet not the phone's own. It is done at each
// end of a lease, because what is cut off may be written late.
func (l *Lease) sweep(ctx context.Context) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
	defer cancel()
	// One that hung when its host had gone holds the screen for ever.
	if ended, err := l.Device.EndUIAutomator(clean); err != nil {
		l.log.Warn("a uiautomator may be left on the phone", "serial", l.Device.Serial(), "err", err)
	} else if len(ended) > 0 {
		l.log.Info("ended a uiautomator that was left on the phone", "serial", l.Device.Serial(), "processes", ended)
	}
	if err := ui.Sweep(clean, l.Device); err != nil {
		l.log.Warn("view trees may be left on the phone", "serial", l.Device.Serial(), "err", err)
	}
}

// Release undoes every change to the phone and gives it back. A phone that does
// not answer is mended first. What could not be undone stays in the journal for
// the next lease, and the phone is taken out of the farm.
func (l *Lease) Release(ctx context.Context) error {
	err := l.putBack(ctx)
	if err == nil {
		l.unguard(nil)
	} else if l.guard != nil {
		l.guard.Abandon()
	}
	return errors.Join(err, l.lock.Release())
}

func (l *Lease) putBack(ctx context.Context) error {
	if l.lost != nil {
		if left := l.journal.Pending(); len(left) > 0 {
			return &devices.UndoError{Serial: l.Device.Serial(), Left: left, Err: l.lost}
		}
		return nil
	}
	// Each undo would wait a minute for a phone that does not answer.
	_, err := l.Device.Look(ctx, l.rig.repairLimits().Ask)
	if err == nil {
		err = l.journal.Undo(ctx, l.Device)
	}
	if err == nil {
		l.sweep(ctx)
		return nil
	}
	if l.rig.Repair && ctx.Err() == nil {
		if lost := l.Mend(ctx, err); lost != nil {
			return &devices.UndoError{Serial: l.Device.Serial(), Left: l.journal.Pending(), Err: lost}
		}
	}
	if err := l.restore(ctx); err != nil {
		return l.takeOut(ctx, err)
	}
	l.sweep(ctx)
	return nil
}

// restore undoes the journal, trying again for a while: a phone that reboots
// or a server that restarts comes back.
func (l *Lease) restore(ctx context.Context) error { return l.restoreSome(ctx, nil) }

// restoreSome is restore of the changes that which chooses, nil for all.
func (l *Lease) restoreSome(ctx context.Context, which func(devices.Change) bool) error {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
	defer cancel()
	for {
		err := l.journal.UndoSome(clean, l.Device, which)
		if err == nil {
			return nil
		}
		t := time.NewTimer(restorePause)
		select {
		case <-clean.Done():
			t.Stop()
			return fmt.Errorf("rig: put %s back as it was: %w", l.Device.Serial(), err)
		case <-t.C:
		}
	}
}

// Options are what a run chooses.
type Options struct {
	Pairs    int
	Seed     uint64
	Progress func(string)
	Log      *slog.Logger
	// Person, if set, operates the phone in place of the route that farm.yaml
	// names; see harness.Phone.
	Person func(ctx context.Context, words string) error
}

// Phone makes the leased phone ready to be observed, with its evidence going
// into run.
func (l *Lease) Phone(run *evidence.Run, o Options) (*harness.Phone, error) {
	if l.config.Input == ui.RoutePerson && o.Person == nil {
		return nil, &harness.InfrastructureError{
			Stage: "operate the phone", Device: l.config.Serial, Advice: "run `offproof observe --manual`, or remove input: from " + l.rig.Farm.Path,
			Err: errors.New("farm.yaml says that a person operates it"),
		}
	}
	planted, err := l.rig.planted(l.Device.Serial())
	if err != nil {
		return nil, err
	}
	if o.Log != nil {
		l.done.replay(o.Log) // What was done to the phone before belongs to its run.
	}
	p := &harness.Phone{
		Device: l.Device, Screen: ui.New(l.Device), Collectors: l.rig.Collectors, Recorder: run,
		Pace: l.rig.Farm.Pace, Floor: time.Duration(float64(l.rig.Farm.Floor) * l.rig.Farm.Pace),
		Decoders: l.rig.decoders, Lab: l.rig.Farm.Lab, KeyLog: l.config.KeyLog, Route: l.config.Input, Person: o.Person, Pairs: o.Pairs, Seed: o.Seed, Log: o.Log, Progress: o.Progress, Known: planted, Register: l.rig.remember,
		Track: func(ctx context.Context, state func(string)) error {
			return l.Device.Watch(ctx, func(s devices.State) error {
				state(string(s))
				return nil
			})
		},
	}
	for _, name := range l.config.Capture {
		b, err := l.backend(name)
		if err != nil {
			return nil, err
		}
		p.Backends = append(p.Backends, b)
	}
	return p, nil
}

func (l *Lease) backend(name string) (capture.Backend, error) {
	switch name {
	case CaptureTCPDump:
		return tcpdump.New(streams{l.Device}, tcpdump.Options{Interface: l.config.Interface}), nil
	case CaptureGateway:
		return gateway.New(streams{l.Device}, gateway.Options{Command: l.rig.Farm.Gateway, MAC: l.config.MAC, Interface: l.config.Interface}), nil
	case CaptureEmulator:
		return emulator.New(streams{l.Device}, emulator.Options{Serial: l.config.Serial, Token: l.config.Emulator.Token, File: l.config.Emulator.PCAP}), nil
	case CapturePCAPdroid:
		return pcapdroid.New(tunneled{streams{l.Device}, l}, pcapdroid.Options{APIKey: l.config.PCAPdroid.APIKey, Isolated: l.config.PCAPdroid.Isolated}), nil
	case CaptureProxy:
		return proxy.New(changes{streams{l.Device}, l}, proxy.Options{SOCKS5: l.rig.Farm.Uplink.SOCKS5, Roots: l.rig.roots, PassThrough: l.rig.Farm.Uplink.Pass}), nil
	default:
		return nil, fmt.Errorf("rig: capture %q is not known", name)
	}
}

// Abilities says what every listed backend could do on the phone.
func (l *Lease) Abilities(ctx context.Context) (map[string]capture.Ability, error) {
	out := map[string]capture.Ability{}
	for _, name := range l.config.Capture {
		b, err := l.backend(name)
		if err != nil {
			return nil, err
		}
		if out[name], err = b.Probe(ctx); err != nil {
			return nil, fmt.Errorf("rig: probe %s: %w", name, err)
		}
	}
	return out, nil
}

// planted reads the canaries that were ever planted on a phone.
func (r *Rig) planted(serial string) ([]canary.Canary, error) {
	f, err := os.Open(r.canaries())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("rig: read canary register: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	all, err := canary.ReadRegister(f)
	if err != nil {
		return nil, fmt.Errorf("rig: read canary register %s: %w (mend the line by hand: planted terms never expire)", r.canaries(), err)
	}
	var out []canary.Canary
	for _, c := range all {
		if c.Serial == serial && !c.Sham {
			out = append(out, c)
		}
	}
	return out, nil
}

// remember adds canaries to the register and syncs it, before they are typed.
func (r *Rig) remember(cs []canary.Canary) error {
	r.register.Lock()
	defer r.register.Unlock()
	f, err := os.OpenFile(r.canaries(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("rig: open canary register: %w", err)
	}
	return errors.Join(canary.AppendRegister(f, cs...), f.Sync(), f.Close())
}

// streams lends a device to the backends, in the types of the standard
// library.
type streams struct{ d *devices.Device }

var _ tcpdump.Phone = streams{}

func (s streams) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	res, err := s.d.Script(ctx, script)
	return res.Stdout, res.Stderr, res.Exit, err
}

func (s streams) Stream(ctx context.Context, script string) (stdout, stderr io.ReadCloser, wait func() (int, error), err error) {
	st, err := s.d.Stream(ctx, script)
	if err != nil {
		return nil, nil, nil, err
	}
	return closing{st.Stdout, st}, closing{st.Stderr, st}, st.Wait, nil
}

// closing closes the whole stream with either of its outputs.
type closing struct {
	io.Reader
	io.Closer
}

// changes adds the proxy's changes to the phone, each through the journal.
type changes struct {
	streams
	l *Lease
}

var _ proxy.Phone = changes{}

func (c changes) Tunnel(ctx context.Context, devicePort, hostPort int) error {
	return c.l.journal.Change(ctx, c.d, devices.AddReverse{DevicePort: devicePort, HostPort: hostPort})
}

func (c changes) TrustCA(ctx context.Context, pem []byte) error {
	return c.l.journal.Change(ctx, c.d, devices.InstallCA{PEM: pem})
}

func (c changes) SetProxy(ctx context.Context, hostport string) error {
	// A phone whose host has gone must not be left with a proxy that leads nowhere.
	guard, err := c.d.GuardProxy(ctx, hostport)
	if err != nil {
		return err
	}
	c.l.unguard(guard)
	if c.l.config.BlockQUIC {
		if err := c.l.journal.Change(ctx, c.d, devices.BlockQUIC{}); err != nil {
			return fmt.Errorf("quic: block, as %s has it: %w", c.l.rig.Farm.Path, err)
		}
	}
	return c.l.journal.Change(ctx, c.d, devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: hostport})
}

func (c changes) Restore(ctx context.Context) error {
	// What another instrument has started is its own to end.
	err := c.l.restoreSome(ctx, func(c devices.Change) bool { return !devices.IsVPNApp(c) })
	if err == nil {
		c.l.unguard(nil)
	}
	return err
}

// unguard lets the guard of the phone's proxy go, whose proxy was undone, and
// remembers the next one, nil for none.
func (l *Lease) unguard(next *devices.ProxyGuard) {
	if l.guard != nil {
		if err := l.guard.Close(); err != nil {
			l.log.Warn("the guard of the proxy did not end as it should", "serial", l.Device.Serial(), "err", err)
		}
	}
	l.guard = next
}
