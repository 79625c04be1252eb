// Command offproof looks into what leaves a phone: it reads captures, and runs
// and checks the bench on which phones are observed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	statusOK = iota
	// statusFound says that the command did its work and what it looked at is
	// not in order.
	statusFound
	// statusFailed says that the command could not do its work, or was asked
	// wrongly.
	statusFailed
)

// commands are the subcommands, each in a file of its own name.
var commands = []func() *cobra.Command{
	inspectCommand,
	simCommand,
	doctorCommand,
	farmCommand,
	observeCommand,
	labCommand,
	linkCommand,
}

// A statusError ends the command with a status. Without an inner error nothing
// is printed, because the command's output has said it already.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run runs the command and returns its exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:               "offproof",
		Short:             "Says whether \"off\" means off: what leaves a phone, and to whom",
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		// An error is one line.
		DisableSuggestions: true,
	}
	for _, command := range commands {
		root.AddCommand(command())
	}
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return statusOK
	}
	var status *statusError
	if !errors.As(err, &status) {
		status = &statusError{statusFailed, err}
	}
	if status.err != nil {
		complain(stderr, status.err)
	}
	return status.status
}

// complain prints an error as one line.
func complain(stderr io.Writer, err error) {
	line := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
	_, _ = fmt.Fprintf(stderr, "offproof: %s\n", visible(line))
}

// version is what the build says about itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
