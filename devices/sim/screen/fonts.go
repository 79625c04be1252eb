package screen

import (
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// parsedFonts parses the embedded fonts once for all displays of a process;
// parsed fonts are read-only, faces are not.
var parsedFonts = sync.OnceValue(func() [2]*opentype.Font {
	var fonts [2]*opentype.Font
	for i, ttf := range [][]byte{goregular.TTF, gobold.TTF} {
		// The fonts are compiled in, so an error would be one of the module; the
		// text is then neither measured nor drawn.
		if f, err := opentype.Parse(ttf); err == nil {
			fonts[i] = f
		}
	}
	return fonts
})

type faceKey struct {
	size int
	bold bool
}

// A fontBook holds the faces of one display, used on its UI thread only.
type fontBook struct{ faces map[faceKey]*face }

func newFontBook() *fontBook { return &fontBook{faces: map[faceKey]*face{}} }

type face struct {
	font.Face
	height, ascent int
	advance        map[rune]fixed.Int26_6
}

func (b *fontBook) face(s Style) *face {
	size := s.TextSize
	if size <= 0 {
		size = 16
	}
	return b.sized(px(size), s.Bold)
}

func (b *fontBook) sized(pixels int, bold bool) *face {
	key := faceKey{pixels, bold}
	if f := b.faces[key]; f != nil {
		return f
	}
	f := &face{advance: map[rune]fixed.Int26_6{}, height: pixels * 5 / 4, ascent: pixels}
	index := 0
	if bold {
		index = 1
	}
	if parsed := parsedFonts()[index]; parsed != nil {
		ff, err := opentype.NewFace(parsed, &opentype.FaceOptions{Size: float64(pixels), DPI: 72, Hinting: font.HintingNone})
		if err == nil {
			f.Face = ff
			m := ff.Metrics()
			f.ascent = m.Ascent.Ceil()
			f.height = max(f.height, m.Ascent.Ceil()+m.Descent.Ceil())
		}
	}
	b.faces[key] = f
	return f
}

func (f *face) runeWidth(r rune) fixed.Int26_6 {
	if w, ok := f.advance[r]; ok {
		return w
	}
	var w fixed.Int26_6
	if f.Face != nil {
		w, _ = f.GlyphAdvance(r)
	}
	// The cache is bounded because pages decide which characters there are.
	if len(f.advance) < 4096 {
		f.advance[r] = w
	}
	return w
}

// width is the width of a line in pixels, without kerning.
func (f *face) width(s string) int {
	var sum fixed.Int26_6
	for _, r := range s {
		sum += f.runeWidth(r)
	}
	return sum.Ceil()
}

// wrap breaks text at blanks, and inside words that are too long.
func (f *face) wrap(text string, width, limit int) []string {
	const most = 400
	var lines []string
	for paragraph := range strings.SplitSeq(text, "\n") {
		line := ""
		for word := range strings.SplitSeq(paragraph, " ") {
			candidate := word
			if line != "" {
				candidate = line + " " + word
			}
			if f.width(candidate) <= width {
				line = candidate
				continue
			}
			if line != "" {
				lines = append(lines, line)
			}
			line = word
			for f.width(line) > width && len(lines) < most {
				cut := f.fit(line, width)
				lines = append(lines, line[:cut])
				line = line[cut:]
			}
			if limit > 0 && len(lines) > limit || len(lines) >= most {
				break
			}
		}
		lines = append(lines, line)
		if limit > 0 && len(lines) > limit || len(lines) >= most {
			break
		}
	}
	if limit > 0 && len(lines) > limit {
		lines = lines[:limit]
		last := lines[limit-1]
		for last != "" && f.width(last+"…") > width {
			_, size := utf8.DecodeLastRuneInString(last)
			last = last[:len(last)-size]
		}
		lines[limit-1] = last + "…"
	}
	return lines
}

// fit is the number of bytes of a string that fit into a width, at least one
// character.
func (f *face) fit(s string, width int) int {
	var sum fixed.Int26_6
	for i, r := range s {
		sum += f.runeWidth(r)
		if sum.Ceil() > width && i > 0 {
			return i
		}
	}
	return len(s)
}
