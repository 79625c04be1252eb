package packets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Read returns everything recorded so far. Trace.Packets names a copy beside
// the growing file (its name ends in .read.pcap) that holds whole records only
// and changes at no other time than during the next Read, which extends it. All
// packets before a recognised beacon are in it. Health.Dropped is nil as long as
// the stream goes on.
func (r *Recorder) Read(ctx context.Context) (capture.Trace, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.closed {
		return cloned(r.final), r.failure
	}
	if err := ctx.Err(); err != nil {
		return capture.Trace{}, fmt.Errorf("%s: read: %w", r.o.Name, err)
	}
	trace, size := r.trace()
	copyPath := r.copyPath()
	if err := r.extend(copyPath, size); err != nil {
		return trace, fmt.Errorf("%s: read: %w", r.o.Name, err)
	}
	trace.Packets = copyPath
	return trace, nil
}

// trace returns what is known now, and how many bytes of the file are whole
// records.
func (r *Recorder) trace() (capture.Trace, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.ended
	if end.IsZero() {
		end = time.Now()
	}
	t := capture.Trace{
		Backend: r.o.Name, Start: r.started, End: end, Packets: r.path, Inside: r.o.Via != "", Via: r.o.Via,
		Beacons: r.beacons, Health: r.health,
	}
	t.Health.Packets = r.split.records
	if r.o.OwnClock {
		t.Clock = r.clock.read()
		if r.clock.moved {
			t.Health.Problems = append(slices.Clone(t.Health.Problems), r.o.Name+": its clock moved while it recorded: keep it by NTP")
		}
	}
	return cloned(t), r.written
}

func cloned(t capture.Trace) capture.Trace {
	t.Beacons = slices.Clone(t.Beacons)
	t.Health.Problems = slices.Clone(t.Health.Problems)
	t.Health.Losses = slices.Clone(t.Health.Losses)
	if d := t.Health.Dropped; d != nil {
		n := *d
		t.Health.Dropped = &n
	}
	if c := t.Clock; c != nil {
		at := *c
		t.Clock = &at
	}
	return t
}

func (r *Recorder) copyPath() string {
	return strings.TrimSuffix(r.path, ".pcap") + ".read.pcap"
}

// extend brings the copy up to size. Only what is new is copied.
func (r *Recorder) extend(path string, size int64) (err error) {
	if size == r.copied && size > 0 {
		return nil
	}
	from, err := os.Open(r.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // it stands beside the file that create made
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	n, err := io.Copy(io.NewOffsetWriter(to, r.copied), io.NewSectionReader(from, r.copied, size-r.copied))
	r.copied += n
	return err
}

// Close calls stop, which makes the stream end, waits until it has, and returns
// the whole trace, whose file is then the original. What stop could not undo is
// in the error. Later calls answer the same.
func (r *Recorder) Close(stop func() error) (capture.Trace, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.closed {
		return cloned(r.final), r.failure
	}
	stopErr := stop()
	<-r.done

	fileErr := errors.Join(r.file.Sync(), r.file.Close())
	if fileErr != nil {
		fileErr = fmt.Errorf("%s: close file: %w", r.o.Name, fileErr)
		r.mu.Lock()
		r.health.Truncated = true
		r.mu.Unlock()
	}
	var linkErr error
	if r.copied > 0 {
		// The path that Read gave stays good, without the bytes kept twice.
		linkErr = r.replaceCopy()
	}
	r.final, _ = r.trace()
	r.failure = errors.Join(stopErr, fileErr, linkErr)
	r.closed = true
	return cloned(r.final), r.failure
}

func (r *Recorder) replaceCopy() error {
	tmp := r.copyPath() + ".new"
	if err := os.Link(r.path, tmp); err != nil {
		// A file system without hard links keeps the copy: nothing is lost.
		return nil //nolint:nilerr // the copy is still a true one
	}
	if err := os.Rename(tmp, r.copyPath()); err != nil {
		return errors.Join(fmt.Errorf("%s: replace copy: %w", r.o.Name, err), os.Remove(tmp))
	}
	return nil
}
