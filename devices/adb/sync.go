package adb

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// The sync protocol moves files in chunks of at most 64 KiB.
const (
	syncChunk   = 64 << 10
	maxSyncPath = 1024
	maxSyncFail = 64 << 10

	syncHead = 8
	// Sizes of the two kinds of answer to a stat.
	statV1Size = 16
	statV2Size = 72

	// The mode bits of a regular file and of a directory in Linux.
	linuxRegular = 0o100000
	linuxType    = 0o170000
	linuxDir     = 0o040000
	linuxSymlink = 0o120000
)

// A FileInfo is what the phone says of one path.
type FileInfo struct {
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
}

// openSync starts the file service of a phone.
func (c *Client) openSync(ctx context.Context, serial, path string) (*conn, error) {
	if path == "" || len(path) > maxSyncPath || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("adb: phone %s: use path %q: a path has 1 to %d bytes and no NUL", serial, shorten(path), maxSyncPath)
	}
	return c.service(ctx, serial, "sync:")
}

// Push writes r to a file of the phone, with its permission bits.
func (c *Client) Push(ctx context.Context, serial string, r io.Reader, path string, mode fs.FileMode) error {
	cn, err := c.openSync(ctx, serial, path)
	if err != nil {
		return err
	}
	defer func() { _ = cn.Close() }()
	if err := push(cn, r, path, mode, time.Now()); err != nil {
		return fmt.Errorf("adb: push %s: %w", path, syncError(serial, cn, err))
	}
	return nil
}

// push sends the file. A phone that refuses may do so in the middle and close,
// so its answer is looked for even when a write failed.
func push(rw io.ReadWriter, r io.Reader, path string, mode fs.FileMode, at time.Time) error {
	target := fmt.Sprintf("%s,%d", path, linuxRegular|uint32(mode.Perm()))
	_, sent := rw.Write(syncRequest("SEND", target))
	buf := make([]byte, syncHead+syncChunk)
	copy(buf, "DATA")
	for sent == nil {
		n, err := io.ReadFull(r, buf[syncHead:])
		if n > 0 {
			binary.LittleEndian.PutUint32(buf[4:], uint32(n)) //nolint:gosec // At most syncChunk.
			_, sent = rw.Write(buf[:syncHead+n])
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return &localError{err}
		}
	}
	if sent == nil {
		done := []byte("DONE\x00\x00\x00\x00")
		binary.LittleEndian.PutUint32(done[4:], uint32(at.Unix())) //nolint:gosec // Good until 2106, as the protocol is.
		_, sent = rw.Write(done)
	}
	id, n, err := readSyncHead(rw)
	switch {
	case err != nil && sent != nil:
		return sent
	case err != nil:
		return err
	case id == "OKAY":
		return sent
	case id == "FAIL":
		return readSyncFail(rw, n)
	}
	return &ProtocolError{Want: "OKAY or FAIL", Got: id}
}

// Pull copies a file of the phone to w.
func (c *Client) Pull(ctx context.Context, serial, path string, w io.Writer) error {
	cn, err := c.openSync(ctx, serial, path)
	if err != nil {
		return err
	}
	defer func() { _ = cn.Close() }()
	if _, err := cn.Write(syncRequest("RECV", path)); err != nil {
		return fmt.Errorf("adb: pull %s: %w", path, syncError(serial, cn, err))
	}
	if err := pull(bufio.NewReaderSize(cn, readBuffer), w); err != nil {
		return fmt.Errorf("adb: pull %s: %w", path, syncError(serial, cn, err))
	}
	return nil
}

// pull reads chunks until DONE: a stream that merely ends was cut.
func pull(r io.Reader, w io.Writer) error {
	local := &localWriter{w}
	for {
		id, n, err := readSyncHead(r)
		if err != nil {
			return err
		}
		switch id {
		case "DATA":
			if n > syncChunk {
				return &ProtocolError{Want: "a chunk of at most 64 KiB", Got: fmt.Sprintf("%d bytes", n)}
			}
			if err := copyExactly(local, r, int64(n)); err != nil {
				return err
			}
		case "DONE":
			return nil
		case "FAIL":
			return readSyncFail(r, n)
		default:
			return &ProtocolError{Want: "DATA, DONE or FAIL", Got: id}
		}
	}
}

// Stat describes a path of the phone, following symbolic links where the phone
// can. A path that is not there is fs.ErrNotExist.
func (c *Client) Stat(ctx context.Context, serial, path string) (FileInfo, error) {
	features, err := c.Features(ctx, serial)
	if err != nil {
		return FileInfo{}, err
	}
	cn, err := c.openSync(ctx, serial, path)
	if err != nil {
		return FileInfo{}, err
	}
	defer func() { _ = cn.Close() }()
	word, read := "STAT", readStatV1
	if slices.Contains(features, "stat_v2") {
		word, read = "STA2", readStatV2
	}
	if _, err := cn.Write(syncRequest(word, path)); err != nil {
		return FileInfo{}, fmt.Errorf("adb: stat %s: %w", path, syncError(serial, cn, err))
	}
	info, err := read(cn)
	if err != nil {
		return FileInfo{}, fmt.Errorf("adb: stat %s: %w", path, syncError(serial, cn, err))
	}
	return info, nil
}

func readStatV1(r io.Reader) (FileInfo, error) {
	var b [statV1Size]byte
	if err := copyFull(r, b[:]); err != nil {
		return FileInfo{}, err
	}
	if string(b[:4]) != "STAT" {
		return FileInfo{}, &ProtocolError{Want: "STAT", Got: string(b[:4])}
	}
	mode := binary.LittleEndian.Uint32(b[4:])
	if mode == 0 { // The only sign of an error that this version has.
		return FileInfo{}, fs.ErrNotExist
	}
	return FileInfo{
		Mode:    fileMode(mode),
		Size:    int64(binary.LittleEndian.Uint32(b[8:])),
		ModTime: time.Unix(int64(binary.LittleEndian.Uint32(b[12:])), 0),
	}, nil
}

func readStatV2(r io.Reader) (FileInfo, error) {
	var b [statV2Size]byte
	if err := copyFull(r, b[:]); err != nil {
		return FileInfo{}, err
	}
	if string(b[:4]) != "STA2" {
		return FileInfo{}, &ProtocolError{Want: "STA2", Got: string(b[:4])}
	}
	const noEntry, noAccess, notDir = 2, 13, 20 // errno values of Linux
	switch errno := binary.LittleEndian.Uint32(b[4:]); errno {
	case 0:
	case noEntry, notDir:
		return FileInfo{}, fs.ErrNotExist
	case noAccess:
		return FileInfo{}, fs.ErrPermission
	default:
		return FileInfo{}, &localError{fmt.Errorf("errno %d", errno)}
	}
	return FileInfo{
		Mode:    fileMode(binary.LittleEndian.Uint32(b[24:])),
		Size:    int64(min(binary.LittleEndian.Uint64(b[40:]), 1<<62)),   //nolint:gosec // Bounded by min.
		ModTime: time.Unix(int64(binary.LittleEndian.Uint64(b[56:])), 0), //nolint:gosec // A time before 1970 is negative.
	}, nil
}

// fileMode turns the kernel's bits into Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch mode & linuxType {
	case linuxRegular:
	case linuxDir:
		m |= fs.ModeDir
	case linuxSymlink:
		m |= fs.ModeSymlink
	default:
		m |= fs.ModeIrregular
	}
	return m
}

func syncRequest(id, text string) []byte {
	b := make([]byte, syncHead, syncHead+len(text))
	copy(b, id)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(text))) //nolint:gosec // At most maxSyncPath and a mode.
	return append(b, text...)
}

func readSyncHead(r io.Reader) (id string, n uint32, err error) {
	var b [syncHead]byte
	if err := copyFull(r, b[:]); err != nil {
		return "", 0, err
	}
	return string(b[:4]), binary.LittleEndian.Uint32(b[4:]), nil
}

// readSyncFail reads the phone's reason.
func readSyncFail(r io.Reader, n uint32) error {
	if n > maxSyncFail {
		return &ProtocolError{Want: "a reason of at most 64 KiB", Got: fmt.Sprintf("%d bytes", n)}
	}
	b := make([]byte, n)
	if err := copyFull(r, b); err != nil {
		return err
	}
	return &localError{refusal(string(b))}
}

// refusal maps the words of strerror to the standard errors.
func refusal(message string) error {
	message = oneLine(message)
	switch m := strings.ToLower(message); {
	case strings.Contains(m, "no such file"):
		return fmt.Errorf("%s: %w", message, fs.ErrNotExist)
	case strings.Contains(m, "permission denied"), strings.Contains(m, "read-only file system"):
		return fmt.Errorf("%s: %w", message, fs.ErrPermission)
	}
	return fmt.Errorf("refused: %s", message)
}

// A localError is an error that says nothing about the connection: a refusal by
// the phone, or the caller's own reader or writer.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// A localWriter marks the errors of the caller's writer as such.
type localWriter struct{ w io.Writer }

func (w *localWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		return n, &localError{err}
	}
	return n, nil
}

// syncError is lost, except for errors that say nothing about the connection.
func syncError(serial string, cn *conn, err error) error {
	var local *localError
	if errors.As(err, &local) {
		return local.err
	}
	return lost(serial, cn.wrap(err))
}
