package screen

import (
	"image"
	"image/color"
	"math"
	"unicode/utf8"
)

// strokeIcons are symbols made of lines, in units of their square.
var strokeIcons = map[string][][4]float64{
	"back":   {{.62, .2, .32, .5}, {.32, .5, .62, .8}},
	"left":   {{.65, .1, .25, .5}, {.25, .5, .65, .9}},
	"close":  {{.25, .25, .75, .75}, {.75, .25, .25, .75}},
	"plus":   {{.5, .18, .5, .82}, {.18, .5, .82, .5}},
	"menu":   {{.1, .2, .9, .2}, {.1, .5, .9, .5}, {.1, .8, .9, .8}},
	"square": {{.12, .12, .88, .12}, {.88, .12, .88, .88}, {.88, .88, .12, .88}, {.12, .88, .12, .12}},
	"box":    {{.06, .06, .94, .06}, {.94, .06, .94, .94}, {.94, .94, .06, .94}, {.06, .94, .06, .06}},
	"home":   {{.12, .5, .5, .15}, {.5, .15, .88, .5}, {.24, .42, .24, .85}, {.24, .85, .76, .85}, {.76, .85, .76, .42}},
	"trash": {
		{.18, .28, .82, .28},
		{.38, .28, .38, .16},
		{.38, .16, .62, .16},
		{.62, .16, .62, .28},
		{.27, .28, .32, .86},
		{.32, .86, .68, .86},
		{.68, .86, .73, .28},
		{.43, .42, .44, .74},
		{.57, .42, .56, .74},
	},
	"reload": {{.72, .12, .72, .36}, {.72, .36, .48, .36}},
	"wifi":   {{.5, .85, .5, .85}, {.3, .62, .5, .52}, {.5, .52, .7, .62}, {.12, .42, .5, .24}, {.5, .24, .88, .42}},
	"mask":   {{.1, .42, .9, .42}, {.3, .42, .36, .16}, {.36, .16, .64, .16}, {.64, .16, .7, .42}, {.42, .68, .58, .68}},
	"search": {{.62, .62, .86, .86}},
	"gear": {
		{.5, .08, .5, .2},
		{.5, .8, .5, .92},
		{.08, .5, .2, .5},
		{.8, .5, .92, .5},
		{.2, .2, .29, .29},
		{.71, .71, .8, .8},
		{.2, .8, .29, .71},
		{.71, .29, .8, .2},
	},
	"person": {},
}

// ringIcons are the circles of a symbol: centre and radius.
var ringIcons = map[string][][3]float64{
	"reload": {{.5, .52, .3}},
	"mask":   {{.29, .68, .14}, {.71, .68, .14}},
	"search": {{.42, .42, .27}},
	"gear":   {{.5, .5, .27}, {.5, .5, .1}},
	"person": {{.5, .32, .18}, {.5, .98, .38}},
}

// icon draws a view's symbol: of app icons a tile with a letter, of others a
// square in the middle, or at the left where there is a text.
func (p *painter) icon(v *View) {
	if v.Style.Icon == "app" {
		p.tile(v)
		return
	}
	side := px(24)
	center := image.Pt((v.frame.Min.X+v.frame.Max.X)/2, (v.frame.Min.Y+v.frame.Max.Y)/2)
	if l, _, _, _ := v.pad(); l >= px(40) {
		center.X = v.frame.Min.X + l/2 + px(4)
		side = px(20)
	}
	r := image.Rect(center.X-side/2, center.Y-side/2, center.X+side/2, center.Y+side/2)
	c := v.Style.Color
	if c == 0 {
		c = RGB(0x5f6368)
	}
	p.icons(r, v.Style.Icon, c, v.shown)
}

func (p *painter) icons(r image.Rectangle, name string, c Color, clip image.Rectangle) {
	p.strokes(r, c, clip, 0.045, strokeIcons[name])
	for _, ring := range ringIcons[name] {
		var lines [][4]float64
		const steps = 24
		for i := range steps {
			from, to := 2*math.Pi*float64(i)/steps, 2*math.Pi*float64(i+1)/steps
			line := [4]float64{
				ring[0] + ring[2]*math.Cos(from), ring[1] + ring[2]*math.Sin(from),
				ring[0] + ring[2]*math.Cos(to), ring[1] + ring[2]*math.Sin(to),
			}
			// What would leave the square is left out, which makes shoulders.
			if math.Max(line[1], line[3]) <= 1 {
				lines = append(lines, line)
			}
		}
		p.strokes(r, c, clip, 0.045, lines)
	}
}

// strokes draws lines with round ends, half of the width being given in units
// of the square.
func (p *painter) strokes(r image.Rectangle, c Color, clip image.Rectangle, half float64, lines [][4]float64) {
	size := float64(r.Dx())
	half *= size
	paint := c.rgba(ink)
	for _, l := range lines {
		x1, y1 := float64(r.Min.X)+l[0]*size, float64(r.Min.Y)+l[1]*size
		x2, y2 := float64(r.Min.X)+l[2]*size, float64(r.Min.Y)+l[3]*size
		box := image.Rect(
			int(math.Min(x1, x2)-half)-1, int(math.Min(y1, y2)-half)-1,
			int(math.Max(x1, x2)+half)+2, int(math.Max(y1, y2)+half)+2,
		).Intersect(clip).Intersect(p.img.Rect)
		dx, dy := x2-x1, y2-y1
		length := dx*dx + dy*dy
		for y := box.Min.Y; y < box.Max.Y; y++ {
			for x := box.Min.X; x < box.Max.X; x++ {
				fx, fy := float64(x)+.5, float64(y)+.5
				t := 0.0
				if length > 0 {
					t = math.Min(1, math.Max(0, ((fx-x1)*dx+(fy-y1)*dy)/length))
				}
				cover := half + .5 - math.Hypot(fx-x1-t*dx, fy-y1-t*dy)
				if cover > 0 {
					p.blend(x, y, paint, math.Min(1, cover))
				}
			}
		}
	}
}

func (p *painter) blend(x, y int, c color.RGBA, alpha float64) {
	at := p.img.RGBAAt(x, y)
	mix := func(from, to uint8) uint8 { return uint8(float64(from) + (float64(to)-float64(from))*alpha) }
	p.img.SetRGBA(x, y, color.RGBA{mix(at.R, c.R), mix(at.G, c.G), mix(at.B, c.B), 255})
}

// tile draws an app's icon: a coloured square with the first letter of the
// name that stands beside it.
func (p *painter) tile(v *View) {
	label := ""
	if v.parent != nil {
		label = v.parent.Desc
	}
	colors := []Color{RGB(0xff6900), RGB(0x1a73e8), RGB(0x188038), RGB(0x9334e6), RGB(0xd93025)}
	sum := 0
	for _, r := range label {
		sum += int(r)
	}
	p.round(v.frame, v.shown, px(14), colors[sum%len(colors)])
	if r, _ := utf8.DecodeRuneInString(label); r != utf8.RuneError {
		f := p.fonts.sized(px(28), true)
		s := string(r)
		p.line(f, s, (v.frame.Min.X+v.frame.Max.X-f.width(s))/2, (v.frame.Min.Y+v.frame.Max.Y-f.height)/2, paper, v.shown)
	}
}
