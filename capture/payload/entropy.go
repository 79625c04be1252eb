package payload

import "math"

// Entropy is Shannon's entropy over the bytes of b, in bits per byte.
func Entropy(b []byte) float64 {
	if len(b) == 0 {
		return 0
	}
	var counts [256]int
	for _, c := range b {
		counts[c]++
	}
	var sum float64
	for _, n := range counts {
		if n > 0 {
			sum += float64(n) * math.Log2(float64(n))
		}
	}
	return max(math.Log2(float64(len(b)))-sum/float64(len(b)), 0)
}
