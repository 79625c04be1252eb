package userland

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// hidAttach is how long the system takes to use an input device that appeared;
// what it says before is lost.
const hidAttach = 500 * time.Millisecond

// hidStart is how long app_process takes to start.
const hidStart = 700 * time.Millisecond

// Usages of HID: the page in the upper half.
const (
	hidTouchScreen = 0x0d<<16 | 0x04
	hidTip         = 0x0d<<16 | 0x42
	hidContact     = 0x0d<<16 | 0x51
	hidX           = 0x01<<16 | 0x30
	hidY           = 0x01<<16 | 0x31
	hidKeys        = 0x07 << 16
	hidLeftShift   = hidKeys | 0xe1
	hidRightShift  = hidKeys | 0xe5
)

// hidKeyCodes are the keys that make no character, as the kernel and Android's
// Generic.kl map them.
var hidKeyCodes = map[int]int{
	hidKeys | 0x28: 66, hidKeys | 0x29: 111, hidKeys | 0x2a: 67, hidKeys | 0x2b: 61, hidKeys | 0x4a: 122, hidKeys | 0x4b: 92,
	hidKeys | 0x4c: 112, hidKeys | 0x4d: 123, hidKeys | 0x4e: 93, hidKeys | 0x51: 20, hidKeys | 0x52: 19,
	0x0c<<16 | 0x30: 26, 0x0c<<16 | 0x32: 223, 0x0c<<16 | 0x40: 82, 0x0c<<16 | 0x1a2: 187, 0x0c<<16 | 0x223: 3, 0x0c<<16 | 0x224: 4,
	0x01<<16 | 0x82: 223, 0x01<<16 | 0x83: 224,
}

// The characters of the keys from usage 4 on, without and with shift: the layout
// of the United States, which Android uses unless its owner chose another one.
const (
	hidPlain   = "abcdefghijklmnopqrstuvwxyz1234567890\x00\x00\x00\x00 -=[]\\\x00;'`,./"
	hidShifted = "ABCDEFGHIJKLMNOPQRSTUVWXYZ!@#$%^&*()\x00\x00\x00\x00 _+{}|\x00:\"~<>?"
)

// A hidDevice is an input device that a process made.
type hidDevice struct {
	name     string
	fields   []hidField
	numbered bool
	used     time.Time // when the system began to use it

	values map[hidField]int
	down   *hidTouch
}

type hidTouch struct {
	x, y  int
	since time.Time
}

// DenyHID has the kernel refuse new input devices to the shell, or ends that.
func (s *System) DenyHID(denied bool) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.hidDenied = denied
}

// attachHID makes a device known to dumpsys input; ok is false where the shell may
// not.
func (s *System) attachHID(d *hidDevice) (ok bool) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if s.hidDenied {
		return false
	}
	d.used = time.Now().Add(time.Duration(float64(hidAttach) * s.cfg.Pace))
	s.hids = append(s.hids, d)
	return true
}

func (s *System) detachHID(d *hidDevice) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	for i, other := range s.hids {
		if other == d {
			s.hids = append(s.hids[:i:i], s.hids[i+1:]...)
			return
		}
	}
}

// dumpInput is dumpsys input, as far as it names the devices.
func (s *System) dumpInput() string {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	var b bytes.Buffer
	b.WriteString("INPUT MANAGER (dumpsys input)\n\nInput Manager State:\n  Interactive: true\n\nEvent Hub State:\n  BuiltInKeyboardId: -2\n  Devices:\n" +
		"    -1: Virtual\n      Classes: 0x40000023\n    2: gpio-keys\n      Classes: 0x00000001\n    3: fts_ts\n      Classes: 0x00000015\n")
	for i, d := range s.hids {
		if time.Now().After(d.used) {
			fmt.Fprintf(&b, "    %d: %s\n      Classes: 0x80000017\n", 4+i, d.name)
		}
	}
	return b.String()
}

// cmdHid is hid [FILE], which makes input devices from a stream of events.
func cmdHid(_ context.Context, p *proc, args []string) int {
	if len(args) != 2 {
		return 1
	}
	if !p.sys.pause(p.done, hidStart) {
		return 1
	}
	in := p.in()
	if args[1] != "-" {
		data, err := p.fs().ReadFile(p.abs(args[1]))
		if err != nil {
			return 1
		}
		in = bytes.NewReader(data)
	}
	devices := map[int]*hidDevice{}
	defer func() {
		for _, d := range devices {
			p.sys.detachHID(d)
		}
	}()
	words := json.NewDecoder(in)
	for {
		var e struct {
			ID         int    `json:"id"`
			Command    string `json:"command"`
			Name       string `json:"name"`
			Descriptor []int  `json:"descriptor"`
			Report     []int  `json:"report"`
			Duration   int    `json:"duration"`
		}
		if err := words.Decode(&e); err != nil {
			if !errors.Is(err, io.EOF) {
				p.printf("Error reading in events.\n")
			}
			return 0
		}
		d := devices[e.ID]
		switch {
		case e.Command == "register" && d == nil:
			fields, numbered, ok := hidDescriptor(octets(e.Descriptor))
			d = &hidDevice{name: e.Name, fields: fields, numbered: numbered, values: map[hidField]int{}}
			if ok && p.sys.attachHID(d) {
				devices[e.ID] = d
			}
		case e.Command == "delay" && d != nil:
			if !p.sys.pause(p.done, time.Duration(e.Duration)*time.Millisecond) {
				return 1
			}
		case e.Command == "report" && d != nil:
			if time.Now().After(d.used) {
				d.report(p.sys, octets(e.Report))
			}
		}
	}
}

func octets(list []int) []byte {
	out := make([]byte, len(list))
	for i, v := range list {
		out[i] = byte(v)
	}
	return out
}

// report takes one report in and does what changed by it.
func (d *hidDevice) report(s *System, data []byte) {
	number := 0
	if d.numbered {
		if len(data) == 0 {
			return
		}
		number, data = int(data[0]), data[1:]
	}
	before := d.pressed()
	for _, f := range d.fields {
		if f.report != number {
			continue
		}
		if v, ok := f.value(data); ok {
			d.values[f] = v
		}
	}
	after := d.pressed()
	for usage := range after {
		if before[usage] {
			continue
		}
		shift := after[hidLeftShift] || after[hidRightShift]
		d.press(s, usage, shift)
	}
	d.touch(s)
}

// pressed are the usages of keys that are down.
func (d *hidDevice) pressed() map[int]bool {
	out := map[int]bool{}
	for f, v := range d.values {
		switch {
		case v == 0 || f.application == hidTouchScreen:
		case f.slot:
			out[f.usage|v] = true
		default:
			out[f.usage] = true
		}
	}
	return out
}

func (d *hidDevice) press(s *System, usage int, shift bool) {
	if code, ok := hidKeyCodes[usage]; ok {
		s.cfg.Screen.Key(code)
		return
	}
	table := hidPlain
	if shift {
		table = hidShifted
	}
	if at := usage - hidKeys - 4; at >= 0 && at < len(table) && table[at] != 0 {
		_ = s.cfg.Screen.Text(table[at : at+1]) // A key always makes a character.
	}
}

// touch follows the finger. The kernel takes a device for a touch screen only if
// it is one by its own words and numbers its contacts.
func (d *hidDevice) touch(s *System) {
	tip, x, y, contacts := 0, 0, 0, false
	for f, v := range d.values {
		if f.application != hidTouchScreen {
			continue
		}
		switch f.usage {
		case hidTip:
			tip = v
		case hidContact:
			contacts = true
		case hidX:
			x = v * physicalSize.X / (f.max + 1)
		case hidY:
			y = v * physicalSize.Y / (f.max + 1)
		}
	}
	switch {
	case !contacts:
	case tip != 0 && d.down == nil:
		d.down = &hidTouch{x, y, time.Now()}
	case tip == 0 && d.down != nil:
		took := time.Duration(float64(time.Since(d.down.since)) / s.cfg.Pace)
		s.cfg.Screen.Swipe(d.down.x, d.down.y, x, y, took)
		d.down = nil
	}
}
