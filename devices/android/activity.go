package android

import (
	"fmt"
	"strings"
	"time"
)

// ParseSetting reads the answer of `settings get`. The second value is false
// for a setting that is not set, which Android prints as null.
func ParseSetting(text string) (string, bool) {
	v := strings.TrimRight(text, "\r\n")
	if v == "null" {
		return "", false
	}
	return v, true
}

// ParseSettings reads `settings list NAMESPACE`. A value may go on in further
// lines; one that looks like the next setting is taken for it.
func ParseSettings(text string) map[string]string {
	out := map[string]string{}
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(line, "=")
		switch {
		case ok && key != "" && !strings.ContainsAny(key, " \t{}\"'<>;,"):
			if len(out) >= maxEntries {
				return out
			}
			out[key], last = value, key
		case last != "":
			out[last] += "\n" + line
		}
	}
	return out
}

// ParseFocus finds the component in focus in `dumpsys window`, in full form
// (package/package.Class). A window that is no activity, such as the status
// bar, gives its name without a slash. The second value is false when nothing
// has the focus or the text does not say.
func ParseFocus(text string) (string, bool) {
	for _, mark := range []string{"mCurrentFocus=", "mFocusedApp=", "mFocusedWindow="} {
		for line := range strings.Lines(text) {
			_, value, ok := strings.Cut(line, mark)
			if !ok {
				continue
			}
			if component, ok := focusOf(strings.TrimSpace(value)); ok {
				return component, true
			}
		}
	}
	return "", false
}

// focusOf reads Window{1a2b u0 com.x/com.x.Main} and the records of the older
// and newer forms, whose component is the field with a slash.
func focusOf(value string) (string, bool) {
	if value == "null" || !strings.Contains(value, "{") {
		return "", false
	}
	fields := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '{' || r == '}' })
	for _, f := range fields {
		if pkg, class, ok := strings.Cut(f, "/"); ok && pkg != "" && class != "" {
			return Component(f), true
		}
	}
	// Window{1a2b u0 StatusBar}: no activity, but it has the focus.
	if len(fields) >= 4 && fields[0] == "Window" {
		return strings.Join(fields[3:], " "), true
	}
	return "", false
}

// Component writes a component in full: com.x/.Main becomes com.x/com.x.Main.
func Component(short string) string {
	pkg, class, ok := strings.Cut(short, "/")
	if !ok || !strings.HasPrefix(class, ".") {
		return short
	}
	return pkg + "/" + pkg + class
}

// A Battery is the answer of `dumpsys battery`; nil is "not said".
type Battery struct {
	Level *int `json:"level,omitempty"` // as a share of Scale
	Scale *int `json:"scale,omitempty"`
	// Temperature is in tenths of a degree Celsius.
	Temperature *int  `json:"temperature,omitempty"`
	Powered     *bool `json:"powered,omitempty"`
}

// Percent is the charge, 0 to 100; false when the phone did not say.
func (b Battery) Percent() (int, bool) {
	if b.Level == nil || *b.Level < 0 {
		return 0, false
	}
	scale := 100
	if b.Scale != nil {
		scale = *b.Scale
	}
	if scale <= 0 || *b.Level > scale {
		return 0, false
	}
	return int(int64(*b.Level) * 100 / int64(scale)), true
}

// ParseBattery reads `dumpsys battery`.
func ParseBattery(text string) Battery {
	var b Battery
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		switch key {
		case "level":
			b.Level = number[int](value)
		case "scale":
			b.Scale = number[int](value)
		case "temperature":
			b.Temperature = number[int](value)
		case "AC powered", "USB powered", "Wireless powered", "Dock powered":
			powered := strings.TrimSpace(value) == "true"
			if b.Powered == nil || powered {
				b.Powered = &powered
			}
		}
	}
	return b
}

// An AmStart is the answer of `am start -W`.
type AmStart struct {
	// Status is "ok" or "timeout"; empty when am did not wait.
	Status   string
	Activity string // in full form
	// LaunchState is COLD, WARM or HOT, since Android 10.
	LaunchState string
	// Warning is am's remark that no new activity was needed; the intent was
	// delivered all the same.
	Warning string
	// TotalTime is how long the launch took, nil when not said.
	TotalTime *time.Duration
}

// ParseAmStart reads the answer of `am start`, standard output and standard
// error joined. The error carries am's own words: am exits with 0 after many of
// its errors.
func ParseAmStart(text string) (AmStart, error) {
	var a AmStart
	var failed error
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.HasPrefix(line, "Error"), strings.HasPrefix(line, "Exception occurred"),
			strings.HasPrefix(line, "Security exception"), strings.HasPrefix(line, "java.lang."):
			// The last says most: "Error type 3" comes before the reason.
			failed = fmt.Errorf("android: start activity: %s", shorten(line))
		case key == "Warning":
			a.Warning = value
		case key == "Status":
			a.Status = value
		case key == "Activity":
			a.Activity = Component(value)
		case key == "LaunchState":
			a.LaunchState, _, _ = strings.Cut(value, " ")
		case key == "TotalTime":
			if ms := number[int64](value); ms != nil && *ms >= 0 && *ms < int64(24*time.Hour/time.Millisecond) {
				d := time.Duration(*ms) * time.Millisecond
				a.TotalTime = &d
			}
		}
	}
	return a, failed
}

// ParseClock reads `date +%s.%N`: the time, and how finely it was told. A phone
// whose date knows no %N prints the letter or the sign itself.
func ParseClock(text string) (at time.Time, grain time.Duration, err error) {
	text = strings.TrimSpace(text)
	whole, part, _ := strings.Cut(text, ".")
	seconds := number[int64](whole)
	const latest = 1 << 40
	if seconds == nil || *seconds < 0 || *seconds > latest {
		return time.Time{}, 0, fmt.Errorf("android: read date: %q: %w", shorten(text), ErrFormat)
	}
	const digits = 9
	nanos := number[int64](part)
	if len(part) != digits || nanos == nil || *nanos < 0 {
		if strings.Trim(part, "%N") != "" {
			return time.Time{}, 0, fmt.Errorf("android: read date: %q: %w", shorten(text), ErrFormat)
		}
		return time.Unix(*seconds, 0), time.Second, nil
	}
	return time.Unix(*seconds, *nanos), time.Nanosecond, nil
}
