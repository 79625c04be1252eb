package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/html"
)

// The simulated browser runs no scripts. One kind of page it does understand: a
// page whose script sends what a list in the page names, shows beside each what
// came of it, and changes its title when all is done. It does then what a browser
// does that ran the script.

// maxSends bounds what one page may have the browser send.
const maxSends = 32

// sendTime is when a page's script gives up waiting for an answer.
const sendTime = 10 * time.Second

// A send is one request of a page's script: a POST to an http URL, or a question
// to a STUN server.
type send struct{ ID, URL, Body string }

// readSends reads the list of a page's script element.
func (p *page) readSends(n *html.Node) {
	if attr(n, "type") != "application/json" || attr(n, "id") != "sends" || n.FirstChild == nil {
		return
	}
	var list []send
	if json.Unmarshal([]byte(n.FirstChild.Data), &list) != nil {
		return // The script would stop with an error that nobody sees.
	}
	p.sends, p.done = list[:min(len(list), maxSends)], attr(n, "data-done")
}

// send does what a page's script sends, all at once, and returns what came of
// each.
func (c *client) send(ctx context.Context, p *page) map[string]string {
	out := map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range p.sends {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, sendTime)
			defer cancel()
			state := "arrived"
			if err := c.sendOne(ctx, p, s); err != nil {
				c.cfg.Log.Debug("browser: a page's script", "send", s.ID, "err", err)
				state = "failed"
			}
			mu.Lock()
			defer mu.Unlock()
			out[s.ID] = state
		})
	}
	wg.Wait()
	return out
}

func (c *client) sendOne(ctx context.Context, p *page, s send) error {
	if server, ok := strings.CutPrefix(s.URL, "stun:"); ok {
		return c.stun(ctx, server)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(s.Body))
	if err != nil {
		return fmt.Errorf("browser: make request: %w", err)
	}
	req.Header.Set("User-Agent", pageAgent(c.cfg))
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	req.Header.Set("Origin", p.url.Scheme+"://"+p.url.Host)
	res, err := c.do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxPage))
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("browser: %s: %s", s.URL, res.Status)
	}
	return nil
}

// errNoAnswer is a STUN server that says nothing.
var errNoAnswer = errors.New("browser: no STUN server answers")

// stunTry is how long a question waits before it is asked again.
const stunTry = 500 * time.Millisecond

// stun asks a STUN server from which address it is asked, as WebRTC does, past
// any proxy.
func (c *client) stun(ctx context.Context, server string) error {
	conn, err := c.cfg.Network.Dial(ctx, c.uid, "udp", server)
	if err != nil {
		return fmt.Errorf("browser: ask a STUN server: %w", err)
	}
	defer conn.Close() //nolint:errcheck // Nothing is left to be sent.
	question := []byte("\x00\x01\x00\x00\x21\x12\xa4\x42offproofsim!")
	answer := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := conn.Write(question); err != nil {
			return fmt.Errorf("browser: ask a STUN server: %w", err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(stunTry))
		if n, err := conn.Read(answer); err == nil && n >= 20 && answer[0] == 1 && answer[1] == 1 {
			return nil
		}
	}
	return errNoAnswer
}

// answered shows what came of a page's sends.
func (p *page) answered(states map[string]string) {
	for i, b := range p.blocks {
		if name, _, ok := strings.Cut(b.text, ": "); ok && states[name] != "" {
			p.blocks[i].text = name + ": " + states[name]
		}
	}
	p.title = p.done
}
