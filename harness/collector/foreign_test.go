package collector_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/offproof/offproof/harness/collector"
)

var by = collector.By{Source: "a list, 2026-11-01"}

func names(all []collector.Indicator) (out []string) {
	for _, in := range all {
		out = append(out, in.Host+in.Path)
	}
	return out
}

// left is how often each reason came up, by a word of the reason.
func left(t *testing.T, n collector.Notes, want map[string]int) {
	t.Helper()
	got := 0
	for _, l := range n.Left {
		got += l.Count
		found := false
		for word, count := range want {
			if strings.Contains(l.Why, word) {
				found = true
				if l.Count != count {
					t.Errorf("%q came up %d times, want %d", l.Why, l.Count, count)
				}
			}
		}
		if !found || l.First == "" {
			t.Errorf("left out: %+v", l)
		}
	}
	sum := 0
	for _, count := range want {
		sum += count
	}
	if got != sum || n.Taken+got < n.Read {
		t.Errorf("%d left out, want %d; %d read and %d taken: %q", got, sum, n.Read, n.Taken, n.Lines())
	}
}

func TestHosts(t *testing.T) {
	const text = "\ufeff# Title: hosts\n127.0.0.1 localhost\n::1 ip6-localhost\n0.0.0.0 0.0.0.0\n\n" +
		"0.0.0.0 tracker.example.org # a comment\n0.0.0.0 a.example.net b.example.net\nplain.example.com\nUPPER.Example.com.\n" +
		"0.0.0.0 tracker.example.org\n0.0.0.0 co.uk\n0.0.0.0 com\n0.0.0.0 github.io\n203.0.113.7\n0.0.0.0 bücher.example.com\nx..example.com\nwords that are no rule\nmy_host.example.com\n"
	all, notes, err := collector.Hosts(strings.NewReader(text), by)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"tracker.example.org", "a.example.net", "b.example.net", "plain.example.com", "upper.example.com", "xn--bcher-kva.example.com", "my_host.example.com",
	}
	if !reflect.DeepEqual(names(all), want) {
		t.Errorf("took %q, want %q", names(all), want)
	}
	left(t, notes, map[string]int{"names no host": 4, "and no name": 2, "public suffix": 3, "earlier": 1})
	if in := all[0]; in.Organisation != "example.org" || in.Purpose != collector.Collect || in.Source != by.Source || in.Reason == "" {
		t.Errorf("%+v", in)
	}
	if first := notes.Lines()[0]; !strings.Contains(first, "7 of 17 rules") || !strings.Contains(first, "hosts files") {
		t.Errorf("notes %q", notes.Lines())
	}
}

func TestFilters(t *testing.T) {
	const text = "[Adblock Plus 2.0]\n! Title: EasyPrivacy\n||tracker.example.org^\n||third.example.org^$third-party\n||both.example.org^$third-party,important\n" +
		"||path.example.org/collect^\n||path.example.org/a/b^$3p\n" +
		"||script.example.org^$script\n||page.example.org^$domain=shop.example\n||off.example.org^$badfilter\n" +
		"@@||tracker.example.org^\nexample.org##.ad\n#@#.ad\n/ads/banner\n||wild*.example.org^\n||open.example.org\n||half.example.org/x\n||com^\n||1.2.3.4^\n||tracker.example.org^\n/^https?:\\/\\/ads/\n"
	all, notes, err := collector.Filters(strings.NewReader(text), collector.By{Source: "x", Purpose: collector.Ads})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tracker.example.org", "third.example.org", "both.example.org", "path.example.org/collect", "path.example.org/a/b"}
	if !reflect.DeepEqual(names(all), want) {
		t.Errorf("took %q, want %q", names(all), want)
	}
	left(t, notes, map[string]int{"options": 3, "exception": 1, "hides parts": 2, "pattern": 5, "public suffix": 1, "and no name": 1, "earlier": 1})
	if all[0].Purpose != collector.Ads {
		t.Errorf("%+v", all[0])
	}
}

const exodusText = `{"trackers":{
 "12":{"id":12,"name":"Some | Tracker\n","network_signature":"a\\.example\\.org|\\.b\\.example\\.org|.*\\.c\\.example\\.org","categories":["Analytics"],"code_signature":"x"},
 "13":{"id":13,"name":"Advertiser","network_signature":"ads.example.com","categories":["Advertisement"]},
 "14":{"id":14,"name":"Clever","network_signature":"(a|b)[0-9]+\\.example\\.net","categories":[]},
 "15":{"id":15,"name":"None","network_signature":"","categories":[]},
 "16":{"id":16,"name":"Everything","network_signature":"\\.com"},
 "17":{"id":17,"name":"Suffix","network_signature":"co\\.uk"}
}}`

func TestExodus(t *testing.T) {
	all, notes, err := collector.Exodus(strings.NewReader(exodusText), by)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a.example.org", "b.example.org", "c.example.org", "ads.example.com"}
	if !reflect.DeepEqual(names(all), want) {
		t.Errorf("took %q, want %q", names(all), want)
	}
	if all[0].Organisation != "Some Tracker" || all[0].Purpose != collector.Collect || all[3].Purpose != collector.Ads {
		t.Errorf("%+v and %+v", all[0], all[3])
	}
	left(t, notes, map[string]int{"no list of hosts": 2, "no network signature": 1, "public suffix": 1})
	for name, text := range map[string]string{
		"a list in an object": `{"trackers":[{"name":"X","network_signature":"x\\.example\\.org"}]}`,
		"a list":              `[{"name":"X","network_signature":"x\\.example\\.org"}]`,
		"an object":           `{"1":{"name":"X","network_signature":"x\\.example\\.org"}}`,
	} {
		if all, _, err := collector.Exodus(strings.NewReader(text), by); err != nil || len(all) != 1 || all[0].Organisation != "X" {
			t.Errorf("%s: %+v, %v", name, all, err)
		}
	}
	for name, text := range map[string]string{"no JSON": "<html>", "another JSON": `{"a":1}`, "cut": exodusText[:200]} {
		if all, _, err := collector.Exodus(strings.NewReader(text), by); err == nil || len(all) != 0 {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

func TestImportTellsTheFormat(t *testing.T) {
	for text, want := range map[string]collector.Format{
		"# comment\na.example.org | - | Org | collect | why | who\n": collector.FormatOwn,
		"# comment\n0.0.0.0 a.example.org\n":                         collector.FormatHosts,
		"a.example.org\n":                                            collector.FormatHosts,
		"":                                                           collector.FormatHosts,
		"! comment\n||a.example.org^\n":                              collector.FormatFilters,
		"||a.example.org^\n":                                         collector.FormatFilters,
		"[Adblock Plus]\n||a.example.org^\n":                         collector.FormatFilters,
		exodusText:                                                   collector.FormatExodus,
		"[{\"name\":\"X\",\"network_signature\":\"a\\\\.example\\\\.org\"}]": collector.FormatExodus,
	} {
		all, notes, err := collector.Import(strings.NewReader(text), by)
		if err != nil || notes.Format != want || (len(all) == 0) != (text == "") {
			t.Errorf("%q: %+v, %v, %v", text, all, notes.Format, err)
		}
	}
	if _, _, err := collector.Import(strings.NewReader("a.example.org | - | Org | spying | why | who\n"), by); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a mistake in an own list: %v", err)
	}
	broken := errors.New("broken")
	if _, _, err := collector.Import(iotest.ErrReader(broken), by); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

func TestForeignListsAreBounded(t *testing.T) {
	all, notes, err := collector.Hosts(strings.NewReader("a.example.org\n"+strings.Repeat("x", 100_000)+"\nb.example.org\n"), by)
	if err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	left(t, notes, map[string]int{"too long": 1})
	endless := strings.NewReader(strings.Repeat("# nothing but comments\n", collector.MaxList/20))
	if _, _, err := collector.Hosts(endless, by); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("an endless list: %v", err)
	}
	for _, by := range []collector.By{{}, {Source: "x", Purpose: collector.Config}, {Source: "x", Purpose: "spying"}} {
		if _, _, err := collector.Filters(strings.NewReader("||a.example.org^\n"), by); err == nil {
			t.Errorf("%+v is accepted", by)
		}
	}
}

// A list of somebody's adds to the one that is built in; it takes nothing away.
func TestWithOnlyAdds(t *testing.T) {
	shipped := collector.Default()
	entry := func(host, path string, purpose collector.Purpose) collector.Indicator {
		return collector.Indicator{Host: host, Path: path, Organisation: "Somebody", Purpose: purpose, Reason: "why", Source: "mine"}
	}
	for name, c := range map[string]struct {
		in    collector.Indicator
		taken bool
	}{
		"a new host":                           {entry("metrics.example.org", "", collector.Collect), true},
		"a new host that is harmless":          {entry("time.example.org", "", collector.Update), true},
		"a new path of the maker's":            {entry("x.miui.com", "/update", collector.Update), true},
		"a collector called configuration":     {entry("tracking.miui.com", "/track/v4", collector.Config), false},
		"a whole collector called harmless":    {entry("sa.api.intl.miui.com", "", collector.Connectivity), false},
		"a name below one called harmless":     {entry("x.sa.api.intl.miui.com", "", collector.Config), false},
		"a path of a name below one":           {entry("x.tracking.miui.com", "/track/v4/x", collector.Consent), false},
		"a collector of which nothing is said": {entry("tracking.miui.com", "/track/v4", collector.PurposeUnknown), false},
		"below a path that reports":            {entry("x.app.adjust.com", "", collector.Config), false},
		"the same again":                       {entry("tracking.miui.com", "", collector.Collect), false},
		"a path of a collector that collects":  {entry("tracking.miui.com", "/track/v9", collector.Collect), true},
		"configuration that collects":          {entry("tracking.miui.com", "/track/key_get/x", collector.Collect), true},
		"a public suffix":                      {entry("co.uk", "", collector.Collect), false},
		"everything":                           {entry("com", "", collector.Collect), false},
		"an address":                           {entry("203.0.113.7", "", collector.Collect), false},
	} {
		list, notes := shipped.With([]collector.Indicator{c.in})
		if (notes.Taken == 1) != c.taken || len(list.Indicators()) != len(shipped.Indicators())+notes.Taken {
			t.Errorf("%s: %q", name, notes.Lines())
		}
		for _, in := range shipped.Indicators() {
			got, ok := list.Match(in.Host, in.Path)
			if !ok || got != in {
				t.Errorf("%s: %s%s is now %+v", name, in.Host, in.Path, got)
			}
		}
	}
	list, _ := shipped.With([]collector.Indicator{entry("new.tracking.miui.com", "/x", collector.Ads)})
	if in, _ := list.Match("new.tracking.miui.com", "/x"); in.Organisation != "Xiaomi" || in.Purpose != collector.Ads {
		t.Errorf("a host below the maker's is now %+v", in)
	}
}

func FuzzImport(f *testing.F) {
	f.Add("0.0.0.0 a.example.org # x\n")
	f.Add("||a.example.org/x^$third-party\n@@||b.example.org^\n")
	f.Add(exodusText)
	f.Add("a.example.org | /x | Org | config | why | who\n")
	shipped := collector.Default()
	collecting := func(l *collector.List, host, path string) bool {
		in, ok := l.Match(host, path)
		return ok && (in.Purpose == collector.Collect || in.Purpose == collector.Ads || in.Purpose == collector.Push)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, notes, err := collector.Import(strings.NewReader(text), by)
		if err == nil && notes.Taken != len(all) {
			t.Errorf("%d are taken and %d returned", notes.Taken, len(all))
		}
		list, _ := shipped.With(all)
		for _, in := range all {
			if notes.Format != collector.FormatOwn && (in.Organisation == "" || in.Reason == "" || in.Source == "" || strings.ContainsAny(in.Host+in.Path, " \n")) {
				t.Errorf("%+v lacks something", in)
			}
			for _, path := range []string{in.Path, in.Path + "/x", "/track/v4", ""} {
				if collecting(shipped, in.Host, path) && !collecting(list, in.Host, path) {
					t.Errorf("%s%s is no collector any more", in.Host, path)
				}
				if was, now := shipped.Owner(in.Host), list.Owner(in.Host); was != "" && was != now {
					t.Errorf("%s was operated by %q and is by %q", in.Host, was, now)
				}
			}
		}
		for _, line := range notes.Lines() {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("note %q is not safe to show", line)
			}
		}
	})
}

// BenchmarkMatch prints how matching does when the list has grown by a hundred
// thousand entries, against the list that is built in.
func BenchmarkMatch(b *testing.B) {
	var more []collector.Indicator
	for i := range 100_000 {
		more = append(more, collector.Indicator{Host: fmt.Sprintf("t%d.example.org", i), Organisation: "x", Purpose: collector.Collect, Reason: "x", Source: "x"})
	}
	shipped := collector.Default()
	grown, _ := shipped.With(more)
	lookUp := func(l *collector.List) time.Duration {
		begin := time.Now()
		for range 1000 {
			l.Match("a.b.tracking.intl.miui.com", "/track/v4")
			l.Match("www.shop.example", "/")
		}
		return time.Since(begin)
	}
	var small, large time.Duration
	for b.Loop() {
		small += lookUp(shipped)
		large += lookUp(grown)
	}
	b.ReportMetric(float64(large)/float64(max(1, small)), "grown/built-in")
}
