package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// control is the door through which another process breaks the farm and reads
// the truth:
//
//	GET  /phones/SERIAL               settings, mounts, reverses and state
//	GET  /faults                      the faults, each with what it does
//	GET  /phones/SERIAL/hand          a page on which a person uses the phone with mouse and keys
//	GET  /phones/SERIAL/screen        the picture of the screen, a PNG
//	GET  /phones/SERIAL/tree          what is on it, in uiautomator's form
//	POST /phones/SERIAL/hand/tap?x=&y=, /swipe?x=&y=&x2=&y2=&ms=, /key?code=, /text?text=
//	                                  a finger and the keys of a person, whom no gate stops
//	POST /phones/SERIAL/faults/NAME   a fault of Faults; ?arg= is its argument, ?after= its time
//	POST /adb/stop, /adb/start        the ADB server
//	POST /gateway/cut                 ends every recording at the access point
//	POST /gateway/clock?ahead=        puts its clock before the host's
//	GET  /ledger                      what every simulated host received
type control struct {
	ln     net.Listener
	server *http.Server
	done   chan struct{}
}

func openControl(ctx context.Context, w *World, addr string) (*control, error) {
	ln, err := listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	c := &control{ln: ln, done: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /phones/{serial}", w.showPhone)
	w.lendHand(mux)
	mux.HandleFunc("GET /faults", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, Faults()) })
	mux.HandleFunc("POST /phones/{serial}/faults/{name}", w.breakPhone)
	mux.HandleFunc("POST /adb/stop", func(http.ResponseWriter, *http.Request) { w.StopADB() })
	mux.HandleFunc("POST /adb/start", func(rw http.ResponseWriter, r *http.Request) {
		if err := w.StartADB(r.Context()); err != nil {
			http.Error(rw, err.Error(), http.StatusConflict)
		}
	})
	mux.HandleFunc("POST /gateway/cut", func(http.ResponseWriter, *http.Request) { w.CutGateway() })
	mux.HandleFunc("POST /gateway/clock", func(rw http.ResponseWriter, r *http.Request) {
		ahead, err := time.ParseDuration(r.URL.Query().Get("ahead"))
		if err != nil {
			http.Error(rw, "ahead= must be a time such as 90s", http.StatusConflict)
			return
		}
		w.SetGatewayClock(ahead)
	})
	mux.HandleFunc("GET /ledger", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, w.Ledger().Entries()) })
	c.server = &http.Server{Handler: sameHost(mux), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(ln)
	}()
	return c, nil
}

// sameHost refuses what a page in somebody's browser could send: a request with
// another Origin, or to a name that was made to resolve to loopback.
func sameHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		ip := net.ParseIP(host)
		if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(rw, "only for programs of this host", http.StatusForbidden)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

func (c *control) addr() string { return c.ln.Addr().String() }

func (c *control) close() error {
	err := c.server.Close()
	<-c.done
	return err
}

func (w *World) showPhone(rw http.ResponseWriter, r *http.Request) {
	p := w.Phone(r.PathValue("serial"))
	if p == nil {
		http.Error(rw, "no such phone", http.StatusNotFound)
		return
	}
	answer(rw, p.Truth())
}

func (w *World) breakPhone(rw http.ResponseWriter, r *http.Request) {
	p := w.Phone(r.PathValue("serial"))
	if p == nil {
		http.Error(rw, "no such phone", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	var after time.Duration
	if text := query.Get("after"); text != "" {
		var err error
		if after, err = time.ParseDuration(text); err != nil || after < 0 {
			http.Error(rw, fmt.Sprintf("after=%s is no time such as 5s", text), http.StatusConflict)
			return
		}
	}
	err := p.FaultAfter(r.Context(), r.PathValue("name"), query.Get("arg"), after)
	switch {
	case errors.Is(err, ErrUnknownFault):
		http.Error(rw, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(rw, err.Error(), http.StatusConflict)
	}
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	// The reader has gone when this fails; there is nobody to tell.
	_ = json.NewEncoder(rw).Encode(v)
}
