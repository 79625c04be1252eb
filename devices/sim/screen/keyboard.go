package screen

import "image"

// keyboardHeight is the height of the soft keyboard in pixels.
const keyboardHeight = 740

// A softKey is a key of the soft keyboard: a character, or a key code.
type softKey struct {
	label string
	code  int
	width int // in tenths of the keyboard's width
}

var keyRows = [][]softKey{
	letters("1234567890"),
	letters("qwertyuiop"),
	letters("asdfghjkl"),
	append(letters("zxcvbnm"), softKey{label: "⌫", code: KeyDel, width: 2}),
	{{label: ",", width: 1}, {label: " ", code: KeySpace, width: 6}, {label: ".", width: 1}, {label: "Go", code: KeyEnter, width: 2}},
}

func letters(s string) []softKey {
	var keys []softKey
	for _, r := range s {
		keys = append(keys, softKey{label: string(r), width: 1})
	}
	return keys
}

// eachKey tells the place of every key.
func eachKey(visit func(softKey, image.Rectangle) bool) {
	top := Height - navBar - keyboardHeight
	rowHeight := keyboardHeight / len(keyRows)
	for i, row := range keyRows {
		total := 0
		for _, k := range row {
			total += k.width
		}
		x := (Width - total*Width/10) / 2
		for _, k := range row {
			r := image.Rect(x, top+i*rowHeight, x+k.width*Width/10, top+(i+1)*rowHeight)
			if !visit(k, r) {
				return
			}
			x = r.Max.X
		}
	}
}

func keyAt(at image.Point) (key softKey, ok bool) {
	eachKey(func(k softKey, r image.Rectangle) bool {
		if at.In(r) {
			key, ok = k, true
		}
		return !ok
	})
	return key, ok
}

func (d *Display) press(k softKey) {
	if k.code != 0 {
		d.key(k.code)
		return
	}
	d.insert(k.label)
}
