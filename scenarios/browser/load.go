package browser

import (
	"context"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
)

// maxTexts bounds how many texts of a page are read; the lab's has fewer.
const maxTexts = 200

// load opens a page of the lab by a link from elsewhere, which opens in a normal
// tab, waits until the page is called title, and returns what it shows.
func load(ctx context.Context, act *harness.Act, address, title string) ([]string, error) {
	page, lost := ui.And(ui.ByClass("android.webkit.WebView"), ui.ByText(title)), ui.ByTextPart("net::ERR")
	var root *ui.Node
	err := act.Perform(ctx, harness.Handling{
		Words: fmt.Sprintf("Open the address %s in a normal tab of the browser, and wait until the page says of each line whether it arrived or failed", address),
		Do: func(ctx context.Context) error {
			res, err := act.Device.Shell(ctx, "am", "start", "-W", "-a", "android.intent.action.VIEW", "-d", address, "-n", mainActivity)
			if err != nil {
				return fmt.Errorf("open %s: %w", address, err)
			}
			if out := string(res.Stdout) + string(res.Stderr); res.Exit != 0 || strings.Contains(out, "Error") {
				return fmt.Errorf("open %s: %s", address, strings.TrimSpace(out))
			}
			return nil
		},
		Until: func(ctx context.Context) error {
			return act.Screen.WaitUntil(ctx, "the lab's page", func(seen *ui.Node) bool {
				root = seen
				return seen.First(page) != nil || seen.First(lost) != nil
			})
		},
	})
	if err != nil {
		return nil, fmt.Errorf("browser: load the lab's page: %w", err)
	}
	words := root.Words(maxTexts)
	if root.First(page) == nil {
		return nil, fmt.Errorf("browser: load the lab's page: the browser shows %q", strings.Join(root.Words(6), " | "))
	}
	if err := home(ctx, act); err != nil {
		return words, fmt.Errorf("browser: leave the lab's page: %w", err)
	}
	return words, nil
}
