package payload

import (
	"bytes"
	"strings"
)

// form opens name=value pairs. Without a header that says so, every pair must
// look like one.
func (p *peeler) form(n *Node, b []byte, declared bool, depth int) bool {
	if bytes.IndexByte(b, '=') < 0 {
		return false
	}
	if word := bytes.TrimRight(b, "="); bytes.IndexByte(word, '=') < 0 && isWord(word) && !isPlainName(word) {
		return false // padding, not a name without a value
	}
	pairs := bytes.Split(b, []byte("&"))
	if !declared {
		for _, pair := range pairs {
			name, value, ok := bytes.Cut(pair, []byte("="))
			if len(pair) == 0 {
				continue
			}
			if !ok || !isFormName(name) || bytes.ContainsAny(value, " \t\r\n\"<>{}") {
				return false
			}
		}
	}
	for i, pair := range pairs {
		if p.spent() {
			n.Children = append(n.Children, p.cut("form-rest", pairBytes(pairs[i:])))
			break
		}
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		n.Children = append(n.Children, p.field("form:", name, value, depth+1)...)
	}
	if len(n.Children) == 0 {
		n.Kind = KindText
	}
	return true
}

func pairBytes(pairs [][]byte) int {
	sum := len(pairs) - 1
	for _, pair := range pairs {
		sum += len(pair)
	}
	return sum
}

// field opens one name and value of a form or a query. A name that is not
// plain gets a leaf of its own.
func (p *peeler) field(prefix string, rawName, rawValue []byte, depth int) []*Node {
	name, value := p.unescape(rawName, true), p.unescape(rawValue, true)
	var nodes []*Node
	if !isPlainName(name) {
		nodes = append(nodes, p.peel(strings.TrimSuffix(prefix, ":")+"-name", name, depth))
	}
	return append(nodes, p.peelAs(prefix+stepName(name), value, hint{plus: bytes.IndexByte(rawValue, '+') >= 0}, depth))
}

func isFormName(name []byte) bool {
	if len(name) == 0 || len(name) > 128 {
		return false
	}
	for _, c := range name {
		if !isAlnum(c) && strings.IndexByte("_$.-[]%~:@+", c) < 0 {
			return false
		}
	}
	return true
}

// maxName is how many bytes of a name a step shows.
const maxName = 64

// isPlainName is true for names that a person chose: short and not random.
func isPlainName(name []byte) bool {
	return len(name) <= maxName && isText(name) && len(randomStretches(name)) == 0 && len(codeRuns(name)) == 0
}

func stepName(name []byte) string {
	if len(name) > maxName {
		return string(name[:maxName]) + "..."
	}
	return string(name)
}
