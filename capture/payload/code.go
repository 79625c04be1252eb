package payload

import (
	"net/netip"
)

// The hex digits from which a run is a code: shorter ones are dates, colours
// and short commit names.
const (
	tokenHex  = 12
	gluedHex  = 16
	opaqueHex = 32
)

// codeRuns finds UUIDs, runs of hex digits (also in groups) and long decimal
// numbers, in order and apart.
func codeRuns(b []byte) []piece {
	var found []piece
	for i := 0; i < len(b); {
		if !isHex(b[i]) {
			i++
			continue
		}
		if isUUID(b[i:]) && (i == 0 || !isAlnum(b[i-1])) && (i+36 == len(b) || !isAlnum(b[i+36])) {
			found = append(found, piece{stretch{i, i + 36}, KindToken, false, true})
			i += 36
			continue
		}
		q, next := hexRun(b, i)
		if q.kind != KindUnknown {
			found = append(found, q)
		}
		i = next
	}
	return found
}

// hexRun reads the run of hex digits that begins at i, and returns where to
// go on.
func hexRun(b []byte, i int) (piece, int) {
	end := i
	for end < len(b) && isHex(b[end]) {
		end++
	}
	bounded := (i == 0 || !isAlnum(b[i-1])) && (end == len(b) || !isAlnum(b[end]))
	digits, letters, changes := countHex(b[i:end])
	switch {
	case letters == 0 && digits > maxDigits:
		return piece{stretch: stretch{i, end}, kind: kindOfDigits(digits)}, end
	case letters == 0 || digits == 0:
	case bounded && end-i >= tokenHex && !isNumber(b[i:end]), end-i >= gluedHex && changes >= 4:
		kind := KindToken
		if end-i >= opaqueHex {
			kind = KindOpaque
		}
		return piece{stretch{i, end}, kind, decodesToText(b[i:end]), false}, end
	}
	// Groups, as of a hardware address, a fingerprint or a hex dump.
	mark, size := byte(0), end-i
	if end < len(b) {
		mark = b[end]
	}
	if !isGroupMark(mark) || size < 2 || i > 0 && isAlnum(b[i-1]) {
		return piece{}, end
	}
	total, mixed, last := 0, 0, i
	for at := i; ; {
		stop := at
		for stop < len(b) && isHex(b[stop]) {
			stop++
		}
		if stop == at || stop-at != size && (stop-at < 2 || mark == ' ' || mark == '.') ||
			stop < len(b) && isAlnum(b[stop]) || at > i && stop-at >= tokenHex {
			break
		}
		if d, l, _ := countHex(b[at:stop]); d > 0 && l > 0 {
			mixed++
		}
		total += stop - at
		last = stop
		if stop == len(b) || b[stop] != mark {
			break
		}
		at = stop + 1
	}
	if total < tokenHex || mixed == 0 || mixed*6 < total/size {
		return piece{}, max(end, last)
	}
	if mark == ':' && size == 4 {
		if _, err := netip.ParseAddr(string(b[i:last])); err == nil {
			return piece{}, last
		}
	}
	kind := KindToken
	if total >= opaqueHex {
		kind = KindOpaque
	}
	return piece{stretch: stretch{i, last}, kind: kind}, last
}

func isGroupMark(c byte) bool { return c == '-' || c == ':' || c == '.' || c == ' ' || c == '_' }

func countHex(b []byte) (digits, letters, changes int) {
	before := false
	for i, c := range b {
		letter := c > '9'
		if letter {
			letters++
		} else {
			digits++
		}
		if i > 0 && letter != before {
			changes++
		}
		before = letter
	}
	return digits, letters, changes
}

func isHex(c byte) bool { return hexBytes[c] }

// hexBytes is a table, because codeRuns asks it of every byte of every text.
var hexBytes = func() (is [256]bool) {
	for _, c := range []byte("0123456789abcdefABCDEF") {
		is[c] = true
	}
	return is
}()

// isUUID is true when b begins with the 8-4-4-4-12 form.
func isUUID(b []byte) bool {
	if len(b) < 36 {
		return false
	}
	for i, c := range b[:36] {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}
