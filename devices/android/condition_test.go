package android_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/offproof/offproof/devices/android"
)

func TestParseDF(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want android.Disk
		bad  bool
	}{
		"toybox":      {text: "Filesystem      1K-blocks     Used Available Use% Mounted on\n/dev/block/dm-2  52487168 10240000  42247168  20% /data\n", want: android.Disk{Size: 52487168 << 10, Free: 42247168 << 10}},
		"long name":   {text: "Filesystem     1K-blocks  Used Available Use% Mounted on\n/dev/block/platform/soc/by-name/userdata\n                 1000   400       600  40% /data\n", want: android.Disk{Size: 1000 << 10, Free: 600 << 10}},
		"full":        {text: "Filesystem     1K-blocks  Used Available Use% Mounted on\nuserdata 1000 1000 0 100% /data\n", want: android.Disk{Size: 1000 << 10}},
		"toolbox":     {text: "Filesystem               Size     Used     Free   Blksize\n/data                   12.5G     3.1G     9.4G   4096\n", bad: true},
		"cut":         {text: "Filesystem     1K-blocks  Used Available Use% Mounted on\nuserdata 1000\n", bad: true},
		"impossible":  {text: "Filesystem 1K-blocks Used Available Use% Mounted on\nuserdata 10 0 20 0% /data\n", bad: true},
		"an error":    {text: "df: /data: Permission denied\n", bad: true},
		"nothing":     {bad: true},
		"huge number": {text: "Filesystem 1K-blocks Used Available\nx 99999999999999999999 1 1\n", bad: true},
	} {
		got, err := android.ParseDF(c.text)
		if c.bad != (err != nil) || got != c.want || err != nil && !errors.Is(err, android.ErrFormat) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

const connectivity = `NetworkFactories for: WIFI
Active default network: 100

Current Networks:
  NetworkAgentInfo{ ni{[type: WIFI[], state: CONNECTED/CONNECTED]}  network{100}  lp{{InterfaceName: wlan0 LinkAddresses: [10.0.0.2/24,] UsePrivateDns: true PrivateDnsServerName: dns.example Domains: null}}  nc{[ Transports: WIFI Capabilities: NOT_METERED&INTERNET&VALIDATED&NOT_VPN LinkUpBandwidth>=1Kbps]}  Score{60} }
    Requests: REQUEST:1
  NetworkAgentInfo{ ni{[type: VPN[]]}  network{103}  lp{{InterfaceName: tun0 LinkAddresses: []}}  nc{[ Transports: WIFI|VPN Capabilities: INTERNET&TRUSTED LinkUp]} }

Metered Interfaces:
  NetworkAgentInfo{ network{7} InterfaceName: old0 }
`

func TestParseNetworks(t *testing.T) {
	got, err := android.ParseNetworks(connectivity)
	want := []android.NetworkState{
		{ID: "100", Interface: "wlan0", Transports: []string{"WIFI"}, Validated: true, Default: true, PrivateDNS: true, PrivateDNSServer: "dns.example"},
		{ID: "103", Interface: "tun0", Transports: []string{"WIFI", "VPN"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := android.ParseNetworks("Active default network: none\n\nCurrent Networks:\n\nMetered Interfaces:\n"); err != nil || len(got) != 0 {
		t.Errorf("no network: %+v, %v", got, err)
	}
	for _, text := range []string{"", "Can't find service: connectivity\n"} {
		if got, err := android.ParseNetworks(text); !errors.Is(err, android.ErrFormat) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestStatesThatAreNotSaidAreUnknown(t *testing.T) {
	yes, no := true, false
	if got, ok := android.ParseWakefulness("  mWakefulness=Dozing\n  mWakefulnessChanging=false\n"); got != "Dozing" || !ok {
		t.Errorf("wakefulness %q", got)
	}
	if got, ok := android.ParseWakefulness("  mWakefulnessChanging=false\n"); ok {
		t.Errorf("wakefulness %q out of nothing", got)
	}
	for name, c := range map[string]struct {
		parse func(string) *bool
		text  string
		want  *bool
	}{
		"locked":             {android.ParseKeyguard, "      showing=true\n      secure=true\n", &yes},
		"unlocked":           {android.ParseKeyguard, "      showing=false\n      showingAndNotOccluded=true\n        mIsShowing=false\n", &no},
		"locked by one line": {android.ParseKeyguard, "      showing=false\n        mIsShowing=true\n", &yes},
		"keyguard not said":  {android.ParseKeyguard, "      showingAndNotOccluded=true\n", nil},
		"keyguard nonsense":  {android.ParseKeyguard, "      showing=1\n", nil},
		"bluetooth on":       {android.ParseBluetooth, "Bluetooth Status\n  enabled: true\n  state: ON\n", &yes},
		"bluetooth off":      {android.ParseBluetooth, "Bluetooth Status\n  enabled: false\n", &no},
		"bluetooth not said": {android.ParseBluetooth, "Can't find service: bluetooth_manager\n", nil},
		"nfc on":             {android.ParseNFC, "mState=on\n", &yes},
		"nfc on its way":     {android.ParseNFC, "mState=turning on\n", &yes},
		"nfc off":            {android.ParseNFC, "mState=off\n", &no},
		"no nfc":             {android.ParseNFC, "", nil},
	} {
		got := c.parse(c.text)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func FuzzCondition(f *testing.F) {
	f.Add(connectivity)
	f.Add("Filesystem 1K-blocks Used Available Use% Mounted on\nuserdata 10 0 20 0% /data\n")
	f.Add("mWakefulness=Awake\nshowing=true\nenabled: true\nmState=on\n")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := android.ParseDF(text); err == nil && d.Free > d.Size {
			t.Errorf("free %d of %d", d.Free, d.Size)
		}
		if n, err := android.ParseNetworks(text); err != nil && n != nil {
			t.Errorf("a list beside the error %v", err)
		}
		android.ParseWakefulness(text)
		android.ParseKeyguard(text)
		android.ParseBluetooth(text)
		android.ParseNFC(text)
	})
}
