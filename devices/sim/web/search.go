package web

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html/template"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A results page is shown by both engines, each in its own frame.
type results struct {
	Title string
	Term  string
	// Token stands for what real engines derive from query and time.
	Token string
	// Page is the page's own address, as the third party learns it.
	Page string
	Hits []hit
}

// titled is a page's title in the language that the browser asks for.
func titled(r *http.Request, term, en, fr, ru string) string {
	switch lang, _, _ := strings.Cut(r.Header.Get("Accept-Language"), "-"); lang {
	case "fr":
		return term + fr
	case "ru":
		return term + ru
	}
	return term + en
}

type hit struct{ Title, Link, Text string }

// hits makes results for a term. Real pages repeat the term in every one.
func hits(term string) []hit {
	sites := []string{"encyclopedia.example", "answers.example", "forum.example", "shop.example", "video.example"}
	all := make([]hit, 0, len(sites))
	for i, site := range sites {
		all = append(all, hit{
			Title: fmt.Sprintf("%s: result %d", term, i+1),
			Link:  "https://" + site + "/wiki/" + url.PathEscape(strings.ReplaceAll(term, " ", "_")),
			Text:  "What people write about " + term + " on " + site + ".",
		})
	}
	return all
}

func token(term string) string {
	h := fnv.New64a()
	// A hash never fails to write.
	_, _ = h.Write([]byte(term))
	return fmt.Sprintf("4-%d", h.Sum64())
}

var duckPage = template.Must(template.New("duckduckgo").Parse(`<!DOCTYPE html>
<html lang="en"><head>
<meta charset="utf-8"><meta name="referrer" content="origin">
<title>{{.Title}}</title>
<link rel="icon" href="/favicon.ico">
<script src="/dist/p.d1fd6e7b.js"></script>
<script src="https://links.duckduckgo.com/d.js?q={{.Term}}&amp;t=ffab&amp;l=wt-wt&amp;s=0&amp;dl=en&amp;ct=GB&amp;vqd={{.Token}}&amp;p_ent=&amp;ex=-1"></script>
</head><body>
<form action="/" method="get"><input name="q" value="{{.Term}}"></form>
{{range .Hits}}<article><h2><a href="{{.Link}}">{{.Title}}</a></h2><p>{{.Text}}</p></article>
{{end}}<img src="/t/sl_h?4" width="1" height="1" alt=""><img src="https://improving.duckduckgo.com/t/psv?0&amp;b=chrome&amp;d=m&amp;l=en" width="1" height="1" alt="">
</body></html>
`))

var duckHome = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>DuckDuckGo</title><link rel="icon" href="/favicon.ico"></head>
<body><form action="/" method="get"><input name="q"></form></body></html>
`))

func duckDuckGo() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		term := r.URL.Query().Get("q")
		if term == "" {
			page(w, duckHome, nil)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "l", Value: "wt-wt", Path: "/", MaxAge: 31536000, Secure: true, SameSite: http.SameSiteLaxMode, HttpOnly: true})
		page(w, duckPage, results{Title: titled(r, term, " at DuckDuckGo", " sur DuckDuckGo", " в DuckDuckGo"), Term: term, Token: token(term), Hits: hits(term)})
	})
	mux.HandleFunc("GET /favicon.ico", picture)
	mux.HandleFunc("GET /dist/", script)
	mux.HandleFunc("GET /t/", picture)
	mux.HandleFunc("GET /ac/", suggestions)
	return mux
}

func duckDuckGoLinks() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /d.js", script)
	return mux
}

var googlePage = template.Must(template.New("google").Parse(`<!DOCTYPE html>
<html lang="en"><head>
<meta charset="utf-8">
<title>{{.Title}}</title>
<link rel="icon" href="/favicon.ico">
<script src="/xjs/_/js/k=xjs.s.en.{{.Token}}.js"></script>
</head><body>
<img src="https://www.gstatic.com/images/branding/googlelogo/1x/googlelogo_color_92x30dp.png" alt="Google">
<form action="/search" method="get"><input name="q" value="{{.Term}}"></form>
{{range .Hits}}<div class="g"><h3><a href="{{.Link}}">{{.Title}}</a></h3><p>{{.Text}}</p></div>
{{end}}<img src="/gen_204?atyp=i&amp;ct=slh&amp;v=t1&amp;s=web&amp;ei={{.Token}}" width="1" height="1" alt=""><img src="https://ads.partner.example/pixel?slot=top&amp;url={{.Page}}&amp;kw={{.Term}}" width="1" height="1" alt="">
</body></html>
`))

func google() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { page(w, pageTemplate, "Google") })
	mux.HandleFunc("GET /search", func(w http.ResponseWriter, r *http.Request) {
		term := r.URL.Query().Get("q")
		if term == "" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		if _, err := r.Cookie("NID"); err != nil {
			http.SetCookie(w, &http.Cookie{
				Name: "NID", Value: fmt.Sprintf("511=%016x%016x", rand.Uint64(), rand.Uint64()),
				Domain: "google.com", Path: "/", Expires: time.Now().AddDate(0, 6, 0),
				Secure: true, HttpOnly: true, SameSite: http.SameSiteNoneMode,
			})
		}
		own := url.URL{Scheme: "https", Host: Google, Path: "/search", RawQuery: url.Values{"q": {term}}.Encode()}
		page(w, googlePage, results{Title: titled(r, term, " - Google Search", " - Recherche Google", " - Поиск в Google"), Term: term, Token: token(term), Page: own.String(), Hits: hits(term)})
	})
	mux.HandleFunc("/gen_204", noContent)
	mux.HandleFunc("GET /generate_204", noContent)
	mux.HandleFunc("GET /favicon.ico", picture)
	mux.HandleFunc("GET /xjs/", script)
	mux.HandleFunc("GET /complete/search", suggestions)
	return mux
}

// suggestions answers what has been typed so far in the form of OpenSearch.
func suggestions(w http.ResponseWriter, r *http.Request) {
	term := r.URL.Query().Get("q")
	list := []string{}
	if term != "" {
		list = []string{term, term + " meaning", term + " news"}
	}
	body, err := json.Marshal([]any{term, list})
	if err != nil {
		http.Error(w, "bad term", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	write(w, body)
}
