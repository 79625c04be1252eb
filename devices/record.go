package devices

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	journalFormat = 1
	// maxRecord bounds one line of a journal, maxJournal the whole file.
	maxRecord  = 1 << 20
	maxJournal = 64 << 20
	// restJournal is the size at which a journal without pending changes starts
	// anew.
	restJournal = 256 << 10

	opChange = "change"
	opMade   = "made"
	opUndone = "undone"
)

// A record is one line of a journal's file.
type record struct {
	Format int    `json:"format"`
	Serial string `json:"serial"`
	Op     string `json:"op"`
	Change
	Undo json.RawMessage `json:"undo,omitempty"`
}

// journalState is what a journal's file says.
type journalState struct {
	next    int
	pending []pendingChange // oldest first
	damage  []string
	cut     bool // the file does not end with a line break
}

type pendingChange struct {
	Change
	undo undo
	made bool // the change was seen to end
	// since is when the change was last known to be under way.
	since time.Time
}

// settled marks a pending change as made.
func (s *journalState) settled(id int) {
	for i := range s.pending {
		if s.pending[i].ID == id {
			s.pending[i].made = true
		}
	}
}

// makeDir makes a folder that survives a power cut.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return nil
}

// write appends a line and returns when it is on the disk. The caller holds mu.
func (j *Journal) write(r record) (err error) {
	r.Format, r.Serial = journalFormat, j.serial
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("journal: encode: %w", err)
	}
	line = append(line, '\n')
	if len(line) > maxRecord {
		return fmt.Errorf("journal: write: record of %d bytes is too long", len(line))
	}
	if j.cut { // The broken line must not swallow this one.
		line = append([]byte{'\n'}, line...)
	}
	_, statErr := os.Stat(j.path)
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("journal: write: %w", err)
	}
	defer func() {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("journal: write: %w", cerr)
		}
	}()
	if _, err := file.Write(line); err != nil {
		j.cut = true // A full disk may have taken half of it.
		return fmt.Errorf("journal: write: %w", err)
	}
	j.cut = false
	if err := file.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		if err := syncDir(j.dir); err != nil {
			return fmt.Errorf("journal: sync folder: %w", err)
		}
	}
	return nil
}

// loadJournal reads a file; one that is not there is an empty journal.
func loadJournal(path, serial string) (journalState, int64, error) {
	file, err := os.Open(path) //nolint:gosec // OpenJournal made the name from a serial.
	if errors.Is(err, fs.ErrNotExist) {
		return journalState{next: 1}, 0, nil
	}
	if err != nil {
		return journalState{}, 0, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return journalState{}, 0, err
	}
	if info.Size() > maxJournal {
		return journalState{}, 0, fmt.Errorf("%s has %d bytes: undo what it says by hand and move it away", path, info.Size())
	}
	state, err := readJournal(file, serial)
	return state, info.Size(), err
}

// readJournal reads lines and tolerates what it cannot read, but says so. The
// error is that of the reader.
func readJournal(r io.Reader, serial string) (journalState, error) {
	state := journalState{next: 1}
	lines := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, whole, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return state, err
		}
		last := errors.Is(err, io.EOF)
		if text := bytes.TrimSpace(line); len(text) > 0 {
			problem := "longer than any record"
			if whole {
				problem = state.apply(text, serial)
			}
			switch {
			case problem == "":
			case last:
				state.damage = append(state.damage, fmt.Sprintf("line %d, the last, was cut short: a change that it announces was not made", n))
			default:
				state.damage = append(state.damage, fmt.Sprintf("line %d cannot be read: %s", n, problem))
			}
		}
		if last {
			state.cut = len(line) > 0
			return state, nil
		}
	}
}

// readLine reads one line; whole is false when it was too long to be kept.
func readLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) <= maxRecord {
			line = append(line, part...)
		} else {
			whole = false
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, whole, err
		}
	}
}

// apply takes one line in, and says what is wrong with it.
func (s *journalState) apply(line []byte, serial string) string {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return err.Error()
	}
	if r.Serial != serial {
		return fmt.Sprintf("it is about phone %q", r.Serial)
	}
	if r.ID < 1 || r.ID >= 1<<31 {
		return fmt.Sprintf("its number is %d", r.ID)
	}
	s.next = max(s.next, r.ID+1)
	switch r.Op {
	case opChange:
		u, err := decodeUndo(r)
		if err != nil {
			u = &unknownUndo{change: r.Change, err: err}
		}
		s.pending = append(s.pending, pendingChange{Change: r.Change, undo: u, since: time.Now()})
	case opMade:
		s.settled(r.ID)
	case opUndone:
		kept := s.pending[:0]
		for _, p := range s.pending {
			if p.ID != r.ID {
				kept = append(kept, p)
			}
		}
		s.pending = kept
	default:
		return fmt.Sprintf("unknown operation %q", r.Op)
	}
	return ""
}

// decodeUndo reads the way back by its kind.
func decodeUndo(r record) (undo, error) {
	if r.Format != journalFormat {
		return nil, fmt.Errorf("journal: read undo: format %d is not %d", r.Format, journalFormat)
	}
	var u undo
	switch r.Kind {
	case kindSetting:
		u = &settingUndo{}
	case kindReverse:
		u = &reverseUndo{}
	case kindCA:
		u = &caUndo{}
	case kindDisplay:
		u = &displayUndo{}
	case kindFile:
		u = &fileUndo{}
	case kindPermission:
		u = &permissionUndo{}
	case kindAppOp:
		u = &appOpUndo{}
	case kindApp:
		u = &appUndo{}
	case kindRestart:
		u = &restartUndo{}
	case kindVPNApp:
		u = &vpnAppUndo{}
	case kindFirewall:
		u = &firewallUndo{}
	default:
		return nil, fmt.Errorf("journal: read undo: unknown kind %q", r.Kind)
	}
	if err := json.Unmarshal(r.Undo, u); err != nil {
		return nil, fmt.Errorf("journal: read undo: %w", err)
	}
	return u, nil
}

// An unknownUndo stands for a change that another version of this program made.
// It never succeeds, so that the change is not forgotten.
type unknownUndo struct {
	change Change
	err    error
}

func (u *unknownUndo) kind() string         { return u.change.Kind }
func (u *unknownUndo) what() string         { return u.change.What }
func (u *unknownUndo) byHand(string) string { return u.change.ByHand }
func (u *unknownUndo) note() string         { return u.change.Note }

func (u *unknownUndo) revert(context.Context, *Device) error {
	return fmt.Errorf("undo %s: %w", u.change.What, u.err)
}
