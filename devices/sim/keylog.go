package sim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// keyLog is where a phone's apps write the secrets of their TLS. They begin
// before the farm has its folder.
type keyLog struct {
	name string // of the file, in the farm's folder

	mu    sync.Mutex
	early []byte
	file  *os.File
}

func (k *keyLog) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		k.early = append(k.early, b...)
		return len(b), nil
	}
	n, err := k.file.Write(b)
	if err != nil {
		return n, fmt.Errorf("sim: log secrets: %w", err)
	}
	return n, nil
}

// open makes the file and writes what came before.
func (k *keyLog) open(dir string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, err := os.OpenFile(filepath.Join(dir, k.name), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // The farm's own folder, and a name of ours.
	if err != nil {
		return fmt.Errorf("sim: make key log: %w", err)
	}
	if _, err := f.Write(k.early); err != nil {
		return errors.Join(fmt.Errorf("sim: log secrets: %w", err), f.Close())
	}
	k.file, k.early = f, nil
	return nil
}

func (k *keyLog) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file == nil {
		return nil
	}
	if err := k.file.Close(); err != nil {
		return fmt.Errorf("sim: close key log: %w", err)
	}
	return nil
}

// secrets is where the phone's apps log theirs, nil for nowhere.
func (p *Phone) secrets() io.Writer {
	if p.keys == nil {
		return nil
	}
	return p.keys
}
