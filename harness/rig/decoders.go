package rig

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/offproof/offproof/capture/telemetry"
)

// A Decoder is what farm.yaml says of a way to read what no decoder of ours can.
type Decoder struct {
	// Name goes into the evidence.
	Name string
	// Command is a program with its arguments; Keys the absolute path of a file of
	// AES keys. One of them is set.
	Command []string
	Keys    string
}

// decoderFile is the shape of one in farm.yaml.
type decoderFile struct {
	Name    yaml.Node `yaml:"name"`
	Command yaml.Node `yaml:"command"`
	Keys    yaml.Node `yaml:"keys"`
}

// decoders reads farm.yaml's list of them.
func (p *parser) decoders(list []decoderFile, f *Farm) {
	for i := range list {
		row := &list[i]
		d := Decoder{Name: p.text(&row.Name, "name")}
		if d.Name == "" {
			p.fail(&row.Name, "decoders: number %d has no name; the evidence names who read what", i+1)
		}
		if row.Command.Kind != 0 {
			if err := row.Command.Decode(&d.Command); err != nil || row.Command.Kind != yaml.SequenceNode || len(d.Command) == 0 {
				p.fail(&row.Command, "decoders: command of %q must be a list of a program and its arguments, such as [python3, decode.py]", d.Name)
				return
			}
			if strings.ContainsRune(d.Command[0], filepath.Separator) {
				d.Command[0] = p.absolute(d.Command[0])
			}
		}
		if k := p.text(&row.Keys, "keys"); k != "" {
			d.Keys = p.absolute(k)
		}
		if (len(d.Command) > 0) == (d.Keys != "") {
			p.fail(&row.Name, "decoders: %q needs a command or a file of keys, and not both", d.Name)
		}
		f.Decoders = append(f.Decoders, d)
	}
}

// maxKeys bounds the keys of one file: each is tried on everything sealed.
const maxKeys = 1000

// openDecoders makes the farm's decoders ready. Keys are read when the rig is put
// together, so that a mistake in them is found before a phone is leased.
func (f *Farm) openDecoders() ([]telemetry.Decoder, error) {
	var out []telemetry.Decoder
	for _, d := range f.Decoders {
		if d.Keys == "" {
			out = append(out, telemetry.Program{Label: d.Name, Command: d.Command})
			continue
		}
		text, err := os.ReadFile(d.Keys)
		if err != nil {
			return nil, fmt.Errorf("rig: read the keys of decoder %q in %s: %w", d.Name, f.Path, err)
		}
		keys, err := readKeys(text)
		if err != nil {
			return nil, fmt.Errorf("rig: read the keys of decoder %q in %s: %s: %w", d.Name, f.Path, d.Keys, err)
		}
		one, err := telemetry.NewKeys(d.Name, keys...)
		if err != nil {
			return nil, fmt.Errorf("rig: decoder %q in %s: %w", d.Name, f.Path, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// readKeys reads a key of hex digits from each line; a line may be empty or begin
// with #. An error names the line and never shows what it holds.
func readKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	sc := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := hex.DecodeString(line)
		if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
			return nil, fmt.Errorf("line %d is no key of 32, 48 or 64 hex digits", n)
		}
		if keys = append(keys, key); len(keys) > maxKeys {
			return nil, fmt.Errorf("it holds more than %d keys", maxKeys)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("a line is too long to be a key: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("it holds no key")
	}
	return keys, nil
}
