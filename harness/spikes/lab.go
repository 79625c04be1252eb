package spikes

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"html/template"
	"net/http"
	"net/netip"
)

// A Lab is the laboratory's server: it answers the page's requests and its
// datagrams, and keeps nothing.
type Lab struct {
	// V4 and V6 are the addresses at which the laboratory answers HTTP, and
	// datagrams at Port; one that is not valid is left out, and nothing is sent to
	// it.
	V4, V6 netip.Addr
	// Web is the port of HTTP; 0 is 80.
	Web uint16
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A send is one request of the page.
type send struct {
	ID   Kind   `json:"id"`
	URL  string `json:"url"`
	Body string `json:"body,omitempty"`
}

// maxBody bounds what is read of a spike; the page's own are shorter.
const maxBody = 64 << 10

// Handler serves the page of each run at /1/RUN and takes its bodies at
// /1/RUN/KIND.
func (l Lab) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+version+"/{run}", func(w http.ResponseWriter, r *http.Request) {
		run := r.PathValue("run")
		if !ValidRun(run) {
			http.NotFound(w, r)
			return
		}
		page, err := l.page(run, r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(page) // A browser that left needs no page.
	})
	mux.HandleFunc("POST /"+version+"/{run}/{kind}", func(w http.ResponseWriter, r *http.Request) {
		// The page is served by name, and sends to addresses too.
		w.Header().Set("Access-Control-Allow-Origin", "*")
		var got bytes.Buffer
		if _, err := got.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		for _, s := range Make(r.PathValue("run")) {
			if string(s.Kind) != r.PathValue("kind") || !s.Kind.Body() {
				continue
			}
			if want, err := body(s); err == nil && got.String() == want {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		http.Error(w, "this is no spike of that run", http.StatusBadRequest)
	})
	return mux
}

// page is the page of a run for a browser that asked for it by host.
func (l Lab) page(run, host string) ([]byte, error) {
	var list []send
	for _, s := range Make(run) {
		one := send{ID: s.Kind}
		switch {
		case s.Kind == Plain || s.Kind == Packed:
			one.URL = "http://" + host
		case s.Kind == IPv6 && l.V6.IsValid():
			one.URL = "http://" + l.address(l.V6)
		case s.Kind == UDP && l.V4.IsValid():
			one.URL = fmt.Sprintf("stun:%s:%d", l.V4, Port)
		case s.Kind == UDP6 && l.V6.IsValid():
			one.URL = fmt.Sprintf("stun:[%s]:%d", l.V6, Port)
		default:
			continue
		}
		if s.Kind.Body() {
			one.URL += "/" + version + "/" + run + "/" + string(s.Kind)
			var err error
			if one.Body, err = body(s); err != nil {
				return nil, err
			}
		}
		list = append(list, one)
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, struct {
		Run, Done string
		Sends     []send
	}{run, Title(run), list})
	if err != nil {
		return nil, fmt.Errorf("spikes: make the page: %w", err)
	}
	return out.Bytes(), nil
}

// address is the host and port of HTTP at an address.
func (l Lab) address(a netip.Addr) string {
	if l.Web != 0 && l.Web != 80 {
		return netip.AddrPortFrom(a, l.Web).String()
	}
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// The parts of STUN that a question for one's own address needs (RFC 8489,
// sections 5 and 14.2).
const (
	stunHeader   = 20
	stunCookie   = 0x2112a442
	stunQuestion = 0x0001
	stunAnswer   = 0x0101
	stunMapped   = 0x0020
)

// Answer is the reply to a datagram that came to Port from an address: a STUN
// question is told where it came from, anything else gets nil.
func Answer(datagram []byte, from netip.AddrPort) []byte {
	if len(datagram) < stunHeader || binary.BigEndian.Uint16(datagram) != stunQuestion || binary.BigEndian.Uint32(datagram[4:]) != stunCookie {
		return nil
	}
	addr := from.Addr().Unmap()
	raw := addr.AsSlice()
	family := byte(1)
	if addr.Is6() {
		family = 2
	}
	out := make([]byte, stunHeader+8, stunHeader+8+len(raw))
	binary.BigEndian.PutUint16(out, stunAnswer)
	binary.BigEndian.PutUint16(out[2:], uint16(8+len(raw))) //nolint:gosec // 12 or 24.
	copy(out[4:stunHeader], datagram[4:])
	binary.BigEndian.PutUint16(out[20:], stunMapped)
	binary.BigEndian.PutUint16(out[22:], uint16(4+len(raw))) //nolint:gosec // 8 or 20.
	out[25] = family
	binary.BigEndian.PutUint16(out[26:], from.Port()^uint16(stunCookie>>16))
	// The address goes under the cookie and the question's number, so that nothing
	// on the way rewrites it.
	for i, b := range raw {
		out = append(out, b^out[4+i])
	}
	return out
}
