package browser

import (
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"github.com/offproof/offproof/devices/sim/screen"
)

// JavaHash is the checksum of uploads.
func JavaHash(s string) int32 { return javaHash(s) }

// Address is what typed text opens, and whether it is an address at all.
func Address(typed string) (string, bool) { return webAddress(typed) }

// Quiet reports whether nothing is queued, under way or about to be sent.
func (b *Browser) Quiet() bool {
	quiet := false
	b.run(func(*screen.UI) {
		modules := 0
		for _, m := range []*module{b.data.module, b.delegate} {
			modules += len(m.running)
			m.mu.Lock()
			busy := len(m.queue) > 0 || m == b.data.module && b.proc != nil && !b.cfg.Personality.Mute && !m.configured
			m.mu.Unlock()
			if busy {
				return
			}
		}
		b.crew.mu.Lock()
		defer b.crew.mu.Unlock()
		quiet = b.crew.active <= modules
	})
	return quiet
}

// Pending is the number of events that wait in the browser's queue.
func (b *Browser) Pending() int {
	n := 0
	b.run(func(*screen.UI) { n = b.data.module.pending() })
	return n
}

// A Reading is what was read of a page.
type Reading struct {
	Title, Referer   string
	Texts, Resources []string
	Links            int
}

// ReadPage reads a document as if it came from an address.
func ReadPage(address, document string) (Reading, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Reading{}, err
	}
	doc, err := html.Parse(strings.NewReader(document))
	if err != nil {
		return Reading{}, err
	}
	p := &page{url: u}
	p.read(doc)
	r := Reading{Title: p.title, Referer: p.refererFor(), Resources: append(p.resources, p.frames...)}
	for _, b := range p.blocks {
		r.Texts = append(r.Texts, b.text)
		if b.href != "" {
			r.Links++
		}
	}
	return r, nil
}
