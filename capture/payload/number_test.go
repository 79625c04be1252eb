package payload_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// opaqueNumbers counts the opaque leaves of a JSON text.
func opaqueNumbers(t *testing.T, v any) (opaque, all int) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	for l := range payload.Leaves([]payload.Part{{Where: "body", Root: payload.Peel(b, "application/json")}}) {
		all++
		if l.Kind == payload.KindOpaque {
			opaque++
		}
	}
	return opaque, all
}

// Ciphertext in whole numbers is opaque; the lists that apps send are numbers.
func TestScatteredNumbers(t *testing.T) {
	t.Parallel()
	for name, list := range map[string]any{
		"times in milliseconds":    []int64{1588300000123, 1588300001456, 1588299999001, 1588300002999, 1588300000500},
		"times out of order, days": []int64{1588300000123, 1588386400456, 1588213599001, 1588472802999},
		"sizes in bytes":           []int64{5368709120, 1073741824, 63849472000, 8589934592},
		"sizes in thousands":       []int64{5368000000, 1073000000, 63849000000, 8589000000},
		"counters":                 []int64{1000000001, 1000000007, 1000000003, 1000000009},
		"growing":                  []int64{3, 70000, 5000000000, 900000000000000},
		"pixels":                   []int64{1080, 2340, 440, 9, 0},
		"one far number":           []int64{12, 15, 4000000000000, 18, 11, 9},
		"the same ids":             []int64{1588300000123, 9003000012345, 1588300000123, 9003000012345},
		"coordinates":              []float64{48.8583701, 2.2944813, 48.8606111, 2.337644},
		"three":                    []int64{1588300000123, 9003000012345, 1200300012345},
	} {
		if opaque, _ := opaqueNumbers(t, map[string]any{"list": list}); opaque > 0 {
			t.Errorf("%s: %d numbers are opaque", name, opaque)
		}
	}
	// Four random numbers stand in order once in twelve times, and in a narrow range
	// rarely.
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // A test must be repeatable.
	for _, c := range []struct{ numbers, bits, most int }{{4, 32, 340}, {8, 32, 10}, {8, 50, 10}, {16, 63, 0}} {
		missed := 0
		for range 2000 {
			list := make([]uint64, c.numbers)
			var raw [8]byte
			for i := range list {
				binary.LittleEndian.PutUint64(raw[:], r.Uint64())
				list[i] = binary.LittleEndian.Uint64(raw[:]) >> (64 - c.bits)
			}
			if opaque, all := opaqueNumbers(t, list); opaque < all {
				missed++
			}
		}
		t.Logf("%d random numbers of %d bits: %d of 2000 lists pass for numbers", c.numbers, c.bits, missed)
		if missed > c.most {
			t.Errorf("%d random numbers of %d bits: %d of 2000 lists pass for numbers", c.numbers, c.bits, missed)
		}
	}
}
