package android_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/android"
)

var update = flag.Bool("update", false, "write the golden files anew")

// read applies the reader that a file's name asks for.
func read(name, text string) any {
	type answer struct {
		Value any
		OK    *bool  `json:",omitempty"`
		Err   string `json:",omitempty"`
	}
	yes := func(v any, ok bool) any { return answer{Value: v, OK: &ok} }
	fails := func(v any, err error) any {
		a := answer{Value: v}
		if err != nil {
			a.Err = err.Error()
		}
		return a
	}
	kind, _, _ := strings.Cut(name, ".")
	switch kind {
	case "getprop":
		return android.ParseBuild(android.Getprop(text))
	case "netdev":
		return fails(android.ParseNetDev(text))
	case "tcp", "tcp6", "udp", "udp6":
		return fails(android.ParseSockets(kind, text))
	case "packages":
		return android.ParsePackages(text)
	case "qtaguid":
		return fails(android.ParseQtaguid(text))
	case "uidmap":
		return fails(android.ParseUIDMap(text))
	case "netstats":
		return fails(android.ParseNetstats(text))
	case "jobs":
		return yes(android.ParseJobs(text))
	case "alarms":
		return yes(android.ParseAlarms(text))
	case "appops":
		return yes(android.ParseAppOps(text))
	case "settings":
		return android.ParseSettings(text)
	case "users":
		return android.ParseUsers(text)
	case "dumpsys":
		if strings.Contains(text, "[com.android.soundrecorder]") {
			return yes(android.ParseDumpsysPackage("com.android.soundrecorder", text))
		}
		return yes(android.ParseDumpsysPackage("com.mi.globalbrowser", text))
	case "focus":
		return yes(android.ParseFocus(text))
	case "battery":
		return android.ParseBattery(text)
	case "amstart":
		return fails(android.ParseAmStart(text))
	case "mounts":
		return android.ParseMounts(text)
	}
	return "no reader for " + name
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden inputs: %v", err)
	}
	foreign, err := filepath.Glob("testdata/foreign/*.txt")
	if err != nil || len(foreign) == 0 {
		t.Fatalf("no texts of others: %v", err)
	}
	files = append(files, foreign...)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(read(filepath.Base(file), string(text)), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".txt") + ".golden.json"
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got)+"\n" {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			// Real phones end lines with CR LF where a terminal is in between.
			crlf, err := json.MarshalIndent(read(filepath.Base(file), strings.ReplaceAll(string(text), "\n", "\r\n")), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if string(crlf) != string(got) {
				t.Errorf("with CR LF: got %s\nwant %s", crlf, got)
			}
		})
	}
}

// What a text does not say is unknown, never zero.
func TestUnknownIsNotZero(t *testing.T) {
	b := android.ParseBuild(nil)
	if b.SDK != nil || b.Density != nil || b.Booted != nil || b.InputGate != nil {
		t.Errorf("a build out of nothing: %+v", b)
	}
	if battery := android.ParseBattery("level: much\n"); battery.Level != nil || battery.Powered != nil {
		t.Errorf("a battery out of nothing: %+v", battery)
	}
	if _, ok := (android.Battery{}).Percent(); ok {
		t.Error("a charge out of nothing")
	}
	p, ok := android.ParseDumpsysPackage("com.x", "Packages:\n  Package [com.x] (1):\n    pkg=x\n")
	if !ok || p.UID != nil || p.VersionCode != nil || p.TargetSDK != nil {
		t.Errorf("got %+v, %v", p, ok)
	}
	if _, ok := android.ParseDumpsysPackage("com.x", "Unable to find package: com.x\n"); ok {
		t.Error("a package that is not installed was found")
	}
	if _, ok := android.ParseSetting("null\n"); ok {
		t.Error("null is a value")
	}
	if v, ok := android.ParseSetting("\n"); !ok || v != "" {
		t.Error("an empty value is not null")
	}
}

func TestNetDevRefusesWhatItCannotRead(t *testing.T) {
	good, err := os.ReadFile("testdata/netdev.phone.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"no header":       "wlan0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
		"cut line":        string(good[:len(good)-40]),
		"denied":          "cat: /proc/net/dev: Permission denied\n",
		"negative":        strings.Replace(string(good), "2310", "-231", 1),
		"interface twice": string(good) + "wlan0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
	} {
		if _, err := android.ParseNetDev(text); !errors.Is(err, android.ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
}

func TestClock(t *testing.T) {
	at, grain, err := android.ParseClock("1588586400.123456789\n")
	if err != nil || !at.Equal(time.Unix(1588586400, 123456789)) || grain != time.Nanosecond {
		t.Errorf("got %v, %v, %v", at, grain, err)
	}
	for _, text := range []string{"1588586400.N", "1588586400.%N", "1588586400"} {
		at, grain, err := android.ParseClock(text)
		if err != nil || !at.Equal(time.Unix(1588586400, 0)) || grain != time.Second {
			t.Errorf("%q: got %v, %v, %v", text, at, grain, err)
		}
	}
	for _, text := range []string{"", "date: bad format", "-1.000000000", "1588586400.12x456789", "99999999999999999.000000000"} {
		if at, _, err := android.ParseClock(text); err == nil {
			t.Errorf("%q: got %v", text, at)
		}
	}
}

func TestPathAndSum(t *testing.T) {
	if p, ok := android.ParsePath("package:/data/app/x/split_config.arm64.apk\npackage:/data/app/x/base.apk\n"); !ok || p != "/data/app/x/base.apk" {
		t.Errorf("got %q, %v", p, ok)
	}
	if p, ok := android.ParsePath("package:/system/app/Browser/Browser.apk\n"); !ok || p != "/system/app/Browser/Browser.apk" {
		t.Errorf("got %q, %v", p, ok)
	}
	if _, ok := android.ParsePath("Error: java.lang.SecurityException\n"); ok {
		t.Error("a path out of an error")
	}
	sum := strings.Repeat("0a", 32)
	if got, err := android.ParseSum(strings.ToUpper(sum) + "  /data/app/x/base.apk\n"); err != nil || got != sum {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := android.ParseSum("sha256sum: base.apk: No such file"); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestClosingSockets(t *testing.T) {
	text, err := os.ReadFile("testdata/tcp6.phone.txt")
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := android.ParseSockets("tcp6", string(text))
	if err != nil || len(sockets) != 3 {
		t.Fatalf("got %v, %v", sockets, err)
	}
	if closing := []bool{sockets[0].Closing(), sockets[1].Closing(), sockets[2].Closing()}; !slices.Equal(closing, []bool{false, false, true}) {
		t.Errorf("got %v: only the socket in TIME_WAIT has lost its owner", closing)
	}
}

func FuzzReaders(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("1588586400.123456789")
	f.Fuzz(func(t *testing.T, text string) {
		props := android.Getprop(text)
		android.ParseBuild(props)
		android.ParsePackages(text)
		android.ParseDumpsysPackage("com.mi.globalbrowser", text)
		android.ParseMounts(text)
		android.ParsePath(text)
		if c, ok := android.ParseFocus(text); ok && c == "" {
			t.Error("an empty focus")
		}
		if a, err := android.ParseAmStart(text); err == nil && a.TotalTime != nil && *a.TotalTime < 0 {
			t.Error("a negative time")
		}
		if p, ok := android.ParseBattery(text).Percent(); ok && (p < 0 || p > 100) {
			t.Errorf("charge %d", p)
		}
		if devs, err := android.ParseNetDev(text); err == nil && devs == nil {
			t.Error("neither counters nor an error")
		}
		for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
			sockets, _ := android.ParseSockets(proto, text)
			for _, s := range sockets {
				if !s.Local.IsValid() || !s.Remote.IsValid() || s.UID < 0 {
					t.Errorf("half a socket: %+v", s)
				}
			}
		}
		if at, _, err := android.ParseClock(text); err == nil && at.IsZero() {
			t.Error("a time out of nothing")
		}
		if sum, err := android.ParseSum(text); err == nil && len(sum) != 64 {
			t.Errorf("sum %q", sum)
		}
	})
}
