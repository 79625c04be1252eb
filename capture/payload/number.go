package payload

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
)

// Ciphertext can be written as a list of whole numbers, each of which looks like
// any other number. What gives it away is that they spread over a wide range
// without any order; times, counters and ids of one list lie close together, and
// sizes are round.
const (
	// fewestWide is how many numbers a list must have, wideBits how many bits the
	// range that they spread over, and allBits how many they must hold together:
	// less cannot hold a block of a cipher.
	fewestWide = 4
	wideBits   = 28
	allBits    = 112
	// nearby is the part of the largest number within which all of them lie where
	// they are close together: a year, in milliseconds since 1970.
	nearby = 50
)

// scattered says whether the numbers of a list look random: then nobody knows what
// they say.
func scattered(list []*Node) bool {
	if len(list) < fewestWide {
		return false
	}
	numbers := make([]uint64, 0, len(list))
	round, largest := 0, uint64(0)
	for _, n := range list {
		x, err := strconv.ParseInt(string(n.Value), 10, 64)
		if err != nil {
			return false
		}
		size := uint64(max(x, -x)) //nolint:gosec // The one number without a positive is its own size.
		if size%1000 == 0 || size%1024 == 0 {
			round++
		}
		largest = max(largest, size)
		numbers = append(numbers, uint64(x)^(1<<63)) //nolint:gosec // Order is kept, and that is all that is asked.
	}
	if round > len(list)/2 || slices.IsSorted(numbers) || slices.IsSortedFunc(numbers, func(a, b uint64) int { return cmp.Compare(b, a) }) {
		return false
	}
	spread := slices.Clone(numbers)
	slices.Sort(spread)
	if len(slices.Compact(slices.Clone(spread))) < len(spread) {
		return false
	}
	if all := spread[len(spread)-1] - spread[0]; all < largest/nearby {
		return false // Times of some months, ids of one kind.
	}
	// A few far ones do not make a list wide: the middle half has to be.
	middle := spread[(len(spread)-1)*3/4] - spread[len(spread)/4]
	width := bits.Len64(middle) + 1
	return width >= wideBits && width*len(list) >= allBits
}
