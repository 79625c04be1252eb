package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/offproof/offproof/devices/adb"
)

const (
	kindFile = "file"
	// mostKept bounds what is kept of a file that is replaced: the journal holds it
	// in one of its lines.
	mostKept = 512 << 10
)

// PutFile is the change that writes a file of the phone. Its undo writes back
// what was there, which is kept on the host, or removes the file where there was
// none. A folder, a link and a file of more than 512 KB are not replaced.
type PutFile struct {
	Path    string // absolute
	Content []byte
	Mode    fs.FileMode
}

var _ Undoable = PutFile{}

// fileUndo is how a file was before.
type fileUndo struct {
	Path string `json:"path"`
	// There says that there was a file; Old and Mode are what it held.
	There bool        `json:"there"`
	Old   []byte      `json:"old,omitempty"`
	Mode  fs.FileMode `json:"mode,omitempty"`
}

func (p PutFile) prepare(ctx context.Context, d *Device) (undo, error) {
	if !path.IsAbs(p.Path) || path.Clean(p.Path) != p.Path || strings.ContainsAny(p.Path, "\x00\r\n") {
		return nil, fmt.Errorf("file %q: an absolute path without detours is wanted", p.Path)
	}
	u := &fileUndo{Path: p.Path}
	info, err := d.Stat(ctx, p.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return u, nil
	case err != nil:
		return nil, err
	case !info.Mode.IsRegular():
		return nil, fmt.Errorf("file %s: it is a folder, a link or a device: name another path", p.Path)
	case info.Size > mostKept:
		return nil, fmt.Errorf("file %s has %d bytes, and what is replaced is kept up to %d: move it away by hand, or name another path", p.Path, info.Size, mostKept)
	}
	u.There, u.Mode = true, info.Mode.Perm()
	u.Old, err = d.content(ctx, p.Path)
	return u, err
}

// content reads a file of the phone, as far as one can be kept.
func (d *Device) content(ctx context.Context, name string) ([]byte, error) {
	var b limited
	if err := d.Pull(ctx, name, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// limited is a buffer that takes mostKept bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > mostKept {
		return 0, fmt.Errorf("more than %d bytes", mostKept)
	}
	return l.Buffer.Write(p)
}

func (p PutFile) apply(ctx context.Context, d *Device, _ undo) error {
	return d.putFile(ctx, p.Path, p.Content, p.Mode)
}

// putFile writes a file and reads it back.
func (d *Device) putFile(ctx context.Context, name string, content []byte, mode fs.FileMode) error {
	if len(content) > mostKept {
		return fmt.Errorf("file %s: %d bytes are more than %d", name, len(content), mostKept)
	}
	if err := d.Push(ctx, bytes.NewReader(content), name, mode.Perm()); err != nil {
		return err
	}
	now, err := d.content(ctx, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, content) {
		return fmt.Errorf("read back %d bytes that differ from the %d that were written", len(now), len(content))
	}
	return nil
}

func (u *fileUndo) kind() string { return kindFile }
func (u *fileUndo) note() string { return "" }

func (u *fileUndo) what() string {
	if u.There {
		return fmt.Sprintf("file %s, it held %d bytes", u.Path, len(u.Old))
	}
	return fmt.Sprintf("file %s, it was not there", u.Path)
}

func (u *fileUndo) byHand(serial string) string {
	if u.There {
		return "write back the bytes that the journal keeps in old (base64), with `adb -s " + serial + " push`"
	}
	return adb.Quote("adb", "-s", serial, "shell", adb.Quote("rm", "-f", u.Path))
}

func (u *fileUndo) revert(ctx context.Context, d *Device) error {
	if err := u.restore(ctx, d); err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}

func (u *fileUndo) restore(ctx context.Context, d *Device) error {
	info, err := d.Stat(ctx, u.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return err
	case missing && !u.There:
		return nil
	case !missing && !info.Mode.IsRegular():
		return errors.New("something that is no file has taken its place: look at it by hand")
	case u.There:
		if !missing && info.Size == int64(len(u.Old)) {
			if now, err := d.content(ctx, u.Path); err == nil && bytes.Equal(now, u.Old) {
				return nil
			}
		}
		return d.putFile(ctx, u.Path, u.Old, u.Mode)
	}
	if _, err := d.Output(ctx, "rm", "-f", u.Path); err != nil {
		return err
	}
	if _, err := d.Stat(ctx, u.Path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("read back: it is still there"), err)
	}
	return nil
}
