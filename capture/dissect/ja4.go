package dissect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// ja4 is the JA4 fingerprint of a ClientHello: what kind of TLS client it is,
// regardless of the order in which it names its ciphers and extensions.
func ja4(h *hello, transport byte) string {
	var ciphers, extensions, signatures []string
	count := 0
	name := byte('i')
	for _, c := range h.ciphers {
		if !grease(c) {
			ciphers = append(ciphers, fmt.Sprintf("%04x", c))
		}
	}
	for _, x := range h.extensions {
		if grease(x) {
			continue
		}
		count++
		switch x {
		case 0:
			name = 'd'
		case 16:
		default:
			extensions = append(extensions, fmt.Sprintf("%04x", x))
		}
	}
	for _, s := range h.signatures {
		if !grease(s) {
			signatures = append(signatures, fmt.Sprintf("%04x", s))
		}
	}
	slices.Sort(ciphers)
	slices.Sort(extensions)
	tail := strings.Join(extensions, ",")
	if len(signatures) > 0 {
		tail += "_" + strings.Join(signatures, ",")
	}
	if len(extensions) == 0 {
		tail = ""
	}
	return fmt.Sprintf("%c%s%c%02d%02d%s_%s_%s", transport, ja4Version(h), name,
		min(len(ciphers), 99), min(count, 99), ja4Protocol(h.protocols), ja4Hash(strings.Join(ciphers, ",")), ja4Hash(tail))
}

// ja4Version is the highest version that the client offers.
func ja4Version(h *hello) string {
	best := uint16(0)
	for _, v := range h.versions {
		if !grease(v) {
			best = max(best, v)
		}
	}
	if best == 0 {
		best = h.version
	}
	switch best {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	}
	return "00"
}

// ja4Protocol is the first and the last character of the first protocol.
func ja4Protocol(all []string) string {
	if len(all) == 0 || all[0] == "" {
		return "00"
	}
	first, last := all[0][0], all[0][len(all[0])-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		digits := hex.EncodeToString([]byte(all[0]))
		first, last = digits[0], digits[len(digits)-1]
	}
	return string([]byte{first, last})
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func ja4Hash(s string) string {
	if s == "" {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// grease says whether a number is one of those that clients send so that
// servers go on tolerating unknown ones.
func grease(n uint16) bool { return n&0x0f0f == 0x0a0a && n>>8 == n&0xff }
