package sim

// A Truth is a phone's state, told by the phone itself.
type Truth struct {
	Serial      string            `json:"serial"`
	Personality string            `json:"personality"`
	State       string            `json:"state"` // that of the ADB server, empty when unplugged
	Focus       string            `json:"focus"` // the component in front
	Switch      bool              `json:"switch"`
	Incognito   bool              `json:"incognito"`
	NetworkUp   bool              `json:"network_up"`
	Settings    map[string]string `json:"settings"` // "namespace/key" to value
	Mounts      []string          `json:"mounts"`   // those made since boot
	Reverses    []string          `json:"reverses"`
	Processes   []string          `json:"processes"` // those that shells started: "PID command line"
	Faults      []string          `json:"faults"`    // those that have begun and not ended
}

// Truth is the phone's state now.
func (p *Phone) Truth() Truth {
	seen := p.browser.State()
	return Truth{
		Serial: p.serial, Personality: p.Personality(), State: p.State(), Focus: p.display.Focus(),
		Switch: seen.Switch, Incognito: seen.Incognito, NetworkUp: p.stack.Up(), Settings: p.Settings(),
		Mounts: p.Mounts(), Reverses: p.Reverses(), Processes: p.sys.SessionProcesses(), Faults: p.Faulty(),
	}
}
