package harness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/offproof/offproof/harness/canary"
)

// identifierPrefix marks canaries that are the phone's own identifiers.
const identifierPrefix = "identifier/"

// identifierReads are the ways in which a shell may read what is unique to a
// phone. IMEIs are closed to it since Android 10, but MIUI keeps copies in
// properties that some of its builds leave readable. The Bluetooth MAC and the
// advertising id stand in the settings of some builds only.
var identifierReads = []struct{ name, script string }{
	{"ANDROID_ID", "settings get secure android_id"},
	{"serial number", "getprop ro.serialno"},
	{"Wi-Fi MAC", "cat /sys/class/net/wlan0/address"},
	{"Bluetooth MAC", "settings get secure bluetooth_address"},
	{"advertising id", "settings get secure advertising_id"},
	{"IMEI", "getprop ro.ril.miui.imei0"},
	{"IMEI", "getprop ro.ril.oem.imei"},
	{"IMEI", "getprop persist.radio.imei"},
	{"IMEI", "getprop ro.ril.miui.imei1"},
	{"IMEI", "getprop ro.ril.oem.imei2"},
}

// shortestIdentifier is how long an identifier must be, in characters: shorter
// ones would be found by chance.
const shortestIdentifier = 8

// identifiers reads what is unique to this phone, so that it is searched for
// in the same disguises as a canary, each with a sham twin. What the phone does
// not tell a shell is left out: what was searched for stands in the observation.
// Names of accounts are a person's own and are not read.
func (p *Phone) identifiers(ctx context.Context) ([]canary.Canary, error) {
	var out []canary.Canary
	for _, q := range identifierReads {
		res, err := p.Device.Script(ctx, q.script)
		if err != nil {
			return nil, fmt.Errorf("harness: read %s: %w", q.name, err)
		}
		value := strings.TrimSpace(string(res.Stdout))
		c := canary.Canary{ID: identifierPrefix + q.name, Field: q.name, Term: value, Serial: p.Device.Serial()}
		if res.Exit != 0 || !tellsApart(value) || slices.ContainsFunc(out, func(d canary.Canary) bool { return strings.EqualFold(d.Term, c.Term) }) {
			continue
		}
		// A phone of two SIM cards has two IMEIs, and no property has the same one on
		// every build.
		for n := 2; slices.ContainsFunc(out, func(d canary.Canary) bool { return d.ID == c.ID }); n++ {
			c.Field = fmt.Sprintf("%s %d", q.name, n)
			c.ID = identifierPrefix + c.Field
		}
		out = append(out, c)
	}
	return withShams(out, rand.New(rand.NewPCG(p.Seed, hash(p.Device.Serial()+"shams")))), nil //nolint:gosec // A sham must be like the identifier, not secret.
}

// tellsApart says whether a value can be one phone's alone. Android answers
// 02:00:00:00:00:00 to whoever may not know a MAC (WifiInfo.DEFAULT_MAC_ADDRESS).
func tellsApart(value string) bool {
	bare := strings.Trim(value, "0:-")
	return len(value) >= shortestIdentifier && bare != "" && value != "02:00:00:00:00:00" && !strings.ContainsAny(value, " \n") &&
		value != "unknown" && value != "null"
}

// withShams puts a sham twin behind each identifier.
func withShams(ids []canary.Canary, r *rand.Rand) []canary.Canary {
	var out []canary.Canary
	for _, id := range ids {
		out = append(out, id, canary.ShamOf(r, id))
	}
	return out
}
