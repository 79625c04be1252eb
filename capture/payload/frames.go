package payload

import (
	"encoding/binary"
	"strconv"
)

// isContainer is true for bytes that are frames or an archive from end to end.
func isContainer(b []byte) bool {
	return isZip(b) || len(grpcFrames(b)) > 0
}

// container opens frames and archives.
func (p *peeler) container(n *Node, depth int) bool {
	return p.zip(n, depth) || p.grpc(n, depth) || p.webSocket(n, depth)
}

// grpcHead is the size of what stands before each message of gRPC: a byte of
// flags and four of length (grpc.io, PROTOCOL-HTTP2).
const grpcHead = 5

// grpcFrames splits a body into messages of gRPC, gRPC-Web or Connect; nil when
// it is none. Their lengths have to add up to the body's: by chance one random
// body in 10^11 passes.
func grpcFrames(b []byte) [][]byte {
	var frames [][]byte
	for len(b) > 0 {
		const compressed, end, trailers = 1, 2, 0x80
		if len(b) < grpcHead || b[0]&^(compressed|end|trailers) != 0 {
			return nil
		}
		size := int64(binary.BigEndian.Uint32(b[1:]))
		if size > int64(len(b)-grpcHead) {
			return nil
		}
		frames = append(frames, b[grpcHead:grpcHead+size])
		b = b[grpcHead+size:]
		if len(frames[0]) == 0 || len(frames) > MaxNodes {
			return nil // a row of zeros, or no telling
		}
	}
	return frames
}

// grpc opens the messages of a gRPC body.
func (p *peeler) grpc(n *Node, depth int) bool {
	frames := grpcFrames(n.Value)
	if len(frames) == 0 {
		return false
	}
	left := len(n.Value)
	for i, frame := range frames {
		if p.spent() {
			n.Children = append(n.Children, p.cut("grpc-rest", left))
			return true
		}
		left -= grpcHead + len(frame)
		n.Children = append(n.Children, p.peel("grpc:"+strconv.Itoa(i), frame, depth+1))
	}
	return true
}

// The parts of a WebSocket frame's first two bytes (RFC 6455, section 5.2).
const (
	wsFinal      = 0x80
	wsCompressed = 0x40 // RFC 7692
	wsReserved   = 0x30
	wsOpcode     = 0x0f
	wsMasked     = 0x80
	wsLength     = 0x7f
)

// A wsMessage is what one or more frames carried.
type wsMessage struct {
	opcode     byte
	content    []byte
	compressed bool
}

// webSocket opens frames of which nobody saw the handshake. Such bytes are
// taken for frames only if they end where a frame ends, and if what the frames
// carry proves itself: as text, or as a format that can be told by itself.
func (p *peeler) webSocket(n *Node, depth int) bool {
	messages, ok := p.wsMessages(n.Value)
	if !ok {
		return false
	}
	for i, m := range messages {
		step := "websocket:" + strconv.Itoa(i)
		if p.spent() {
			n.Children = append(n.Children, p.cut("websocket-rest", len(n.Value)))
			return true
		}
		p.output -= len(m.content)
		n.Children = append(n.Children, p.peel(step, m.content, depth+1))
	}
	return true
}

// wsMessages reads frames to the end of b. By chance the first two bytes fit
// once in about 2,000 random bodies, so the content must save the rest.
func (p *peeler) wsMessages(b []byte) ([]wsMessage, bool) {
	const least, headBits, manyFrames = 8, 8, 10_000
	if len(b) < least || b[0]&wsReserved != 0 {
		return nil, false
	}
	var messages []wsMessage
	current, saved := -1, 0.0 // current is the message that goes on
	for frames := 0; len(b) > 0; frames++ {
		head, content, size, ok := wsFrame(b)
		if !ok || frames == manyFrames || !p.look(size) {
			return nil, false
		}
		b = b[size:]
		const binaryData, control, pong = 2, 8, 10
		opcode, final := head&wsOpcode, head&wsFinal != 0
		switch {
		case opcode == 0 && current >= 0:
			messages[current].content = append(messages[current].content, content...)
			if final {
				current = -1
			}
		case opcode >= 1 && opcode <= binaryData && current < 0:
			messages = append(messages, wsMessage{opcode, content, head&wsCompressed != 0})
			if !final {
				current = len(messages) - 1
			}
		case opcode >= control && opcode <= pong && final:
			messages = append(messages, wsMessage{opcode: opcode, content: content})
		default:
			return nil, false
		}
	}
	for i := range messages {
		m := &messages[i]
		if m.compressed {
			out, ok := p.inflateMessage(m.content)
			if !ok {
				return nil, false
			}
			m.content = out
		}
		switch {
		case m.opcode == 1 && len(m.content) > 0 && !isText(m.content):
			return nil, false
		case isText(m.content):
			saved += headBits + savedByText(m.content)
		case p.certain(m.content):
			saved += headBits + provenBits
		}
	}
	return messages, current < 0 && saved >= provenBits
}

// wsFrame takes one frame off b, with its mask taken away.
func wsFrame(b []byte) (head byte, content []byte, size int, ok bool) {
	if len(b) < 2 {
		return 0, nil, 0, false
	}
	head = b[0]
	length, at := uint64(b[1]&wsLength), 2
	for _, long := range []struct {
		code uint64
		size int
	}{{126, 2}, {127, 8}} {
		if length == long.code && at == 2 {
			if len(b) < at+long.size {
				return 0, nil, 0, false
			}
			length = unsigned(b[at : at+long.size])
			at += long.size
			break
		}
	}
	masked := b[1]&wsMasked != 0
	var mask [4]byte
	if masked {
		if len(b) < at+len(mask) {
			return 0, nil, 0, false
		}
		at += copy(mask[:], b[at:])
	}
	if length > uint64(len(b)-at) { //nolint:gosec // at is within b.
		return 0, nil, 0, false
	}
	content = append([]byte(nil), b[at:at+int(length)]...) //nolint:gosec // length is at most what is left.
	if masked {
		for i := range content {
			content[i] ^= mask[i%4]
		}
	}
	return head, content, at + len(content), true
}

// inflateMessage opens a message that permessage-deflate compressed: a raw
// deflate stream whose last four bytes are left out (RFC 7692, section 7.2.1).
func (p *peeler) inflateMessage(b []byte) ([]byte, bool) {
	whole := append(append([]byte(nil), b...), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)
	out, ok := p.decompress(whole, "raw")
	return out.content, ok
}
