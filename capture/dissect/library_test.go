// These captures come from files and are read by one goroutine; tshark, which reads
// them too, is another process. The race detector has nothing to see here.

//go:build !race

package dissect_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// A difference is one that is right: mend turns our facts into tshark's, so
// that everything else is compared all the same.
type difference struct {
	why  string
	mend func(ours *facts)
}

// explained are the captures on which the two differ rightly.
var explained = map[string]difference{
	"be/test017.pcapng": {"tshark counts custom blocks as packets of an unknown kind", func(f *facts) { f.packets += 4 }},
	"le/test017.pcapng": {"as in be", func(f *facts) { f.packets += 4 }},
	"be/test018.pcapng": {"as test017", func(f *facts) { f.packets += 4 }},
	"le/test018.pcapng": {"as test017", func(f *facts) { f.packets += 4 }},
	"be/test102.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"le/test102.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"be/test202.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"le/test202.pcapng": {"as test017", func(f *facts) { f.packets += 3 }},
	"testdata/cip.pcap": {
		"a request whose head never ends, which tshark takes for no request although 1,845 bytes of it were sent",
		func(f *facts) { delete(f.hosts, "sinfulcelebs.freesexycomics.com") },
	},
}

// refused are the captures that tshark does not read at all.
var refused = map[string]string{
	"be/test901.pcapng": "a section of version 2, the packets of which are read here and reported as damage",
	"le/test901.pcapng": "as in be",
}

// TestLibraryCapturesAgreeWithTshark compares every capture that comes with gopacket.
func TestLibraryCapturesAgreeWithTshark(t *testing.T) {
	peers.Require(t, "tshark")
	compared, mended := 0, 0
	for _, path := range library(t) {
		name := filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
		d, differs := explained[name]
		_, unread := refused[name]
		switch {
		case differs:
			mended++
			compared++
		case !unread:
			compared++
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(path) //nolint:gosec // A file of the module cache.
			if err != nil {
				t.Fatal(err)
			}
			c := read(t, b, dissect.Options{})
			if unread {
				if !c.Damaged {
					t.Errorf("%s: tshark refuses it, and it is not reported as damaged", name)
				}
				return
			}
			ours := factsOf(c)
			if differs {
				d.mend(&ours)
			}
			compare(t, name, ours, tsharkFacts(t, path))
		})
	}
	if compared < 50 || mended != len(explained) {
		t.Errorf("%d captures are compared, %d of %d with an explained difference", compared, mended, len(explained))
	}
}
