package canary

import "bytes"

// A byte-wise XOR by one key leaves the differences of neighbours as they are,
// so one search for differences finds a text under each of 255 keys.

// shortestXOR is how many bytes a text that is no minted term must have: the
// differences of digits tell little.
const shortestXOR = 10

// xorPatterns returns the patterns of a term. They begin at its second letter,
// because the first one may be a capital.
func (t *term) xorPatterns(canary int32) []pattern {
	return []pattern{{
		kind: kindXORTerm, form: XOR, canary: canary, head: 1, key: bytes.Join([][]byte{t.first, t.second}, []byte(" ")),
	}}
}

func literalXOR(text []byte, canary int32, chars int) []pattern {
	if len(text) < shortestXOR {
		return nil
	}
	return []pattern{{
		kind: kindXORLiteral, form: XOR, canary: canary, key: text, chars: uint8(min(chars, 255)), //nolint:gosec // Bounded here.
	}}
}

// xorTerm reads a term under one key, of which b[i] is the second letter.
func (p *pattern) xorTerm(t *term, b []byte, i int) (hit, bool) {
	if i == 0 {
		return hit{}, false
	}
	i--
	key := b[i+1] ^ t.first[1]
	if key&^0x20 == 0 {
		return hit{}, false // The text itself, in one case or the other.
	}
	var clear [64]byte
	n := min(len(b)-i, len(clear))
	for k := range n {
		clear[k] = b[i+k] ^ key
	}
	h, ok := p.both(clear[:n], 0, t.first, t.second)
	h.from, h.to = i, i+h.to
	return h, ok
}

// xorLiteral reads a text under one key.
func (p *pattern) xorLiteral(b []byte, i int) (hit, bool) {
	key := b[i] ^ p.key[0]
	if len(b)-i < len(p.key) || key&^0x20 == 0 && matching(b[i:], p.key) == len(p.key) {
		return hit{}, false // The text itself, in one case or the other.
	}
	for k, c := range p.key {
		if b[i+k]^key != c {
			return hit{}, false
		}
	}
	return hit{form: p.form, chars: int(p.chars), from: i, to: i + len(p.key)}, true
}
