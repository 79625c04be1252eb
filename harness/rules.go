package harness

import (
	"slices"
	"strings"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// RulesVersion names the reviewed rules below; it is sealed with every plan.
const RulesVersion = "2"

// headFields are header fields that every HTTP client sends by the standards
// (RFC 9110, 9111, 6265, 6797, Fetch and the client-hint drafts). A readable
// value in one of them is understood: it describes the client or the transfer.
// It excuses no opaque value and no identifier.
func headFields() []string {
	return []string{
		"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection", "content-encoding", "content-length",
		"content-type", "date", "dnt", "expect", "host", "if-modified-since", "if-none-match", "keep-alive", "origin", "pragma",
		"proxy-connection", "range", "referer", "save-data", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user", "sec-gpc",
		"te", "transfer-encoding", "upgrade", "upgrade-insecure-requests", "user-agent", "sec-ch-ua", "sec-ch-ua-mobile",
		"sec-ch-ua-platform", ":authority", ":method", ":path", ":scheme",
	}
}

// benign says whether a purpose is one whose readable content is no
// collection: it configures, asks consent, or tests the connection.
func benign(p collector.Purpose) bool {
	switch p {
	case collector.Config, collector.Consent, collector.Connectivity, collector.Update:
		return true
	case collector.PurposeUnknown, collector.Collect, collector.Ads, collector.Push:
		return false
	}
	return false
}

// A hit is a sighting with what the expectations say of it.
type hit struct {
	canary.Sighting
	expected bool
}

// judgeHits decides for each sighting in a message whether a step typed the
// term for exactly this place. An expectation excuses one copy.
func (v *view) judgeHits(m *message) []hit {
	var out []hit
	excused := map[string]bool{}
	for _, h := range m.hits {
		if h.Canary.Sham || v.shams[h.Form] {
			continue
		}
		x := hit{Sighting: h}
		if _, ok := v.expectation(m, h); ok {
			// The same value may be seen at more than one layer of one place, and may
			// begin more than one term.
			key := h.Where + " " + h.Path
			x.expected = h.Where == "url" && (len(excused) == 0 || excused[key])
			if x.expected {
				excused[key] = true
			}
		}
		out = append(out, x)
	}
	return out
}

func (v *view) expectation(m *message, h canary.Sighting) (Expected, bool) {
	for _, o := range v.all {
		for _, e := range o.Expected {
			if e.Canary == h.Canary.ID && v.goesTo(m, e) && h.Where == "url" && firstStep(h.Path) == "query:"+e.Param &&
				(!e.AsTyped || h.Form == canary.Plain || h.Form == canary.Prefix) {
				return e, true
			}
		}
	}
	return Expected{}, false
}

// goesTo says whether a message is a request to an expected recipient.
func (v *view) goesTo(m *message, e Expected) bool {
	return m.ex != nil && !m.unnamed && m.host == e.Host && m.path == e.Path
}

// suggestion is the expectation that a message fulfils by the first letters of a
// term, which are too few for a sighting.
func (v *view) suggestion(m *message) (Expected, bool) {
	for _, o := range v.all {
		for _, e := range o.Expected {
			if !e.AsTyped || !v.goesTo(m, e) {
				continue
			}
			for _, c := range o.Canaries {
				if c.ID == e.Canary && slices.ContainsFunc(m.leaves, func(l payload.Leaf) bool { return begins(l, e, c.Term) }) {
					return e, true
				}
			}
		}
	}
	return Expected{}, false
}

// begins says whether a leaf holds the beginning of a term in the place in which it
// is expected.
func begins(l payload.Leaf, e Expected, term string) bool {
	return l.Where == "url" && l.Path == "query:"+e.Param && l.Size > 0 && l.Size <= len(term) && strings.EqualFold(string(l.Value), term[:l.Size])
}

func firstStep(path string) string {
	first, _, _ := strings.Cut(path, " > ")
	return first
}

// expectedExchange is the expectation that a message fulfils, if any.
func (v *view) expectedExchange(m *message) (Expected, bool) {
	for _, h := range m.hits {
		if e, ok := v.expectation(m, h); ok {
			return e, true
		}
	}
	return v.suggestion(m)
}

// classify puts every leaf of a message into a class.
func (v *view) classify(m *message) []Class {
	out := make([]Class, len(m.leaves))
	hits := v.judgeHits(m)
	exp, isExpected := v.expectedExchange(m)
	for i, l := range m.leaves {
		out[i] = v.classifyLeaf(m, l, hits, exp, isExpected)
	}
	return out
}

func (v *view) classifyLeaf(m *message, l payload.Leaf, hits []hit, exp Expected, isExpected bool) Class {
	if m.instrument {
		return ClassInstrument
	}
	for _, h := range hits {
		// A term seen in a layer counts for every leaf below that layer.
		if h.Where == l.Where && (h.Path == l.Path || strings.HasPrefix(l.Path, h.Path+" > ") || strings.HasPrefix(l.Path, h.Path+"/")) {
			if h.expected || v.pageBorne(m, h) {
				return ClassExpected
			}
			return ClassSighted
		}
	}
	name := firstStep(l.Path)
	readable := l.Kind == payload.KindText || l.Kind == payload.KindNumber
	opaque := ClassOpaquePayload
	// A field that has a name and no value tells its name.
	readable = readable || (l.Kind == payload.KindEmpty && named(l))
	switch {
	case l.Kind == payload.KindEmpty && !readable:
		return ClassOverhead
	case m.page != "" && !v.pageSpeaks(m):
		// No page excuses what a collector or a party of the claim is told.
	case m.ownSite:
		// What the opened page says to its own site is the page's affair; terms
		// and identifiers in it were sighted above.
		return ClassExpected
	case m.page != "" && l.Where == "url":
		// The page itself wrote this address. It excuses nothing that the
		// browser added.
		return ClassExpected
	}
	switch l.Where {
	case "dns":
		if readable {
			return ClassUnderstood
		}
		return opaque
	case "url":
		switch {
		case readable && (name == "scheme" || name == "port"):
			return ClassUnderstood
		case readable && name == "host" && isExpected:
			return ClassExpected
		case isExpected && readable && strings.HasPrefix(name, "path"):
			return ClassExpected
		case isExpected && strings.HasPrefix(name, "query:"):
			if slices.Contains(exp.Known[strings.TrimPrefix(name, "query:")], string(l.Value)) || v.beginning(l, exp) {
				return ClassExpected
			}
		}
	case "cookie":
		if v.gave(m, "cookie", string(rawValue(m, l))) {
			return ClassUnderstood
		}
	case "header":
		field := strings.ToLower(name)
		switch {
		case field == "if-none-match" && v.gave(m, "etag", string(rawValue(m, l))):
			return ClassUnderstood
		case (field == "referer" || field == "origin") && v.refersToPage(m, string(rawValue(m, l))):
			return ClassExpected
		case readable && field == "host" && (isExpected || m.page != ""):
			return ClassExpected
		case readable && field != "host" && slices.Contains(headFields(), field):
			return ClassUnderstood
		}
	}
	if !readable {
		return opaque
	}
	if v.excused(m, l) {
		return ClassUnderstood
	}
	return ClassNotUnderstood
}

// beginning says whether a leaf is the beginning of the term that is expected.
func (v *view) beginning(l payload.Leaf, e Expected) bool {
	return e.AsTyped && slices.ContainsFunc(v.all, func(o *Observation) bool {
		return slices.ContainsFunc(o.Canaries, func(c canary.Canary) bool { return c.ID == e.Canary && begins(l, e, c.Term) })
	})
}

// excused says whether a readable value is what the purpose of its recipient asks
// for. Whoever asks whether the network reaches the internet asks for one address
// and says nothing: no purpose explains what else is in it, nor a name that was
// made up.
func (v *view) excused(m *message, l payload.Leaf) bool {
	switch {
	case l.Kind == payload.KindEmpty && (l.Where == "header" || l.Where == "cookie"), firstStep(l.Path) == "method":
		return false
	case m.ind.Purpose == collector.Connectivity:
		return l.Where == "header" || (l.Where == "url" && m.path == m.ind.Path && !strings.HasPrefix(l.Path, "query:"))
	}
	return benign(m.ind.Purpose) && m.ind.Path != ""
}

// pageSpeaks says whether a message was sent at the word of the page that was
// opened, to somebody who is no party of the claim.
func (v *view) pageSpeaks(m *message) bool {
	return m.page != "" && !v.all[0].Claim.Party(m.ind.Organisation)
}

// pageBorne says whether a page explains a sighting. It knows no identifier of
// the phone, and writes addresses: what stands elsewhere in a message to
// another site was put there by somebody else.
func (v *view) pageBorne(m *message, h hit) bool {
	if !v.pageSpeaks(m) || strings.HasPrefix(h.Canary.ID, identifierPrefix) {
		return false
	}
	if m.ownSite || h.Where == "url" {
		return true
	}
	return h.Where == "header" && strings.EqualFold(firstStep(h.Path), "referer") && slices.ContainsFunc(v.pages, func(p page) bool {
		return refersTo(header(m.ex.RequestHeader, "referer"), p.url)
	})
}

// named says whether a leaf is the value of a field that its sender named.
func named(l payload.Leaf) bool {
	if l.Where == "header" || l.Where == "cookie" {
		return true
	}
	steps := []string{"query:", "form:", "multipart:", "json:/", "xml:/", "protobuf:", "cbor:/", "msgpack:/"}
	return slices.ContainsFunc(steps, func(step string) bool { return strings.Contains(l.Path, step) })
}

// rawValue is the whole value of the part in which a leaf lies. Two parts may
// have one name.
func rawValue(m *message, l payload.Leaf) []byte {
	for _, p := range m.parts {
		if p.Where != l.Where || p.Root == nil {
			continue
		}
		for k := range payload.Leaves([]payload.Part{p}) {
			if k.Node == l.Node {
				return p.Root.Value
			}
		}
	}
	return l.Value
}

// refersToPage says whether a value is the address of a page that the person
// opened, which its own site knows anyway.
func (v *view) refersToPage(m *message, value string) bool {
	for _, p := range v.pages {
		if p.url.String() == value && siteOf(p.url.Hostname()) == siteOf(m.host) {
			return true
		}
	}
	return false
}
