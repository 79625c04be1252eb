package canary

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
)

// A Kind of field says what can be typed in it.
type Kind int

const (
	// Words is a search box or a form: the term as it is.
	Words Kind = iota
	// Address is an address bar: a page under a given address, such as
	// "https://pages.example/zuvkomi-tefralog".
	Address
	// Host is a name under a given domain: "zuvkomi-tefralog.pages.example". A
	// resolver learns it too.
	Host
	// Mailbox is a form that wants an e-mail address: "zuvkomi.tefralog@example.com".
	Mailbox
)

// String returns the word that reports use.
func (k Kind) String() string {
	switch k {
	case Words:
		return "words"
	case Address:
		return "address"
	case Host:
		return "host"
	case Mailbox:
		return "mailbox"
	}
	return "unknown"
}

// The longest label and name of the DNS (RFC 1035, section 2.3.4).
const (
	longestLabel = 63
	longestName  = 253
)

var (
	errNotTwoWords = errors.New("its term is not two words")
	errNoAddress   = errors.New("the address to put it under is no http or https address of a host, without a query")
	errNoDomain    = errors.New("the domain to put it under is no name")
)

// As returns the canary as it is typed in a field of a kind, with Typed set.
// under is the address or the domain that it is put under, and empty for words.
// The error says what is wrong with it.
func (c Canary) As(kind Kind, under string) (Canary, error) {
	first, second, ok := strings.Cut(c.Term, " ")
	if _, minted := newTerm(c.Term); !minted || !ok {
		return c, fmt.Errorf("canary %s: write as %s: %w", c.ID, kind, errNotTwoWords)
	}
	label := first + "-" + second
	switch kind {
	case Words:
		c.Typed = ""
		return c, nil
	case Address:
		u, err := url.Parse(under)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return c, fmt.Errorf("canary %s: write as %s under %q: %w", c.ID, kind, under, errNoAddress)
		}
		c.Typed = strings.TrimSuffix(under, "/") + "/" + label
		return c, nil
	case Host, Mailbox:
		if !isDomain(under) || len(label) > longestLabel || len(label)+1+len(under) > longestName {
			return c, fmt.Errorf("canary %s: write as %s under %q: %w", c.ID, kind, under, errNoDomain)
		}
		c.Typed = label + "." + under
		if kind == Mailbox {
			c.Typed = first + "." + second + "@" + under
		}
		return c, nil
	}
	return c, fmt.Errorf("canary %s: write as kind %d: %w", c.ID, kind, errors.ErrUnsupported)
}

// Text is what is typed.
func (c Canary) Text() string {
	if c.Typed != "" {
		return c.Typed
	}
	return c.Term
}

func isDomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > longestLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, b := range []byte(label) {
			if !isAlnum(b) && b != '-' {
				return false
			}
		}
	}
	return len(name) <= longestName
}

// ShamOf makes the sham twin of an identifier of the phone: each digit, hex
// digit and letter replaced by another of its like, marks kept. What finds it has
// found chance.
func ShamOf(r *rand.Rand, c Canary) Canary {
	digits := "0123456789"
	if bare := withoutMarks(c.Term); strings.Trim(bare, "0123456789abcdef") == "" && strings.Trim(bare, digits) != "" {
		digits = "0123456789abcdef"
	} else if strings.Trim(bare, "0123456789ABCDEF") == "" && strings.Trim(bare, digits) != "" {
		digits = "0123456789ABCDEF"
	}
	sham := []byte(c.Term)
	for string(sham) == c.Term && len(withoutMarks(c.Term)) > 0 {
		for i, b := range []byte(c.Term) {
			switch {
			case strings.IndexByte(digits, b) >= 0:
				sham[i] = digits[r.IntN(len(digits))]
			case b >= '0' && b <= '9':
				sham[i] = '0' + byte(r.IntN(10))
			case b >= 'a' && b <= 'z':
				sham[i] = 'a' + byte(r.IntN(26))
			case b >= 'A' && b <= 'Z':
				sham[i] = 'A' + byte(r.IntN(26))
			}
		}
		if strings.IndexFunc(c.Term, func(b rune) bool { return b < 0x80 && isAlnum(byte(b)) }) < 0 {
			break
		}
	}
	c.ID, c.Term, c.Typed, c.Sham = c.ID+"/sham", string(sham), "", true
	return c
}
