// Package evidence keeps the files of a run so that a sceptic can check them
// again: it writes them into a directory of their own, seals the directory
// with the hash of every file, verifies the seal, and reads a trial back.
//
// A run directory holds plan.json (written before the first arm), finding.json,
// observations/, steps/ (screenshots), flows.json, owners.json, proxy.har,
// tcpdump.pcapng beside the raw recording, log.jsonl, provenance.json and
// SHA256SUMS, which `sha256sum -c` understands.
package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/harness"
)

// sums is the name of the seal.
const sums = "SHA256SUMS"

// ErrSeal is returned by Verify for a directory whose files are not those that
// were sealed.
var ErrSeal = errors.New("the seal is broken")

// A Run is one run directory while it is written.
type Run struct {
	dir     string
	started time.Time
	log     *os.File
}

var _ harness.Recorder = (*Run)(nil)

// Create makes a new directory below root, named by time and label, that only
// its owner may enter. The label is cleaned of anything but letters, digits,
// dots and dashes.
func Create(root, label string, now time.Time) (*Run, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("evidence: create run: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("evidence: create run: %w (set evidence: in farm.yaml to a folder that can be written)", err)
	}
	stem := now.UTC().Format("20060102T150405.000Z") + "-" + clean(label)
	for i := range 1000 {
		dir := filepath.Join(abs, stem)
		if i > 0 {
			dir += fmt.Sprintf("-%d", i)
		}
		switch err := os.Mkdir(dir, 0o700); {
		case err == nil:
			log, err := os.OpenFile(filepath.Join(dir, "log.jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // The name is made here.
			if err != nil {
				return nil, fmt.Errorf("evidence: create log: %w", err)
			}
			return &Run{dir: dir, started: now, log: log}, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, fmt.Errorf("evidence: create run: %w", err)
		}
	}
	return nil, fmt.Errorf("evidence: create run: too many runs named %s", stem)
}

func clean(label string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		default:
			return '-'
		}
	}, label)
	return out[:min(len(out), 100)]
}

// Dir is the run directory.
func (r *Run) Dir() string { return r.dir }

// Log is where the run's log goes.
func (r *Run) Log() io.Writer { return r.log }

// Save writes v as indented JSON.
func (r *Run) Save(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("evidence: save %s: %w", name, err)
	}
	return r.Write(name, append(b, '\n'))
}

// Write writes a file below the run directory; a name that leads out of it is
// an error.
func (r *Run) Write(name string, data []byte) error {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		return fmt.Errorf("evidence: write %q: the name leads out of the run directory", name)
	}
	path := filepath.Join(r.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("evidence: write %s: %w", name, err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("evidence: write %s: %w", name, err)
	}
	return nil
}

// Provenance says what made the evidence.
type Provenance struct {
	Format   int       `json:"format"`
	Program  string    `json:"program"`
	Version  string    `json:"version"`
	Go       string    `json:"go"`
	Platform string    `json:"platform"`
	Started  time.Time `json:"started"`
	Sealed   time.Time `json:"sealed"`
	// Rules is the version of the reviewed rules.
	Rules string `json:"rules"`
	// Modules are the exact versions of everything that was linked in.
	Modules map[string]string `json:"modules,omitempty"`
	// Facts are what the caller adds: the phone, the farm, the collector list.
	Facts map[string]any `json:"facts,omitempty"`
}

// Seal closes the log, writes provenance.json, and then the hash of every file
// in the directory.
func (r *Run) Seal(facts map[string]any, now time.Time) error {
	p := Provenance{
		Format: 1, Program: "offproof", Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Started: r.started, Sealed: now, Rules: harness.RulesVersion, Facts: facts, Modules: map[string]string{},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		p.Version = info.Main.Version
		for _, m := range info.Deps {
			p.Modules[m.Path] = m.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				p.Version += " " + s.Value
			}
		}
	}
	if err := r.Save("provenance.json", p); err != nil {
		return err
	}
	if err := r.log.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("evidence: close log: %w", err)
	}
	names, err := files(r.dir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range names {
		sum, err := hashFile(filepath.Join(r.dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	return r.Write(sums, b.Bytes())
}

// files lists the files below dir, slash-separated, sorted, the seal left out.
func files(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return fmt.Errorf("evidence: list %s: %w", dir, err)
		}
		if d.Type().IsRegular() && rel != sums {
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("evidence: list %s: %w", dir, err)
	}
	slices.Sort(out)
	return out, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // The path was found below the run directory.
	if err != nil {
		return "", fmt.Errorf("evidence: hash: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("evidence: hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Verify checks a sealed directory: every file is there, unchanged, and none
// was added. The error wraps ErrSeal and names what differs.
func Verify(dir string) error {
	seal, err := os.ReadFile(filepath.Join(dir, sums)) //nolint:gosec // The caller names the directory.
	if err != nil {
		return fmt.Errorf("evidence: verify %s: %w: it holds no %s", dir, ErrSeal, sums)
	}
	want := map[string]string{}
	sc := bufio.NewScanner(bytes.NewReader(seal))
	for sc.Scan() {
		sum, name, ok := strings.Cut(sc.Text(), "  ")
		if !ok || !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("evidence: verify %s: %w: line %q is malformed", dir, ErrSeal, sc.Text())
		}
		want[name] = sum
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("evidence: verify %s: %w", dir, err)
	}
	names, err := files(dir)
	if err != nil {
		return err
	}
	var wrong []string
	for _, name := range names {
		sum, known := want[name]
		delete(want, name)
		if !known {
			wrong = append(wrong, name+" was added")
			continue
		}
		got, err := hashFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if got != sum {
			wrong = append(wrong, name+" was changed")
		}
	}
	for name := range want {
		wrong = append(wrong, name+" is missing")
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return fmt.Errorf("evidence: verify %s: %w: %s", dir, ErrSeal, strings.Join(wrong, "; "))
	}
	return nil
}

// ReadTrial reads the trial of a run directory back, with its observations.
func ReadTrial(dir string) (harness.Trial, error) {
	var t harness.Trial
	b, err := os.ReadFile(filepath.Join(dir, "finding.json")) //nolint:gosec // The caller names the directory.
	if err != nil {
		return t, fmt.Errorf("evidence: read trial: %w", err)
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("evidence: read trial in %s: %w", dir, err)
	}
	return t, nil
}

// ReadObservation reads the observation of a run directory that holds a single
// one. A directory whose files are not those that were sealed is an ErrSeal.
func ReadObservation(dir string) (harness.Observation, error) {
	var o harness.Observation
	if err := Verify(dir); err != nil {
		return o, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "observations", "*.json"))
	if err != nil || len(found) != 1 {
		return o, fmt.Errorf("evidence: read observation in %s: it holds %d observations, and one is wanted: name the directory of `offproof observe --arm on`", dir, len(found))
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		return o, fmt.Errorf("evidence: read observation: %w", err)
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("evidence: read observation in %s: %w", dir, err)
	}
	return o, nil
}
