package dissect

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// maxStreams bounds the streams of a connection that are open at once.
const maxStreams = 1 << 13

// pseudoFields are the parts of a request's and a reply's first line.
var pseudoFields = []string{":method", ":scheme", ":authority", ":path", ":status"}

// messages makes exchanges of the messages of a connection that carries many at
// once, as HTTP/2 and HTTP/3 do. Its sides are 0 for the client and 1 for the
// server, because the directions of a flow may change under a connection.
type messages struct {
	engine  *engine
	flow    *flow // that carries what is being read
	client  int   // the direction of the requests in flow
	version string
	streams map[uint64]*multiplexed
}

// A multiplexed exchange is a request with its reply.
type multiplexed struct {
	x     *exchange
	ended [2]bool
}

// side is the side that sends in a direction of the flow, and the other way
// round.
func (t *messages) side(dir int) int { return dir ^ t.client }

// cut notes that bytes of a side are missing.
func (s *multiplexed) cut(side int) {
	switch {
	case s.ended[side]:
	case side == 0:
		s.x.RequestTruncated = true
	default:
		s.x.ResponseTruncated = true
	}
}

// message takes a whole header: a request's, a reply's or a trailer.
func (t *messages) message(side int, stream uint64, header []capture.Header, last bool, at time.Time) {
	pseudo := map[string]string{}
	plain := header[:0:0]
	for _, f := range header {
		// Each of those that are known stands once; any other was sent all the same.
		if _, again := pseudo[f.Name]; slices.Contains(pseudoFields, f.Name) && !again {
			pseudo[f.Name] = f.Value
		} else {
			plain = append(plain, f)
		}
	}
	s := t.streams[stream]
	if s == nil {
		if len(t.streams) >= maxStreams || len(t.engine.http) >= maxExchanges {
			t.engine.full = true
			return
		}
		s = &multiplexed{x: &exchange{}}
		s.x.Flow, s.x.Start, s.x.Version = t.flow.id(), at, t.version
		t.streams[stream] = s
		t.engine.http = append(t.engine.http, s.x)
	}
	x := s.x
	switch {
	case side == 0 && x.Method == "" && pseudo[":method"] != "":
		x.Method, x.RequestHeader = pseudo[":method"], plain
		x.URL = t.url(pseudo)
	case side == 0:
		x.RequestHeader = append(x.RequestHeader, header...) // A trailer has no first line.
	case pseudo[":status"] != "":
		status, err := strconv.Atoi(pseudo[":status"])
		if err != nil || status < 200 && status >= 100 && !last {
			return // an interim reply: the final one follows
		}
		x.Status, x.ResponseHeader, x.replied = status, plain, true
	default:
		x.ResponseHeader = append(x.ResponseHeader, plain...)
	}
	if last {
		t.ended(side, stream, at)
	}
}

// url makes the absolute URL of a request and notes the host of the flow.
func (t *messages) url(pseudo map[string]string) string {
	host := pseudo[":authority"]
	if host == "" {
		host = t.flow.ends[1-t.client].String()
	} else if t.flow.header == "" {
		t.flow.header = host
	}
	if pseudo[":method"] == "CONNECT" && pseudo[":path"] == "" {
		return "connect://" + host
	}
	scheme := pseudo[":scheme"]
	if scheme != "http" && scheme != "https" {
		scheme = "https"
	}
	return scheme + "://" + host + "/" + strings.TrimPrefix(pseudo[":path"], "/")
}

// body takes content of a message.
func (t *messages) body(side int, stream uint64, b []byte) {
	s := t.streams[stream]
	if s == nil {
		// Content of a message whose header nobody saw is content all the same.
		t.flow.keepUnread(t.engine, t.side(side), b)
		return
	}
	x := s.x
	if side == 0 {
		x.BytesUp += int64(len(b))
		n := t.engine.room(len(x.RequestBody), len(b))
		x.RequestBody = append(x.RequestBody, b[:n]...)
		x.RequestTruncated = x.RequestTruncated || n < len(b)
	} else {
		x.BytesDown += int64(len(b))
		n := t.engine.replyRoom(len(x.ResponseBody), len(b))
		x.ResponseBody = append(x.ResponseBody, b[:n]...)
		x.ResponseTruncated = x.ResponseTruncated || n < len(b)
	}
}

// ended notes that a side of a stream has come to its end.
func (t *messages) ended(side int, stream uint64, at time.Time) {
	s := t.streams[stream]
	switch {
	case s == nil:
		return
	case side == 0:
		s.x.Sent = at
	default:
		s.x.End = at
	}
	t.finish(side, stream, s)
}

// reset notes that a stream was broken off.
func (t *messages) reset(stream uint64) {
	s := t.streams[stream]
	if s == nil {
		return
	}
	if s.x.Failure == "" && !s.x.replied {
		s.x.Failure = "the stream was reset before a reply"
	}
	t.finish(0, stream, s)
	t.finish(1, stream, s)
}

func (t *messages) finish(side int, stream uint64, s *multiplexed) {
	s.ended[side] = true
	if s.ended[0] && s.ended[1] {
		t.close(s)
		delete(t.streams, stream)
	}
}

// close notes what of an exchange never came.
func (t *messages) close(s *multiplexed) {
	x := s.x
	x.RequestTruncated = x.RequestTruncated || x.Sent.IsZero()
	x.ResponseTruncated = x.ResponseTruncated || x.replied && x.End.IsZero()
	if x.Method == "" {
		x.Failure = incomplete
	}
	if x.Failure == "" && !x.replied {
		x.Failure = "no reply"
	}
}

// closeAll is close for all that are open still.
func (t *messages) closeAll() {
	for _, s := range t.streams {
		t.close(s)
	}
	t.streams = nil
}
