package payload

import (
	"strconv"
	"strings"
)

func urlParts(raw string) []Part {
	p := newPeeler()
	var parts []Part
	add := func(name, value string) {
		parts = append(parts, Part{Where: "url", Name: name, Root: p.peel("", []byte(value), 0)})
	}
	rest := raw
	if i := strings.Index(rest, "://"); i >= 0 {
		rest = rest[i+3:]
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host := rest[:end]
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			add("userinfo", host[:at])
			host = host[at+1:]
		}
		add("host", host)
		rest = rest[end:]
	}
	rest, fragment, hasFragment := strings.Cut(rest, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	if trimmed := strings.TrimPrefix(path, "/"); trimmed != "" {
		for i, segment := range strings.Split(trimmed, "/") {
			add("path:"+strconv.Itoa(i), segment)
		}
	}
	if hasQuery && query != "" {
		for _, field := range strings.Split(query, "&") {
			name, value, _ := strings.Cut(field, "=")
			add("query:"+name, value)
		}
	}
	if hasFragment {
		add("fragment", fragment)
	}
	return parts
}

func cookieParts(header string) []Part {
	p := newPeeler()
	var parts []Part
	for _, pair := range strings.Split(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		parts = append(parts, Part{Where: "cookie", Name: name, Root: p.peel("", []byte(value), 0)})
	}
	return parts
}
