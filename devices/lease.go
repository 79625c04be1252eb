package devices

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// leasePoll lies between two tries for a phone that somebody else has.
const leasePoll = 100 * time.Millisecond

// A Holder says who has a phone, as its lock file tells.
type Holder struct {
	Serial  string    `json:"serial"`
	PID     int       `json:"pid"`
	Command string    `json:"command,omitempty"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	if h.PID == 0 {
		return fmt.Sprintf("phone %s is leased by another process", h.Serial)
	}
	return fmt.Sprintf("phone %s is leased by process %d (%s) since %s", h.Serial, h.PID, h.Command, h.Since.Format(time.DateTime))
}

// A BusyError says that no phone came free before the wait ended.
type BusyError struct {
	Holders []Holder
	Err     error
}

func (e *BusyError) Error() string {
	words := make([]string, len(e.Holders))
	for i, h := range e.Holders {
		words[i] = h.String()
	}
	return fmt.Sprintf("devices: lease phone: none came free: %s: %v", strings.Join(words, "; "), e.Err)
}

// Unwrap returns why the wait ended.
func (e *BusyError) Unwrap() error { return e.Err }

// A Pool hands out phones to one holder at a time, over all processes of the
// host. It needs no server: a lease is a locked file, and the kernel frees it
// when the holder dies, however it dies.
type Pool struct {
	// Locks is the folder of the lock files. Every program on the host that uses
	// the phones must be given the same one.
	Locks string
	// Waiting, if set, is told who holds the phones when all are taken: once when
	// the wait begins and again when a holder changes.
	Waiting func([]Holder)
}

// A Lease is the exclusive right to one phone until Release or the end of the
// process.
type Lease struct {
	serial string
	file   *os.File
	once   sync.Once
	err    error
}

// Acquire leases any one of the serials; see Pool.Acquire.
func Acquire(ctx context.Context, locks string, serials []string) (*Lease, error) {
	leases, err := (&Pool{Locks: locks}).Acquire(ctx, 1, serials)
	if err != nil {
		return nil, err
	}
	return leases[0], nil
}

// Acquire leases n of the serials or none, those that stand first among the free
// ones, and waits until ctx ends if too few are free. It holds nothing while it
// waits, so requests that overlap cannot wait for each other. The error of a wait
// that ended is a *BusyError that says who has the phones.
func (p *Pool) Acquire(ctx context.Context, n int, serials []string) ([]*Lease, error) {
	if distinct := slices.Compact(slices.Sorted(slices.Values(serials))); len(distinct) != len(serials) {
		return nil, errors.New("devices: lease phone: a serial was named twice")
	}
	if n < 1 || n > len(serials) {
		return nil, fmt.Errorf("devices: lease phone: %d were asked for, of %d that were named", n, len(serials))
	}
	if err := os.MkdirAll(p.Locks, 0o700); err != nil {
		return nil, fmt.Errorf("devices: lease phone: make lock folder: %w", err)
	}
	told := ""
	for {
		leases, taken, err := tryAll(p.Locks, n, serials)
		if err != nil || len(leases) == n {
			return leases, err
		}
		if now := fmt.Sprint(taken); p.Waiting != nil && now != told {
			told = now
			p.Waiting(taken)
		}
		// Not all at the same moment: two who each want several phones would go on
		// taking the half of what the other one needs.
		if err := pause(ctx, leasePoll+rand.N(leasePoll/2)); err != nil { //nolint:gosec // No secret.
			return nil, &BusyError{Holders: taken, Err: err}
		}
	}
}

// tryAll locks n of the serials, or none and says who has those that are taken.
func tryAll(dir string, n int, serials []string) (leases []*Lease, taken []Holder, err error) {
	for _, serial := range serials {
		lease, err := tryLease(dir, serial)
		switch {
		case err == nil:
			leases = append(leases, lease)
		case errors.Is(err, errLocked):
			taken = append(taken, readHolder(dir, serial))
		default:
			return nil, nil, errors.Join(fmt.Errorf("devices: lease phone %s: %w", serial, err), releaseAll(leases))
		}
		if len(leases) == n {
			return leases, nil, nil
		}
	}
	return nil, taken, releaseAll(leases)
}

func releaseAll(leases []*Lease) error {
	var failed []error
	for _, l := range leases {
		failed = append(failed, l.Release())
	}
	return errors.Join(failed...)
}

// tryLease locks one phone's file, or returns errLocked. The file is never
// removed: a process that waits for a removed file would share its lock with
// nobody.
func tryLease(dir, serial string) (*Lease, error) {
	file, err := os.OpenFile(filepath.Join(dir, fileName(serial)+".lock"), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // fileName leaves no path in a serial.
	if err != nil {
		return nil, err
	}
	if err := lockFile(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	holder, err := json.Marshal(Holder{
		Serial: serial, PID: os.Getpid(), Command: filepath.Base(os.Args[0]), Since: time.Now().Round(time.Second),
	})
	if err == nil {
		err = rewrite(file, append(holder, '\n'))
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write lock file: %w", err)
	}
	return &Lease{serial: serial, file: file}, nil
}

func rewrite(file *os.File, b []byte) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt(b, 0)
	return err
}

// readHolder reads who has a phone. What it cannot read stays empty: the file
// may be half written, and it only serves a message.
func readHolder(dir, serial string) Holder {
	holder := Holder{Serial: serial}
	file, err := os.Open(filepath.Join(dir, fileName(serial)+".lock")) //nolint:gosec // fileName leaves no path in a serial.
	if err != nil {
		return holder
	}
	defer func() { _ = file.Close() }()
	const most = 4 << 10
	b, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil || json.Unmarshal(b, &holder) != nil {
		return Holder{Serial: serial}
	}
	holder.Serial = serial
	return holder
}

// Serial is the serial of the leased phone.
func (l *Lease) Serial() string { return l.serial }

// Release gives the phone back. It may be called again.
func (l *Lease) Release() error {
	l.once.Do(func() {
		// Emptied first, so that nobody reads a holder who has gone.
		if err := l.file.Truncate(0); err != nil {
			l.err = fmt.Errorf("devices: release phone %s: %w", l.serial, err)
		}
		if err := l.file.Close(); err != nil && l.err == nil {
			l.err = fmt.Errorf("devices: release phone %s: %w", l.serial, err)
		}
	})
	return l.err
}

// fileName makes a file name of a serial, which may hold colons, slashes and
// worse. The hash keeps apart what the cleaning would make equal.
func fileName(serial string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, serial)
	const most, hashed = 40, 8
	if len(clean) > most {
		clean = clean[:most]
	}
	sum := sha256.Sum256([]byte(serial))
	return clean + "-" + hex.EncodeToString(sum[:hashed])
}
