package payload

import "math"

// Entropy is Shannon's entropy over the bytes of b, in bits per byte.
func Entropy(b []byte) float64 {
	if len(b) == 0 {
		return 0
	}
	var sum float64
	if len(b) < len(nLogN) {
		var counts [256]uint8
		for _, c := range b {
			counts[c]++
		}
		// Each byte adds its count's share once: the first time that it is met.
		for _, c := range b {
			sum += nLogN[counts[c]]
			counts[c] = 0
		}
	} else {
		var counts [256]int
		for _, c := range b {
			counts[c]++
		}
		for _, n := range counts {
			if n > 0 {
				sum += float64(n) * math.Log2(float64(n))
			}
		}
	}
	return max(math.Log2(float64(len(b)))-sum/float64(len(b)), 0)
}

// nLogN is n*log2(n) for short values, of which there are most.
var nLogN = func() (table [256]float64) {
	for n := 2; n < len(table); n++ {
		table[n] = float64(n) * math.Log2(float64(n))
	}
	return table
}()
