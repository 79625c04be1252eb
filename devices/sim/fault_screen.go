package sim

import (
	"context"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/screen"
)

// screenFaults are what goes wrong with what is seen and with the browser.
func screenFaults() map[string]fault {
	return map[string]fault{
		"screen-off": {about: "the screen goes dark", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			p.display.Key(screen.KeySleep)
			return func(context.Context) error {
				p.display.Key(screen.KeyWakeup)
				return nil
			}, nil
		}},
		"crash-browser": {about: "the browser's process dies", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.display.ForceStop(browser.Package)
			return nil
		})},
		"data-cleared": {about: "the browser's data is deleted", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.display.Clear(browser.Package)
			return nil
		})},
	}
}
