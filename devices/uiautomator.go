package devices

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// uiClass is the class that the phone's uiautomator command runs in app_process,
// which is what its process is called once it has started.
const uiClass = "com.android.commands.uiautomator."

// processScript prints the command line of every process that may be an
// uiautomator: "PID ARG ARG ...". The brackets keep the script from finding
// itself.
const processScript = `for f in $(grep -l 'uiautomato[r]' /proc/[0-9]*/cmdline 2>/dev/null); do p=${f#/proc/}; echo "${p%/cmdline} $(tr '\0' ' ' <$f 2>/dev/null)"; done`

// endLimit is how long a process may take to go after a signal.
const endLimit = 3 * time.Second

// EndUIAutomator ends every process of the phone's uiautomator command, and no
// other program's: first politely, then by SIGKILL, and looks whether they are
// gone. It returns the process ids. None is no error.
func (d *Device) EndUIAutomator(ctx context.Context) (ended []int, err error) {
	for _, signal := range []string{"TERM", "KILL"} {
		pids, err := d.uiautomators(ctx)
		if err != nil {
			return ended, fmt.Errorf("devices: phone %s: end uiautomator: %w", d.serial, err)
		}
		if len(pids) == 0 {
			return ended, nil
		}
		for _, pid := range pids {
			if !slices.Contains(ended, pid) {
				ended = append(ended, pid)
			}
			// The number may be another process's by now: then the name has changed.
			script := fmt.Sprintf("case \"$(tr '\\0' ' ' </proc/%d/cmdline)\" in *uiautomator*) kill -%s %d;; esac", pid, signal, pid)
			// Whether it could be signalled shows in whether it is gone.
			if _, err := d.Script(ctx, script); err != nil {
				return ended, fmt.Errorf("devices: phone %s: end uiautomator: %w", d.serial, err)
			}
		}
		if err := d.uiautomatorGone(ctx); err == nil {
			return ended, nil
		} else if ctx.Err() != nil {
			return ended, fmt.Errorf("devices: phone %s: end uiautomator: %w", d.serial, err)
		}
	}
	left, err := d.uiautomators(ctx)
	if err != nil {
		return ended, fmt.Errorf("devices: phone %s: end uiautomator: %w", d.serial, err)
	}
	if len(left) > 0 {
		return ended, fmt.Errorf("devices: phone %s: end uiautomator: process %v lives on after SIGKILL: restart the phone", d.serial, left)
	}
	return ended, nil
}

// uiautomatorGone waits a while for the processes to go.
func (d *Device) uiautomatorGone(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	for {
		pids, err := d.uiautomators(short)
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := pause(short, retryPause); err != nil {
			return err
		}
	}
}

func (d *Device) uiautomators(ctx context.Context) ([]int, error) {
	result, err := d.Script(ctx, processScript)
	if err != nil {
		return nil, err
	}
	return parseUIAutomators(string(result.Stdout)), nil
}

// parseUIAutomators reads what processScript prints. Programs of others that
// have the word in their names, such as test servers, are left alone.
func parseUIAutomators(text string) []int {
	var pids []int
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		pid, err := strconv.ParseUint(words[0], 10, 31)
		if err != nil || pid < 2 {
			continue
		}
		args := words[1:]
		if isScript := path.Base(args[0]) == "sh" && len(args) > 1; isScript {
			args = args[1:]
		}
		if path.Base(args[0]) == "uiautomator" || slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, uiClass) }) {
			pids = append(pids, int(pid))
		}
	}
	return pids
}
