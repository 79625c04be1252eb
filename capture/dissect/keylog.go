package dissect

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrKeyLog is the error for a file that is no key log.
var ErrKeyLog = errors.New("not a TLS key log")

const (
	// maxSecrets bounds the secrets of a key log: a week of one phone has some
	// hundred thousand.
	maxSecrets = 1 << 20
	// maxSecret bounds one secret, in bytes: those of TLS have at most 64.
	maxSecret = 64
)

// A KeyLog holds the secrets of TLS conversations, in the format that browsers
// and other programs write to SSLKEYLOGFILE (draft-ietf-tls-keylogfile): lines of
// a label, the client's random number and a secret, both in hexadecimal. It is
// safe for concurrent use once it has been read.
type KeyLog struct {
	// by the client's random number, then by label
	secrets map[[32]byte]map[string][]byte
	count   int
}

// Len is how many secrets there are.
func (k *KeyLog) Len() int {
	if k == nil {
		return 0
	}
	return k.count
}

// of is what is known of a conversation, nil for nothing.
func (k *KeyLog) of(random [32]byte) map[string][]byte {
	if k == nil {
		return nil
	}
	return k.secrets[random]
}

// ReadKeyLog reads a key log. Lines of labels that nobody here knows are kept,
// comments and blank lines are passed over, and a last line that is being written
// is no error. A text that has no secret and is not empty is ErrKeyLog.
func ReadKeyLog(r io.Reader) (*KeyLog, error) {
	k := &KeyLog{}
	return k, k.read(r)
}

func (k *KeyLog) read(r io.Reader) error {
	if k.secrets == nil {
		k.secrets = map[[32]byte]map[string][]byte{}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<10)
	odd, before := 0, k.count
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !k.line(line) && odd == 0 {
			odd = n
		}
		if k.count > maxSecrets {
			return fmt.Errorf("%w: it holds more than %d secrets: give the part that belongs to the capture", ErrKeyLog, maxSecrets)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%w: it has a line of more than 4 KiB", ErrKeyLog)
	case err != nil:
		return fmt.Errorf("dissect: read key log: %w", err)
	case odd > 0 && k.count == before:
		return fmt.Errorf("%w: line %d is not LABEL RANDOM SECRET, as SSLKEYLOGFILE has it", ErrKeyLog, odd)
	}
	return nil
}

func (k *KeyLog) line(line string) bool {
	part := strings.Fields(line)
	if len(part) != 3 || len(part[1]) != 64 || len(part[2]) == 0 || len(part[2]) > 2*maxSecret {
		return false
	}
	var random [32]byte
	if _, err := hex.Decode(random[:], []byte(part[1])); err != nil {
		return false
	}
	secret, err := hex.DecodeString(part[2])
	if err != nil {
		return false
	}
	if k.secrets[random] == nil {
		k.secrets[random] = map[string][]byte{}
	}
	k.secrets[random][part[0]] = secret
	k.count++
	return true
}
