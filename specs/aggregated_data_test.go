package specs_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/offproof/offproof/harness"
	. "github.com/offproof/offproof/harness/expect"
	"github.com/offproof/offproof/harness/suite"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

var _ = Describe("The aggregated-data switch", Label("search"), func() {
	engines := []browser.Engine{browser.DuckDuckGo, browser.Google}

	farm.Each(func(phone *suite.Phone) {
		for _, engine := range engines {
			It("keeps the maker's promise: off stops the collection of an incognito search with "+engine.Name,
				Label("incognito", "maker", strings.ToLower(engine.Name)), func(ctx SpecContext) {
					search := scenarios.Search(engine, harness.ModeIncognito)
					search.Claim = browser.MakersPromise()

					trial := phone.Try(ctx, search, browser.AggregatedData)

					Expect(trial).To(StopCollecting())
				})

			It("means what the press read: off stops the collection of a search in a normal tab with "+engine.Name,
				Label("normal", "press", strings.ToLower(engine.Name)), func(ctx SpecContext) {
					search := scenarios.Search(engine, harness.ModeNormal)
					search.Claim = browser.PressReading()

					trial := phone.Try(ctx, search, browser.AggregatedData)

					Expect(trial).To(StopCollecting())
				})
		}
	})
})
