package payload_test

import (
	"sync"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// Bodies are peeled as they arrive, by several goroutines that share the decoders
// in reserve: each sees what it would see alone.
func TestPeelFromSeveralGoroutines(t *testing.T) {
	t.Parallel()
	var bodies [][]byte
	var alone []string
	for _, d := range disguises {
		b := d.wrap(t, []byte(sentence))
		bodies, alone = append(bodies, b), append(alone, tree(payload.Peel(b, "")))
	}
	var group sync.WaitGroup
	for from := range 4 {
		group.Go(func() {
			for i := range bodies {
				// Each begins elsewhere, so that different formats are open at once.
				at := (i + from*len(bodies)/4) % len(bodies)
				if got := tree(payload.Peel(bodies[at], "")); got != alone[at] {
					t.Errorf("%s, beside others:\n%s\nalone:\n%s", disguises[at].name, got, alone[at])
				}
			}
		})
	}
	group.Wait()
}
