package payload

import (
	"strconv"
	"strings"

	"github.com/offproof/offproof/capture"
)

// Request returns everything that the phone sent in a request: the parts of
// the URL, each header, each cookie, and the body. A body that was captured
// only in part ends in an opaque leaf for the missing bytes.
func Request(ex capture.Exchange) []Part {
	parts := urlParts(ex.URL)
	var contentType, contentEncoding string
	for _, h := range ex.RequestHeader {
		switch strings.ToLower(h.Name) {
		case "cookie":
			parts = append(parts, cookieParts(h.Value)...)
			continue
		case "content-type":
			contentType = h.Value
		case "content-encoding":
			contentEncoding = h.Value
		}
		parts = append(parts, Part{Where: "header", Name: h.Name, Root: Peel([]byte(h.Value), "")})
	}
	missing := 0
	if ex.RequestTruncated {
		missing = int(max(ex.BytesUp-int64(len(ex.RequestBody)), 1))
	}
	if len(ex.RequestBody) > 0 || missing > 0 {
		root := PeelEncoded(ex.RequestBody, contentType, contentEncoding)
		if missing > 0 {
			root = withMissing(root, missing)
		}
		parts = append(parts, Part{Where: "body", Root: root})
	}
	return parts
}

// Lookup returns what a DNS question told: one part with a child for each
// label of the name, leftmost first.
func Lookup(l capture.Lookup) []Part {
	root := &Node{Value: []byte(l.Name), Size: len(l.Name), Entropy: Entropy([]byte(l.Name))}
	p := newPeeler()
	for i, label := range strings.Split(l.Name, ".") {
		root.Children = append(root.Children, p.peel("label:"+strconv.Itoa(i), []byte(label), 1))
	}
	return []Part{{Where: "dns", Root: root}}
}
