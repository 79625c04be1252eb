package canary

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// registerFormat is the version of the register's lines.
const registerFormat = 1

// maxRegisterLine bounds one line of a register, in bytes.
const maxRegisterLine = 1 << 16

type registerLine struct {
	Format int `json:"format"`
	Canary
}

// AppendRegister writes one line for each canary. Each line is one Write, so
// that a file opened for appending never holds two lines mixed.
func AppendRegister(w io.Writer, canaries ...Canary) error {
	for _, c := range canaries {
		line, err := json.Marshal(registerLine{Format: registerFormat, Canary: c})
		if err != nil {
			return fmt.Errorf("canary register: encode %s: %w", c.ID, err)
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("canary register: append %s: %w", c.ID, err)
		}
	}
	return nil
}

// ReadRegister returns every canary of a register. Canaries never expire, so
// a line that cannot be read is an error, with its number; the canaries of all
// other lines are returned with it. A last line that a crash cut short is such
// a line.
func ReadRegister(r io.Reader) ([]Canary, error) {
	var (
		canaries []Canary
		first    error
		number   int
	)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxRegisterLine)
	for lines.Scan() {
		number++
		if len(lines.Bytes()) == 0 {
			continue
		}
		var line registerLine
		err := json.Unmarshal(lines.Bytes(), &line)
		switch {
		case err != nil:
		case line.Format != registerFormat:
			err = fmt.Errorf("format is %d, want %d", line.Format, registerFormat)
		case line.Term == "":
			err = errNoTerm
		}
		if err != nil {
			if first == nil {
				first = fmt.Errorf("canary register: read line %d: %w", number, err)
			}
			continue
		}
		canaries = append(canaries, line.Canary)
	}
	if err := lines.Err(); err != nil && first == nil {
		first = fmt.Errorf("canary register: read after line %d: %w", number, err)
	}
	return canaries, first
}

var errNoTerm = errors.New("no term")
