package telemetry

import (
	"bytes"
	"net/url"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// A request is an exchange with its opened parts.
type request struct {
	ex    capture.Exchange
	parts []payload.Part
	// host and path are the URL's; the path is decoded.
	host, path string
	// named are the fields by their names, nil until somebody asks.
	named map[string][]field
}

func newRequest(ex capture.Exchange, parts []payload.Part) *request {
	r := &request{ex: ex, parts: parts}
	if u, err := url.Parse(ex.URL); err == nil {
		r.host, r.path = strings.ToLower(u.Hostname()), u.Path
	}
	return r
}

// query returns a parameter of the URL, decoded once.
func (r *request) query(name string) string {
	for _, part := range r.parts {
		if part.Where == "url" && part.Name == "query:"+name && part.Root != nil {
			return string(part.Root.Value)
		}
	}
	return ""
}

// header returns a header's value, by its name in any case.
func (r *request) header(name string) string {
	for _, h := range r.ex.RequestHeader {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// A field is a value of a form in the body or of the URL's query.
type field struct {
	where, path string
	node        *payload.Node
}

// named returns the name of a field of a form or of multipart content.
func named(step string) (string, bool) {
	if name, ok := strings.CutPrefix(step, "form:"); ok {
		return name, true
	}
	return strings.CutPrefix(step, "multipart:")
}

// fields returns every field of a name, the body's before the query's. The
// body may be compressed around the form.
func (r *request) fields(name string) []field {
	if r.named == nil {
		r.named = map[string][]field{}
		for _, where := range []string{"body", "url"} {
			r.index(where)
		}
	}
	return r.named[name]
}

// index notes the fields of the body or of the query by their names.
func (r *request) index(where string) {
	for leaf := range payload.Walk(r.parts) {
		if leaf.Where != where {
			continue
		}
		name, ok := named(leaf.Step)
		if where == "url" {
			name, ok = strings.CutPrefix(leaf.Path, "query:")
			ok = ok && leaf.Step == ""
		}
		if ok {
			r.named[name] = append(r.named[name], field{leaf.Where, leaf.Path, leaf.Node})
		}
	}
}

// value returns the first field of a name as text.
func (r *request) value(name string) string {
	for _, f := range r.fields(name) {
		return string(f.node.Value)
	}
	return ""
}

// A form is the fields of a body or of a query, the first of each name.
type form struct {
	where  string
	values map[string]string
	fields map[string]field
}

// has says whether the form has a field of each name.
func (f form) has(names ...string) bool {
	for _, name := range names {
		if _, ok := f.values[name]; !ok {
			return false
		}
	}
	return true
}

// any says whether the form has a field of one of the names that is not empty.
func (f form) any(names ...string) bool {
	for _, name := range names {
		if f.values[name] != "" {
			return true
		}
	}
	return false
}

// properties are all fields, as a JSON object holds them.
func (f form) properties() map[string]any {
	all := make(map[string]any, len(f.values))
	for name, v := range f.values {
		all[name] = v
	}
	return all
}

// pick returns the fields of some names that are not empty; nil for none.
func (f form) pick(names ...string) map[string]string {
	var some map[string]string
	for _, name := range names {
		if v := f.values[name]; v != "" {
			if some == nil {
				some = map[string]string{}
			}
			some[name] = v
		}
	}
	return some
}

// forms returns the form of the body, if it is one, and that of the query. Only
// a form that is the whole body counts, compressed or not.
func (r *request) forms() []form {
	var all []form
	body := form{"body", map[string]string{}, map[string]field{}}
	if f, ok := r.body(); ok {
		for _, child := range f.node.Children {
			if name, ok := named(child.Step); ok {
				body.add(name, field{"body", joined(f.path, child.Step), child})
			}
		}
	}
	if len(body.values) > 0 {
		all = append(all, body)
	}
	query := form{"url", map[string]string{}, map[string]field{}}
	for _, part := range r.parts {
		if name, ok := strings.CutPrefix(part.Name, "query:"); ok && part.Where == "url" && part.Root != nil {
			query.add(name, field{"url", part.Name, part.Root})
		}
	}
	if len(query.values) > 0 {
		all = append(all, query)
	}
	return all
}

func (f form) add(name string, v field) {
	if len(v.node.Children) > 0 && compression(v.node.Children[0].Step) { // As a file in multipart content may be.
		v = field{v.where, joined(v.path, v.node.Children[0].Step), v.node.Children[0]}
	}
	if _, ok := f.values[name]; !ok {
		f.values[name], f.fields[name] = string(v.node.Value), v
	}
}

// body returns the request's body, with the compression around it taken off.
func (r *request) body() (field, bool) {
	for _, part := range r.parts {
		if part.Where != "body" || part.Root == nil {
			continue
		}
		f := field{"body", "", part.Root}
		for len(f.node.Children) > 0 && compression(f.node.Children[0].Step) {
			f = field{"body", joined(f.path, f.node.Children[0].Step), f.node.Children[0]}
		}
		return f, true
	}
	return field{}, false
}

// compression says whether a step takes a compression off.
func compression(step string) bool {
	switch step {
	case "gzip", "zlib", "deflate", "br", "brotli", "zstd", "snappy", "lz4", "xz", "bzip2":
		return true
	}
	return false
}

// cut says how much of the body is missing, empty when it is whole.
func (r *request) cut() string {
	if r.ex.RequestTruncated || r.ex.BytesUp > int64(len(r.ex.RequestBody)) {
		return "damaged: only the beginning of the body was captured"
	}
	return ""
}

// documents returns every JSON text at or below a node, with its path, that has
// each of some words in it.
func documents(f field, words ...string) []field {
	var found []field
	for leaf := range payload.Walk([]payload.Part{{Where: f.where, Root: &payload.Node{Children: []*payload.Node{f.node}}}}) {
		if isDocument(leaf.Node) && mentions(leaf.Value, words) {
			below := strings.TrimPrefix(strings.TrimPrefix(leaf.Path, f.node.Step), " > ")
			found = append(found, field{f.where, joined(f.path, below), leaf.Node})
		}
	}
	return found
}

// mentions says whether a JSON text may have each of some words as member names,
// before it is parsed.
func mentions(text []byte, words []string) bool {
	for _, word := range words {
		if !bytes.Contains(text, []byte(`"`+word+`"`)) && !bytes.Contains(text, []byte(`\u`)) {
			return false
		}
	}
	return true
}

func joined(path, below string) string {
	if path == "" || below == "" {
		return path + below
	}
	return path + " > " + below
}

// isDocument is true for a node that payload opened as JSON.
func isDocument(n *payload.Node) bool {
	return len(n.Children) > 0 && (strings.HasPrefix(n.Children[0].Step, "json:") || strings.HasPrefix(n.Children[0].Step, "json-key:"))
}
