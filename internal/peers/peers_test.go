package peers_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/offproof/offproof/internal/peers"
)

// A witness stands in for the test that asks for a peer and writes down what
// was done to it.
type witness struct {
	testing.TB
	skipped, failed string
}

func (w *witness) Helper() {}

func (w *witness) Skipf(format string, args ...any) {
	w.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (w *witness) Fatalf(format string, args ...any) {
	w.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// ask runs f as a test of its own would run.
func ask(t *testing.T, f func(testing.TB)) *witness {
	t.Helper()
	w := &witness{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(w)
	}()
	<-done
	return w
}

func TestAMissingPeerSkipsOrFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, c := range []struct {
		required      string
		skips, failed bool
	}{
		{"", true, false},
		{"0", true, false},
		{"1", false, true},
	} {
		t.Run("required="+c.required, func(t *testing.T) {
			t.Setenv(peers.RequireVariable, c.required)
			w := ask(t, func(tb testing.TB) { peers.Require(tb, "ip") })
			if (w.skipped != "") != c.skips || (w.failed != "") != c.failed {
				t.Fatalf("skipped %q, failed %q", w.skipped, w.failed)
			}
			if message := w.skipped + w.failed; !strings.Contains(message, "apt-get install iproute2") {
				t.Errorf("the message does not say what to install: %q", message)
			}
		})
	}
}

func TestAPresentPeerIsFound(t *testing.T) {
	t.Setenv(peers.RequireVariable, "1")
	var path string
	w := ask(t, func(tb testing.TB) { path = peers.Require(tb, "go") })
	if w.skipped+w.failed != "" || !strings.HasSuffix(path, "/go") {
		t.Fatalf("path %q, skipped %q, failed %q", path, w.skipped, w.failed)
	}
}

func TestANamespaceHasALoopbackAndNoWayOut(t *testing.T) {
	n := peers.NewNamespace(t)
	out, err := n.Command(t.Context(), "ip", "-o", "link").CombinedOutput()
	if err != nil {
		t.Fatalf("ip link: %v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 1 || !strings.Contains(lines[0], "lo:") || !strings.Contains(lines[0], "UP") {
		t.Errorf("want the loopback interface only, and up:\n%s", out)
	}
	out, err = n.Command(t.Context(), "ip", "route").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("want no route: %v: %s", err, out)
	}
}
