package payload_test

import (
	"fmt"
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// tree draws a node and what lies below it.
func tree(n *payload.Node) string {
	var b strings.Builder
	for leaf := range payload.Walk([]payload.Part{{Root: n}}) {
		fmt.Fprintf(&b, "%s: %v %d truncated=%v %.60q\n", leaf.Path, leaf.Kind, leaf.Size, leaf.Truncated, leaf.Value)
	}
	return b.String()
}
