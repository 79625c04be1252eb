package userland

import "strings"

// cmdNetpolicy is cmd netpolicy, as far as Data Saver goes.
func cmdNetpolicy(p *proc, args []string) int {
	if len(args) < 2 || args[1] != "restrict-background" {
		p.printf("Network policy manager (netpolicy) commands:\n  help\n    Print this help text.\n\n  get restrict-background\n    Gets the global restrict background usage status.\n" +
			"  set restrict-background BOOLEAN\n    Sets the global restrict background usage status.\n")
		return 255
	}
	switch args[0] {
	case "get":
		status := "disabled"
		if p.sys.Condition().DataSaver {
			status = "enabled"
		}
		p.printf("Restrict background status: %s\n", status)
	case "set":
		if p.gated() {
			return p.securityException("uid 2000 does not have android.permission.CONNECTIVITY_INTERNAL", "android.app.ContextImpl.enforce(ContextImpl.java:1866)")
		}
		p.sys.Alter(func(c *Condition) { c.DataSaver = len(args) > 2 && args[2] == "true" })
	}
	return 0
}

// dumpIdle is dumpsys deviceidle, as far as its get goes.
func dumpIdle(p *proc, args []string) {
	c := p.sys.Condition()
	state := "ACTIVE"
	if c.Dozing {
		state = "IDLE"
	}
	if len(args) < 2 || args[0] != "get" {
		p.printf("  Settings:\n    light_after_inactive_to=+5m0s0ms\n    inactive_to=+30m0s0ms\n  mLightEnabled=true  mDeepEnabled=true\n  mForceIdle=false\n  mState=%[1]s mLightState=%[1]s\n", state)
		return
	}
	switch args[1] {
	case "deep", "light":
		p.printf("%s\n", state)
	case "screen":
		p.printf("%t\n", p.sys.cfg.Screen.Awake())
	case "charging":
		p.printf("%t\n", c.Charging)
	case "network":
		p.printf("%t\n", p.sys.wifiCarries(c))
	default:
		p.printf("Unknown get option: %s\n", strings.TrimSpace(args[1]))
	}
}
