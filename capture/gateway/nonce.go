package gateway

import (
	"crypto/rand"
	"strings"
)

// firstNonce is the text of the question that shows that a gateway records.
func firstNonce() string { return "start" + strings.ToLower(rand.Text())[:16] }
