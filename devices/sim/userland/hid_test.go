package userland_test

import (
	"regexp"
	"strings"
	"testing"
)

// The descriptors of a keyboard and of a touch screen with a 12-bit grid, as
// hid's README writes its examples, and of a screen that numbers no contact.
const (
	hidKeyboard = `{"id":1,"command":"register","name":"keys","vid":1,"pid":1,"descriptor":[5,1,9,6,161,1,5,7,25,224,41,231,21,0,37,1,117,1,149,8,129,2,149,1,117,8,129,1,25,0,41,101,21,0,37,101,117,8,149,6,129,0,192]}`
	hidTouch    = `{"id":2,"command":"register","name":"touch","vid":1,"pid":1,"descriptor":[5,13,9,4,161,1,9,34,161,2,9,66,21,0,37,1,117,1,149,1,129,2,149,7,129,3,9,81,37,127,117,8,149,1,129,2,5,1,117,16,149,1,38,255,15,9,48,129,2,9,49,129,2,192,192]}`
	hidPointer  = `{"id":3,"command":"register","name":"pointer","vid":1,"pid":1,"descriptor":[5,13,9,4,161,1,9,34,161,2,9,66,21,0,37,1,117,1,149,1,129,2,149,7,129,3,5,1,117,16,149,1,38,255,15,9,48,129,2,9,49,129,2,192,192]}`
)

func TestHID(t *testing.T) {
	delay := func(id string) string { return `{"id":` + id + `,"command":"delay","duration":2000}` }
	key := func(code string) string {
		return `{"id":1,"command":"report","report":[` + code + `,0,0,0,0,0]}{"id":1,"command":"report","report":[0,0,0,0,0,0,0,0]}`
	}
	touch := func(id, data string) string { return `{"id":` + id + `,"command":"report","report":[` + data + `]}` }
	for name, c := range map[string]struct{ in, out, acts, or string }{
		"characters": {in: hidKeyboard + delay("1") + key("0,0,4") + key("2,0,4") + key("32,0,31") + key("0,0,44") + key("0,0,40"), acts: "text [a]; text [A]; text [@]; text [ ]; key 66"},
		"two keys at once, and one that stays down": {
			in:   hidKeyboard + delay("1") + touch("1", "0,0,4,5,0,0,0,0") + touch("1", "0,0,4,0,0,0,0,0") + touch("1", "0,0,4,6,0,0,0,0"),
			acts: "text [a]; text [b]; text [c]", or: "text [b]; text [a]; text [c]",
		},
		"before the system uses it":    {in: hidKeyboard + key("0,0,4"), acts: ""},
		"a finger":                     {in: hidTouch + delay("2") + touch("2", "1,1,0,8,0,4") + touch("2", "0,1,0,8,0,4"), acts: "swipe 540,585 540,585"},
		"a finger that moves":          {in: hidTouch + delay("2") + touch("2", "1,1,0,8,0,8") + touch("2", "1,1,0,8,0,4") + touch("2", "0,1,0,8,0,4"), acts: "swipe 540,1170 540,585"},
		"a screen without contacts":    {in: hidPointer + delay("3") + touch("3", "1,0,8,0,4") + touch("3", "0,0,8,0,4"), acts: ""},
		"a report that is cut short":   {in: hidTouch + delay("2") + touch("2", "1") + touch("2", ""), acts: ""},
		"a device that nobody made":    {in: touch("7", "1,2,3"), acts: ""},
		"a descriptor that is cut off": {in: `{"id":1,"command":"register","name":"x","descriptor":[5,1,9,6,161,1,38,255]}` + touch("1", "0,0,4"), acts: ""},
		"no events":                    {in: `hello`, out: "Error reading in events.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone(t)
			out, errs, code, err := p.Run(t.Context(), "hid -", c.in)
			if err != nil || errs != "" || code != 0 || out != c.out {
				t.Fatalf("got %q %q %d %v", out, errs, code, err)
			}
			acts := regexp.MustCompile(` [0-9.]+[µm]?s\b`).ReplaceAllString(p.screen.done(), "") // How long a finger stayed.
			if acts != c.acts && acts != c.or {
				t.Errorf("got %s, want %s", acts, c.acts)
			}
		})
	}
}

func FuzzHID(f *testing.F) {
	f.Add(hidKeyboard + `{"id":1,"command":"report","report":[0,0,4,0,0,0,0,0]}`)
	f.Add(hidTouch + `{"id":2,"command":"report","report":[1,1,0,8,0,8]}`)
	p := newPhone(f)
	f.Fuzz(func(t *testing.T, in string) {
		if strings.Contains(in, "duration") {
			return // It would only wait.
		}
		if _, _, _, err := p.Run(t.Context(), "hid -", in); err != nil {
			t.Error(err)
		}
	})
}
