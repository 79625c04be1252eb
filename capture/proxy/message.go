package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/offproof/offproof/capture"
)

const (
	maxFields    = 2000    // of one header
	maxChunkLine = 4 << 10 // a chunk's size with its extensions
)

// errMalformed is the cause of every message that is not HTTP/1.
var errMalformed = errors.New("not an HTTP/1 message")

// A head is the first line and the header of an HTTP/1 message, with the bytes
// as they came.
type head struct {
	raw    []byte
	first  [3]string // method, target, version; or version, status, reason
	fields []capture.Header
}

// readHead reads a message up to the blank line. It returns io.EOF when there
// is not one byte.
func readHead(br *bufio.Reader, limit int) (*head, error) {
	h := &head{}
	for blank := 0; ; {
		line, err := br.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full {
			if errors.Is(err, io.EOF) && len(h.raw)+len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(h.raw)+len(line) > limit {
			return nil, fmt.Errorf("%w: header larger than %d bytes", errMalformed, limit)
		}
		// Blank lines before a message are allowed, within reason.
		if len(h.raw) == 0 && len(bytes.TrimRight(line, "\r\n")) == 0 {
			if blank++; blank > 4 {
				return nil, fmt.Errorf("%w: nothing but blank lines", errMalformed)
			}
			continue
		}
		h.raw = append(h.raw, line...)
		if full {
			continue
		}
		if endsHead(h.raw) {
			break
		}
	}
	return h, h.parse()
}

// endsHead says whether the last line of b is blank.
func endsHead(b []byte) bool {
	return bytes.HasSuffix(b, []byte("\n\r\n")) || bytes.HasSuffix(b, []byte("\n\n"))
}

func (h *head) parse() error {
	line, rest := cutLine(h.raw)
	a, b, ok := strings.Cut(line, " ")
	if !ok {
		return fmt.Errorf("%w: first line %.40q", errMalformed, line)
	}
	if strings.HasPrefix(a, "HTTP/") {
		status, reason, _ := strings.Cut(b, " ")
		h.first = [3]string{a, status, reason}
	} else {
		i := strings.LastIndexByte(b, ' ')
		if i < 0 || !token(a) || !strings.HasPrefix(b[i+1:], "HTTP/1.") {
			return fmt.Errorf("%w: first line %.40q", errMalformed, line)
		}
		h.first = [3]string{a, strings.TrimSpace(b[:i]), b[i+1:]}
		if h.first[1] == "" {
			return fmt.Errorf("%w: first line %.40q", errMalformed, line)
		}
	}
	fields, err := parseFields(rest)
	h.fields = fields
	return err
}

// parseFields reads header lines up to a blank one, in order and spelling.
func parseFields(b []byte) ([]capture.Header, error) {
	var fields []capture.Header
	for len(b) > 0 {
		var line string
		line, b = cutLine(b)
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // an obsolete folded line
			if len(fields) == 0 {
				return fields, fmt.Errorf("%w: header begins with a blank", errMalformed)
			}
			last := &fields[len(fields)-1]
			last.Value = strings.TrimSpace(last.Value + " " + strings.TrimSpace(line))
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return fields, fmt.Errorf("%w: header line %.40q", errMalformed, line)
		}
		if len(fields) >= maxFields {
			return fields, fmt.Errorf("%w: more than %d header lines", errMalformed, maxFields)
		}
		fields = append(fields, capture.Header{Name: name, Value: strings.Trim(value, " \t")})
	}
	return fields, nil
}

func cutLine(b []byte) (string, []byte) {
	line, rest, _ := bytes.Cut(b, []byte{'\n'})
	return string(bytes.TrimSuffix(line, []byte{'\r'})), rest
}

// token says whether s can be a method.
func token(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// get returns the first field of that name.
func (h *head) get(name string) string {
	for _, f := range h.fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// lists says whether a field that is a comma-separated list holds a word.
func (h *head) lists(name, word string) bool {
	for _, f := range h.fields {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		for part := range strings.SplitSeq(f.Value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), word) {
				return true
			}
		}
	}
	return false
}

// status is the reply's status code, 0 when the head is no reply's.
func (h *head) status() int {
	if !strings.HasPrefix(h.first[0], "HTTP/1.") || len(h.first[1]) != 3 {
		return 0
	}
	n, err := strconv.Atoi(h.first[1])
	if err != nil || n < 100 {
		return 0
	}
	return n
}

// keeps says whether the connection may carry another message after this one.
func (h *head) keeps() bool {
	version := h.first[2]
	if strings.HasPrefix(h.first[0], "HTTP/") {
		version = h.first[0]
	}
	if version == "HTTP/1.0" {
		return h.lists("Connection", "keep-alive")
	}
	return !h.lists("Connection", "close")
}

// A framing says where a body ends.
type framing int

const (
	noBody framing = iota
	byLength
	chunked
	untilClose
)

// requestBody tells a request's framing.
func (h *head) requestBody() (framing, int64, error) {
	f, n, err := h.body()
	if err == nil && f == untilClose {
		if h.get("Transfer-Encoding") != "" {
			return noBody, 0, fmt.Errorf("%w: request of unknown transfer encoding", errMalformed)
		}
		return noBody, 0, nil
	}
	return f, n, err
}

// responseBody tells a reply's framing, which depends on the request's method.
func (h *head) responseBody(method string) (framing, int64, error) {
	status := h.status()
	if method == "HEAD" || status < 200 || status == 204 || status == 304 {
		return noBody, 0, nil
	}
	return h.body()
}

func (h *head) body() (framing, int64, error) {
	length := int64(-1)
	coding := ""
	for _, f := range h.fields {
		switch {
		case strings.EqualFold(f.Name, "Transfer-Encoding"):
			coding += "," + f.Value
		case strings.EqualFold(f.Name, "Content-Length"):
			for part := range strings.SplitSeq(f.Value, ",") {
				n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 63)
				if err != nil || (length >= 0 && length != int64(n)) {
					return noBody, 0, fmt.Errorf("%w: content length %.40q", errMalformed, f.Value)
				}
				length = int64(n)
			}
		}
	}
	switch {
	case coding != "":
		if last := coding[strings.LastIndexByte(coding, ',')+1:]; strings.EqualFold(strings.TrimSpace(last), "chunked") {
			return chunked, 0, nil
		}
		return untilClose, 0, nil
	case length == 0:
		return noBody, 0, nil
	case length > 0:
		return byLength, length, nil
	default:
		return untilClose, 0, nil
	}
}

// A passage moves a body from one side to the other as it is and shows its
// content to a sink first.
type passage struct {
	from *bufio.Reader
	to   *bufio.Writer
	sink func([]byte)
	// trailers takes the header that may follow a chunked body, and what else stands
	// between chunks, as values without a name.
	trailers func([]capture.Header)
	limit    int // of the trailers' bytes
	// read, if not nil, is called when the message has been read to its end,
	// before its last byte can reach the other side: a reply may come at once.
	read func()
}

func (p *passage) body(f framing, length int64) error {
	switch f {
	case noBody:
		p.wasRead()
		return nil
	case byLength:
		return p.bytes(length, true)
	case chunked:
		return p.chunks()
	case untilClose:
		err := p.bytes(-1, true)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	default:
		return fmt.Errorf("proxy: framing %d: %w", f, errors.ErrUnsupported)
	}
}

// fill waits for bytes, after handing on all there are.
func (p *passage) fill() ([]byte, error) {
	if p.from.Buffered() == 0 {
		if err := p.to.Flush(); err != nil {
			return nil, &writeError{err}
		}
	}
	if _, err := p.from.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return p.from.Peek(p.from.Buffered())
}

func (p *passage) wasRead() {
	if p.read != nil {
		p.read()
	}
}

// bytes moves n bytes, or all that come when n is negative. last means that the
// message ends with them.
func (p *passage) bytes(n int64, last bool) error {
	for n != 0 {
		b, err := p.fill()
		if err != nil {
			return err
		}
		if n > 0 && int64(len(b)) > n {
			b = b[:n]
		}
		p.sink(b)
		if last && n == int64(len(b)) {
			p.wasRead()
		}
		if err := p.pass(b); err != nil {
			return err
		}
		if n > 0 {
			n -= int64(len(b))
		}
	}
	return nil
}

func (p *passage) pass(b []byte) error {
	if _, err := p.to.Write(b); err != nil {
		return &writeError{err}
	}
	_, err := p.from.Discard(len(b))
	return err
}

// line moves one line and returns it without its end.
func (p *passage) line(limit int) (string, error) {
	if _, err := p.fill(); err != nil {
		return "", err
	}
	var text []byte
	for {
		b, err := p.from.ReadSlice('\n')
		if len(text)+len(b) > limit {
			return "", fmt.Errorf("%w: line longer than %d bytes", errMalformed, limit)
		}
		text = append(text, b...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		break
	}
	if _, err := p.to.Write(text); err != nil {
		return "", &writeError{err}
	}
	line, _ := cutLine(text)
	return line, nil
}

func (p *passage) chunks() error {
	for {
		line, err := p.line(maxChunkLine)
		if err != nil {
			return err
		}
		digits, extension, _ := strings.Cut(line, ";")
		size, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 62)
		if err != nil {
			p.nameless(line)
			return fmt.Errorf("%w: chunk size %.40q", errMalformed, line)
		}
		// Nobody uses extensions of chunks, and the server gets them all the same.
		p.nameless(extension)
		if size == 0 {
			return p.trailer()
		}
		if err := p.bytes(int64(size), false); err != nil {
			return err
		}
		if line, err = p.line(maxChunkLine); err != nil {
			return err
		} else if line != "" {
			p.nameless(line)
			return fmt.Errorf("%w: chunk ends with %.40q", errMalformed, line)
		}
	}
}

func (p *passage) trailer() error {
	var text []byte
	for {
		line, err := p.line(p.limit)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		if text = append(append(text, line...), '\n'); len(text) > p.limit {
			return fmt.Errorf("%w: trailers larger than %d bytes", errMalformed, p.limit)
		}
	}
	fields, err := parseFields(text)
	if len(fields) > 0 {
		p.trailers(fields)
	}
	if err != nil {
		p.nameless(string(text))
	}
	p.wasRead() // the blank line still waits in the writer
	return err
}

// nameless hands over what stands in a chunked body and is neither content nor a
// field.
func (p *passage) nameless(text string) {
	if text = strings.TrimSpace(text); text != "" {
		p.trailers([]capture.Header{{Value: text}})
	}
}

// A writeError is a failure of the side that a message goes to, as opposed to
// the one that it comes from.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }
