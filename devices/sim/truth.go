package sim

import (
	"fmt"
	"path"
)

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
	Firewall    []string          `json:"firewall"` // rules and chains of the packet filter
	// Grants are the runtime permissions that are granted, and the operations of
	// apps whose mode was changed.
	Grants []string `json:"grants"`
	// Apps are the installed packages that the system did not come with.
	Apps []string `json:"apps"`
	// Files are those below the folders that a shell may write to, as "path size".
	Files     []string `json:"files"`
	Processes []string `json:"processes"` // those that shells started: "PID command line"
	Faults    []string `json:"faults"`    // those that have begun and not ended
}

// Truth is the phone's state now.
func (p *Phone) Truth() Truth {
	seen := p.browser.State()
	return Truth{
		Serial: p.serial, Personality: p.Personality(), State: p.State(), Focus: p.display.Focus(),
		Switch: seen.Switch, Incognito: seen.Incognito, NetworkUp: p.stack.Up(), Settings: p.Settings(),
		Mounts: p.Mounts(), Reverses: p.Reverses(), Firewall: p.sys.Firewall(), Grants: p.sys.Grants(), Apps: p.sys.Apps(), Files: p.files(), Processes: p.sys.SessionProcesses(), Faults: p.Faulty(),
	}
}

// files lists what lies in the folders that a shell may write to.
func (p *Phone) files() []string {
	out := []string{}
	fsys := p.sys.FS()
	var list func(dir string)
	list = func(dir string) {
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			return
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if e.IsDir() {
				list(name)
				continue
			}
			out = append(out, fmt.Sprintf("%s %d", name, e.Size()))
		}
	}
	for _, dir := range []string{"/data/local/tmp", "/sdcard/"} {
		list(dir)
	}
	return out
}
