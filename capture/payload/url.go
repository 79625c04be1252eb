package payload

import (
	"bytes"
	"strconv"
)

// urlFields splits a URL as it was sent, without ever refusing one, and hands
// over each part: "scheme" where it is an unusual one, "userinfo", "host",
// "path:0", "query:name", "fragment".
func (p *peeler) urlFields(raw []byte, prefix string, depth int, add func(*Node)) {
	scheme, rest, ok := bytes.Cut(raw, []byte("://"))
	if ok {
		if !usualScheme(string(scheme)) {
			add(p.peel(prefix+"scheme", scheme, depth))
		}
		end := bytes.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host := rest[:end]
		if at := bytes.LastIndexByte(host, '@'); at >= 0 {
			add(p.peel(prefix+"userinfo", p.unescape(host[:at], false), depth))
			host = host[at+1:]
		}
		if len(host) > 0 {
			add(p.peel(prefix+"host", host, depth))
		}
		rest = rest[end:]
	} else {
		rest = raw
	}
	rest, fragment, hasFragment := bytes.Cut(rest, []byte("#"))
	path, query, _ := bytes.Cut(rest, []byte("?"))
	i := 0
	for segment := range bytes.SplitSeq(bytes.TrimPrefix(path, []byte("/")), []byte("/")) {
		if len(segment) > 0 && !p.full(prefix, segment, add) {
			add(p.peel(prefix+"path:"+strconv.Itoa(i), p.unescape(segment, false), depth))
		}
		i++
	}
	for pair := range bytes.SplitSeq(query, []byte("&")) {
		if len(pair) == 0 || p.full(prefix, pair, add) {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		for _, n := range p.field(prefix+"query:", name, value, depth) {
			add(n)
		}
	}
	if hasFragment {
		add(p.peel(prefix+"fragment", p.unescape(fragment, false), depth))
	}
}

// full hands over a cut leaf instead of what the bounds leave no room for.
func (p *peeler) full(prefix string, missed []byte, add func(*Node)) bool {
	if !p.spent() {
		return false
	}
	add(p.cut(prefix+"rest", len(missed)))
	return true
}

func usualScheme(scheme string) bool {
	switch scheme {
	case "http", "https", "ws", "wss", "ftp", "file", "content", "intent", "market", "android-app", "chrome", "about":
		return true
	}
	return false
}

// url opens a text that is one absolute URL.
func (p *peeler) url(n *Node, b []byte, depth int) bool {
	const longScheme = 20
	end := bytes.Index(b, []byte("://"))
	if end <= 0 || end > longScheme || depth >= MaxDepth || bytes.ContainsAny(b, " \t\r\n\"<>") {
		return false
	}
	for _, c := range b[:end] {
		if !isAlnum(c) && c != '+' && c != '-' && c != '.' {
			return false
		}
	}
	p.urlFields(b, "url:", depth+1, func(child *Node) { n.Children = append(n.Children, child) })
	if len(n.Children) == 0 {
		n.Kind = KindText
	}
	return true
}
