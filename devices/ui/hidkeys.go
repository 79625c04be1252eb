package ui

import "image"

// The reports of the keyboard, by number.
const (
	keysReport     = 1 // modifiers, nothing, six keys
	consumerReport = 2 // one usage of the Consumer page
	systemReport   = 3 // bits: sleep, wake up
)

// A hidKey is a key in one of the keyboard's reports. Numbers are those of the
// HID Usage Tables 1.12; what Android makes of them is in its Generic.kl.
type hidKey struct {
	report int
	shift  bool
	usage  int
}

func (k hidKey) press() []hidEvent {
	down, up := []byte{byte(k.report)}, []byte{byte(k.report)}
	switch k.report {
	case keysReport:
		const leftShift = 2
		modifiers := byte(0)
		if k.shift {
			modifiers = leftShift
		}
		down = append(down, modifiers, 0, byte(k.usage), 0, 0, 0, 0, 0)
		up = append(up, make([]byte, 8)...)
	case consumerReport:
		down = append(down, byte(k.usage), byte(k.usage>>8))
		up = append(up, 0, 0)
	default:
		down, up = append(down, byte(k.usage)), append(up, 0)
	}
	return []hidEvent{report(hidKeyboard, down...), wait(hidKeyboard, hidHold), report(hidKeyboard, up...), wait(hidKeyboard, hidHold)}
}

// codeKeys are the keys for Android's key codes.
var codeKeys = map[int]hidKey{
	KeyHome:      {report: consumerReport, usage: 0x223},
	KeyBack:      {report: consumerReport, usage: 0x224},
	KeyPower:     {report: consumerReport, usage: 0x30},
	KeyMenu:      {report: consumerReport, usage: 0x40},
	KeyAppSwitch: {report: consumerReport, usage: 0x1a2},
	KeyEnter:     {report: keysReport, usage: 0x28},
	KeyDelete:    {report: keysReport, usage: 0x2a},
	KeyMoveHome:  {report: keysReport, usage: 0x4a},
	KeyMoveEnd:   {report: keysReport, usage: 0x4d},
	KeyWakeup:    {report: systemReport, usage: 2},
}

// The characters of the keys from usage 4 on, with 0 where a key has none.
const (
	plainKeys   = "abcdefghijklmnopqrstuvwxyz1234567890\x00\x00\x00\x00 -=[]\\\x00;'`,./"
	shiftedKeys = "ABCDEFGHIJKLMNOPQRSTUVWXYZ!@#$%^&*()\x00\x00\x00\x00\x00_+{}|\x00:\"~<>?"
)

func charKey(c byte) (hidKey, bool) {
	const first = 4
	for i := range len(plainKeys) {
		switch {
		case c == 0:
		case plainKeys[i] == c:
			return hidKey{keysReport, false, first + i}, true
		case shiftedKeys[i] == c:
			return hidKey{keysReport, true, first + i}, true
		}
	}
	return hidKey{}, false
}

// keyboardDescriptor is the report descriptor of a keyboard with the keys of the
// Consumer page and those that wake a phone.
func keyboardDescriptor() []byte {
	return []byte{
		0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, // Generic Desktop, Keyboard
		0x85, keysReport,
		0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, // modifiers
		0x75, 0x08, 0x95, 0x01, 0x81, 0x01, // nothing
		0x19, 0x00, 0x29, 0x65, 0x15, 0x00, 0x25, 0x65, 0x75, 0x08, 0x95, 0x06, 0x81, 0x00, // keys
		0xc0,
		0x05, 0x0c, 0x09, 0x01, 0xa1, 0x01, // Consumer, Consumer Control
		0x85, consumerReport,
		0x19, 0x00, 0x2a, 0xff, 0x03, 0x15, 0x00, 0x26, 0xff, 0x03, 0x75, 0x10, 0x95, 0x01, 0x81, 0x00,
		0xc0,
		0x05, 0x01, 0x09, 0x80, 0xa1, 0x01, // Generic Desktop, System Control
		0x85, systemReport,
		0x09, 0x82, 0x09, 0x83, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x02, 0x81, 0x02, // sleep, wake up
		0x75, 0x06, 0x95, 0x01, 0x81, 0x01, // padding
		0xc0,
	}
}

// touchDescriptor is the report descriptor of a touch screen for one finger whose
// places are pixels. The kernel takes a device for one that lies on the display
// only if it numbers its contacts.
func touchDescriptor(size image.Point) []byte {
	x, y := size.X-1, size.Y-1
	return []byte{
		0x05, 0x0d, 0x09, 0x04, 0xa1, 0x01, // Digitizers, Touch Screen
		0x09, 0x22, 0xa1, 0x02, // Finger
		0x09, 0x42, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x01, 0x81, 0x02, // tip switch
		0x95, 0x07, 0x81, 0x03, // padding
		0x09, 0x51, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x01, 0x81, 0x02, // contact identifier
		0x05, 0x01, 0x75, 0x10,
		0x09, 0x30, 0x26, byte(x), byte(x >> 8), 0x46, byte(x), byte(x >> 8), 0x81, 0x02,
		0x09, 0x31, 0x26, byte(y), byte(y >> 8), 0x46, byte(y), byte(y >> 8), 0x81, 0x02,
		0xc0,
		0x05, 0x0d, 0x09, 0x54, 0x25, 0x01, 0x75, 0x08, 0x95, 0x01, 0x81, 0x02, // contact count
		0xc0,
	}
}
