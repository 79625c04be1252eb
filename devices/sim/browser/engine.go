package browser

import (
	"net"
	"net/url"
	"strings"
)

// An engine is a search engine of the settings.
type engine int

const (
	google engine = iota
	duckDuckGo
)

var engines = []struct{ label, word, search string }{
	google:     {"Google", "google", "https://www.google.com/search?client=ms-android-xiaomi&q="},
	duckDuckGo: {"DuckDuckGo", "duckduckgo", "https://duckduckgo.com/?t=xiaomi&q="},
}

func (e engine) address(words string) string { return engines[e].search + url.QueryEscape(words) }

// webAddress is the URL that a person meant by what was typed in the bar; ok
// is false for words to search.
func webAddress(typed string) (address string, ok bool) {
	typed = strings.TrimSpace(typed)
	if typed == "" || strings.ContainsAny(typed, " \t") {
		return "", false
	}
	lower := strings.ToLower(typed)
	if strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		u, err := url.Parse(typed)
		return typed, err == nil && u.Host != ""
	}
	host, _, _ := strings.Cut(typed, "/")
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if !strings.Contains(name, ".") || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
		return "", false
	}
	if _, err := url.Parse("http://" + typed); err != nil {
		return "", false
	}
	return "https://" + typed, true
}
