package packets

import (
	"crypto/rand"
	"strings"
)

// Nonce is the text of a question by which a backend shows that it records.
func Nonce() string { return "start" + strings.ToLower(rand.Text())[:16] }
