package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

const (
	maxPage      = 2 << 20
	maxBlocks    = 120
	maxResources = 40
	maxNesting   = 200
	// What a page asks for besides itself is given up after this time.
	resourceTime = 10 * time.Second
	pageTime     = 30 * time.Second
)

// A page is what is shown of a document.
type page struct {
	url    *url.URL
	title  string
	blocks []block
	// referrer is the document's own policy, if it has one.
	referrer string
	// resources are what the document refers to; frames are documents.
	resources, frames []string
	// sends are what the page's script sends, and done is its title afterwards.
	sends []send
	done  string
}

// A block is a paragraph, a heading or a link of a page.
type block struct {
	text    string
	href    string
	heading bool
	field   bool
}

// load fetches a document. An answer that is an error with a text is a page.
func (c *client) load(ctx context.Context, address, referer string, dnt bool) (*page, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	res, err := c.get(ctx, address, referer, "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,image/apng,*/*;q=0.8", dnt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil {
		kind = "text/html"
	}
	p := &page{url: res.Request.URL, title: res.Request.URL.Host}
	body := io.LimitReader(res.Body, maxPage)
	switch {
	case strings.Contains(kind, "html"):
		r, err := charset.NewReader(body, res.Header.Get("Content-Type"))
		if err != nil {
			if errors.Is(err, io.EOF) {
				break // an empty document
			}
			return nil, fmt.Errorf("browser: read page: %w", err)
		}
		doc, err := html.Parse(r)
		if err != nil {
			return nil, fmt.Errorf("browser: read page: %w", err)
		}
		p.read(doc)
	case strings.HasPrefix(kind, "text/"), strings.Contains(kind, "json"):
		text, err := io.ReadAll(io.LimitReader(body, 1<<16))
		if err != nil {
			return nil, fmt.Errorf("browser: read page: %w", err)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
			if len(p.blocks) < maxBlocks {
				p.blocks = append(p.blocks, block{text: line})
			}
		}
	}
	if res.StatusCode >= http.StatusBadRequest && len(p.blocks) == 0 {
		return nil, fmt.Errorf("browser: load page: HTTP ERROR %d", res.StatusCode)
	}
	return p, nil
}

func (c *client) get(ctx context.Context, address, referer, accept string, dnt bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("browser: make request: %w", err)
	}
	id := c.cfg.Identity
	req.Header.Set("User-Agent", pageAgent(c.cfg))
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Language", id.Language+"-"+id.Region+","+id.Language+";q=0.9")
	if dnt {
		req.Header.Set("DNT", "1")
	}
	// The referrer policy of engines of that time: the whole address, but not
	// from a secure page to an insecure one.
	if referer != "" && (req.URL.Scheme == "https" || !strings.HasPrefix(referer, "https:")) {
		req.Header.Set("Referer", referer)
	}
	return c.do(req)
}

// fill fetches what a page refers to, four at a time, and frames with what
// they refer to. Errors concern nobody but the page's looks.
func (c *client) fill(ctx context.Context, p *page, dnt bool, depth int) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	referer := p.refererFor()
	for _, r := range p.resources {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, resourceTime)
			defer cancel()
			res, err := c.get(ctx, r, referer, "*/*", dnt)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxPage))
			_ = res.Body.Close()
		})
	}
	wg.Wait()
	if depth > 0 {
		return
	}
	for _, f := range p.frames {
		if inner, err := c.load(ctx, f, referer, dnt); err == nil {
			c.fill(ctx, inner, dnt, depth+1)
		}
	}
}

// refererFor is what the page tells others of its address.
func (p *page) refererFor() string {
	u := *p.url
	u.Fragment, u.User = "", nil
	switch p.referrer {
	case "no-referrer", "never":
		return ""
	case "origin", "strict-origin", "origin-when-cross-origin", "strict-origin-when-cross-origin":
		u.Path, u.RawPath, u.RawQuery = "/", "", ""
	}
	return u.String()
}

// read takes what is shown and what is referred to out of a document.
func (p *page) read(doc *html.Node) {
	base := p.url
	var text strings.Builder
	link := ""
	flush := func(b block) {
		b.href = link
		b.text = strings.Join(strings.Fields(text.String()), " ")
		text.Reset()
		if b.text != "" && len(p.blocks) < maxBlocks {
			p.blocks = append(p.blocks, b)
		}
	}
	var walk func(n *html.Node, depth int)
	children := func(n *html.Node, depth int) {
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, depth+1)
		}
	}
	walk = func(n *html.Node, depth int) {
		if depth > maxNesting {
			return
		}
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
			return
		}
		if n.Type != html.ElementNode {
			children(n, depth)
			return
		}
		switch n.DataAtom {
		case atom.Base:
			if u, err := base.Parse(attr(n, "href")); err == nil {
				base = u
			}
		case atom.Title:
			if n.FirstChild != nil {
				p.title = strings.Join(strings.Fields(n.FirstChild.Data), " ")
			}
		case atom.Meta:
			if strings.EqualFold(attr(n, "name"), "referrer") {
				p.referrer = strings.ToLower(attr(n, "content"))
			}
		case atom.Script:
			p.refer(&p.resources, base, attr(n, "src"))
			p.readSends(n)
		case atom.Img:
			p.refer(&p.resources, base, attr(n, "src"))
		case atom.Iframe:
			p.refer(&p.frames, base, attr(n, "src"))
		case atom.Link:
			switch rel := strings.ToLower(attr(n, "rel")); {
			case strings.Contains(rel, "icon"), strings.Contains(rel, "stylesheet"), strings.Contains(rel, "preload"):
				p.refer(&p.resources, base, attr(n, "href"))
			}
		case atom.Style, atom.Noscript, atom.Template:
		case atom.Input:
			if t := attr(n, "type"); t == "" || t == "text" || t == "search" {
				flush(block{})
				text.WriteString(attr(n, "value"))
				flush(block{field: true})
			}
		case atom.A:
			flush(block{})
			outer := link
			if u, err := base.Parse(attr(n, "href")); err == nil && strings.HasPrefix(u.Scheme, "http") {
				link = u.String()
			}
			children(n, depth)
			flush(block{})
			link = outer
		case atom.H1, atom.H2, atom.H3:
			flush(block{})
			children(n, depth)
			flush(block{heading: true})
		case atom.P, atom.Div, atom.Li, atom.Br, atom.Td, atom.Tr, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Form:
			flush(block{})
			children(n, depth)
			flush(block{})
		default:
			children(n, depth)
		}
	}
	walk(doc, 0)
	flush(block{})
}

func (p *page) refer(list *[]string, base *url.URL, ref string) {
	if ref == "" || len(p.resources)+len(p.frames) >= maxResources {
		return
	}
	u, err := base.Parse(ref)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return
	}
	u.Fragment = ""
	*list = append(*list, u.String())
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
