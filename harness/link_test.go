package harness_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
)

// linked is the link of a value, by the innermost field's name.
func linked(links []harness.Link, name string) *harness.Link {
	i := slices.IndexFunc(links, func(l harness.Link) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return &links[i]
}

// A value that the SDK sends in every window ties them together, whatever the
// switch says; a term that is typed does not, nor what changes.
func TestLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("9c1f4ae07b52d386", 6)
	for i, o := range w.trial.Observations {
		o.Boot = "boot-1"
		if i > 2 {
			o.Boot = "boot-2"
		}
		w.send(o.Window.Open.Add(2*time.Second), "POST", "https://sa.api.intl.miui.com/x", "application/json",
			[]byte(fmt.Sprintf(`{"oaid":"7c9e6679f3b14a0b","session":"%d2f5ae2c9b1d7e4f","n":%d,"to":"search","token":"%s%d2f5","key":"%s"}`, i, i, long, i, long)))
	}
	f := w.judge()
	oaid := linked(f.Links, "oaid")
	if oaid == nil {
		t.Fatalf("the links are %v", f.Links)
	}
	if len(oaid.Windows) != 5 || len(oaid.Boots) != 2 || !slices.Equal(oaid.Arms, []string{"on", "off"}) || oaid.Host != "sa.api.intl.miui.com" || oaid.Value != "7c9e6679f3b14a0b" {
		t.Errorf("the link is %+v", oaid)
	}
	if s := oaid.String(); !strings.Contains(s, "the same in 5 windows, across 2 positions of the switch, across 2 starts of the phone, over 1m20s") || strings.Contains(s, oaid.Value) {
		t.Errorf("it says %q", s)
	}
	if l := linked(f.Links, "distinct_id"); l == nil || len(l.Windows) != 3 || len(l.Arms) != 1 {
		t.Errorf("distinct_id is %+v", l)
	}
	if l := linked(f.Links, "key"); l == nil || len(l.Windows) != 5 || strings.HasPrefix(l.Value, long) || !strings.Contains(l.Value, "CRC32") {
		t.Errorf("a long value is %+v", l)
	}
	for _, name := range []string{"session", "token", "n", "to", "search_word", "q"} {
		if l := linked(f.Links, name); l != nil {
			t.Errorf("%s ties windows together: %+v", name, l)
		}
	}
}

// Runs are put together by place and value; what two phones send is nobody's own.
func TestMergeLinks(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	one := func(serial, mode, data string, at time.Time, values ...string) []harness.Link {
		var out []harness.Link
		for _, v := range values {
			out = append(out, harness.Link{
				Host: "h.example", Where: "body", Path: "json:/*/id", Name: "id", Value: v, Serials: []string{serial},
				Windows: []string{serial + at.String() + "1", serial + at.String() + "2"}, Modes: []string{mode}, Data: []string{data}, First: at, Last: at.Add(time.Minute),
			})
		}
		return out
	}
	got := harness.MergeLinks(
		one("A", "normal", "kept", day, "mine-1234", "everybodys"),
		one("A", "incognito", "reset", day.AddDate(0, 0, 9), "mine-1234", "everybodys"),
		one("B", "normal", "kept", day, "everybodys", "other-5678"),
	)
	says := map[string]string{}
	for _, l := range got {
		says[l.Value] = l.String()
	}
	for value, want := range map[string]string{
		"mine-1234":  "the same in 4 windows, across 2 browsing modes, across 2 states of the app's data, over 9 days",
		"everybodys": "2 phones send it, so it ties nothing to one of them",
		"other-5678": "the same in 2 windows, over 1m0s",
	} {
		if !strings.Contains(says[value], want) {
			t.Errorf("%s: %q, want %q", value, says[value], want)
		}
	}
	if len(got) != 3 {
		t.Errorf("there are %d links", len(got))
	}
}
