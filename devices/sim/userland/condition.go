package userland

import "strconv"

// A Condition is the state of a phone that no file and no setting holds: its
// battery, its radios and what people and apps did to them.
type Condition struct {
	// Battery is in percent, Temperature in tenths of a degree Celsius.
	Battery, Temperature int
	// Charging is false when no power comes over the cable.
	Charging       bool
	Bluetooth, NFC bool
	// SIM says that a SIM card is in the first slot.
	SIM bool
	// NoInternet says that the access point leads nowhere: Wi-Fi is up and the
	// check of it failed.
	NoInternet bool
	// DataSaver keeps apps in the background from the network.
	DataSaver bool
	// Dozing says that the phone sleeps because nobody used it.
	Dozing bool
	// VPN is the package of the VPN app that is up, empty for none.
	VPN string
}

// conditionAtFirst is that of a phone on a good bench.
func conditionAtFirst() Condition {
	return Condition{Battery: 93, Temperature: 287, Charging: true}
}

// Condition is the phone's condition now.
func (s *System) Condition() Condition {
	s.conditionMu.Lock()
	defer s.conditionMu.Unlock()
	return s.condition
}

// Alter changes the phone's condition, and the settings and properties that
// follow it.
func (s *System) Alter(change func(*Condition)) {
	s.conditionMu.Lock()
	defer s.conditionMu.Unlock()
	was := s.condition
	change(&s.condition)
	now := s.condition
	if was.Bluetooth != now.Bluetooth {
		s.settings.put("global", "bluetooth_on", strconv.Itoa(oneIf(now.Bluetooth)))
	}
	if was.SIM != now.SIM {
		s.setProperty("gsm.sim.state", simState(now.SIM))
	}
}

// Started says that Android's services run, some time after Boot. Until then
// adbd runs already, and every command that needs a service cannot find it.
func (s *System) Started() { s.setStarting(func() { s.starting = false }) }

// StickBoot keeps Android's services from running, or lets them run again.
func (s *System) StickBoot(stuck bool) { s.setStarting(func() { s.stuck = stuck }) }

func (s *System) setStarting(change func()) {
	s.conditionMu.Lock()
	defer s.conditionMu.Unlock()
	change()
	completed, animation := "1", "stopped"
	if s.starting || s.stuck {
		completed, animation = "", "running"
	}
	s.setProperty("sys.boot_completed", completed)
	s.setProperty("dev.bootcomplete", completed)
	s.setProperty("init.svc.bootanim", animation)
}

// service reports whether a service of Android runs, and says so when it does
// not.
func (p *proc) service(name string) bool {
	starting := p.sys.isStarting()
	if starting {
		p.errorf("cmd: Can't find service: %s\n", name)
	}
	return !starting
}

func (s *System) isStarting() bool {
	s.conditionMu.Lock()
	defer s.conditionMu.Unlock()
	return s.starting || s.stuck
}

func simState(in bool) string {
	if in {
		return "LOADED,ABSENT"
	}
	return "ABSENT,ABSENT"
}

// SetWifi switches Wi-Fi as the quick settings do.
func (s *System) SetWifi(on bool) {
	s.settings.put("global", "wifi_on", strconv.Itoa(oneIf(on)))
	s.cfg.Network.SetUp(on)
}

func (s *System) setProperty(key, value string) {
	s.propMu.Lock()
	defer s.propMu.Unlock()
	s.props[key] = value
}

// locked says whether the keyguard is in front, and whether it wants a secret.
// A screen that knows no keyguard is locked while it is off, without a secret.
func (s *System) locked() (showing, secure bool) {
	if k, ok := s.cfg.Screen.(interface{ Secure() bool }); ok {
		secure = k.Secure()
	}
	if k, ok := s.cfg.Screen.(interface{ Locked() bool }); ok {
		return k.Locked(), secure
	}
	return !s.cfg.Screen.Awake(), secure
}
