// Package specs is for the claims that are made to a phone's owner: each is a
// spec that a phone keeps or breaks.
package specs_test

import (
	"testing"

	"github.com/offproof/offproof/harness/suite"
)

var farm = suite.New()

func TestSpecs(t *testing.T) {
	farm.Run(t, "Does off mean off?")
}
