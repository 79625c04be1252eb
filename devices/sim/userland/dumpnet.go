package userland

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// networkName is the SSID of the bench's access point.
const networkName = "lab"

// A transport is how an interface leaves the phone.
type transport struct {
	kind      string // as in "[type: WIFI[]"
	transport string // as in "Transports: WIFI"
	id, score int
	caps      []string
	bandwidth string
	extra     string
}

// transportOf says what network an interface belongs to, by its name as
// Android's drivers choose it.
func (s *System) transportOf(name string, c Condition) (transport, bool) {
	common := []string{"INTERNET", "NOT_RESTRICTED", "TRUSTED", "NOT_VPN", "VALIDATED", "NOT_ROAMING", "FOREGROUND", "NOT_CONGESTED", "NOT_SUSPENDED"}
	switch {
	case strings.HasPrefix(name, "wlan"):
		t := transport{
			kind: "WIFI[]", transport: "WIFI", id: 100, score: 60, caps: append([]string{"NOT_METERED"}, common...),
			bandwidth: "LinkUpBandwidth>=1048576Kbps LinkDnBandwidth>=1048576Kbps SignalStrength: -48", extra: `"` + networkName + `"`,
		}
		if s.cfg.Identity.Ten() {
			t.extra = ""
			t.bandwidth += ` SSID: "` + networkName + `"`
		}
		if c.NoInternet {
			t.score = 20
			t.caps = without(t.caps, "VALIDATED")
		}
		return t, true
	case strings.HasPrefix(name, "rmnet"):
		t := transport{
			kind: "MOBILE[LTE]", transport: "CELLULAR", id: 101, score: 50, caps: append([]string{"SUPL"}, common...),
			bandwidth: "LinkUpBandwidth>=51200Kbps LinkDnBandwidth>=102400Kbps Specifier: <1>", extra: "internet",
		}
		if s.wifiCarries(c) { // it is kept up behind Wi-Fi and carries nothing that does not ask for it
			t.caps = without(t.caps, "FOREGROUND")
		}
		return t, true
	case strings.HasPrefix(name, "tun"):
		return transport{
			kind: "VPN[]", transport: "WIFI|VPN", id: 103, score: 101, caps: without(append([]string{"NOT_METERED"}, common...), "NOT_VPN"),
			bandwidth: "LinkUpBandwidth>=1048576Kbps LinkDnBandwidth>=1048576Kbps Uids: <{0-99999}>",
		}, true
	}
	return transport{}, false
}

// wifiCarries says whether Wi-Fi is the default network.
func (s *System) wifiCarries(c Condition) bool {
	i, ok := s.wifi()
	return ok && i.Up && !c.NoInternet
}

func without(list []string, gone string) []string {
	var kept []string
	for _, item := range list {
		if item != gone {
			kept = append(kept, item)
		}
	}
	return kept
}

// gateway is the router of an interface: the first address of its prefix.
func gateway(i Interface) (netip.Addr, bool) {
	for _, p := range i.Prefixes {
		if p.Addr().Is4() && !p.IsSingleIP() {
			return p.Masked().Addr().Next(), true
		}
	}
	return netip.Addr{}, false
}

// linkProperties writes LinkProperties.toString of Android 9 and 10.
func (s *System) linkProperties(i Interface) string {
	ten := s.cfg.Identity.Ten()
	var addrs, routes, dns []string
	for _, p := range i.Prefixes {
		addrs = append(addrs, p.String())
		via := "0.0.0.0"
		if p.Addr().Is6() {
			via = "::"
		}
		routes = append(routes, p.Masked().String()+" -> "+via+" "+i.Name)
	}
	if gw, ok := gateway(i); strings.HasPrefix(i.Name, "tun") {
		// A VPN's routes lead into its interface, and it names its own resolvers.
		for _, p := range i.Prefixes {
			if p.Addr().Is4() {
				routes = append(routes, "0.0.0.0/0 -> 0.0.0.0 "+i.Name)
				dns = append(dns, p.Addr().Next().String())
			} else {
				routes = append(routes, "::/0 -> :: "+i.Name)
			}
		}
	} else if ok {
		routes = append(routes, "0.0.0.0/0 -> "+gw.String()+" "+i.Name)
		dns = append(dns, gw.String())
	} else {
		routes = append(routes, "0.0.0.0/0 -> 0.0.0.0 "+i.Name)
	}
	list := func(items []string) string { return "[" + strings.Join(append(items, ""), ",") + "]" }
	if ten {
		list = func(items []string) string { return "[ " + strings.Join(items, ",") + " ]" }
		for n := range dns {
			dns[n] = "/" + dns[n]
		}
	}
	private := ""
	switch mode, _ := s.settings.get("global", "private_dns_mode"); mode {
	case "hostname":
		name, _ := s.settings.get("global", "private_dns_specifier")
		private = " UsePrivateDns: true PrivateDnsServerName: " + name
	case "opportunistic":
		// It is used only where the resolver answers on its port, which is then
		// listed; the bench's does not.
	}
	proxy := ""
	if v := s.HTTPProxy(); v != "" && strings.HasPrefix(i.Name, "wlan") {
		host, port, _ := strings.Cut(v, ":")
		proxy = fmt.Sprintf(" HttpProxy: [%s] %s xl= ", host, port)
	}
	tail := " Domains: null MTU: 0 TcpBufferSizes: 524288,2097152,4194304,262144,524288,1048576"
	if ten {
		return "{{InterfaceName: " + i.Name + " LinkAddresses: " + list(addrs) + " DnsAddresses: " + list(dns) + private + tail + proxy + " Routes: " + list(routes) + "}}"
	}
	return "{{InterfaceName: " + i.Name + " LinkAddresses: " + list(addrs) + "  Routes: " + list(routes) + " DnsAddresses: " + list(dns) + private + tail + proxy + "}}"
}

func (s *System) dumpConnectivity() string {
	c := s.Condition()
	var b strings.Builder
	b.WriteString("NetworkFactories for: WIFI_UT WIFI PhoneSwitcherNetworkRequstListener Telephony Ethernet\n\n")
	var agents []string
	best, bestScore := "none", 0
	for _, i := range s.cfg.Network.Interfaces() {
		t, ok := s.transportOf(i.Name, c)
		if !ok || !i.Up {
			continue
		}
		if t.kind != "VPN[]" && t.score > bestScore { // a VPN is nobody's default network
			best, bestScore = itoa(t.id), t.score
		}
		valid := !strings.HasPrefix(i.Name, "wlan") || !c.NoInternet
		end := "clat{null} "
		if s.cfg.Identity.Ten() {
			end = "partialConnectivity{false} acceptPartialConnectivity{false} clat{mBaseIface: null, mIface: null, mState: IDLE} "
		}
		agents = append(agents, fmt.Sprintf("  NetworkAgentInfo{ ni{[type: %s, state: CONNECTED/CONNECTED, reason: (unspecified), extra: %s, failover: false, "+
			"available: true, roaming: false]}  network{%d}  nethandle{%d}  lp%s  nc{[ Transports: %s Capabilities: %s %s]}  Score{%d}  "+
			"everValidated{%t}  lastValidated{%t}  created{true} lingering{false} explicitlySelected{false} acceptUnvalidated{false} "+
			"everCaptivePortalDetected{false} lastCaptivePortalDetected{false} captivePortalValidationPending{false} %s}\n",
			t.kind, t.extra, t.id, t.id<<32|0xfacade, s.linkProperties(i), t.transport, strings.Join(t.caps, "&"), t.bandwidth, t.score, valid, valid, end))
	}
	fmt.Fprintf(&b, "Active default network: %s\n\nCurrent Networks:\n", best)
	for n, a := range agents {
		b.WriteString(a)
		fmt.Fprintf(&b, "    Requests: REQUEST:%d LISTEN:3 BACKGROUND_REQUEST:%d total:4\n"+
			"      NetworkRequest [ REQUEST id=1, [ Capabilities: INTERNET&NOT_RESTRICTED&TRUSTED&NOT_VPN] ]\n    Lingered:\n\n", 1-min(n, 1), min(n, 1))
	}
	b.WriteString("Metered Interfaces:\n\nNetwork Requests:\n" +
		"  uid/pid:1000/1387 NetworkRequest [ REQUEST id=1, [ Capabilities: INTERNET&NOT_RESTRICTED&TRUSTED&NOT_VPN] ]\n\n" +
		"mLegacyTypeTracker:\n  Supported types: 0 1 2 3 4 5 7 9 10 11 12 13 14 15 17\n\nTethering:\n  Configuration:\n    tetherableUsbRegexs: [rndis\\d]\n")
	return b.String()
}

func (s *System) dumpWifi() string {
	for _, i := range s.cfg.Network.Interfaces() {
		if i.Name != "wlan0" {
			continue
		}
		state, supplicant, ssid := "enabled", "COMPLETED", networkName
		if !i.Up {
			state, supplicant, ssid = "disabled", "DISCONNECTED", "<unknown ssid>"
		}
		return fmt.Sprintf("Wi-Fi is %s\nStay-awake conditions: 7\nmInIdleMode false\nmScanPending false\n"+
			"mWifiInfo SSID: %s, BSSID: 02:00:5e:10:00:01, MAC: %s, Supplicant state: %s, RSSI: -48, Link speed: 433Mbps, "+
			"Frequency: 5180MHz, Net ID: 0, Metered hint: false, score: 60\n", state, ssid, i.MAC, supplicant)
	}
	return "Wi-Fi is disabled\n"
}

// dumpBluetooth is dumpsys bluetooth_manager.
func (s *System) dumpBluetooth() string {
	id, on := s.cfg.Identity, s.Condition().Bluetooth
	state, since, tail := "OFF", "", "\nBluetooth never enabled!\n"
	address := "null"
	if i, ok := s.wifi(); ok && len(i.MAC) == 6 {
		mac := append([]byte(nil), i.MAC...)
		mac[5]++
		address = strings.ToUpper(fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]))
	}
	if on {
		state = "ON"
		since = "  time since enabled: 00:00:41.217\n"
		tail = "\nEnable log:\n  " + s.Now().UTC().Add(-41*time.Second).Format("01-02 15:04:05") + "  Enabled  due to USER_SWITCH by com.android.settings\n"
	}
	return fmt.Sprintf("Bluetooth Status\n  enabled: %t\n  state: %s\n  address: %s\n  name: %s\n%s%s\nBluetooth crashed 0 times\n\n0 BLE apps registered\n\n",
		on, state, address, id.Model, since, tail)
}

// dumpNFC is dumpsys nfc; ok is false on a phone without the hardware.
func (s *System) dumpNFC() (text string, ok bool) {
	if !s.cfg.Identity.NFC {
		return "", false
	}
	state, screen := "off", "ON_UNLOCKED"
	if s.Condition().NFC {
		state = "on"
	}
	locked, _ := s.locked()
	switch {
	case !s.cfg.Screen.Awake():
		screen = "OFF_UNLOCKED"
	case locked:
		screen = "ON_LOCKED"
	}
	secure := ""
	if s.cfg.Identity.Ten() {
		secure = "mIsSecureNfcEnabled=false\n"
	}
	return "mState=" + state + "\nmIsZeroClickRequested=true\nmScreenState=" + screen + "\n" + secure +
		"mTechMask: 0\nmEnableLPD: true\nmEnableReader: false\nmEnableHostRouting: false\nmEnableP2p: false\n" +
		"mIsSendEnabled=false\nmIsReceiveEnabled=false\nmLinkState=LINK_STATE_DOWN\n", true
}

// dumpTelephony is dumpsys telephony.registry of a phone with two slots.
func (s *System) dumpTelephony() string {
	c := s.Condition()
	data := false
	for _, i := range s.cfg.Network.Interfaces() {
		data = data || strings.HasPrefix(i.Name, "rmnet") && i.Up
	}
	enabled, _ := s.settings.get("global", "mobile_data")
	var b strings.Builder
	b.WriteString("last known state:\n")
	for slot := range 2 {
		service, signal, link := "1(OUT_OF_SERVICE)", "99 0 -120 -160 -120 -1 -1 99 2147483647 2147483647 2147483647 2147483647 2147483647 gsm|lte", 0
		if slot == 0 && c.SIM {
			service, signal = "0(IN_SERVICE)", "99 0 -120 -160 -120 -1 -1 28 -93 -9 132 2147483647 2147483647 gsm|lte"
			if data {
				link = 2
			}
		}
		fmt.Fprintf(&b, "  Phone Id=%d\n    mCallState=0\n    mCallIncomingNumber=\n    mServiceState={mVoiceRegState=%[2]s, mDataRegState=%[2]s, "+
			"mChannelNumber=-1, duplexMode()=0, mCellBandwidths=[], mIsEmergencyOnly=false}\n    mVoiceActivationState= 0\n    mDataActivationState= 0\n"+
			"    mUserMobileDataState= %[3]t\n    mSignalStrength=SignalStrength: %[4]s\n    mMessageWaiting=false\n    mCallForwarding=false\n"+
			"    mDataActivity=0\n    mDataConnectionState=%[5]d\n    mCellLocation=Bundle[mParcelledData.dataSize=68]\n    mCellInfo=null\n",
			slot, service, slot == 0 && enabled == "1", signal, link)
	}
	b.WriteString("  mPreciseDataConnectionState=Data Connection state: -1, Network type: 0, APN type: null, APN: null, Link properties: null, Fail reason: 0\n" +
		"  mCarrierNetworkChangeState=false\nregistrations: count=0\n")
	return b.String()
}
