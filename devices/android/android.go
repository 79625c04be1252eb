// Package android reads what Android's own commands print: properties,
// packages, counters, sockets, focus, battery.
//
// Every reader is a pure function over text that a phone printed, which may be
// damaged or hostile: it never panics, keeps at most a bounded number of
// entries, and never turns "not said" into zero. A number that the text does
// not hold is a nil pointer, a missing entry is a false second value.
package android

import (
	"strconv"
	"strings"
)

// maxEntries bounds what a reader keeps of one text.
const maxEntries = 100_000

// number reads a decimal number, nil when s is none.
func number[T ~int | ~int64](s string) *T {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || int64(T(n)) != n {
		return nil
	}
	v := T(n)
	return &v
}
