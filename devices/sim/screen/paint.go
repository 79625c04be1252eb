package screen

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// PNG draws what is on the screen, as screencap would.
func (d *Display) PNG() []byte {
	img := d.picture()
	var b bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := enc.Encode(&b, img); err != nil {
		return nil // a buffer takes everything
	}
	return b.Bytes()
}

// Colours that are used in more than one place.
var (
	ink   = RGB(0x202124)
	faint = RGB(0x80868b)
	paper = RGB(0xffffff)
	glow  = RGB(0x1a73e8)
)

// picture draws the screen on the UI thread.
func (d *Display) picture() *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, Width, Height))
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &painter{img: img, fonts: d.fonts}
	if d.asleep || d.front == nil {
		p.fill(img.Rect, RGB(0))
		return img
	}
	root, _ := d.window()
	p.focus = d.focused()
	base := root
	dialogs := d.front.dialogs
	if len(dialogs) > 0 && !d.recent {
		base = decor(d.front.Root, d.ime)
		d.layout(base, img.Rect, false)
	}
	p.fill(img.Rect, paper)
	p.view(base, 0)
	p.bars(d, d.front.Dark || d.recent)
	if base != root {
		p.shade(image.Rect(0, statusBar, Width, Height-navBar))
		// Laying out the window below has not moved the dialog's own views.
		p.view(root, 0)
	}
	if d.ime {
		p.keyboard()
	}
	return img
}

type painter struct {
	img   *image.RGBA
	fonts *fontBook
	focus *View
}

func (c Color) rgba(otherwise Color) color.RGBA {
	if c == 0 {
		c = otherwise
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(c-1))
	return color.RGBA{b[1], b[2], b[3], 255}
}

func (p *painter) fill(r image.Rectangle, c Color) {
	draw.Draw(p.img, r, image.NewUniform(c.rgba(ink)), image.Point{}, draw.Src)
}

// shade darkens what lies below a dialog.
func (p *painter) shade(r image.Rectangle) {
	draw.Draw(p.img, r, image.NewUniform(color.RGBA{A: 110}), image.Point{}, draw.Over)
}

// view draws a view and what it holds, in what is visible of it.
func (p *painter) view(v *View, depth int) {
	if v.Hidden || v.shown.Empty() || depth > maxDepth {
		return
	}
	if v.Style.Background != 0 {
		p.round(v.frame, v.shown, px(v.Style.Radius), v.Style.Background)
	}
	if v == p.focus && v.isEdit() {
		bottom := image.Rect(v.frame.Min.X+px(12), v.frame.Max.Y-px(2), v.frame.Max.X-px(12), v.frame.Max.Y)
		p.fill(bottom.Intersect(v.shown), glow)
	}
	switch v.Class {
	case ClassCheckBox, ClassSwitch, ClassRadio:
		p.mark(v)
	case ClassProgressBar:
		half := v.shown
		half.Max.X = half.Min.X + half.Dx()*3/5
		p.fill(half, v.Style.Color)
	default:
		if v.Style.Icon != "" {
			p.icon(v)
		}
	}
	p.text(v)
	for _, c := range v.Children {
		p.view(c, depth+1)
	}
}

// text draws the lines that the layout made.
func (p *painter) text(v *View) {
	if len(v.lines) == 0 || (v.Text == "" && v.Hint == "") {
		return
	}
	f := p.fonts.face(v.Style)
	c := v.Style.Color
	if c == 0 {
		c = ink
	}
	if v.Text == "" || v.Disabled {
		c = faint
	}
	l, t, r, b := v.pad()
	box := image.Rect(v.frame.Min.X+l, v.frame.Min.Y+t, v.frame.Max.X-r, v.frame.Max.Y-b)
	if w := markWidth(v); w > 0 && v.Class != ClassSwitch {
		box.Min.X += w
	}
	// Fields, buttons and rows of fixed height have their text in the middle.
	y := box.Min.Y
	if room := box.Dy() - len(v.lines)*f.height; room > 0 {
		y += room / 2
	}
	for _, line := range v.lines {
		x := box.Min.X
		if v.Style.Align == GravityCenter {
			x += (box.Dx() - f.width(line)) / 2
		}
		if v.allTaken && v == p.focus {
			p.fill(image.Rect(x, y, x+f.width(line), y+f.height).Intersect(v.shown), RGB(0xc6dafc))
		}
		p.line(f, line, x, y, c, v.shown)
		if v == p.focus && v.isEdit() && v.Text != "" && !v.allTaken {
			end := x + f.width(line) + 2
			p.fill(image.Rect(end, y, end+4, y+f.height).Intersect(v.shown), glow)
		}
		y += f.height
	}
}

func (p *painter) line(f *face, s string, x, y int, c Color, clip image.Rectangle) {
	if f.Face == nil || y > clip.Max.Y || y+f.height < clip.Min.Y {
		return
	}
	dst, ok := p.img.SubImage(clip).(draw.Image)
	if !ok {
		return
	}
	d := font.Drawer{Dst: dst, Src: image.NewUniform(c.rgba(ink)), Face: f.Face, Dot: fixed.P(x, y+f.ascent)}
	d.DrawString(s)
}

// mark draws what a checkable view shows of its state.
func (p *painter) mark(v *View) {
	mid := (v.frame.Min.Y + v.frame.Max.Y) / 2
	l, _, _, _ := v.pad()
	x := v.frame.Min.X + l
	on := glow
	if v.Disabled {
		on = faint
	}
	if v.Style.Icon == "switch" || v.Class == ClassSwitch {
		body := image.Rect(v.frame.Min.X+px(2), mid-px(12), v.frame.Max.X-px(2), mid+px(12))
		knob := image.Pt(body.Min.X+px(12), mid)
		c := RGB(0xc4c7cc)
		if v.Checked {
			knob.X, c = body.Max.X-px(12), on
		}
		p.round(body, v.shown, px(12), c)
		p.disc(knob, px(9), paper, v.shown)
		return
	}
	box := image.Rect(x, mid-px(10), x+px(20), mid+px(10))
	if v.Class == ClassRadio {
		center := image.Pt(x+px(10), mid)
		p.disc(center, px(10), on, v.shown)
		p.disc(center, px(8), paper, v.shown)
		if v.Checked {
			p.disc(center, px(5), on, v.shown)
		}
		return
	}
	if !v.Checked {
		p.round(box, v.shown, px(3), RGB(0x5f6368))
		p.round(box.Inset(px(2)), v.shown, px(2), paper)
		return
	}
	p.round(box, v.shown, px(3), on)
	p.strokes(box, paper, v.shown, 0.11, [][4]float64{{.2, .52, .42, .74}, {.42, .74, .8, .3}})
}

// round fills a rectangle with rounded corners.
func (p *painter) round(r, clip image.Rectangle, radius int, c Color) {
	radius = min(radius, r.Dx()/2, r.Dy()/2)
	if radius <= 0 {
		p.fill(r.Intersect(clip), c)
		return
	}
	u := image.NewUniform(c.rgba(ink))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		inset := 0
		if dy := radius - min(y-r.Min.Y+1, r.Max.Y-y); dy > 0 {
			inset = radius - isqrt(radius*radius-dy*dy)
		}
		row := image.Rect(r.Min.X+inset, y, r.Max.X-inset, y+1).Intersect(clip)
		draw.Draw(p.img, row, u, image.Point{}, draw.Src)
	}
}

func isqrt(n int) int {
	r := 0
	for (r+1)*(r+1) <= n {
		r++
	}
	return r
}

func (p *painter) disc(center image.Point, radius int, c Color, clip image.Rectangle) {
	p.round(image.Rect(center.X-radius, center.Y-radius, center.X+radius, center.Y+radius), clip, radius, c)
}

// bars draws the status bar and the three buttons below.
func (p *painter) bars(d *Display, dark bool) {
	back, front := paper, ink
	if dark {
		back, front = RGB(0x202124), RGB(0xe8eaed)
	}
	top := image.Rect(0, 0, Width, statusBar)
	bottom := image.Rect(0, Height-navBar, Width, Height)
	p.fill(top, back)
	p.fill(bottom, back)
	f := p.fonts.sized(px(14), false)
	p.line(f, d.clock().Format("15:04"), px(20), (statusBar-f.height)/2, front, top)
	// Wireless and battery.
	p.icons(image.Rect(Width-px(84), px(6), Width-px(64), px(26)), "wifi", front, top)
	battery := image.Rect(Width-px(52), px(9), Width-px(22), px(23))
	p.round(battery, top, px(3), front)
	p.round(battery.Inset(px(1)), top, px(2), back)
	level := battery.Inset(px(3))
	level.Max.X -= level.Dx() / 5
	p.fill(level, front)
	mid := Height - navBar/2
	for i, name := range []string{"menu", "square", "left"} {
		x := Width*(2*i+1)/6 - px(9)
		p.icons(image.Rect(x, mid-px(9), x+px(18), mid+px(9)), name, front, bottom)
	}
}

func (p *painter) keyboard() {
	area := image.Rect(0, Height-navBar-keyboardHeight, Width, Height-navBar)
	p.fill(area, RGB(0xd5d9de))
	f := p.fonts.sized(px(20), false)
	eachKey(func(k softKey, r image.Rectangle) bool {
		key := r.Inset(px(3))
		p.round(key, area, px(5), paper)
		if k.code == KeyDel {
			side := px(20)
			at := image.Pt((key.Min.X+key.Max.X-side)/2, (key.Min.Y+key.Max.Y-side)/2)
			p.icons(image.Rectangle{at, at.Add(image.Pt(side, side))}, "left", ink, area)
			return true
		}
		label := strings.TrimSpace(k.label)
		p.line(f, label, (key.Min.X+key.Max.X-f.width(label))/2, (key.Min.Y+key.Max.Y-f.height)/2, ink, area)
		return true
	})
}
