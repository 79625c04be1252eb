// Package specs_test holds the claims that are made to a phone's owner, as
// specs that a phone keeps or breaks.
package specs_test

import (
	"testing"

	"github.com/offproof/offproof/harness/suite"
)

var farm = suite.New()

func TestSpecs(t *testing.T) {
	farm.Run(t, "Does off mean off?")
}
