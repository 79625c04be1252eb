package harness

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/publicsuffix"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// A page is a document that the person opened and whose text was read.
type page struct {
	url   *url.URL
	at    time.Time
	asked map[string]bool
}

// findPages reads the expected recipients' replies for the addresses that they
// told the browser to fetch, and marks the messages that went there.
//
// A Referer alone proves nothing, since an app can write any: a message is
// page-borne when the page's own text names its address, or when it went back
// to the very site that the person opened with that page as its Referer.
func (v *view) findPages() {
	for i := range v.messages {
		m := &v.messages[i]
		if m.ex == nil || m.unnamed {
			continue
		}
		if v.isExpectedPage(m) {
			v.pages = append(v.pages, readPage(m.ex))
			continue
		}
		ref, origin := header(m.ex.RequestHeader, "referer"), header(m.ex.RequestHeader, "origin")
		for _, p := range v.pages {
			if m.from.Before(p.at) {
				continue
			}
			named := p.asked[m.ex.URL] && siteOf(m.host) == siteOf(hostOf(m.ex.URL))
			same := siteOf(m.host) == siteOf(p.url.Hostname())
			from := sameDocument(ref, p.url) || (origin != "" && origin == p.url.Scheme+"://"+p.url.Host)
			switch {
			case named && m.ex.Method == http.MethodGet:
				m.page = "the page at " + p.url.Host + " names this address"
			case same && from:
				m.page, m.ownSite = "sent back to the site that was opened, by its own page", true
			}
		}
	}
}

// isExpectedPage says whether a message is the exchange for which a step typed
// its term.
func (v *view) isExpectedPage(m *message) bool {
	for _, o := range v.all {
		for _, e := range o.Expected {
			if !e.AsTyped && m.host == e.Host && m.path == e.Path {
				for _, h := range m.hits {
					if h.Canary.ID == e.Canary {
						return true
					}
				}
			}
		}
	}
	return false
}

func readPage(ex *capture.Exchange) page {
	p := page{url: &url.URL{}, at: ex.Start, asked: map[string]bool{}}
	u, err := url.Parse(ex.URL)
	if err != nil {
		return p
	}
	p.url = u
	if to := header(ex.ResponseHeader, "location"); to != "" && ex.Status/100 == 3 {
		// A browser follows a redirection by itself.
		if ref, err := u.Parse(to); err == nil {
			ref.Fragment = ""
			p.asked[ref.String()] = true
		}
	}
	root := payload.PeelEncoded(ex.ResponseBody, "text/html", header(ex.ResponseHeader, "content-encoding"))
	text := ex.ResponseBody
	for root != nil && (root.Step == "" || root.Step == "gzip" || root.Step == "br" || root.Step == "brotli" || root.Step == "zstd" || root.Step == "zlib") {
		text = root.Value
		if len(root.Children) != 1 {
			break
		}
		root = root.Children[0]
	}
	z := html.NewTokenizer(bytes.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return p
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			for _, a := range t.Attr {
				// What a browser fetches by itself; an <a href> needs a person.
				if a.Key == "src" || (a.Key == "href" && t.Data == "link") {
					if ref, err := u.Parse(strings.TrimSpace(a.Val)); err == nil {
						ref.Fragment = ""
						p.asked[ref.String()] = true
					}
				}
			}
		case html.TextToken, html.EndTagToken, html.CommentToken, html.DoctypeToken:
		}
	}
}

// sameDocument says whether a Referer names the page, in full or by its origin
// as browsers shorten it for other sites.
func sameDocument(ref string, p *url.URL) bool {
	if ref == "" {
		return false
	}
	u, err := url.Parse(ref)
	if err != nil {
		return false
	}
	return u.Host == p.Host && (u.Path == p.Path || u.Path == "/" || u.Path == "")
}

// refersTo says whether a Referer is the page's own address, or a part of it: it
// says nothing that the address does not say.
func refersTo(ref string, p *url.URL) bool {
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != p.Scheme || u.Host != p.Host || u.Path != p.Path || u.Fragment != "" || u.User != nil {
		return false
	}
	own := p.Query()
	for name, values := range u.Query() {
		for _, value := range values {
			if !slices.Contains(own[name], value) {
				return false
			}
		}
	}
	return true
}

// hostOf is the host that an address names, or nothing.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// siteOf is the registrable domain, or the name itself when it has none.
func siteOf(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if s, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return s
	}
	return host
}

func header(hs []capture.Header, name string) string {
	for _, h := range hs {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}
