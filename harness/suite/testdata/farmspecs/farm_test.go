// Package farmspecs_test are specs that a test of the suite runs as a process of
// its own: they say which phone they have and from when to when.
package farmspecs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness"
	. "github.com/offproof/offproof/harness/expect"
	"github.com/offproof/offproof/harness/suite"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

var farm = suite.New()

func TestFarm(t *testing.T) { farm.Run(t, "farm") }

// note writes one line in one write, so that processes can share the file.
func note(what string, phones ...*suite.Phone) {
	for _, p := range phones {
		b, err := json.Marshal(map[string]any{"what": what, "serial": p.Serial(), "pid": os.Getpid(), "at": time.Now()})
		Expect(err).NotTo(HaveOccurred())
		f, err := os.OpenFile(os.Getenv("FARMSPECS_LOG"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		Expect(err).NotTo(HaveOccurred())
		_, err = f.Write(append(b, '\n'))
		Expect(err).NotTo(HaveOccurred())
		Expect(f.Close()).To(Succeed())
	}
}

func stay(ctx SpecContext, phones ...*suite.Phone) {
	note("begin", phones...)
	select {
	case <-time.After(600 * time.Millisecond):
	case <-ctx.Done():
	}
	note("end", phones...)
}

var _ = Describe("One phone", Label("one"), func() {
	phone := farm.Phone()
	for i := range 8 {
		It(fmt.Sprintf("is had by spec %d", i), func(ctx SpecContext) { stay(ctx, phone) })
	}
})

var _ = Describe("Two phones", Label("two"), func() {
	phones := farm.Phones(2)
	for i := range 3 {
		It(fmt.Sprintf("are had by spec %d", i), func(ctx SpecContext) { stay(ctx, phones...) })
	}
})

var _ = Describe("Needs", Label("needs"), func() {
	for name, need := range map[string]devices.Requirement{
		"rooted": devices.Rooted(), "umi": devices.Build("umi"), "nothing like it": devices.Build("no such build"),
		"region": devices.Region("EEA"), "captured": devices.CapturedBy("proxy"), "app": devices.App("com.mi.globalbrowser"),
	} {
		Context(name, func() {
			phone := farm.Phone(need)
			It("is had", func(ctx SpecContext) { stay(ctx, phone) })
		})
	}
	farm.Each(func(phone *suite.Phone) {
		It("is had of each", func(ctx SpecContext) { stay(ctx, phone) })
	}, devices.CapturedBy("proxy"))
})

var _ = Describe("Any phone", Label("trial"), func() {
	phone := farm.Phone()
	It("is tried", func(ctx SpecContext) {
		search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
		search.Claim = browser.MakersPromise()
		trial := phone.Try(ctx, search, browser.AggregatedData)
		note("tried", phone)
		Expect(trial).To(StopCollecting())
	})
})
