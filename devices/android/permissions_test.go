package android_test

import (
	"fmt"
	"testing"

	"github.com/offproof/offproof/devices/android"
)

const permissionsDump = `Packages:
  Package [com.example] (6a1bd5c):
    userId=10123
    requested permissions:
      android.permission.INTERNET
      android.permission.CAMERA
    install permissions:
      android.permission.INTERNET: granted=true
    User 0: ceDataInode=1 installed=true hidden=false
      gids=[3003]
      runtime permissions:
        android.permission.CAMERA: granted=true, flags=[ USER_SET|USER_SENSITIVE_WHEN_GRANTED]
        android.permission.RECORD_AUDIO: granted=false
        android.permission.ODD: granted=maybe
      disabledComponents:
        com.example.Thing: granted=true
    User 999: ceDataInode=0 installed=true hidden=false
      runtime permissions:
        android.permission.CAMERA: granted=false, flags=[ ]

Hidden system packages:
  Package [com.example] (1111111):
    User 0: ceDataInode=1 installed=true
      runtime permissions:
        android.permission.CAMERA: granted=false
`

func TestParseRuntimePermissions(t *testing.T) {
	for name, c := range map[string]struct {
		pkg, user, text, want string
		ok                    bool
	}{
		"the owner":      {"com.example", "0", permissionsDump, "map[android.permission.CAMERA:true android.permission.RECORD_AUDIO:false]", true},
		"a second user":  {"com.example", "999", permissionsDump, "map[android.permission.CAMERA:false]", true},
		"nobody":         {"com.example", "10", permissionsDump, "map[]", false},
		"another":        {"com.example.more", "0", permissionsDump, "map[]", false},
		"nothing":        {"com.example", "0", "Unable to find package: com.example\n", "map[]", false},
		"none for owner": {"a", "0", "Packages:\n  Package [a] (1):\n    User 0: installed=true\n      gids=[]\n", "map[]", true},
	} {
		if got, ok := android.ParseRuntimePermissions(c.pkg, c.user, c.text); fmt.Sprint(got) != c.want || ok != c.ok {
			t.Errorf("%s: %v, %v; want %s", name, got, ok, c.want)
		}
	}
}

func TestParseAppOp(t *testing.T) {
	for text, want := range map[string][3]string{
		"CAMERA: allow; time=+3m2s110ms ago\n":                       {"allow", "", "true"},
		"CAMERA: ignore\r\n":                                         {"ignore", "", "true"},
		"Uid mode: CAMERA: foreground\nCAMERA: deny; rejectTime=+1s": {"deny", "", "true"},
		"No operations.\nDefault mode: allow\n":                      {"", "allow", "true"},
		"No operations.\n":                                           {"", "", "true"},
		"RECORD_AUDIO: allow\n":                                      {"", "", "false"},
		"Error: Unknown operation string: CAMERO\n":                  {"", "", "false"},
		"": {"", "", "false"},
	} {
		mode, standard, ok := android.ParseAppOp("CAMERA", text)
		if got := [3]string{mode, standard, fmt.Sprint(ok)}; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzPermissions(f *testing.F) {
	f.Add(permissionsDump)
	f.Add("CAMERA: allow; time=+3m2s110ms ago\n")
	f.Fuzz(func(t *testing.T, text string) {
		if granted, ok := android.ParseRuntimePermissions("com.example", "0", text); !ok && len(granted) > 0 {
			t.Errorf("%q: %v without a user", text, granted)
		}
		if mode, _, ok := android.ParseAppOp("CAMERA", text); mode != "" && !ok {
			t.Errorf("%q: mode %q", text, mode)
		}
	})
}
