package canary

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/adler32"
	"hash/crc32"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"

	"github.com/offproof/offproof/capture/payload"
)

// A Lead is a value of 32 bits, or six bytes of a MAC address, that a canary
// may have been turned into. So short a value turns up by chance: a lead says
// where to look, and is never a sighting.
type Lead struct {
	Canary Canary
	Where  string
	Path   string
	// Form is "crc32", "crc32c", "adler32", "java-hash", "fnv32", "fnv32a" or "raw".
	Form string
	// Value is the value as it was sent, quoted where it is no printable text.
	Value string
}

// leads is the table of one finder, made when it is first asked for.
type leads struct {
	once   sync.Once
	values map[uint64][]lead
}

type lead struct {
	canary int32
	form   string
}

// maxLeads bounds what one Leads returns.
const maxLeads = 1000

// Lengths of values that are leads, in bytes.
const (
	leadBytes = 4
	macBytes  = 6
)

// shortHashes are the checksums that are used as hashes. javaHash is
// String.hashCode of Java (its documentation gives the formula).
var shortHashes = []struct {
	name string
	sum  func(string) uint32
}{
	{"crc32", func(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }},
	{"crc32c", func(s string) uint32 { return crc32.Checksum([]byte(s), castagnoli) }},
	{"adler32", func(s string) uint32 { return adler32.Checksum([]byte(s)) }},
	{"java-hash", javaHash},
	{"fnv32", func(s string) uint32 {
		h := fnv.New32()
		h.Write([]byte(s))
		return h.Sum32()
	}},
	{"fnv32a", func(s string) uint32 {
		h := fnv.New32a()
		h.Write([]byte(s))
		return h.Sum32()
	}},
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func javaHash(s string) uint32 {
	var h uint32
	for _, u := range utf16.Encode([]rune(s)) {
		h = 31*h + uint32(u)
	}
	return h
}

func (f *Finder) leadTable() map[uint64][]lead {
	f.leads.once.Do(func() {
		f.leads.values = map[uint64][]lead{}
		for i, c := range f.canaries {
			at := int32(i) //nolint:gosec // Memory bounds the number of canaries far below.
			spellings := hashedForms(c.Term)
			if t := &f.terms[i]; len(t.first) > 0 {
				// Few, because every value more is found by chance more often.
				spellings = t.spellings()[:3]
				if c.Typed != "" {
					spellings = append(spellings, spelling{c.Typed, t.length()})
				}
			}
			for _, s := range spellings {
				for _, fn := range shortHashes {
					key := leadKey(leadBytes, uint64(fn.sum(s.text)))
					f.leads.values[key] = append(f.leads.values[key], lead{at, fn.name})
				}
			}
			if raw := rawForms(withoutMarks(c.Term)); len(raw) == macBytes {
				key := leadKey(macBytes, binary.BigEndian.Uint64(append([]byte{0, 0}, raw...)))
				f.leads.values[key] = append(f.leads.values[key], lead{at, Raw})
			}
		}
	})
	return f.leads.values
}

func leadKey(size int, value uint64) uint64 { return uint64(size)<<56 | value } //nolint:gosec // 4 or 6.

// Leads returns the values that are as a whole a short hash of a canary:
// decimal numbers, signed or not, eight hex digits, four bytes in either order,
// also in base64; and the six bytes of a MAC address. chance is how many leads
// are to be expected if every value were drawn blindly. Leads of
// shams are among them, and show what the others are worth.
func (f *Finder) Leads(parts []payload.Part) (found []Lead, chance float64) {
	table := f.leadTable()
	if len(table) == 0 {
		return nil, 0
	}
	above := map[lead]string{} // the paths at which a value was seen already
	for node := range payload.Walk(parts) {
		for _, key := range leadKeys(node.Value) {
			chance += float64(len(table)) / (1 << 32)
			for _, l := range table[key] {
				path := node.Where + " " + node.Path
				if old, ok := above[l]; ok && strings.HasPrefix(path, old) || len(found) >= maxLeads {
					continue // the same value, decoded
				}
				above[l] = path
				value := string(node.Value)
				if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
					value = strconv.QuoteToASCII(value)
				}
				found = append(found, Lead{Canary: f.canaries[l.canary], Where: node.Where, Path: node.Path, Form: l.form, Value: value})
			}
		}
	}
	return found, chance
}

// leadKeys are the values of 32 or 48 bits that a whole leaf may stand for.
func leadKeys(b []byte) []uint64 {
	const longest = 16
	if len(b) < leadBytes || len(b) > longest {
		return shortNumber(b)
	}
	keys := shortNumber(b)
	raw := func(b []byte) {
		switch len(b) {
		case leadBytes:
			keys = append(keys, leadKey(leadBytes, uint64(binary.BigEndian.Uint32(b))), leadKey(leadBytes, uint64(binary.LittleEndian.Uint32(b))))
		case macBytes:
			keys = append(keys, leadKey(macBytes, binary.BigEndian.Uint64(append([]byte{0, 0}, b...))))
		}
	}
	raw(b)
	if text := strings.TrimPrefix(strings.ToLower(string(b)), "0x"); len(text) == 2*leadBytes || len(text) == 2*macBytes {
		if v, err := hex.DecodeString(text); err == nil {
			raw(v)
		}
	}
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(b), "="))
	if v, err := base64.RawStdEncoding.DecodeString(text); err == nil && len(b) != leadBytes {
		raw(v)
	}
	return keys
}

// shortNumber reads a decimal number of at most 32 bits. Numbers of fewer than
// five digits are counts and versions.
func shortNumber(b []byte) []uint64 {
	const fewest, most = 5, 11
	if len(b) < fewest || len(b) > most {
		return nil
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < -1<<31 || n >= 1<<32 {
		return nil
	}
	return []uint64{leadKey(leadBytes, uint64(uint32(n)))} //nolint:gosec // The two's complement is meant.
}
