package payload

import (
	"bytes"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/textproto"
	"strconv"
	"strings"
)

// hintOf reads a Content-Type header. One that cannot be read hints nothing.
func hintOf(contentType string) hint {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media, _, _ = strings.Cut(strings.ToLower(contentType), ";")
		media = strings.TrimSpace(media)
	}
	h := hint{form: media == "application/x-www-form-urlencoded"}
	if strings.HasPrefix(media, "multipart/") {
		h.boundary = params["boundary"]
	}
	return h
}

// boundaryOf returns the boundary of a multipart body that no header
// announces, empty when it is none.
func boundaryOf(b []byte) string {
	const reach = 512
	if !bytes.HasPrefix(b, []byte("--")) {
		return ""
	}
	line, _, ok := bytes.Cut(b[:min(len(b), reach)], []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	if !ok || len(line) < 3 || len(line) > 80 || !bytes.Contains(bytes.ToLower(b[:min(len(b), reach)]), []byte("\ncontent-")) {
		return ""
	}
	return string(line[2:])
}

// guessMultipart opens a multipart body that no header announces.
func (p *peeler) guessMultipart(n *Node, b []byte, depth int) bool {
	boundary := boundaryOf(b)
	return boundary != "" && p.multipart(n, boundary, depth)
}

// multipart opens the parts between the boundaries: what each holds, and its
// header lines apart.
func (p *peeler) multipart(n *Node, boundary string, depth int) bool {
	mark := []byte("--" + boundary)
	b := n.Value
	if !bytes.Contains(b, mark) {
		return false
	}
	sections := bytes.Split(b, mark)
	if preamble := bytes.TrimSpace(sections[0]); len(preamble) > 0 {
		n.Children = append(n.Children, p.peel("multipart-preamble", preamble, depth+1))
	}
	for i, section := range sections[1:] {
		if p.spent() {
			n.Children = append(n.Children, p.cut("multipart-rest", len(bytes.Join(sections[i+1:], mark))))
			break
		}
		if end, ok := bytes.CutPrefix(section, []byte("--")); ok && i == len(sections)-2 {
			if end = bytes.TrimSpace(end); len(end) > 0 {
				n.Children = append(n.Children, p.peel("multipart-epilogue", end, depth+1))
			}
			break
		}
		p.section(n, i, section, depth)
	}
	if len(n.Children) == 0 {
		n.Kind = KindText
	}
	return true
}

func (p *peeler) section(n *Node, i int, section []byte, depth int) {
	section = bytes.TrimPrefix(bytes.TrimPrefix(section, []byte("\r")), []byte("\n"))
	section = bytes.TrimSuffix(bytes.TrimSuffix(section, []byte("\n")), []byte("\r"))
	head, content, ok := bytes.Cut(section, []byte("\r\n\r\n"))
	if !ok {
		head, content, ok = bytes.Cut(section, []byte("\n\n"))
	}
	name := strconv.Itoa(i)
	if !ok {
		n.Children = append(n.Children, p.peel("multipart:"+name, section, depth+1))
		return
	}
	header := map[string]string{}
	for line := range bytes.Lines(head) {
		field, value, _ := strings.Cut(string(line), ":")
		header[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(field))] = strings.TrimSpace(value)
	}
	if _, params, err := mime.ParseMediaType(header["Content-Disposition"]); err == nil && params["name"] != "" {
		name = stepName([]byte(params["name"]))
	}
	n.Children = append(n.Children, p.peel("multipart-header:"+name, head, depth+1))
	step := "multipart:" + name
	h := hintOf(header["Content-Type"])
	if strings.EqualFold(header["Content-Transfer-Encoding"], "quoted-printable") {
		decoded, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(content)))
		p.output -= len(decoded)
		if err == nil {
			part := p.node(step, content)
			part.Children = append(part.Children, p.peelAs("quoted-printable", decoded, h, depth+2))
			n.Children = append(n.Children, part)
			return
		}
	}
	codings := strings.Fields(strings.ToLower(header["Content-Encoding"]))
	if len(codings) > 0 {
		n.Children = append(n.Children, p.coded(step, content, header["Content-Type"], codings, depth+1))
		return
	}
	n.Children = append(n.Children, p.peelAs(step, content, h, depth+1))
}
