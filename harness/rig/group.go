package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// runGroup runs a command in a process group of its own, so that the end of ctx
// ends what it started too, and a Ctrl-C at the terminal does not reach it
// before this program has decided. The group gets SIGTERM, and what is left of
// it after grace SIGKILL.
func runGroup(cmd *exec.Cmd, grace time.Duration) error {
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	ended := false
	cmd.Cancel = func() error {
		ended = true
		err := unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		if err != nil {
			return fmt.Errorf("end process group %d: %w", cmd.Process.Pid, err)
		}
		return nil
	}
	cmd.WaitDelay = grace
	err := cmd.Run()
	if ended {
		// The number is not given to another group while anybody is left in this one.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if errors.Is(err, exec.ErrWaitDelay) && !ended {
		return nil // It ended well and left a daemon that holds its output.
	}
	return err
}
