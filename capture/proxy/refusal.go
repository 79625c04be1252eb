package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
)

// refusal says why a handshake with the phone failed. A refused certificate is
// evidence: the connection was tried, and was not read.
func refusal(err error, name string, hello bool) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Sprintf("the phone refused the certificate: alert %q; sni %s", strings.TrimPrefix(op.Err.Error(), "tls: "), name)
	case !hello:
		return fmt.Sprintf("tls handshake: no readable ClientHello: %v", err)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err):
		return fmt.Sprintf("the phone closed the connection in the handshake, after the certificate was offered; sni %s", name)
	default:
		return fmt.Sprintf("tls handshake: %v; sni %s", err, name)
	}
}

// unused says why a connection with a complete handshake carried nothing. Some
// pinning libraries complete it and then leave, as does a browser that opened
// one too many; the two cannot be told apart.
func unused(err error, name string) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return refusal(err, name, true)
	}
	return "closed after the handshake without a request: a pinned app, or a connection that was never used; sni " + name
}

// prefixed is a connection whose first bytes were read ahead. During the
// handshake it watches for an alert in the clear: some libraries answer a
// certificate that they do not trust with one although TLS 1.3 would have it
// encrypted, and crypto/tls takes it for a damaged record.
type prefixed struct {
	*meter
	r       *bufio.Reader
	shaking atomic.Bool

	head []byte // of the current record, as far as it has come
	left int    // bytes of the record still to come
	body []byte // of an alert
}

func (p *prefixed) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.shaking.Load() {
		p.watch(b[:n])
	}
	return n, err
}

func (p *prefixed) watch(b []byte) {
	for len(b) > 0 {
		if p.left == 0 {
			p.head = append(p.head, b[0])
			if b = b[1:]; len(p.head) == 5 {
				p.left = int(p.head[3])<<8 | int(p.head[4])
				if p.body = make([]byte, 0, 2); p.head[0] != recordAlert || p.left != 2 {
					p.body = nil
				}
				p.head = p.head[:0]
			}
			continue
		}
		n := min(p.left, len(b))
		if p.body != nil {
			p.body = append(p.body, b[:n]...)
		}
		p.left -= n
		b = b[n:]
	}
}

const recordAlert = 21

// alert returns the alert with which the phone ended the handshake in the
// clear, nil if there was none. An encrypted one is longer and is never taken
// for it.
func (p *prefixed) alert() error {
	if len(p.body) != 2 {
		return nil
	}
	return &net.OpError{Op: "remote error", Err: tls.AlertError(p.body[1])}
}
