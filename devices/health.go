package devices

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

// A Standing is what a look at one side of a phone's health comes to.
type Standing string

// The standings. The zero value claims nothing: the phone did not say.
const (
	Unknown Standing = ""
	Fit     Standing = "fit"
	// BlindSpot means that the phone can be used, and that something may happen
	// which the instruments do not see.
	BlindSpot Standing = "blind spot"
	// Unfit means that silence of such a phone would mean nothing.
	Unfit Standing = "unfit"
)

// A Vital is one side of a phone's health.
type Vital struct {
	// Name is what was looked at, such as "battery".
	Name string `json:"name"`
	// Standing is what it comes to.
	Standing Standing `json:"standing"`
	// Found is what the phone said, in words.
	Found string `json:"found"`
	// Advice says what a person does about it, empty where nothing is to be done.
	Advice string `json:"advice,omitempty"`
}

func (v Vital) String() string {
	s := v.Name + ": " + v.Found
	if v.Advice != "" {
		s += " (" + v.Advice + ")"
	}
	return s
}

// The names of vitals that a window's own idleness changes: a screen goes dark
// while a window is waited out.
const (
	vitalScreen = "screen"
	vitalLock   = "lock screen"
)

// A Health is every vital, in the order in which a person would look.
type Health []Vital

// Is lists the vitals of a standing.
func (h Health) Is(s Standing) []Vital {
	return slices.DeleteFunc(slices.Clone(h), func(v Vital) bool { return v.Standing != s })
}

// Worse lists what changed since an earlier look so that a window between the
// two is in doubt: what has become unfit, and what may have gone unseen for a
// part of it. The screen is left out, because it goes dark by itself.
func (h Health) Worse(before Health) []Vital {
	return slices.DeleteFunc(slices.Clone(h), func(v Vital) bool {
		if v.Name == vitalScreen || v.Name == vitalLock {
			return true
		}
		i := slices.IndexFunc(before, func(b Vital) bool { return b.Name == v.Name })
		switch v.Standing {
		case Unfit:
			return false
		case BlindSpot:
			return i >= 0 && before[i].Standing == BlindSpot
		case Unknown, Fit:
			return true
		}
		return true
	})
}

// Limits of health. They are conventions of this program, chosen so that a
// phone below them behaves otherwise than in a person's hand.
const (
	// leastCharge is in percent: Android offers its battery saver at 15 and below,
	// and the saver postpones uploads.
	leastCharge = 20
	// mostTemperature is in tenths of a degree Celsius: phones slow down about here.
	mostTemperature = 450
	// leastFree is in bytes: below it apps drop what they queue.
	leastFree = 512 << 20
	// mostOffset is how wrong a clock may be before servers' certificates look
	// invalid and uploads fail.
	mostOffset = 12 * time.Hour
)

// healthQueries are the commands whose answers tell a phone's health.
func healthQueries() [][]string {
	return [][]string{
		{"getprop"},
		{"dumpsys", "battery"},
		{"df", "-k", "/data"},
		{"dumpsys", "power"},
		{"dumpsys", "window", "policy"},
		{"dumpsys", "connectivity"},
		{"dumpsys", "bluetooth_manager"},
		{"dumpsys", "nfc"},
		{"settings", "list", "global"},
		{"cmd", "netpolicy", "get", "restrict-background"},
		{"dumpsys", "deviceidle", "get", "deep"},
		{"dumpsys", "deviceidle", "get", "light"},
		{"pm", "list", "users"},
	}
}

// Health looks at the phone: has it started, will it last, does it show its
// screen, by which networks could it speak. Nothing is changed. A question that
// the phone does not answer leaves its vital Unknown; a phone that is lost is an
// error. own are the interfaces of VPNs that are an instrument's: what leaves inside
// them is read.
func (d *Device) Health(ctx context.Context, own ...string) (Health, error) {
	said := map[string]string{}
	for _, args := range healthQueries() {
		result, err := d.Shell(ctx, args...)
		if err != nil {
			return nil, fmt.Errorf("devices: phone %s: read health: %w", d.serial, err)
		}
		if result.Exit == 0 {
			said[strings.Join(args, " ")] = string(result.Stdout)
		}
	}
	health := assess(said, own...)
	offset, uncertainty, err := d.ClockOffset(ctx)
	switch {
	case adb.Unreachable(err):
		return nil, err
	case err != nil:
		health = append(health, Vital{Name: "clock", Found: err.Error()})
	default:
		health = append(health, clockVital(offset, uncertainty))
	}
	return health, nil
}

// assess turns what a phone said, by command, into its health; own is as in
// Health.
func assess(said map[string]string, own ...string) Health {
	global := globalSettings(said["settings list global"])
	networks, err := android.ParseNetworks(said["dumpsys connectivity"])
	h := Health{
		startVital(android.Getprop(said["getprop"])),
	}
	h = append(h, batteryVitals(said["dumpsys battery"], global)...)
	h = append(h, dozeVital(said["dumpsys deviceidle get deep"], said["dumpsys deviceidle get light"]))
	h = append(h, storageVital(said["df -k /data"]))
	h = append(h, screenVitals(said["dumpsys power"], said["dumpsys window policy"])...)
	if err != nil {
		h = append(h, Vital{Name: "network", Found: "the phone does not say which networks it has"})
	} else {
		h = append(h, networkVital(networks), vpnVital(networks, own))
	}
	return append(h,
		dataSaverVital(said["cmd netpolicy get restrict-background"]),
		privateDNSVital(global, networks),
		mobileVital(global, networks),
		radioVital("Bluetooth", android.ParseBluetooth(said["dumpsys bluetooth_manager"])),
		radioVital("NFC", android.ParseNFC(said["dumpsys nfc"])),
		usersVital(said["pm list users"]),
	)
}

// globalSettings reads `settings list global`: key=value lines. It is nil when
// there are none.
func globalSettings(text string) map[string]string {
	var out map[string]string
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[key] = value
		}
	}
	return out
}

func startVital(props map[string]string) Vital {
	v := Vital{Name: "start", Standing: Unfit, Found: "Android has not finished starting", Advice: "wait until the phone shows its home screen"}
	if props["sys.boot_completed"] == "1" {
		v = Vital{Name: "start", Standing: Fit, Found: "Android has started"}
	}
	return v
}

func batteryVitals(text string, global map[string]string) []Vital {
	battery := android.ParseBattery(text)
	charge := Vital{Name: "battery", Found: "the phone does not say"}
	if percent, ok := battery.Percent(); ok {
		charge.Standing, charge.Found = Fit, fmt.Sprintf("%d %%", percent)
		if percent < leastCharge {
			charge.Standing = Unfit
			charge.Advice = fmt.Sprintf("charge it to %d %%: a phone that saves its battery postpones what it sends", leastCharge)
		}
	}
	heat := Vital{Name: "temperature", Found: "the phone does not say"}
	if t := battery.Temperature; t != nil {
		heat.Standing, heat.Found = Fit, fmt.Sprintf("%.1f °C", float64(*t)/10)
		if *t >= mostTemperature {
			heat.Standing, heat.Advice = Unfit, "let it cool: a phone that is too hot holds its work back"
		}
	}
	saver := Vital{Name: "battery saver", Found: "the phone does not say"}
	switch global["low_power"] {
	case "1":
		saver.Standing, saver.Found, saver.Advice = Unfit, "on", "turn the battery saver off: it postpones what the phone sends"
	case "0":
		saver.Standing, saver.Found = Fit, "off"
	default:
		if global != nil { // Android writes the key when the saver is first used.
			saver.Standing, saver.Found = Fit, "off"
		}
	}
	return []Vital{charge, heat, saver}
}

// dozeVital is unfit while Android keeps apps from the network because nobody
// uses the phone. Maintenance is a pause in that sleep.
func dozeVital(deep, light string) Vital {
	v := Vital{Name: "Doze", Found: "the phone does not say"}
	for _, text := range []string{deep, light} {
		state, ok := android.ParseIdle(text)
		if !ok {
			continue
		}
		if strings.HasPrefix(state, "IDLE") && state != "IDLE_PENDING" || state == "WAITING_FOR_NETWORK" {
			return Vital{
				Name: "Doze", Standing: Unfit, Found: "asleep (" + state + ")",
				Advice: "wake it and let it charge, or run `dumpsys deviceidle unforce`: a phone in Doze postpones what it sends",
			}
		}
		v.Standing, v.Found = Fit, "awake"
	}
	return v
}

func dataSaverVital(text string) Vital {
	v := Vital{Name: "Data Saver", Found: "the phone does not say"}
	if on := android.ParseDataSaver(text); on != nil {
		v.Standing, v.Found = Fit, "off"
		if *on {
			v.Standing, v.Found, v.Advice = Unfit, "on", "turn Data Saver off: it keeps apps in the background from the network"
		}
	}
	return v
}

// usersVital names who else runs apps on the phone. What they send is captured
// and counted, and may be what the person at the bench did not do.
func usersVital(text string) Vital {
	const owner = 0
	v := Vital{Name: "users", Found: "the phone does not say"}
	var others []string
	running := 0
	for id, u := range android.ParseUsers(text) {
		if !u.Running {
			continue
		}
		if running++; id != owner {
			others = append(others, fmt.Sprintf("%q (%d)", u.Name, id))
		}
	}
	if running == 0 {
		return v
	}
	if len(others) == 0 {
		v.Standing, v.Found = Fit, "the owner only"
		return v
	}
	slices.Sort(others)
	v.Standing, v.Found = BlindSpot, "others run apps too: "+strings.Join(others, ", ")
	v.Advice = "remove them, or their Dual apps: nobody at the bench sees what they do"
	return v
}

func storageVital(text string) Vital {
	disk, err := android.ParseDF(text)
	if err != nil {
		return Vital{Name: "storage", Found: "the phone does not say"}
	}
	v := Vital{Name: "storage", Standing: Fit, Found: fmt.Sprintf("%d MB free", disk.Free>>20)}
	if disk.Free < leastFree {
		v.Standing, v.Advice = Unfit, fmt.Sprintf("make room for %d MB: an app that cannot store what it queues sends less", leastFree>>20)
	}
	return v
}

func screenVitals(power, policy string) []Vital {
	screen := Vital{Name: vitalScreen, Found: "the phone does not say"}
	if state, ok := android.ParseWakefulness(power); ok {
		screen.Standing, screen.Found = Fit, strings.ToLower(state)
		if state != "Awake" {
			screen.Standing = Unfit
			screen.Advice = "wake it, and turn on \"Stay awake\" in Developer options"
		}
	}
	lock := Vital{Name: vitalLock, Found: "the phone does not say"}
	if showing := android.ParseKeyguard(policy); showing != nil {
		lock.Standing, lock.Found = Fit, "not shown"
		if *showing {
			lock.Standing, lock.Found, lock.Advice = Unfit, "shown", "unlock it, and set the screen lock to \"None\" while it is tested"
		}
	}
	return []Vital{screen, lock}
}

func networkVital(networks []android.NetworkState) Vital {
	i := slices.IndexFunc(networks, func(n android.NetworkState) bool { return n.Default })
	if i < 0 {
		return Vital{Name: "network", Standing: Unfit, Found: "none that apps could use", Advice: "join the laboratory's Wi-Fi"}
	}
	n := networks[i]
	v := Vital{Name: "network", Standing: Fit, Found: strings.Join(n.Transports, " and ") + " on " + n.Interface}
	if !n.Validated {
		v.Standing = BlindSpot
		v.Found += ", through which Android did not reach the internet"
		v.Advice = "let it reach Android's connectivity check, or say so: jobs that wait for the internet may not run"
	}
	return v
}

// vpnVital is unfit where traffic leaves inside a tunnel: what is captured
// outside of it can be read by nobody.
func vpnVital(networks []android.NetworkState, own []string) Vital {
	v := Vital{Name: "VPN", Standing: Fit, Found: "none"}
	for _, n := range networks {
		switch {
		case !slices.Contains(n.Transports, "VPN"):
		case slices.Contains(own, n.Interface):
			v.Found = "an instrument's, on " + n.Interface
		default:
			return Vital{Name: "VPN", Standing: Unfit, Found: "up, on " + n.Interface, Advice: "turn it off: what leaves inside it cannot be read"}
		}
	}
	return v
}

func privateDNSVital(global map[string]string, networks []android.NetworkState) Vital {
	v := Vital{Name: "Private DNS", Found: "the phone does not say"}
	inUse := slices.ContainsFunc(networks, func(n android.NetworkState) bool { return n.PrivateDNS })
	mode := global["private_dns_mode"]
	switch {
	case mode == "hostname":
		v.Standing, v.Found = BlindSpot, "on, by "+global["private_dns_specifier"]
	case inUse:
		v.Standing, v.Found = BlindSpot, "in use, chosen by Android"
	case global == nil:
		return v
	case mode == "off":
		v.Standing, v.Found = Fit, "off"
	default:
		v.Standing, v.Found = Fit, "automatic, not in use"
	}
	if v.Standing == BlindSpot {
		v.Advice = "turn it off: names that are looked up go unread"
	}
	return v
}

func mobileVital(global map[string]string, networks []android.NetworkState) Vital {
	for _, n := range networks {
		if slices.Contains(n.Transports, "CELLULAR") {
			return Vital{
				Name: "mobile data", Standing: BlindSpot, Found: "connected, on " + n.Interface,
				Advice: "turn it off or take the SIM out: what leaves that way is counted and not captured",
			}
		}
	}
	switch {
	case global == nil && networks == nil:
		return Vital{Name: "mobile data", Found: "the phone does not say"}
	case global["mobile_data"] == "1":
		return Vital{Name: "mobile data", Standing: Fit, Found: "allowed, not connected"}
	}
	return Vital{Name: "mobile data", Standing: Fit, Found: "not connected"}
}

func radioVital(name string, on *bool) Vital {
	switch {
	case on == nil:
		return Vital{Name: name, Found: "the phone does not say, or has none"}
	case *on:
		return Vital{Name: name, Standing: BlindSpot, Found: "on", Advice: "turn it off: what leaves by it is not seen"}
	}
	return Vital{Name: name, Standing: Fit, Found: "off"}
}

func clockVital(offset, uncertainty time.Duration) Vital {
	v := Vital{
		Name: "clock", Standing: Fit,
		Found: fmt.Sprintf("%s from this host's, give or take %s", offset.Round(time.Millisecond), max(uncertainty, time.Millisecond).Round(time.Millisecond)),
	}
	if offset.Abs() > mostOffset {
		v.Standing, v.Advice = Unfit, "set its date and time: certificates look invalid to it, so uploads fail unseen"
	}
	return v
}

// ProbeInput asks whether the phone lets ADB tap and change settings, by a key
// that means nothing and by writing a setting that it holds already. Denied is a
// *GateError. MIUI's own property may claim either.
func (d *Device) ProbeInput(ctx context.Context) error {
	const keyUnknown = "0"
	if _, err := d.Output(ctx, "input", "keyevent", keyUnknown); err != nil {
		return err
	}
	const namespace, key = "system", "screen_off_timeout"
	value, ok, err := d.Setting(ctx, namespace, key)
	if err != nil || !ok {
		return err
	}
	_, err = d.Output(ctx, "settings", "put", namespace, key, value)
	return err
}
