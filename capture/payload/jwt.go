package payload

import (
	"bytes"
	"encoding/json"
)

// The parts of a signed token and of an encrypted one (RFC 7519, RFC 7516).
var (
	jwsParts = []string{"header", "payload", "signature"}
	jweParts = []string{"header", "key", "iv", "payload", "tag"}
)

// jwt opens a JSON Web Token: words of base64url between dots, of which the
// first is a JSON object that names an algorithm.
func (p *peeler) jwt(n *Node, b []byte, depth int) bool {
	if !bytes.HasPrefix(b, []byte("eyJ")) { // {"
		return false
	}
	words := bytes.Split(b, []byte("."))
	names := jwsParts
	if len(words) == len(jweParts) {
		names = jweParts
	}
	if len(words) != len(names) {
		return false
	}
	parts := make([][]byte, len(words))
	for i, word := range words {
		content, ok := decodeBase64(word)
		if !ok && len(word) > 0 {
			return false
		}
		parts[i] = content
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(parts[0], &header) != nil || header.Algorithm == "" {
		return false
	}
	for i, content := range parts {
		p.output -= len(content)
		step := "jwt:" + names[i]
		n.Children = append(n.Children, p.peel(step, content, depth+1))
	}
	return true
}
