package adbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxSyncPath = 1024
	syncChunk   = 64 << 10

	modeDir  = 0o040000
	modeLink = 0o120000
	modeType = 0o170000
)

// A syncer is the service sync: files in and out.
type syncer struct {
	files Files
	conn  io.ReadWriter
}

func (y *syncer) run() {
	var head [8]byte
	for {
		if _, err := io.ReadFull(y.conn, head[:]); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(head[4:])
		id := string(head[:4])
		if id == "QUIT" {
			return
		}
		if n > maxSyncPath {
			_ = y.fail("path too long") // the connection ends either way
			return
		}
		name := make([]byte, n)
		if _, err := io.ReadFull(y.conn, name); err != nil {
			return
		}
		var err error
		switch id {
		case "STAT":
			err = y.statV1(string(name))
		case "STA2", "LST2":
			err = y.statV2(id, string(name))
		case "LIST", "LIS2":
			err = y.list(id, string(name))
		case "RECV":
			err = y.recv(string(name))
		case "SEND":
			err = y.send(string(name))
		default:
			_ = y.fail("unknown command " + strconv.Quote(id)) // the connection ends either way
			return
		}
		if err != nil {
			return
		}
	}
}

func (y *syncer) write(parts ...any) error {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, p)
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, p)
		case []byte:
			b = append(b, p...)
		}
	}
	_, err := y.conn.Write(b)
	return err
}

func (y *syncer) fail(msg string) error {
	return y.write("FAIL", uint32(len(msg)), msg) //nolint:gosec // Short texts.
}

// reason is an errno's text as the C library has it.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return err.Error()
}

func seconds(t time.Time) uint64 {
	return uint64(max(t.Unix(), 0)) //nolint:gosec // Not negative.
}

func low32(n uint64) uint32 { return uint32(min(n, 0xffffffff)) } //nolint:gosec // Bounded.

func (y *syncer) statV1(name string) error {
	st, err := y.files.Lstat(name)
	if err != nil {
		return y.write("STAT", uint32(0), uint32(0), uint32(0))
	}
	return y.write("STAT", st.Mode, low32(uint64(max(st.Size, 0))), low32(seconds(st.Mtime))) //nolint:gosec // Not negative.
}

// body is the 68 bytes that describe a file in version 2.
func (st Stat) body(errno uint32) []any {
	when := seconds(st.Mtime)
	if errno != 0 {
		when = 0
	}
	links := uint32(1)
	if errno != 0 {
		links = 0
	}
	return []any{
		errno, uint64(0), st.Ino, st.Mode, links, st.UID, st.GID, uint64(max(st.Size, 0)), //nolint:gosec // Not negative.
		when, when, when,
	}
}

func (y *syncer) statV2(id, name string) error {
	stat := y.files.Lstat
	if id == "STA2" {
		stat = y.files.Stat
	}
	st, err := stat(name)
	number := uint32(0)
	if err != nil {
		st = Stat{}
		number = errnoOf(err)
	}
	return y.write(append([]any{id}, st.body(number)...)...)
}

func errnoOf(err error) uint32 {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return uint32(errno)
	}
	return uint32(syscall.EIO)
}

func (y *syncer) list(id, name string) error {
	entries, err := y.files.ReadDir(name)
	if err != nil {
		entries = nil // an unreadable directory is an empty one, as in adbd
	}
	for _, st := range entries {
		if id == "LIST" {
			err = y.write("DENT", st.Mode, low32(uint64(max(st.Size, 0))), low32(seconds(st.Mtime)), uint32(len(st.Name)), st.Name) //nolint:gosec // Not negative; short names.
		} else {
			parts := append([]any{"DNT2"}, st.body(0)...)
			err = y.write(append(parts, uint32(len(st.Name)), st.Name)...) //nolint:gosec // Short names.
		}
		if err != nil {
			return err
		}
	}
	size := 16
	if id == "LIS2" {
		size = 72
	}
	return y.write("DONE", make([]byte, size))
}

// chunker sends what is written to it as DATA chunks.
type chunker struct{ y *syncer }

func (c chunker) Write(b []byte) (int, error) {
	for off := 0; off < len(b); off += syncChunk {
		part := b[off:min(off+syncChunk, len(b))]
		if err := c.y.write("DATA", uint32(len(part)), part); err != nil { //nolint:gosec // At most 64 KiB.
			return off, err
		}
	}
	return len(b), nil
}

func (y *syncer) recv(name string) error {
	if st, err := y.files.Stat(name); err == nil && st.Mode&modeType == modeDir {
		return y.fail("read failed: Is a directory")
	}
	if err := y.files.Get(name, chunker{y}); err != nil {
		return y.fail("open failed: " + reason(err))
	}
	return y.write("DONE", uint32(0))
}

// incoming reads the DATA chunks of a SEND up to DONE.
type incoming struct {
	r     io.Reader
	left  uint32
	done  bool
	mtime uint32
}

func (in *incoming) Read(b []byte) (int, error) {
	for in.left == 0 {
		if in.done {
			return 0, io.EOF
		}
		var head [8]byte
		if _, err := io.ReadFull(in.r, head[:]); err != nil {
			return 0, unexpected(err)
		}
		n := binary.LittleEndian.Uint32(head[4:])
		switch string(head[:4]) {
		case "DONE":
			in.done, in.mtime = true, n
		case "DATA":
			if n > syncChunk {
				return 0, errors.New("oversize data message")
			}
			in.left = n
		default:
			return 0, fmt.Errorf("invalid data message %q", head[:4])
		}
	}
	n, err := in.r.Read(b[:min(uint32(len(b)), in.left)]) //nolint:gosec // Buffers are small.
	in.left -= uint32(n)                                  //nolint:gosec // At most 64 KiB.
	if err != nil {
		err = unexpected(err)
	}
	return n, err
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (y *syncer) send(spec string) error {
	i := strings.LastIndexByte(spec, ',')
	in := &incoming{r: y.conn}
	mode := uint64(0o644)
	name := spec
	if i >= 0 {
		name = spec[:i]
		m, err := strconv.ParseUint(spec[i+1:], 10, 32)
		if err != nil {
			return errors.Join(y.fail("bad mode"), err)
		}
		mode = m
	}
	var err error
	if mode&modeType == modeLink {
		var target []byte
		target, err = io.ReadAll(io.LimitReader(in, maxSyncPath))
		if err == nil {
			err = y.files.Symlink(strings.TrimRight(string(target), "\x00"), name)
		}
	} else {
		// The time comes after the data: the file gets it in a second step.
		err = y.files.Put(path.Clean(name), in, fs.FileMode(mode)&fs.ModePerm) //nolint:gosec // The sync protocol has 32 bits for it.
	}
	if err != nil {
		// Read to the end first: adb sends everything before it listens.
		if _, rerr := io.Copy(io.Discard, in); rerr != nil {
			return rerr
		}
		return y.fail("couldn't create file: " + reason(err))
	}
	if !in.done {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
	}
	if mode&modeType != modeLink {
		if err := y.files.Chtimes(path.Clean(name), time.Unix(int64(in.mtime), 0)); err != nil {
			return y.fail("couldn't set the time: " + reason(err))
		}
	}
	return y.write("OKAY", uint32(0))
}
