package android_test

import (
	"fmt"
	"testing"

	"github.com/offproof/offproof/devices/android"
)

func TestParseDataSaver(t *testing.T) {
	for text, want := range map[string]string{
		"Restrict background status: disabled\n":  "false",
		"Restrict background status: enabled\n":   "true",
		"Restrict background status: enabled\r\n": "true",
		"Restrict background status: \n":          "unknown",
		"Error: unknown get command 'restrict'\n": "unknown",
		"cmd: Can't find service: netpolicy\n":    "unknown",
		"":                                        "unknown",
	} {
		got := "unknown"
		if on := android.ParseDataSaver(text); on != nil {
			got = fmt.Sprint(*on)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestParseIdle(t *testing.T) {
	for text, want := range map[string]string{
		"ACTIVE\n": "ACTIVE", "IDLE_MAINTENANCE\n": "IDLE_MAINTENANCE", "WAITING_FOR_NETWORK\n": "WAITING_FOR_NETWORK",
		"Unknown get option: deep\n": "", "Can't find service: deviceidle\n": "", "": "", "ACTIVE\nIDLE\n": "",
	} {
		if got, ok := android.ParseIdle(text); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, ok, want)
		}
	}
}

func TestParseUsers(t *testing.T) {
	for text, want := range map[string]string{
		"Users:\n\tUserInfo{0:Owner:13} running\n":                                                         "map[0:{Owner 13 true}]",
		"Users:\n\tUserInfo{0:Owner:13} running\n\tUserInfo{999:XSpace:801010} running\n":                  "map[0:{Owner 13 true} 999:{XSpace 801010 true}]",
		"Users:\n\tUserInfo{0:Besitzer:c13} running\n\tUserInfo{10:Arbeit: privat}x:30} running\n":         "map[0:{Besitzer c13 true} 10:{Arbeit: privat}x 30 true}]",
		"Users:\n\tUserInfo{0:Owner:13} running\n\tUserInfo{11:Guest:10}\n":                                "map[0:{Owner 13 true} 11:{Guest 10 false}]",
		"Users:\n\tUserInfo{x:Owner:13} running\n":                                                         "map[]",
		"Error: java.lang.SecurityException: You either need MANAGE_USERS or CREATE_USERS permission to\n": "map[]",
	} {
		if got := fmt.Sprint(android.ParseUsers(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzRestrict(f *testing.F) {
	f.Add("Users:\n\tUserInfo{0:Owner:13} running\n")
	f.Add("Restrict background status: disabled\n")
	f.Fuzz(func(t *testing.T, text string) {
		android.ParseDataSaver(text)
		for id, u := range android.ParseUsers(text) {
			if id < 0 || len(u.Name) > len(text) {
				t.Errorf("%q: user %d, %q", text, id, u.Name)
			}
		}
		if state, ok := android.ParseIdle(text); ok == (state == "") {
			t.Errorf("%q: %q, %v", text, state, ok)
		}
	})
}
