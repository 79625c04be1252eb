// Package web is the sites of the simulated internet: two search engines, a
// third party on one's results page, the maker's Sensors collector, servers
// that answer connectivity checks, and hosts that take whatever they are sent.
//
// The sites behave as their models do on the wire, as far as that is known:
// names, paths, parameters, cookies, and the collector's checks. What their
// pages say is simple on purpose.
package web

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
)

// Names of the simulated sites.
const (
	DuckDuckGo          = "duckduckgo.com"
	DuckDuckGoLinks     = "links.duckduckgo.com"
	DuckDuckGoImproving = "improving.duckduckgo.com"
	Google              = "www.google.com"
	GStatic             = "www.gstatic.com"
	// Ads is the third party on Google's results page.
	Ads = "ads.partner.example"
	// Sensors is the maker's Sensors collector.
	Sensors = "sa.api.intl.miui.com"
	// Connect answers the maker's connectivity check.
	Connect = "connect.rom.miui.com"
	// Unlisted takes any upload; no public list knows it.
	Unlisted = "telemetry.unlisted.example"
	// Tracking is one of the sinks, which speaks HTTP/3 too.
	Tracking = "tracking.intl.miui.com"
	// Resolver answers anything, as a resolver over HTTPS that knows no name.
	Resolver = "dns.google"
	// PushChannel takes connections on port 5222 and says nothing.
	PushChannel = "app.chat.global.xiaomi.net"
	// Weather holds a TLS connection open: another app's noise.
	Weather = "push.weather.example"
	// Pages has a page at every path.
	Pages = "www.pages.example"
)

// Sinks are further hosts of the maker and its partners which answer 200 with
// an empty JSON object to anything. What they should answer is not known.
func Sinks() []string {
	return []string{
		"api.brs.intl.miui.com", "api.mintbrs.intl.miui.com", "api.browser.intl.miui.com",
		"hot.browser.intl.miui.com", "r.browser.intl.miui.com", "activity.browser.intl.miui.com",
		"api.newsfeed.intl.miui.com", "api.content.intl.miui.com", "api.collect.data.intl.miui.com",
		"data.sec.intl.miui.com", "globalapi.ad.xiaomi.com", "globalreport.ad.intl.xiaomi.com",
		"api.ad.intl.xiaomi.com", "sdkconfig.ad.intl.xiaomi.com", Tracking,
		"data.mistat.intl.xiaomi.com", "data.mistat.xiaomi.com", "app-measurement.com",
	}
}

// Options are the options of Register. The zero value is usable.
type Options struct {
	// Pace multiplies every delay of the sites; zero means 1.
	Pace float64
	// Events receives what the Sensors collector decoded; nil discards it.
	Events *Events
	// DisableSDK is asked at each request for the collector's remote
	// configuration whether it shall turn the SDK off; nil means never.
	DisableSDK func(project string) bool
	// Extra are further names of hosts that take anything, like Sinks.
	Extra []string
}

// Register adds the sites to an internet.
func Register(n *internet.Internet, o Options) error {
	if o.Pace == 0 {
		o.Pace = 1
	}
	if o.Pace < 0 {
		return fmt.Errorf("web: register sites: pace %v is negative", o.Pace)
	}
	if o.Events == nil {
		o.Events = &Events{}
	}
	if o.DisableSDK == nil {
		o.DisableSDK = func(string) bool { return false }
	}
	hosts := []internet.HostConfig{
		{Name: DuckDuckGo, Aliases: []string{"www.duckduckgo.com", "html.duckduckgo.com"}, Handler: duckDuckGo()},
		{Name: DuckDuckGoLinks, Handler: duckDuckGoLinks()},
		{Name: DuckDuckGoImproving, Handler: pixels(http.StatusOK)},
		{Name: Google, Aliases: []string{"google.com"}, Handler: google()},
		{Name: GStatic, Aliases: []string{"connectivitycheck.gstatic.com"}, Handler: gstatic()},
		{Name: Ads, Handler: ads()},
		{Name: Sensors, Handler: sensors(o.Events, o.DisableSDK)},
		{Name: Connect, Handler: connectivity()},
		{Name: Unlisted, Handler: unlisted()},
		{Name: Weather, PlainPorts: []uint16{}, Stream: weather(o.Pace)},
		{Name: Pages, Handler: pages()},
		{Name: Resolver, Handler: sink()},
		{Name: PushChannel, TLSPorts: []uint16{}, PlainPorts: []uint16{5222}, Stream: pushChannel},
	}
	for _, name := range append(Sinks(), o.Extra...) {
		h := internet.HostConfig{Name: name, Handler: sink()}
		if name == Tracking {
			h.QUICPort = 443
		}
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		if err := n.AddHost(h); err != nil {
			return fmt.Errorf("web: register %s: %w", h.Name, err)
		}
	}
	return nil
}

// gif is the smallest picture that browsers accept.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

func picture(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/gif")
	w.Header().Set("Cache-Control", "no-store")
	write(w, gif)
}

func script(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/javascript; charset=utf-8")
	write(w, []byte("/* A script of the page. */\n"))
}

func noContent(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// write sends a body. Its error means that the client has gone, which is
// nothing to a site.
func write(w http.ResponseWriter, body []byte) { _, _ = w.Write(body) }

// page sends HTML made from a template.
func page(w http.ResponseWriter, t *template.Template, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// As in write: the client has gone, or the template, which tests run, is wrong.
	_ = t.Execute(w, data)
}

func pixels(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/gif")
		w.WriteHeader(status)
		write(w, gif)
	})
}

func connectivity() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /generate_204", noContent)
	return mux
}

func gstatic() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /generate_204", noContent)
	mux.HandleFunc("GET /images/", picture)
	return mux
}

func unlisted() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", noContent)
	mux.HandleFunc("PUT /", noContent)
	return mux
}

// pushChannel takes what it is sent.
func pushChannel(_ context.Context, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func sink() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		write(w, []byte("{}"))
	})
}

// ads is a third party: it sets its cookie and answers with a picture. It
// learns the page from the Referer and from its own parameters.
func ads() http.Handler {
	var visitors atomic.Uint64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /pixel", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("uid"); err != nil {
			http.SetCookie(w, &http.Cookie{
				Name: "uid", Value: strconv.FormatUint(visitors.Add(1)+rand.Uint64()>>16, 36),
				Path: "/", MaxAge: 31536000, Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode,
			})
		}
		picture(w, r)
	})
	return mux
}

var pageTemplate = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.}}</title><link rel="icon" href="/favicon.ico"></head>
<body><h1>{{.}}</h1><p>A page of the simulated internet.</p></body></html>
`))

func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /favicon.ico", picture)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		page(w, pageTemplate, "Page "+r.URL.Path)
	})
	return mux
}

// scaled multiplies a delay by the pace, and keeps it above zero.
func scaled(d time.Duration, pace float64) time.Duration {
	return max(time.Millisecond, time.Duration(float64(d)*pace))
}
