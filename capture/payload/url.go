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
	left := len(path) + len(query)
	for i, segment := range bytes.Split(bytes.TrimPrefix(path, []byte("/")), []byte("/")) {
		if len(segment) == 0 {
			continue
		}
		if p.spent() {
			add(p.cut(prefix+"rest", left))
			return
		}
		left -= len(segment)
		add(p.peel(prefix+"path:"+strconv.Itoa(i), p.unescape(segment, false), depth))
	}
	for pair := range bytes.SplitSeq(query, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		if p.spent() {
			add(p.cut(prefix+"rest", left))
			return
		}
		left -= len(pair)
		name, value, _ := bytes.Cut(pair, []byte("="))
		for _, n := range p.field(prefix+"query:", name, value, depth) {
			add(n)
		}
	}
	if hasFragment {
		add(p.peel(prefix+"fragment", p.unescape(fragment, false), depth))
	}
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
	if end <= 0 || end > longScheme || bytes.ContainsAny(b, " \t\r\n\"<>") {
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
