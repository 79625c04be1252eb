package devices_test

import (
	"slices"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
)

// vital finds one vital by its name.
func vital(t *testing.T, h devices.Health, name string) devices.Vital {
	t.Helper()
	i := slices.IndexFunc(h, func(v devices.Vital) bool { return v.Name == name })
	if i < 0 {
		t.Fatalf("%s was not looked at: %v", name, h)
	}
	return h[i]
}

func TestHealthOfAllModels(t *testing.T) {
	for _, model := range []string{"redmi-note-8", "mi-10", "redmi-k20", "mi-mix-3"} {
		t.Run(model, func(t *testing.T) {
			w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Phones: []sim.PhoneConfig{{Model: model}}})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close() //nolint:errcheck // The world's end is tested elsewhere.
			d := devices.Open(w.ADB(), w.Phones()[0].Serial())
			h, err := d.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range h {
				// One model has no NFC.
				if v.Standing != devices.Fit && (v.Name != "NFC" || v.Standing != devices.Unknown) {
					t.Errorf("%s, standing %q", v, v.Standing)
				}
			}
			if err := d.ProbeInput(t.Context()); err != nil {
				t.Errorf("probe input: %v", err)
			}
		})
	}
}

func TestHealthSeesWhatIsWrong(t *testing.T) {
	_, p, d := world(t)
	well, err := d.Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) {
		t.Helper()
		if _, err := d.Output(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		hurt, mend func()
		vital      string
		want       devices.Standing
		worse      bool
	}{
		"battery saver": {
			func() { run("settings", "put", "global", "low_power", "1") },
			func() { run("settings", "put", "global", "low_power", "0") }, "battery saver", devices.Unfit, true,
		},
		"private DNS": {
			func() { run("settings", "put", "global", "private_dns_mode", "hostname") },
			func() { run("settings", "put", "global", "private_dns_mode", "off") }, "Private DNS", devices.BlindSpot, true,
		},
		// A window's own wait lets the screen go dark, so that is no change.
		"sleep":   {func() { run("input", "keyevent", "223") }, func() { run("input", "keyevent", "224") }, "screen", devices.Unfit, false},
		"no wifi": {func() { fault(t, p, "network-down") }, func() { fault(t, p, "network-up") }, "network", devices.Unfit, true},
		"a clock of yesterday": {
			func() { jump(t, p, "-24h") }, func() { jump(t, p, "24h") }, "clock", devices.Unfit, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.hurt()
			defer c.mend()
			h, err := d.Health(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			v := vital(t, h, c.vital)
			if v.Standing != c.want || v.Advice == "" {
				t.Errorf("%s, standing %q, want %q with an advice", v, v.Standing, c.want)
			}
			found := slices.ContainsFunc(h.Worse(well), func(w devices.Vital) bool { return w.Name == c.vital })
			if found != c.worse {
				t.Errorf("worse %v, want %v", found, c.worse)
			}
		})
	}
}

func fault(t *testing.T, p *sim.Phone, name string) {
	t.Helper()
	if err := p.Fault(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
}

func jump(t *testing.T, p *sim.Phone, by string) {
	t.Helper()
	if err := p.Fault(t.Context(), "clock-jump", by); err != nil {
		t.Fatal(err)
	}
}

func TestHealthOfALostPhoneIsAnError(t *testing.T) {
	_, p, d := world(t)
	fault(t, p, "unplug")
	if h, err := d.Health(t.Context()); err == nil {
		t.Errorf("a phone without a cable has a health: %v", h)
	}
}

func TestSilenceIsNoHealth(t *testing.T) {
	for _, v := range devices.Assess(nil) {
		if v.Standing == devices.Fit || v.Standing == devices.BlindSpot {
			t.Errorf("a phone that says nothing: %s, standing %q", v, v.Standing)
		}
	}
}

func TestAssessReadsTheNumbers(t *testing.T) {
	connected := func(agent string) map[string]string {
		return map[string]string{"dumpsys connectivity": "Active default network: 100\nCurrent Networks:\n" + agent + "\n", "settings list global": "wifi_on=1\n"}
	}
	const wifi = "  NetworkAgentInfo{ network{100} lp{{InterfaceName: wlan0 x}} nc{[ Transports: WIFI Capabilities: INTERNET&VALIDATED x]}}\n"
	for name, c := range map[string]struct {
		said  map[string]string
		vital string
		want  devices.Standing
	}{
		"booting":            {map[string]string{"getprop": "[sys.boot_completed]: [0]\n"}, "start", devices.Unfit},
		"started":            {map[string]string{"getprop": "[sys.boot_completed]: [1]\n"}, "start", devices.Fit},
		"empty battery":      {map[string]string{"dumpsys battery": "  level: 19\n  scale: 100\n"}, "battery", devices.Unfit},
		"battery":            {map[string]string{"dumpsys battery": "  level: 20\n  scale: 100\n"}, "battery", devices.Fit},
		"hot":                {map[string]string{"dumpsys battery": "  temperature: 450\n"}, "temperature", devices.Unfit},
		"warm":               {map[string]string{"dumpsys battery": "  temperature: 449\n"}, "temperature", devices.Fit},
		"full":               {map[string]string{"df -k /data": "Filesystem 1K-blocks Used Available Use% Mounted on\nd 1000000 999000 1000 99% /data\n"}, "storage", devices.Unfit},
		"locked":             {map[string]string{"dumpsys window policy": "      showing=true\n"}, "lock screen", devices.Unfit},
		"unvalidated":        {connected("  NetworkAgentInfo{ network{100} lp{{InterfaceName: wlan0 x}} nc{[ Transports: WIFI Capabilities: INTERNET x]}}"), "network", devices.BlindSpot},
		"no default":         {connected("  NetworkAgentInfo{ network{7} nc{[ Transports: WIFI Capabilities: VALIDATED x]}}"), "network", devices.Unfit},
		"a tunnel":           {connected(wifi + "  NetworkAgentInfo{ network{101} lp{{InterfaceName: tun0 x}} nc{[ Transports: WIFI|VPN Capabilities: INTERNET x]}}"), "VPN", devices.Unfit},
		"mobile data":        {connected(wifi + "  NetworkAgentInfo{ network{101} lp{{InterfaceName: rmnet_data0 x}} nc{[ Transports: CELLULAR Capabilities: INTERNET x]}}"), "mobile data", devices.BlindSpot},
		"Wi-Fi alone":        {connected(wifi), "network", devices.Fit},
		"private DNS in use": {connected("  NetworkAgentInfo{ network{100} lp{{InterfaceName: wlan0 UsePrivateDns: true x}} nc{[ Transports: WIFI Capabilities: VALIDATED x]}}"), "Private DNS", devices.BlindSpot},
		"bluetooth":          {map[string]string{"dumpsys bluetooth_manager": "  enabled: true\n"}, "Bluetooth", devices.BlindSpot},
		"nfc":                {map[string]string{"dumpsys nfc": "mState=on\n"}, "NFC", devices.BlindSpot},
	} {
		if v := vital(t, devices.Assess(c.said), c.vital); v.Standing != c.want {
			t.Errorf("%s: %s, standing %q, want %q", name, v, v.Standing, c.want)
		}
	}
}

func TestHealthBegunInTimeEnds(t *testing.T) {
	_, p, d := world(t)
	if err := p.Fault(t.Context(), "offline", ""); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := d.Health(t.Context())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("an offline phone has a health")
		}
	case <-time.After(time.Minute):
		t.Error("the look at an offline phone does not end")
	}
}
