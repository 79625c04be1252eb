package browser

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
)

// Reset empties the browser's data, as a person does who wants to be forgotten:
// cookies, settings and whatever its SDKs call the phone. What is sent afterwards
// under the same name was not forgotten. It cannot be undone, and it changes the
// experiment: it is named in the scenario, before Consented, and recorded.
func Reset() harness.Step {
	return harness.Step{Name: "reset the browser's data", Quiet: true, Do: func(ctx context.Context, act *harness.Act) error {
		err := act.Perform(ctx, harness.Handling{
			Words: "Empty all of the browser's data, in the phone's settings under its apps, the browser, storage",
			Do: func(ctx context.Context) error {
				res, err := act.Device.Shell(ctx, "pm", "clear", Package)
				if err != nil {
					return err
				}
				if out := strings.TrimSpace(string(res.Stdout)); res.Exit != 0 || out != "Success" {
					return fmt.Errorf("pm clear says %q %q; MIUI allows it to the shell only with \"USB debugging (Security settings)\"", out, strings.TrimSpace(string(res.Stderr)))
				}
				return nil
			},
			Until: func(ctx context.Context) error { return act.Screen.WaitGone(ctx, ui.ByPackage(Package)) },
		})
		if err != nil {
			return fmt.Errorf("browser: reset the data: %w", err)
		}
		act.Factor(harness.FactorData, "reset at "+time.Now().UTC().Format(time.RFC3339Nano))
		return nil
	}}
}
