package harness

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/offproof/offproof/capture/payload"
)

// Numbers count up and tell times, so one that differs from the negative control's
// says nothing by itself. Many that differ much can hold what nobody can read, as
// well as a value of random bytes can.
const hiddenBits = 128 // as many make a value opaque

// A numberPlace is where a message holds a number.
type numberPlace struct{ sender, host, path, where, step string }

// numbersOf are the numbers in a message that no rule explains.
func (v *view) numbersOf(m *message) map[numberPlace][]*big.Float {
	out := map[numberPlace][]*big.Float{}
	for j, c := range v.classify(m) {
		l := m.leaves[j]
		if c != ClassNotUnderstood || l.Kind != payload.KindNumber {
			continue
		}
		if n, _, err := big.ParseFloat(string(l.Value), 10, 80, big.ToNearestEven); err == nil {
			place := numberPlace{m.flow.sender.String(), m.host, m.path, l.Where, anyPlace(l.Path)}
			out[place] = append(out[place], n)
		}
	}
	return out
}

// hiddenNumbers lists the messages of an observation whose numbers are as far from
// the control's as to hold what nobody can read.
func (v *view) hiddenNumbers(in func(m *message, o *Observation) bool, o, control *Observation) []string {
	known := map[numberPlace][]*big.Float{}
	for i := range v.messages {
		if m := &v.messages[i]; in(m, control) {
			for place, list := range v.numbersOf(m) {
				known[place] = append(known[place], list...)
			}
		}
	}
	var out []string
	for i := range v.messages {
		m := &v.messages[i]
		if !in(m, o) {
			continue
		}
		bits := 0.0
		for place, list := range v.numbersOf(m) {
			near := append(slices.Clip(known[place]), timesAs(m.from)...)
			for _, n := range list {
				bits += bitsBetween(n, near)
			}
		}
		if bits >= hiddenBits {
			out = append(out, fmt.Sprintf("%s%s, numbers that are %.0f bits away from what the control shows", m.host, m.path, bits))
		}
	}
	return out
}

// timesAs is a moment as numbers tell it.
func timesAs(at time.Time) []*big.Float {
	var out []*big.Float
	for _, n := range []int64{0, at.Unix(), at.UnixMilli(), at.UnixMicro(), at.UnixNano()} {
		out = append(out, new(big.Float).SetInt64(n))
	}
	return out
}

// bitsBetween is how many bits tell a number from the nearest of some others. What
// stands behind the point counts as far as a thousandth.
func bitsBetween(n *big.Float, near []*big.Float) float64 {
	least := math.Inf(1)
	for _, x := range near {
		d, _ := new(big.Float).Abs(new(big.Float).Sub(n, x)).Float64()
		if !n.IsInt() {
			d *= 1000
		}
		least = min(least, math.Log2(1+d))
	}
	return min(least, 64)
}
