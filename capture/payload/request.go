package payload

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/offproof/offproof/capture"
)

// methods are those that HTTP clients use (RFC 9110, section 9, and RFC 5789),
// and none at all, where the instrument tells none.
func methods() []string {
	return []string{"", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

// Request returns everything that the phone sent in a request: the parts of
// the URL, the method if it is an unusual one, each header, each cookie, and the
// body. A body that was captured
// only in part ends in an opaque leaf for the missing bytes. One set of bounds
// holds for all of it.
func Request(ex capture.Exchange) []Part {
	p := newPeeler()
	defer p.done()
	var parts []Part
	p.urlFields([]byte(ex.URL), "", 0, func(n *Node) {
		name := n.Step
		n.Step = ""
		parts = append(parts, Part{Where: "url", Name: name, Root: n})
	})
	if !slices.Contains(methods(), ex.Method) {
		parts = append(parts, Part{Where: "url", Name: "method", Root: p.peel("", []byte(ex.Method), 0)})
	}
	for _, h := range ex.RequestHeader {
		if strings.EqualFold(h.Name, "cookie") {
			parts = append(parts, p.cookies(h.Value)...)
			continue
		}
		if !isPlainName([]byte(h.Name)) {
			parts = append(parts, Part{Where: "header", Name: "name", Root: p.peel("", []byte(h.Name), 0)})
		}
		parts = append(parts, Part{Where: "header", Name: stepName([]byte(h.Name)), Root: p.peel("", []byte(h.Value), 0)})
	}
	missing := 0
	if ex.RequestTruncated {
		missing = int(max(ex.BytesUp-int64(len(ex.RequestBody)), 1))
	}
	if len(ex.RequestBody) == 0 && missing == 0 {
		return parts
	}
	root := p.body(ex.RequestBody, headerOf(ex.RequestHeader, "content-type"), headerOf(ex.RequestHeader, "content-encoding"))
	if missing > 0 {
		root = withMissing(root, missing)
	}
	return append(parts, Part{Where: "body", Root: root})
}

func headerOf(header []capture.Header, name string) string {
	for _, h := range header {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func (p *peeler) cookies(header string) []Part {
	var parts []Part
	for pair := range strings.SplitSeq(header, ";") {
		pair = strings.TrimSpace(pair)
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			name, value = "", pair
		}
		if !isPlainName([]byte(name)) {
			parts = append(parts, Part{Where: "cookie", Name: "name", Root: p.peel("", []byte(name), 0)})
		}
		parts = append(parts, Part{Where: "cookie", Name: stepName([]byte(name)), Root: p.peel("", []byte(value), 0)})
	}
	return parts
}

// Lookup returns what a DNS question told: one part, whose children are the
// name's labels, leftmost first. Labels are also opened joined together where
// only that gives something to read, or shows that there is nothing, since a label
// holds at most 63 bytes.
func Lookup(l capture.Lookup) []Part {
	p := newPeeler()
	defer p.done()
	name := []byte(l.Name)
	root := p.node("", name)
	if len(name) == 0 {
		root.Kind = KindEmpty
		return []Part{{Where: "dns", Root: root}}
	}
	labels := bytes.Split(name, []byte("."))
	for from := 0; from < len(labels); {
		if p.spent() {
			root.Children = append(root.Children, p.cut("label-rest", len(bytes.Join(labels[from:], nil))))
			break
		}
		to := p.chunked(labels, from)
		step := "label:" + strconv.Itoa(from)
		if to > from+1 {
			step += "-" + strconv.Itoa(to-1)
		}
		root.Children = append(root.Children, p.peel(step, bytes.Join(labels[from:to], nil), 1))
		from = to
	}
	return []Part{{Where: "dns", Root: root}}
}

// chunked returns the end of a run of labels that hold one word, cut into
// pieces of one length with a shorter last one.
func (p *peeler) chunked(labels [][]byte, from int) int {
	const least, tail, most = 16, 4, 20
	to := from + 1
	for to < len(labels) && to-from < most && len(labels[from]) >= least && len(labels[to]) == len(labels[from]) {
		to++
	}
	ends := []int{to}
	if to < len(labels) && len(labels[from]) >= least && len(labels[to]) >= tail && len(labels[to]) < len(labels[from]) {
		ends = []int{to + 1, to}
	}
	for _, end := range ends {
		if end > from+1 && p.opens(bytes.Join(labels[from:end], nil)) {
			return end
		}
	}
	return max(from+1, random(labels, from))
}

// random returns the end of a run of shorter labels of one length, with a shorter
// last one, that look random together though each may look like an abbreviation.
func random(labels [][]byte, from int) int {
	const least, longest, most = 4, 15, 40
	to := from + 1
	if len(labels[from]) > longest {
		return 0
	}
	for to < len(labels) && to-from < most && len(labels[from]) >= least && len(labels[to]) == len(labels[from]) {
		to++
	}
	if word := bytes.Join(labels[from:to], nil); to == from+1 || len(word) < longWord || len(randomStretches(word)) == 0 && len(codeRuns(word)) == 0 {
		return 0
	}
	return to
}
