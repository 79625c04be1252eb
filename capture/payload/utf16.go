package payload

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// wide opens UTF-16.
func (p *peeler) wide(n *Node, depth int) bool {
	order := wideOrder(n.Value)
	if order == nil {
		return false
	}
	units := make([]uint16, len(n.Value)/2)
	for i := range units {
		units[i] = order(n.Value[2*i:])
	}
	out := bytes.TrimPrefix([]byte(string(utf16.Decode(units))), byteOrderMark)
	p.output -= len(out)
	n.Children = append(n.Children, p.peel("utf16", out, depth+1))
	if len(n.Value)%2 == 1 {
		odd := p.node("utf16-trailer", n.Value[len(n.Value)-1:])
		odd.Kind = KindOpaque
		n.Children = append(n.Children, odd)
	}
	return true
}

// wideOrder returns the byte order of UTF-16, nil for anything else: there
// must be a byte order mark, or a zero in most places where letters of Europe
// have one. What comes out must be text.
func wideOrder(b []byte) func([]byte) uint16 {
	if len(b) < 8 {
		return nil
	}
	little := func(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
	big := func(b []byte) uint16 { return uint16(b[1]) | uint16(b[0])<<8 }
	var zeros [2]int
	for i := range len(b) / 2 * 2 {
		if b[i] == 0 {
			zeros[i%2]++
		}
	}
	pairs := len(b) / 2
	var order func([]byte) uint16
	switch {
	case b[0] == 0xff && b[1] == 0xfe:
		order = little
	case b[0] == 0xfe && b[1] == 0xff:
		order = big
	case zeros[1]*4 >= pairs*3 && zeros[0] == 0:
		order = little
	case zeros[0]*4 >= pairs*3 && zeros[1] == 0:
		order = big
	default:
		return nil
	}
	units := make([]uint16, min(pairs, 64))
	for i := range units {
		units[i] = order(b[2*i:])
	}
	text := string(utf16.Decode(units))
	if !isText([]byte(text)) || !familiar(text) {
		return nil
	}
	return order
}

// familiar is true where a quarter of the characters, and three of them, are
// ASCII, kana, frequent ones of Chinese or Korean, or of one block of 256 that
// is not one of theirs. Random pairs of bytes are letters more often than not.
func familiar(text string) bool {
	const fewest = 3
	var usual, count int
	blocks := map[rune]int{}
	for _, r := range text {
		count++
		switch {
		case r < utf8.RuneSelf, r >= 0x3000 && r <= 0x30ff, usualHanSet[r], usualHangulSet[r]:
			usual++
		case r < 0x2e80:
			blocks[r>>8]++
		}
	}
	most := 0
	for _, n := range blocks {
		most = max(most, n)
	}
	return usual+most >= max(fewest, count/4)
}
