package canary

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // Collectors hash with it; nothing here is protected by it.
	"crypto/sha1" //nolint:gosec // As above.
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A hashing is a function that collectors hash with.
type hashing struct {
	name string
	make func() hash.Hash
	// salted is true for those that are also tried with every salt. The others
	// are rare enough with none.
	salted bool
}

// hashings are the functions that are tried; the names are those of forms.
var hashings = []hashing{
	{"md5", md5.New, true},
	{"sha1", sha1.New, true},
	{"sha224", sha256.New224, false},
	{"sha256", sha256.New, true},
	{"sha384", sha512.New384, false},
	{"sha512", sha512.New, true},
	{"sha512/224", sha512.New512_224, false},
	{"sha512/256", sha512.New512_256, false},
	{"sha3-224", func() hash.Hash { return sha3.New224() }, false},
	{"sha3-256", func() hash.Hash { return sha3.New256() }, true},
	{"sha3-384", func() hash.Hash { return sha3.New384() }, false},
	{"sha3-512", func() hash.Hash { return sha3.New512() }, false},
}

// digestBytes is how much of a hash must be there, in bytes: what a truncated
// hash keeps at least, and what no traffic has by chance.
const digestBytes = 8

// maxSalted bounds the salted hashes of one finder, at some 40 bytes each: enough
// for a trial of twenty pairs over fifteen hours, with two terms in each window and
// fourteen identifiers. Terms of earlier days were searched with the salts of their
// own time, and are salted only as far as there is room for maxSaltedOld.
const (
	maxSalted    = 1 << 21
	maxSaltedOld = 1 << 18
)

// A spelling is one way to write a text before it is hashed, and how many
// characters of the canary it tells.
type spelling struct {
	text  string
	chars int
}

// spellings are the ways to write a minted term as a whole, the likeliest
// first, and its words.
func (t *term) spellings() []spelling {
	first, second := string(t.first), string(t.second)
	plain := first + " " + second
	var out []spelling
	for _, text := range []string{
		plain, first + second, first + "+" + second, first + "%20" + second, first + "_" + second, first + "-" + second, first + "." + second,
		strings.ToUpper(plain), string(title([]byte(plain))), string(title(t.first)) + " " + string(title(t.second)), strings.ToUpper(first + second),
		plain + "\n",
	} {
		out = append(out, spelling{text, t.length()})
	}
	return append(out, spelling{first, len(first)}, spelling{second, len(second)})
}

// typedSpellings are the ways to write what was really typed, where that is an
// address: whole, without its scheme, its last slash or its query, and its
// host. What does not hold the whole term is left out: it is not planted.
func (t *term) typedSpellings(typed string) []spelling {
	texts := []string{typed, strings.ToLower(typed), strings.ToUpper(typed)}
	if u, err := url.Parse(typed); err == nil && u.Host != "" {
		bare := u.Host + u.EscapedPath()
		texts = append(
			texts, strings.TrimSuffix(typed, "/"), strings.TrimSuffix(typed, "/")+"/", strings.TrimPrefix(typed, u.Scheme+"://"),
			bare, strings.TrimSuffix(bare, "/"), u.Scheme+"://"+bare, u.RequestURI(), u.EscapedPath(), u.Host, u.Hostname(),
		)
	}
	var out []spelling
	for _, text := range texts {
		lower := strings.ToLower(text)
		if strings.Contains(lower, string(t.first)) && strings.Contains(lower, string(t.second)) {
			out = append(out, spelling{text, t.length()})
		}
	}
	return out
}

// A hasher makes the digests of canaries.
type hasher struct {
	states []hash.Hash
	salts  []Salt
	// keyed has, for each salt, the functions keyed with it.
	keyed [][]keyedHash
	table *digests
	sum   []byte
}

type keyedHash struct {
	form  uint16
	state hash.Hash
}

func newHasher(table *digests, salts []Salt) *hasher {
	h := &hasher{table: table, salts: salts}
	for _, fn := range hashings {
		h.states = append(h.states, fn.make())
	}
	for _, s := range salts {
		var all []keyedHash
		for _, fn := range hashings {
			if fn.salted && s.Value != "" {
				all = append(all, keyedHash{table.form("hmac-"+fn.name+":"+s.Name, true), hmac.New(fn.make, []byte(s.Value))})
			}
		}
		h.keyed = append(h.keyed, all)
	}
	return h
}

// add enters a digest by its first eight bytes.
func (h *hasher) add(canary int32, form uint16, chars int, key []byte) {
	h.table.add(digest{key: binary.BigEndian.Uint64(key), canary: canary, form: form, chars: uint8(min(chars, 255))}) //nolint:gosec // Bounded here.
}

// plain enters the digests of the spellings without a salt.
func (h *hasher) plain(canary int32, spellings []spelling) {
	for n, s := range spellings {
		for i, fn := range hashings {
			state := h.states[i]
			state.Reset()
			state.Write([]byte(s.text))
			h.sum = state.Sum(h.sum[:0])
			h.add(canary, h.table.form(fn.name, false), s.chars, h.sum)
			if fn.name == "md5" {
				// The middle is what remains of an MD5 of sixteen digits in China, and
				// a name-based UUID (RFC 9562, version 3) is an MD5 with six bits set.
				h.add(canary, h.table.form("md5-middle", true), s.chars, h.sum[4:])
				id := slices.Clone(h.sum)
				id[6] = id[6]&0x0f | 0x30
				h.add(canary, h.table.form("md5-uuid", true), s.chars, id)
			}
			if n == 0 {
				h.add(canary, h.table.form(fn.name+"-end", true), s.chars, h.sum[len(h.sum)-digestBytes:])
			}
		}
	}
}

// separators stand between a salt and what is hashed with it.
var separators = []string{"", ":", "_"}

// saltedTexts is how many spellings are tried with salts, the likeliest first.
const saltedTexts = 2

// salted enters the digests of the likeliest spellings with every salt before
// and after, and keyed by it. It returns false, and enters nothing, where the
// table would have more than limit digests.
func (h *hasher) salted(canary int32, spellings []spelling, limit int) bool {
	spellings = spellings[:min(len(spellings), saltedTexts)]
	need := 0
	for _, keyed := range h.keyed {
		need += len(spellings) * len(keyed) * (1 + 2*len(separators))
	}
	if len(h.table.all)+need > limit {
		return false
	}
	var text []byte
	for _, s := range spellings {
		for n, salt := range h.salts {
			if salt.Value == "" {
				continue
			}
			for _, k := range h.keyed[n] {
				k.state.Reset()
				k.state.Write([]byte(s.text))
				h.sum = k.state.Sum(h.sum[:0])
				h.add(canary, k.form, s.chars, h.sum)
			}
			for i, fn := range hashings {
				if !fn.salted {
					continue
				}
				form := h.table.form(fn.name+":"+salt.Name, true)
				for _, between := range separators {
					for _, order := range [][2]string{{salt.Value, s.text}, {s.text, salt.Value}} {
						text = append(append(append(text[:0], order[0]...), between...), order[1]...)
						state := h.states[i]
						state.Reset()
						state.Write(text)
						h.sum = state.Sum(h.sum[:0])
						h.add(canary, form, s.chars, h.sum)
					}
				}
			}
		}
	}
	return true
}

// newestFirst orders canaries so that the hashes of the newest are salted
// first: an old one has been searched with its own hours before.
func newestFirst(canaries []Canary) []int {
	order := make([]int, len(canaries))
	for i := range order {
		order[i] = i
	}
	age := func(c Canary) time.Time {
		if c.Minted.IsZero() {
			return time.Unix(1<<40, 0) // an identifier is as new as the trial
		}
		return c.Minted
	}
	slices.SortStableFunc(order, func(a, b int) int { return age(canaries[b]).Compare(age(canaries[a])) })
	return order
}

// saltedLimits say how many digests there may be once a canary's are salted. The
// terms of one trial are minted within MaxHours.
func saltedLimits(canaries []Canary) func(Canary) int {
	var newest time.Time
	for _, c := range canaries {
		if c.Minted.After(newest) {
			newest = c.Minted
		}
	}
	return func(c Canary) int {
		if !c.Minted.IsZero() && newest.Sub(c.Minted) > MaxHours*time.Hour {
			return maxSaltedOld
		}
		return maxSalted
	}
}

// shadowed is true for a hit on a part of a hash of which the beginning was
// seen too.
func shadowed(h hit, all []hit) bool {
	name, ok := strings.CutSuffix(h.form, "-middle")
	if !ok {
		if name, ok = strings.CutSuffix(h.form, "-end"); !ok {
			return false
		}
	}
	const longest = 3 * sha512.Size // with a mark between bytes
	return slices.ContainsFunc(all, func(o hit) bool {
		return o.canary == h.canary && o.from < h.from && o.from+longest > h.from &&
			(o.form == name+"-hex" || o.form == name+"-raw" || o.form == name+"-base64")
	})
}

// rawForms are the bytes that a text of hex digits stands for, such as a UUID
// or a MAC address; nil for any other text.
func rawForms(bare string) []byte {
	if len(bare) < 12 || len(bare)%2 != 0 {
		return nil
	}
	raw, err := hex.DecodeString(bare)
	if err != nil || bytes.Count(raw, raw[:1]) == len(raw) {
		return nil
	}
	return raw
}
