// Package spectimeout_test is a spec that asks for what is refused.
package spectimeout_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/offproof/offproof/harness/suite"
)

var farm = suite.New()

func TestFarm(t *testing.T) { farm.Run(t, "farm") }

var _ = Describe("A phone", func() {
	farm.Phone()
	It("is waited for", SpecTimeout(time.Minute), func(SpecContext) {})
})
