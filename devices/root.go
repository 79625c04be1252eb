package devices

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

// rootLimit bounds the question whether a script can be run as root: a
// superuser app may show a dialog on the phone and wait for a person.
const rootLimit = 15 * time.Second

// A NotRootError says that nothing gives the shell root on the phone.
type NotRootError struct{ Serial, Text string }

func (e *NotRootError) Error() string {
	return fmt.Sprintf("devices: phone %s: root is needed: run `adb root`, or allow the shell in the superuser app: %s", e.Serial, e.Text)
}

// AsRoot wraps a script so that the phone runs it as root: unchanged where the
// shell is root already, else by su in one of its two dialects. A phone without
// root is a *NotRootError.
func (d *Device) AsRoot(ctx context.Context, script string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, rootLimit)
	defer cancel()
	var said []string
	for _, wrap := range []func(string) string{
		func(s string) string { return s },
		func(s string) string { return adb.Quote("su", "-c", s) },
		func(s string) string { return adb.Quote("su", "0", "sh", "-c", s) },
	} {
		result, err := d.Script(ctx, wrap("id -u"))
		if err != nil {
			return "", err
		}
		if result.Exit == 0 && strings.TrimSpace(string(result.Stdout)) == "0" {
			return wrap(script), nil
		}
		if text := excerpt(result); text != "" {
			said = append(said, text)
		}
	}
	return "", &NotRootError{Serial: d.serial, Text: strings.Join(said, "; ")}
}
