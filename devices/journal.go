package devices

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

const (
	// defaultUndoLimit is enough for every undo on a slow phone.
	defaultUndoLimit = time.Minute
	// defaultSettle is longer than any command of a change takes on a slow phone.
	defaultSettle = 5 * time.Second
)

// A Journal remembers on the host what was changed in one phone, so that every
// change is put back: at the end, on a signal, or at the next lease after a
// crash. Each change is on the disk before it is made, and its undo may be
// repeated, so that a program killed at any moment leaves nothing that the next
// one cannot undo. It may be used by many goroutines, but by one process at a
// time: the one that holds the phone's Lease.
type Journal struct {
	// UndoLimit bounds one call of Undo; zero means a minute. Undo does not end
	// with its caller's context: it is what still has to happen then.
	UndoLimit time.Duration
	// Settle is how long a command may still take in the phone after its program
	// died or gave up; zero means 5 s. A change that was not seen to end is undone
	// at once, and again after that time, because it may have landed in between.
	Settle time.Duration

	dir, path, serial string

	busy sync.Mutex // held while the phone is changed, so that old values are true
	mu   sync.Mutex // guards the rest
	journalState
}

// A Change is a change of a phone that has not been undone yet.
type Change struct {
	ID   int       `json:"id"`
	At   time.Time `json:"at"`
	PID  int       `json:"pid"`  // of the process that made it
	Kind string    `json:"kind"` // setting, reverse, ca
	What string    `json:"what"` // in words
	// ByHand is the command that undoes it without this program.
	ByHand string `json:"by_hand"`
	// Note is a remark about the old state, such as a proxy that an earlier run
	// had left behind.
	Note string `json:"note,omitempty"`
}

// Undoable is a change of which the journal knows the way back: PutSetting,
// AddReverse, InstallCA. The kinds are closed, because a later program must be
// able to undo what this one wrote down.
type Undoable interface {
	// prepare reads from the phone what the undo will need.
	prepare(ctx context.Context, d *Device) (undo, error)
	// apply makes the change and reads it back.
	apply(ctx context.Context, d *Device, u undo) error
}

// An undo is the way back of one change. It is stored as JSON.
type undo interface {
	kind() string
	what() string
	byHand(serial string) string
	note() string
	// revert puts the phone back and reads it back. The change may have been
	// made or not, and revert may have run before.
	revert(ctx context.Context, d *Device) error
}

// A UndoError says which changes are still in the phone.
type UndoError struct {
	Serial string
	Left   []Change // newest first
	Err    error
}

func (e *UndoError) Error() string {
	if len(e.Left) == 0 {
		return fmt.Sprintf("devices: phone %s: undo changes: %v", e.Serial, e.Err)
	}
	words := make([]string, len(e.Left))
	for i, c := range e.Left {
		words[i] = fmt.Sprintf("%s (by hand: %s)", c.What, c.ByHand)
	}
	return fmt.Sprintf("devices: phone %s: CHANGES LEFT BEHIND: %s: %v", e.Serial, strings.Join(words, "; "), e.Err)
}

// Unwrap returns what kept the changes from being undone.
func (e *UndoError) Unwrap() error { return e.Err }

// OpenJournal reads the journal of one phone in dir, which is made if need be.
// Damage in the file is no error: see Damage. The journals of a host must be in
// one folder, or a crash is not noticed by the next run.
func OpenJournal(dir, serial string) (*Journal, error) {
	if serial == "" {
		return nil, errors.New("devices: open journal: the serial is empty")
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("devices: open journal of %s: %w", serial, err)
	}
	j := &Journal{dir: dir, path: filepath.Join(dir, fileName(serial)+".journal"), serial: serial}
	state, size, err := loadJournal(j.path, serial)
	if err != nil {
		return nil, fmt.Errorf("devices: open journal of %s: %w", serial, err)
	}
	j.journalState = state
	if size > restJournal && len(state.pending) == 0 && len(state.damage) == 0 {
		// Only history is left, and every open would read it all.
		if err := os.Remove(j.path); err != nil {
			return nil, fmt.Errorf("devices: open journal of %s: start anew: %w", serial, err)
		}
	}
	return j, nil
}

// Serial is the phone's serial.
func (j *Journal) Serial() string { return j.serial }

// Path is the journal's file, for messages.
func (j *Journal) Path() string { return j.path }

// Pending lists the changes that have not been undone, newest first. After
// OpenJournal these are what an earlier run left behind.
func (j *Journal) Pending() []Change {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left()
}

func (j *Journal) left() []Change {
	changes := make([]Change, 0, len(j.pending))
	for _, p := range slices.Backward(j.pending) {
		changes = append(changes, p.Change)
	}
	return changes
}

// Damage says in words what could not be read in the file. A last line that was
// cut short announces a change that was never made. After any other damage an
// unknown change may be in the phone, so Undo also sweeps it.
func (j *Journal) Damage() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.damage)
}

// Change writes down how to undo a change, makes it, and reads it back. After
// an error the change may be in the phone or not; Undo puts it right.
func (j *Journal) Change(ctx context.Context, d *Device, c Undoable) error {
	if d.Serial() != j.serial {
		return fmt.Errorf("devices: change phone %s: the journal is that of %s", d.Serial(), j.serial)
	}
	j.busy.Lock()
	defer j.busy.Unlock()
	u, err := c.prepare(ctx, d)
	if err != nil {
		return fmt.Errorf("devices: change phone %s: read the state before: %w", j.serial, err)
	}
	id, err := j.announce(u)
	if err != nil {
		return fmt.Errorf("devices: change phone %s: nothing was changed: %w", j.serial, err)
	}
	err = c.apply(ctx, d, u)
	if err == nil {
		err = j.made(id)
	}
	if err != nil {
		j.unsure(id)
		return fmt.Errorf("devices: change phone %s: %s: %w", j.serial, u.what(), err)
	}
	return nil
}

// made notes that a change was seen to end, so that its undo need not wait.
func (j *Journal) made(id int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(record{Op: opMade, Change: Change{ID: id, At: time.Now(), PID: os.Getpid()}}); err != nil {
		return err
	}
	j.settled(id)
	return nil
}

// unsure notes that a command of the change may still be under way.
func (j *Journal) unsure(id int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.pending {
		if j.pending[i].ID == id {
			j.pending[i].made, j.pending[i].since = false, time.Now()
		}
	}
}

// announce puts the undo on the disk.
func (j *Journal) announce(u undo) (id int, err error) {
	raw, err := json.Marshal(u)
	if err != nil {
		return 0, fmt.Errorf("journal: encode undo: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	change := Change{
		ID: j.next, At: time.Now(), PID: os.Getpid(),
		Kind: u.kind(), What: u.what(), ByHand: u.byHand(j.serial), Note: u.note(),
	}
	if err := j.write(record{Op: opChange, Change: change, Undo: raw}); err != nil {
		return 0, err
	}
	j.next++
	j.pending = append(j.pending, pendingChange{Change: change, undo: u, since: time.Now()})
	return change.ID, nil
}

// Undo undoes all pending changes, newest first, reads each back, and marks
// those done. It goes on after a failure, unless the phone cannot be reached.
// It runs on when ctx ends, within UndoLimit. What is left is in an *UndoError.
func (j *Journal) Undo(ctx context.Context, d *Device) error {
	return j.UndoSome(ctx, d, nil)
}

// UndoSome is Undo of the changes that which chooses, nil for all. An instrument
// puts its own changes back by it while others are at work.
func (j *Journal) UndoSome(ctx context.Context, d *Device, which func(Change) bool) error {
	if d.Serial() != j.serial {
		return fmt.Errorf("devices: undo changes of phone %s: the journal is that of %s", d.Serial(), j.serial)
	}
	limit := j.UndoLimit
	if limit <= 0 {
		limit = defaultUndoLimit
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	j.busy.Lock()
	defer j.busy.Unlock()

	j.mu.Lock()
	todo := slices.Clone(j.pending)
	damaged := len(j.damage) > 0 && which == nil
	j.mu.Unlock()
	if which != nil {
		todo = slices.DeleteFunc(todo, func(p pendingChange) bool { return !which(p.Change) })
	}
	failed := j.revert(ctx, d, todo)
	if unsure := slices.DeleteFunc(todo, func(p pendingChange) bool { return p.made }); len(unsure) > 0 && len(failed) == 0 {
		failed = j.revertAgain(ctx, d, unsure)
	}
	if damaged && len(failed) == 0 {
		if _, err := Sweep(ctx, d); err != nil {
			failed = append(failed, err)
		} else if err := j.setAside(); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &UndoError{Serial: j.serial, Left: j.Pending(), Err: errors.Join(failed...)}
}

// revert undoes changes, newest first, and marks those done that were seen to
// end.
func (j *Journal) revert(ctx context.Context, d *Device, todo []pendingChange) (failed []error) {
	for _, p := range slices.Backward(todo) {
		err := p.undo.revert(ctx, d)
		if err == nil && p.made {
			err = j.done(p.ID)
		}
		if err != nil {
			failed = append(failed, err)
			if adb.Unreachable(err) || ctx.Err() != nil {
				break
			}
		}
	}
	return failed
}

// revertAgain undoes changes a second time, when no command of theirs can still
// be under way in the phone.
func (j *Journal) revertAgain(ctx context.Context, d *Device, unsure []pendingChange) []error {
	settle := j.Settle
	if settle <= 0 {
		settle = defaultSettle
	}
	rest := time.Duration(0)
	for i := range unsure {
		// A clock that was set in between must not lengthen the wait.
		rest = max(rest, min(settle-time.Since(unsure[i].since), settle))
		unsure[i].made = true
	}
	if rest > 0 {
		if err := pause(ctx, rest); err != nil {
			return []error{fmt.Errorf("wait for commands that may be under way: %w", err)}
		}
	}
	return j.revert(ctx, d, unsure)
}

// done marks a change as undone.
func (j *Journal) done(id int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(record{Op: opUndone, Change: Change{ID: id, At: time.Now(), PID: os.Getpid()}}); err != nil {
		return err
	}
	j.pending = slices.DeleteFunc(j.pending, func(p pendingChange) bool { return p.ID == id })
	return nil
}

// setAside keeps a damaged file for people to look at, and starts a new one.
func (j *Journal) setAside() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) > 0 {
		return nil
	}
	aside := fmt.Sprintf("%s.damaged-%d", j.path, time.Now().UnixNano())
	if err := os.Rename(j.path, aside); err != nil {
		return fmt.Errorf("journal: set damaged file aside: %w", err)
	}
	j.damage, j.cut = nil, false
	return syncDir(j.dir)
}

// Sweep undoes what a lost or damaged journal can no longer tell: a proxy
// setting that leads to the phone's own loopback, and certificate stores of ours.
// It says in words what it found and removed.
func Sweep(ctx context.Context, d *Device) ([]string, error) {
	var found []string
	value, ok, err := d.Setting(ctx, "global", proxyKey)
	if err != nil {
		return nil, fmt.Errorf("devices: sweep phone %s: %w", d.serial, err)
	}
	if ok && ownProxy(value) {
		found = append(found, fmt.Sprintf("global %s was %q", proxyKey, value))
		if err := (&settingUndo{Namespace: "global", Key: proxyKey, Value: value}).revert(ctx, d); err != nil {
			return found, fmt.Errorf("devices: sweep phone %s: %w", d.serial, err)
		}
	}
	ours, _, err := caMounts(ctx, d)
	if err != nil {
		return found, fmt.Errorf("devices: sweep phone %s: %w", d.serial, err)
	}
	if ours > 0 {
		found = append(found, "a certificate store of ours was mounted over "+caStore)
		if err := removeCAMounts(ctx, d); err != nil {
			return found, fmt.Errorf("devices: sweep phone %s: %w", d.serial, err)
		}
	}
	return found, nil
}
