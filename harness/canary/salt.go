package canary

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Salt is what a hash may be made with beside the term.
type Salt struct {
	// Name says what it is, such as "package" or "hour"; it is part of the form
	// of a sighting.
	Name string
	// Value is the salt as text. An empty one is not tried.
	Value string
}

// Facts are what the salts of an observation are made of.
type Facts struct {
	// Packages are names of apps that may send, such as "com.android.browser".
	Packages []string
	// Devices are identifiers of the phone. Each is tried as it is, and without
	// its marks in lower and in upper case.
	Devices []string
	// From and To span the time in which a hash may have been made, by the
	// phone's clock and in its zone. Salts by time are left out where From is zero.
	From, To time.Time
}

// MaxHours is how many hours, and so many days, of a span are tried: the first
// ones. A longer span is no single trial.
const MaxHours = 36

//go:embed salts.txt
var saltsText string

// saltTemplates are the lines of salts.txt, which a test reads too.
var saltTemplates = func() []Salt {
	templates, err := ParseSalts(saltsText)
	if err != nil {
		panic("canary: " + err.Error()) // The file is part of the program.
	}
	return templates
}()

// Salts returns the salts that the built-in list makes of these facts.
func Salts(facts Facts) []Salt { return FillSalts(saltTemplates, facts) }

var (
	saltLine  = regexp.MustCompile(`^([a-z0-9+]{1,40})\s+(\S.*)$`)
	saltField = regexp.MustCompile(`\{(package|device|(hour|day)(?:\.(ms|s|n)|:([^{}]{1,40})))\}`)
)

// ParseSalts reads a list of salts: a name and a template on each line, as
// salts.txt in this package describes. The error names the line.
func ParseSalts(text string) ([]Salt, error) {
	var out []Salt
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m := saltLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("list of salts: read line %d: want a name in lower case and a template", number)
		}
		if rest := saltField.ReplaceAllString(m[2], ""); strings.ContainsAny(rest, "{}") {
			return nil, fmt.Errorf("list of salts: read line %d: %q has a field that is none of package, device, hour and day", number, m[2])
		}
		if len(saltField.FindAllString(m[2], -1)) > maxSaltFields {
			return nil, fmt.Errorf("list of salts: read line %d: more than %d fields", number, maxSaltFields)
		}
		out = append(out, Salt{Name: m[1], Value: m[2]})
	}
	return out, nil
}

// The bounds of a list's product: each field multiplies the salts of its line.
const (
	maxSaltFields = 3
	maxSalts      = 20_000
)

// FillSalts puts facts into the templates of a list, each salt once.
func FillSalts(templates []Salt, facts Facts) []Salt {
	values := map[string][]string{"package": facts.Packages, "device": devices(facts.Devices)}
	hours, days := facts.times(time.Hour), facts.times(24*time.Hour)
	seen := map[Salt]bool{}
	var out []Salt
	for _, t := range templates {
		filled := []string{t.Value}
		for _, m := range saltField.FindAllStringSubmatch(t.Value, -1) {
			options := values[m[1]]
			switch m[2] {
			case "hour":
				options = timeTexts(hours, time.Hour, m[3], m[4])
			case "day":
				options = timeTexts(days, 24*time.Hour, m[3], m[4])
			}
			var next []string
			for _, text := range filled {
				for _, o := range options {
					next = append(next, strings.Replace(text, m[0], o, 1))
				}
			}
			filled = next[:min(len(next), maxSalts)]
		}
		for _, text := range filled {
			s := Salt{Name: t.Name, Value: text}
			if text != "" && !seen[s] && len(out) < maxSalts {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

func devices(ids []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, id := range ids {
		bare := withoutMarks(id)
		for _, text := range []string{id, strings.ToLower(bare), strings.ToUpper(bare)} {
			if text != "" && !seen[text] {
				seen[text] = true
				out = append(out, text)
			}
		}
	}
	return out
}

// times are the beginnings of every hour or day of the span, in UTC and in the
// zone of From.
func (f Facts) times(unit time.Duration) []time.Time {
	if f.From.IsZero() {
		return nil
	}
	var out []time.Time
	zone := f.From.Location()
	_, offset := f.From.Zone()
	for _, east := range []time.Duration{0, time.Duration(offset) * time.Second} {
		at := f.From.Add(east).Truncate(unit).Add(-east)
		for n := 0; n < MaxHours && (n == 0 || !at.After(f.To)); n++ {
			if east == 0 {
				out = append(out, at.UTC())
			} else {
				out = append(out, at.In(zone))
			}
			at = at.Add(unit)
		}
		if offset == 0 {
			break
		}
	}
	return out
}

func timeTexts(times []time.Time, unit time.Duration, number, layout string) []string {
	var out []string
	for _, t := range times {
		switch number {
		case "ms":
			out = append(out, strconv.FormatInt(t.UnixMilli(), 10))
		case "s":
			out = append(out, strconv.FormatInt(t.Unix(), 10))
		case "n":
			_, east := t.Zone()
			out = append(out, strconv.FormatInt((t.Unix()+int64(east))/int64(unit/time.Second), 10))
		default:
			out = append(out, t.Format(layout))
		}
	}
	return out
}
