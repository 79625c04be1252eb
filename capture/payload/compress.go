package payload

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxWindow bounds the memory of one zstd decoder, in bytes.
const maxWindow = 8 << 20

// inflated is what a decompressor made of its input.
type inflated struct {
	name    string
	content []byte
	// rest is the input that was not used: behind the end, or behind the place
	// where the output was cut.
	rest []byte
	// cut is true when content ended before its end, by damage or a bound.
	cut bool
	// comment is what a gzip header says in words: name and comment.
	comment string
}

// compression names the format that bytes begin with, or nothing.
func compression(b []byte) string {
	switch {
	case len(b) >= 18 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 && b[3]&0xe0 == 0:
		return "gzip"
	case len(b) >= 9 && bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd"
	case len(b) >= 11 && bytes.HasPrefix(b, []byte{0x04, 0x22, 0x4d, 0x18}):
		return "lz4"
	case len(b) >= 14 && bytes.HasPrefix(b, []byte("BZh")) && bytes.HasPrefix(b[4:], []byte("1AY&SY")):
		return "bzip2"
	case len(b) >= 32 && bytes.HasPrefix(b, []byte(xzMagic)):
		return "xz"
	case len(b) >= 18 && bytes.HasPrefix(b, []byte("\xff\x06\x00\x00sNaPpY")):
		return "snappy"
	case len(b) >= 8 && b[0]&0x0f == 8 && b[0]>>4 <= 7 && (uint16(b[0])<<8|uint16(b[1]))%31 == 0 && b[1]&0x20 == 0:
		return "zlib"
	case len(b) >= littleRaw && b[0]&0x06 != 0x06:
		return "raw"
	}
	return ""
}

// decompress opens b by a named format: a content coding, or a name that
// compression gave. It answers false when the bytes are none. A format with a
// magic of its own may come out cut; one without must come out whole.
func (p *peeler) decompress(b []byte, name string) (inflated, bool) {
	if p.spent() {
		return inflated{}, false
	}
	switch name {
	case "gzip", "x-gzip":
		return p.gunzip(b)
	case "zstd":
		return p.read("zstd", b, unzstd)
	case "lz4":
		return p.read("lz4", b, unlz4)
	case "bzip2":
		return p.read("bzip2", b, func(in *bytes.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil })
	case "xz":
		return p.read("xz", b, unxz)
	case "snappy":
		return p.read("snappy", b, unsnappy)
	case "zlib":
		// Two bytes are a weak magic: only a stream that ends well, or one that a
		// bound ended, is believed.
		return p.guess(func() (inflated, bool) { return p.read("zlib", b, p.unzlib) })
	case "deflate":
		if out, ok := p.decompress(b, "zlib"); ok {
			return out, true
		}
		return p.guess(func() (inflated, bool) {
			out, ok := p.read("deflate", b, p.inflate)
			return out, ok && len(out.rest) == 0
		})
	case "raw":
		return p.guess(func() (inflated, bool) {
			out, ok := p.read("deflate", b, p.inflate)
			return out, ok && len(out.rest) == 0 && len(out.content) >= littleText && isText(out.content)
		})
	case "br":
		return p.guess(func() (inflated, bool) { return p.read("brotli", b, p.unbrotli) })
	case "bare brotli":
		if !mayBeBrotli(b) {
			return inflated{}, false
		}
		return p.guess(func() (inflated, bool) {
			out, ok := p.read("brotli", b, p.unbrotli)
			return out, ok && len(out.rest) == 0 && !out.cut && bareText(out.content)
		})
	case "bare snappy":
		return p.guess(func() (inflated, bool) { return p.unsnappyBlock(b) })
	}
	return inflated{}, false
}

// bareText is true for what a stream without any mark must give, which also has
// no sum at its end: a text, and none of a few letters again and again. Of
// three million random buffers of 20 to 64 bytes, 47 were a whole brotli stream
// and 49 a block of Snappy, and none of them gave a text.
func bareText(content []byte) bool {
	const variety = 2.5
	return len(content) >= littleText && isText(content) && Entropy(content) >= variety
}

// bare opens compressed bytes without a mark or a sum, which only what they
// give can tell.
func (p *peeler) bare(b []byte) (inflated, bool) {
	if len(b) < littleRaw {
		return inflated{}, false
	}
	for _, name := range []string{"bare snappy", "bare brotli"} {
		if out, ok := p.decompress(b, name); ok {
			return out, true
		}
	}
	return inflated{}, false
}

// unbare opens such bytes below a node.
func (p *peeler) unbare(n *Node, depth int) bool {
	out, ok := p.bare(n.Value)
	if ok {
		p.attach(n, out, func(name string, content []byte) *Node { return p.peel(name, content, depth+1) })
	}
	return ok
}

// littleRaw is how many bytes a stream without any magic has at least.
const littleRaw = 20

// littleText is how many bytes of text a stream without any magic must give.
const littleText = 16

// guess runs a decoder that may be the wrong one. A result that damage cut
// short is refused, and what a refused one produced is charged to trials.
func (p *peeler) guess(decode func() (inflated, bool)) (inflated, bool) {
	before := p.output
	allowed := max(min(before, p.trial), 0)
	p.output = allowed
	out, ok := decode()
	bounded := p.output <= 0
	used := allowed - p.output
	if ok && (!out.cut || bounded) {
		p.output = before - used
		return out, true
	}
	p.output = before
	p.trial -= used
	return inflated{}, false
}

// unzlib and inflate use one decoder of each format again and again, since
// nearly every binary value is tried, and nearly every try ends at once.
func (p *peeler) unzlib(in *bytes.Reader) (io.Reader, error) {
	if p.zlib == nil {
		r, err := zlib.NewReader(in)
		if err == nil {
			p.zlib = r
		}
		return r, err
	}
	if err := p.zlib.(zlib.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	return p.zlib, nil
}

func (p *peeler) inflate(in *bytes.Reader) (io.Reader, error) {
	if p.flate == nil {
		p.flate = flate.NewReader(in)
		return p.flate, nil
	}
	if err := p.flate.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	return p.flate, nil
}

func (p *peeler) unbrotli(in *bytes.Reader) (io.Reader, error) {
	if p.brotli == nil {
		p.brotli = brotli.NewReader(in)
		return p.brotli, nil
	}
	return p.brotli, p.brotli.Reset(in)
}

// mayBeBrotli is true where the first block that a stream announces (RFC 7932,
// section 9) is of a size that such a stream can hold. The decoder takes far
// longer to begin than this.
func mayBeBrotli(b []byte) bool {
	const mostGrowth = 48
	head := binary.LittleEndian.Uint64(b)
	bits := func(n uint) uint64 {
		v := head & (1<<n - 1)
		head >>= n
		return v
	}
	// The size of the window: 1, 4 or 7 bits.
	if bits(1) == 1 && bits(3) == 0 && bits(3) == 1 {
		return false
	}
	last := bits(1) == 1
	if last && bits(1) == 1 {
		return false // empty
	}
	nibbles := uint(bits(2)) + 4
	if nibbles > 6 {
		return false // no data
	}
	size := bits(4*nibbles) + 1
	return size >= littleText && size/mostGrowth <= uint64(len(b)) && (!last || size > uint64(len(b))/2)
}

// unlz4 reads the frame format, whose blocks hold at most 4 MB.
func unlz4(in *bytes.Reader) (io.Reader, error) { return lz4.NewReader(in), nil }

// unsnappy reads the stream format, whose blocks hold at most 64 kB.
func unsnappy(in *bytes.Reader) (io.Reader, error) {
	return snappy.NewReader(in), nil
}

// unsnappyBlock opens one block of Snappy, which begins with the length of
// what it gives.
func (p *peeler) unsnappyBlock(b []byte) (inflated, bool) {
	// A copy of 64 bytes takes two.
	const mostGrowth = 32
	size, err := snappy.DecodedLen(b)
	if err != nil || size < littleText || size > mostGrowth*len(b) || size > p.output {
		return inflated{}, false
	}
	content, err := snappy.Decode(nil, b)
	p.output -= size
	if err != nil || !bareText(content) {
		return inflated{}, false
	}
	return inflated{name: "snappy", content: content}, true
}

func unzstd(in *bytes.Reader) (io.Reader, error) {
	return zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
}

// read decompresses within what is left of the bounds. It answers false when
// not a byte came out and the stream did not end well either.
func (p *peeler) read(name string, b []byte, open func(*bytes.Reader) (io.Reader, error)) (inflated, bool) {
	in := &p.in
	in.Reset(b)
	r, err := open(in)
	if err != nil {
		return inflated{}, false
	}
	content, err := p.drain(r)
	if c, ok := r.(*zstd.Decoder); ok {
		c.Close()
	}
	if err != nil && len(content) == 0 {
		return inflated{}, false
	}
	return inflated{name: name, content: content, rest: b[len(b)-in.Len():], cut: err != nil}, true
}

// gunzip joins the members of a gzip stream, and leaves what follows them.
func (p *peeler) gunzip(b []byte) (inflated, bool) {
	in := bytes.NewReader(b)
	r, err := gzip.NewReader(in)
	if err != nil {
		return inflated{}, false
	}
	out := inflated{name: "gzip"}
	comments := []string{}
	for {
		comments = append(comments, r.Name, r.Comment, string(r.Extra))
		r.Multistream(false)
		content, err := p.drain(r)
		if out.content == nil {
			out.content = content
		} else {
			out.content = append(out.content, content...)
		}
		out.rest = b[len(b)-in.Len():]
		if err != nil {
			out.cut = true
			break
		}
		if compression(out.rest) != "gzip" || r.Reset(in) != nil {
			break
		}
	}
	out.comment = strings.TrimSpace(strings.Join(comments, " "))
	return out, true
}

var errBound = errors.New("output bound reached")

// drain reads to the end or to the bound, and charges what came out.
func (p *peeler) drain(r io.Reader) ([]byte, error) {
	// Most guesses end at their first byte.
	n, err := r.Read(p.scratch[:min(len(p.scratch), max(p.output, 1))])
	if err != nil && n == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return []byte{}, err // nothing, which is not the same as cut off
	}
	out := bytes.NewBuffer(bytes.Clone(p.scratch[:n]))
	limit := int64(max(p.output, 0))
	if err == nil {
		_, err = out.ReadFrom(io.LimitReader(r, limit+1-int64(n)))
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	if int64(out.Len()) > limit {
		out.Truncate(int(limit))
		err = errBound
	}
	p.output -= out.Len()
	return out.Bytes(), err
}
