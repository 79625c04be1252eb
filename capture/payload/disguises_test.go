// Nothing here has two goroutines meet, and the race detector would make minutes
// of it: TestPeelFromSeveralGoroutines is what it runs instead.

//go:build !race

package payload_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// notTogether are pairs that lose the term by themselves, not by our reading.
func notTogether(inner, outer disguise) bool {
	return outer.text && inner.binary ||
		outer.name == "upper case" || // of an encoding is another text
		// A letter before base32 does not show where it begins.
		inner.name == "base32" && outer.name == "base64, one byte on"
}

// Every disguise is also seen through every other.
func TestDisguisesOfDisguises(t *testing.T) {
	tried := 0
	var missed []string
	for _, inner := range disguises {
		for _, outer := range disguises {
			if notTogether(inner, outer) {
				continue
			}
			tried++
			wrapped := outer.wrap(t, inner.wrap(t, []byte(sentence)))
			root := payload.Peel(wrapped, "")
			switch got, ok := holder(root); {
			case !ok:
				missed = append(missed, inner.name+" in "+outer.name+"\n"+tree(root))
			case inner.path != "" && !strings.HasSuffix(got, inner.path):
				t.Logf("%s in %s is at %q", inner.name, outer.name, got)
			}
		}
	}
	t.Logf("%d pairs", tried)
	if len(missed) > 0 {
		t.Errorf("%d of %d pairs hide the term:\n%s", len(missed), tried, strings.Join(missed, "\n"))
	}
}
