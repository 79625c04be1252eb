package payload

import "unicode/utf8"

// Unicode has the letters and digits of ASCII again in other shapes: wide ones,
// those of mathematics in several styles, and letters in circles. They read as
// what they are, and no search for a word finds them. Nor does it where Turkish
// put its own i, which one call for upper case does to any word.

// shaped is the ASCII that a character is another shape of, and 0 for all others.
func shaped(r rune) rune {
	const (
		wide, endWide             = 0xff01, 0xff5e
		circled, circledSmall     = 0x24b6, 0x24d0
		endCircled                = 0x24ea
		mathematical, endLetters  = 0x1d400, 0x1d6a4
		mathDigits, endMathDigits = 0x1d7ce, 0x1d800
		alphabet                  = 26
		dotted, dotless           = 0x130, 0x131
	)
	switch {
	case r == dotted:
		return 'I'
	case r == dotless:
		return 'i'
	case r >= wide && r <= endWide:
		return r - wide + '!'
	case r >= circledSmall && r < endCircled:
		return r - circledSmall + 'a'
	case r >= circled && r < circledSmall:
		return r - circled + 'A'
	case r >= mathDigits && r < endMathDigits:
		return (r-mathDigits)%10 + '0'
	case r >= mathematical && r < endLetters:
		at := (r - mathematical) % (2 * alphabet)
		if at < alphabet {
			return at + 'A'
		}
		return at - alphabet + 'a'
	}
	return 0
}

// shapes opens text in which at least fewShapes letters or digits have another
// shape, or one is an i of Turkish. Marks alone are how some languages are written.
func (p *peeler) shapes(n *Node, depth int) bool {
	const fewShapes, wideLetters = 4, 0x2000
	found := 0
	for i := 0; i < len(n.Value) && found < fewShapes; {
		if n.Value[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(n.Value[i:])
		if c := shaped(r); c != 0 && isAlnum(byte(c)) {
			found++
			if c|0x20 == 'i' && r < wideLetters {
				found = fewShapes
			}
		}
		i += size
	}
	if found < fewShapes {
		return false
	}
	out := make([]byte, 0, len(n.Value))
	for _, r := range string(n.Value) {
		if c := shaped(r); c != 0 {
			r = c
		}
		out = utf8.AppendRune(out, r)
	}
	p.output -= len(out)
	n.Children = append(n.Children, p.peel("shapes", out, depth+1))
	return true
}
