//go:build !race

package faulttest_test

// A kind is one way in which a fault comes, with what it may do to a verdict.
// Whatever it says, an honest phone is never accused and a deaf one never passes.
type kind struct {
	// arg is the fault's argument.
	arg string
	// void are the phases in which it makes silence mean nothing, each with a word
	// that the reason has to hold, perhaps none.
	void map[string]string
	// clear are the phases in which it does no harm: an honest phone passes and a
	// deaf one is caught.
	clear []string
	// capture are the instruments, those of a simulated farm unless given.
	capture []string
}

// inside are the instruments of a phone whose packets are recorded in it, by a VPN
// of its own. What leaves by the wire is counted only.
func inside() []string { return []string{"pcapdroid", "proxy"} }

// moment ends a fault after a second at the simulated pace, within the window in
// which it came.
const moment = "50s"

// always voids every phase for a reason.
func always(reason string) map[string]string { return in(reason, phases()...) }

// in voids some phases for a reason.
func in(reason string, phases ...string) map[string]string {
	m := map[string]string{}
	for _, p := range phases {
		m[p] = reason
	}
	return m
}

// kinds are the kinds of every fault of the simulated phone.
func kinds() map[string][]kind {
	return map[string][]kind{
		// The cable, the ADB server and adbd.
		"reboot":         {{void: always("")}},
		"unplug":         {{void: always("")}, {arg: moment, void: always("")}},
		"flaky-cable":    {{void: always("")}, {arg: moment, void: always("")}},
		"unauthorized":   {{void: always("")}, {arg: moment, void: always("")}},
		"authorizing":    {{void: always("")}, {arg: moment, void: always("")}},
		"offline":        {{void: always("")}, {arg: moment, void: always("")}},
		"no-permissions": {{void: always("")}, {arg: moment, void: always("")}},
		"recovery":       {{void: always("")}},
		"sideload":       {{void: always("")}},
		"bootloader":     {{void: always("")}},
		"stale":          {{void: always("")}},
		"adb-down":       {{void: always("")}, {arg: moment, void: always("")}},
		"adb-restart":    {{void: always("")}},
		"slow-adb":       {{arg: "40ms", clear: phases()}, {arg: "700ms"}, {arg: "700ms," + moment}},
		"hang-shell":     {{void: always("")}, {arg: moment}},
		"lose-exit":      {{void: always("")}, {arg: moment}},
		"cut-output":     {{void: always("")}, {arg: "2000," + moment}},
		"cut-reverse":    {{void: always("")}},

		// The phone and what runs on it.
		"kill-tcpdump":   {{void: always("tcpdump")}, {arg: "INT", void: always("tcpdump")}},
		"hide-packets":   {{arg: "5222"}},
		"tcpdump-silent": {{void: always("")}, {arg: moment}},
		"drop-packets":   {{arg: "2", void: always("dropped")}, {arg: "40"}, {arg: "2," + moment}},
		"full-data":      {{void: in("", before, during, waiting)}, {arg: moment}},
		"low-battery":    {{void: always("battery")}, {arg: "4," + moment}},
		"hot-battery":    {{void: always("temperature")}, {arg: "49," + moment}},
		"battery-saver":  {{void: always("battery saver")}, {arg: moment}},
		"data-saver":     {{void: always("Data Saver")}, {arg: moment}},
		"doze":           {{void: always("Doze")}, {arg: moment}},
		"gate-closed":    {{void: in("", before, during, waiting)}, {arg: moment}},
		"no-hid":         {{clear: phases()}},
		"no-install":     {{clear: phases()}},
		"root-lost":      {{}, {arg: moment}},
		"clock-jump":     {{arg: "20s"}, {arg: "-20s"}, {arg: "25h"}, {arg: "20s," + moment}, {arg: "-20s," + moment}, {arg: "-3s," + moment}},
		"clock-drift":    {{arg: "20"}, {arg: "-20"}, {arg: "-20," + moment}},
		"ca-gone":        {{void: in("", before, during)}},
		"boot-stuck":     {{void: in("", before, during, waiting)}, {arg: moment}},

		// The networks.
		"network-down": {{void: in("", before, during, waiting)}, {arg: moment}},
		"private-dns":  {{void: always("Private DNS")}, {arg: moment}},
		"no-internet":  {{void: always("network")}, {arg: moment}},
		"bluetooth-on": {{void: always("Bluetooth")}, {arg: moment}},
		"unreachable": {
			{arg: "duckduckgo.com", void: in("", before, during)},
			{arg: "sa.api.intl.miui.com"},
			{arg: "sa.api.intl.miui.com," + moment},
		},

		// PCAPdroid, which is the phone's VPN.
		"pcapdroid-stops": {{capture: inside(), void: always("")}},
		"pcapdroid-empty": {{capture: inside(), void: always("")}, {arg: moment, capture: inside()}, {clear: phases()}},
		"pcapdroid-gap":   {{capture: inside(), void: always("")}, {arg: moment, capture: inside()}},
		"past-vpn":        {{capture: inside()}, {arg: "com.mi.globalbrowser," + moment, capture: inside()}},
		"vpn-consent":     {{clear: phases()}, {capture: inside()}},

		// The screen and the browser.
		"popup":         {{}, {arg: "update"}, {arg: "anr," + moment}},
		"lock":          {{}, {arg: moment}},
		"moving-screen": {{clear: phases()}, {arg: moment, clear: phases()}},
		"never-idle":    {{}, {arg: moment}},
		"no-window":     {{}, {arg: moment}},
		"one-node":      {{}, {arg: moment}},
		"ui-noise":      {{clear: phases()}},

		"wedge-uiautomator": {{arg: moment}},
		"screen-off":        {{}, {arg: moment}},
		"crash-browser":     {{}},
		"data-cleared":      {{}},
	}
}
