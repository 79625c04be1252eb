package android_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/android"
)

// seeds adds every text that a reader's golden files hold.
func seeds(f *testing.F, kinds ...string) {
	f.Helper()
	for _, kind := range kinds {
		for _, dir := range []string{"testdata", "testdata/foreign"} {
			files, err := filepath.Glob(filepath.Join(dir, kind+".*.txt"))
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
		}
	}
}

// What was moved by an app is the sum over networks and sets, without what is
// counted twice.
func TestNetstatsSums(t *testing.T) {
	for file, want := range map[string]string{
		"netstats.pie.txt":     "wifi 10105 tx 1060, vpn 10106 tx 6, mobile 10105 tx 8, wifi 10107 tx 10",
		"netstats.twelve.txt":  "wifi 10231 tx 2500, vpn 10231 tx 2500, mobile 10231 tx 2",
		"netstats.fifteen.txt": "wifi 10300 tx 22, vpn 10300 tx 44, mobile 10300 tx 66",
	} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		all, err := android.ParseNetstats(string(text))
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]uint64{}
		var order []string
		for _, h := range all {
			key := fmt.Sprintf("%s %d", h.Network, h.UID)
			sum, ok := h.Total()
			if !ok {
				t.Errorf("%s: %s has no sum", file, key)
			}
			if _, known := sums[key]; !known {
				order = append(order, key)
			}
			sums[key] += sum.TxBytes
		}
		var got []string
		for _, key := range order {
			got = append(got, fmt.Sprintf("%s tx %d", key, sums[key]))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s, want %s", file, strings.Join(got, ", "), want)
		}
	}
}

func FuzzUsage(f *testing.F) {
	seeds(f, "qtaguid", "uidmap", "netstats")
	f.Fuzz(func(t *testing.T, text string) {
		if rows, err := android.ParseQtaguid(text); err != nil && rows != nil {
			t.Error("rows beside an error")
		}
		if m, err := android.ParseUIDMap(text); err != nil && m != nil {
			t.Error("a map beside an error")
		}
		all, err := android.ParseNetstats(text)
		if err != nil && all != nil {
			t.Error("a history beside an error")
		}
		for _, h := range all {
			if sum, ok := h.Total(); ok {
				for _, b := range h.Buckets {
					if sum.TxBytes < b.TxBytes || sum.RxBytes < b.RxBytes {
						t.Error("a sum less than its part")
					}
				}
			}
		}
	})
}

func FuzzSchedule(f *testing.F) {
	seeds(f, "jobs", "alarms")
	f.Fuzz(func(t *testing.T, text string) {
		jobs, ok := android.ParseJobs(text)
		for _, j := range jobs {
			if !ok || j.Owner == "" || !strings.Contains(j.Service, "/") {
				t.Errorf("%+v", j)
			}
		}
		alarms, ok := android.ParseAlarms(text)
		for _, a := range alarms {
			if !ok || a.Type == "" || a.Package == "" {
				t.Errorf("%+v", a)
			}
		}
	})
}

func FuzzAppOps(f *testing.F) {
	seeds(f, "appops", "settings")
	f.Fuzz(func(t *testing.T, text string) {
		ops, ok := android.ParseAppOps(text)
		for _, o := range ops {
			if !ok || o.Op == "" || o.Mode == "" {
				t.Errorf("%+v", o)
			}
		}
		for key := range android.ParseSettings(text) {
			if key == "" || !strings.Contains(text, key) {
				t.Errorf("%q", key)
			}
		}
	})
}
