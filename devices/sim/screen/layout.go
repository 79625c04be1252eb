package screen

import (
	"image"
	"strings"
)

// px turns density-independent pixels into pixels.
func px(dp int) int { return (dp*Density + 80) / 160 }

func (e Edges) px() (left, top, right, bottom int) {
	return px(e.Left), px(e.Top), px(e.Right), px(e.Bottom)
}

// maxDepth bounds the nesting that is laid out and dumped; pages from the
// network decide about part of the tree.
const maxDepth = 64

// layout places a window's tree into an area, and leaves out what is hidden.
func (d *Display) layout(root *View, area image.Rectangle, wrap bool) {
	d.measure(root, area.Dx(), area.Dy(), !wrap, !wrap, 0)
	if wrap && root.h > area.Dy() {
		root.h = area.Dy()
	}
	d.place(root, nil, area.Min, area)
}

// measure decides a view's size. An exact size is the parent's will and not
// to be undercut.
func (d *Display) measure(v *View, availW, availH int, exactW, exactH bool, depth int) {
	if depth > maxDepth {
		v.w, v.h = 0, 0
		return
	}
	availW, availH = max(availW, 0), max(availH, 0)
	v.w, exactW = v.Width.resolve(availW, exactW)
	v.h, exactH = v.Height.resolve(availH, exactH)
	if v.exactH > 0 {
		v.h, exactH = v.exactH, true
	}
	if !exactW {
		v.w = availW
	}
	if !exactH {
		v.h = availH
	}
	l, t, r, b := v.pad()
	innerW, innerH := v.w-l-r, v.h-t-b
	var contentW, contentH int
	switch {
	case len(v.Children) > 0:
		contentW, contentH = d.measureChildren(v, innerW, innerH, exactH, depth)
	case v.Class == ClassImageView || v.Class == ClassImageButton:
		contentW, contentH = px(24), px(24)
	case v.Class == ClassCheckBox || v.Class == ClassRadio || v.Class == ClassSwitch:
		contentW, contentH = d.measureText(v, innerW-markWidth(v))
		contentW += markWidth(v)
		contentH = max(contentH, px(28))
	case v.Class == ClassProgressBar:
		contentW, contentH = innerW, px(3)
	default:
		contentW, contentH = d.measureText(v, innerW)
	}
	if !exactW {
		v.w = min(contentW+l+r, availW)
	}
	if !exactH {
		v.h = contentH + t + b
	}
	if v.MinHeight > 0 && !exactH {
		v.h = max(v.h, px(v.MinHeight))
	}
	if v.Scrolls {
		if !exactH {
			v.h = min(v.h, availH)
		}
		v.reach = max(0, contentH-(v.h-t-b))
		v.scroll = min(max(v.scroll, 0), v.reach)
	}
}

func (s Size) resolve(avail int, exact bool) (int, bool) {
	switch {
	case s > 0:
		return px(int(s)), true
	case s == Match:
		return avail, true
	case exact:
		return avail, true
	}
	return avail, false
}

// unlimited is the height that a scrolling view offers its children.
const unlimited = 1 << 20

func (d *Display) measureChildren(v *View, innerW, innerH int, exactH bool, depth int) (w, h int) {
	if v.Axis == Across {
		return d.measureAcross(v, innerW, innerH, depth)
	}
	if v.Axis == Stacked {
		for _, c := range v.Children {
			if c.Hidden {
				continue
			}
			ml, mt, mr, mb := c.Margin.px()
			d.measure(c, innerW-ml-mr, innerH-mt-mb, false, false, depth+1)
			w, h = max(w, c.w+ml+mr), max(h, c.h+mt+mb)
		}
		return w, h
	}
	left, weights := innerH, 0
	if v.Scrolls {
		left = unlimited
	}
	for _, c := range v.Children {
		if c.Hidden {
			continue
		}
		ml, mt, mr, mb := c.Margin.px()
		if c.Weight > 0 && !v.Scrolls {
			weights += c.Weight
			left -= mt + mb
			continue
		}
		d.measure(c, innerW-ml-mr, left-mt-mb, false, false, depth+1)
		left -= c.h + mt + mb
		w, h = max(w, c.w+ml+mr), h+c.h+mt+mb
	}
	for _, c := range v.Children {
		if c.Hidden || c.Weight == 0 || v.Scrolls {
			continue
		}
		ml, mt, mr, mb := c.Margin.px()
		d.measure(c, innerW-ml-mr, max(left, 0)*c.Weight/weights, false, exactH, depth+1)
		w, h = max(w, c.w+ml+mr), h+c.h+mt+mb
	}
	return w, h
}

func (d *Display) measureAcross(v *View, innerW, innerH, depth int) (w, h int) {
	left, weights := innerW, 0
	for _, c := range v.Children {
		if c.Hidden {
			continue
		}
		ml, mt, mr, mb := c.Margin.px()
		if c.Weight > 0 {
			weights += c.Weight
			left -= ml + mr
			continue
		}
		d.measure(c, left-ml-mr, innerH-mt-mb, false, false, depth+1)
		left -= c.w + ml + mr
		w, h = w+c.w+ml+mr, max(h, c.h+mt+mb)
	}
	for _, c := range v.Children {
		if c.Hidden || c.Weight == 0 {
			continue
		}
		ml, mt, mr, mb := c.Margin.px()
		d.measure(c, max(left, 0)*c.Weight/weights, innerH-mt-mb, true, false, depth+1)
		w, h = w+c.w+ml+mr, max(h, c.h+mt+mb)
	}
	return w, h
}

// place gives the measured views their positions and what is visible of them.
func (d *Display) place(v, parent *View, at image.Point, clip image.Rectangle) {
	v.parent = parent
	v.frame = image.Rectangle{at, at.Add(image.Pt(v.w, v.h))}
	v.shown = v.frame.Intersect(clip)
	l, t, r, b := v.pad()
	inner := image.Rect(v.frame.Min.X+l, v.frame.Min.Y+t, v.frame.Max.X-r, v.frame.Max.Y-b)
	x, y := inner.Min.X, inner.Min.Y
	if v.Scrolls {
		y -= v.scroll
	}
	for _, c := range v.Children {
		if c.Hidden {
			c.shown = image.Rectangle{}
			continue
		}
		ml, mt, mr, mb := c.Margin.px()
		pos := image.Pt(x+ml, y+mt)
		switch v.Axis {
		case Across:
			// The middle line is what rows want but for tall columns of text.
			if room := inner.Dy() - mt - mb - c.h; room > 0 && c.Height != Match {
				switch c.Gravity {
				case GravityNone, GravityCenter:
					pos.Y += room / 2
				case GravityEnd, GravityBottom:
					pos.Y += room
				}
			}
			x += c.w + ml + mr
		case Down:
			if room := inner.Dx() - ml - mr - c.w; room > 0 {
				switch c.Gravity {
				case GravityCenter:
					pos.X += room / 2
				case GravityEnd:
					pos.X += room
				case GravityNone, GravityBottom:
				}
			}
			y += c.h + mt + mb
		case Stacked:
			switch c.Gravity {
			case GravityNone:
			case GravityCenter:
				pos.X += (inner.Dx() - ml - mr - c.w) / 2
				pos.Y += (inner.Dy() - mt - mb - c.h) / 2
			case GravityEnd:
				pos.X = inner.Max.X - mr - c.w
			case GravityBottom:
				pos.Y = inner.Max.Y - mb - c.h
			}
		}
		d.place(c, v, pos, v.shown)
	}
}

func markWidth(v *View) int {
	switch v.Class {
	case ClassCheckBox, ClassRadio:
		return px(36)
	case ClassSwitch:
		return px(48)
	default:
		return 0
	}
}

// measureText breaks a view's text into lines for the width.
func (d *Display) measureText(v *View, width int) (w, h int) {
	text := v.Text
	if v.Password {
		text = strings.Repeat("•", len([]rune(text)))
	}
	if text == "" {
		text = v.Hint
	}
	v.lines = nil
	if text == "" && !v.isEdit() {
		return 0, 0
	}
	face := d.fonts.face(v.Style)
	limit := v.Style.MaxLines
	if v.isEdit() || v.Class == ClassButton {
		limit = 1
	}
	v.lines = face.wrap(text, max(width, px(8)), limit)
	for _, line := range v.lines {
		w = max(w, face.width(line))
	}
	return w, len(v.lines) * face.height
}
