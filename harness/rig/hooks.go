package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/offproof/offproof/devices/adb"
)

// The hooks that farm.yaml may name: commands of the bench for what neither ADB
// nor the phone can do.
const (
	// HookPower takes the power off the phone's USB port and gives it back.
	HookPower = "power"
	// HookServer starts the phone's ADB server, ending it first if it has hung.
	HookServer = "server"
	// HookFlash puts a build onto the phone.
	HookFlash = "flash"
	// HookProvision makes a phone ready after a build was put onto it.
	HookProvision = "provision"
)

// hookRules are what each hook may use, and how long it may take when farm.yaml
// gives no limit.
var hookRules = map[string]struct {
	placeholders []string
	limit        time.Duration
}{
	HookPower:     {[]string{"{serial}", "{server}", "{note}"}, time.Minute},
	HookServer:    {[]string{"{serial}", "{server}", "{note}"}, time.Minute},
	HookFlash:     {[]string{"{serial}", "{server}", "{note}", "{build}"}, 30 * time.Minute},
	HookProvision: {[]string{"{serial}", "{server}", "{note}", "{build}"}, 30 * time.Minute},
}

// placeholder is what stands for a fact in a hook's argument.
var placeholder = regexp.MustCompile(`\{[A-Za-z_]*\}`)

// A Hook is one command of the bench: a program with its arguments, no shell.
type Hook struct {
	Name    string
	Command []string
	// Limit ends the command.
	Limit time.Duration
	// Dir is the folder in which it runs, that of farm.yaml.
	Dir string
}

// HookFacts are what a hook's placeholders stand for.
type HookFacts struct{ Serial, Server, Note, Build string }

// hooks reads a table of hooks: a list of arguments each, or that list under
// command: with a limit: beside it.
func (p *parser) hooks(n *yaml.Node) map[string]Hook {
	if n.Kind == 0 {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "hooks must be a table such as {power: [uhubctl, -a, cycle, -l, 1-1, -p, \"2\"]}")
		return nil
	}
	out := map[string]Hook{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		rule, known := hookRules[name.Value]
		switch {
		case !known:
			p.fail(name, "hook %q is not known; there are %s, %s, %s and %s", name.Value, HookPower, HookServer, HookFlash, HookProvision)
			continue
		case out[name.Value].Name != "":
			p.fail(name, "hook %s is given twice", name.Value)
		}
		h := Hook{Name: name.Value, Limit: rule.limit, Dir: p.dir}
		list := value
		if value.Kind == yaml.MappingNode {
			list = p.hookTable(value, &h)
		}
		p.hookCommand(name, list, &h, rule.placeholders)
		out[h.Name] = h
	}
	return out
}

// hookTable reads {command: [...], limit: 5m} and returns the command's node.
func (p *parser) hookTable(n *yaml.Node, h *Hook) *yaml.Node {
	list := &yaml.Node{Line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "command":
			list = value
		case "limit":
			d, err := time.ParseDuration(value.Value)
			if err != nil || d <= 0 {
				p.fail(value, "limit %q of hook %s must be a time such as 5m", value.Value, h.Name)
			}
			h.Limit = d
		default:
			p.fail(key, "hook %s has no %q; write {command: [...], limit: 5m}", h.Name, key.Value)
		}
	}
	return list
}

func (p *parser) hookCommand(name, list *yaml.Node, h *Hook, allowed []string) {
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		at := name
		if list.Line > 0 {
			at = list
		}
		p.fail(at, "hook %s needs a list of a program and its arguments, such as [uhubctl, -a, cycle]; there is no shell", h.Name)
		return
	}
	for i, arg := range list.Content {
		text := p.text(arg, "an argument of hook "+h.Name)
		if strings.ContainsRune(text, 0) {
			p.fail(arg, "an argument of hook %s holds a NUL", h.Name)
		}
		for _, word := range placeholder.FindAllString(text, -1) {
			if i == 0 {
				p.fail(arg, "hook %s: the program may not be made of the placeholder %s", h.Name, word)
			}
			if !slices.Contains(allowed, word) {
				p.fail(arg, "hook %s does not know the placeholder %s; it has %s", h.Name, word, strings.Join(allowed, ", "))
			}
		}
		h.Command = append(h.Command, text)
	}
	if h.Command[0] == "" {
		p.fail(list.Content[0], "hook %s names no program", h.Name)
	}
}

// overlay is a phone's own hooks before those of the farm.
func overlay(farm, phone map[string]Hook) map[string]Hook {
	out := map[string]Hook{}
	for _, m := range []map[string]Hook{farm, phone} {
		for name, h := range m {
			out[name] = h
		}
	}
	return out
}

// A HookError says that a hook failed.
type HookError struct {
	Name    string
	Command []string // as it was run
	Output  string   // the end of what it said
	Err     error
}

func (e *HookError) Error() string {
	s := fmt.Sprintf("rig: run hook %s (%s): %v", e.Name, adb.Quote(e.Command...), e.Err)
	if e.Output != "" {
		s += ": it said: " + strings.Join(strings.Fields(e.Output), " ")
	}
	return s
}

// Unwrap returns why it failed.
func (e *HookError) Unwrap() error { return e.Err }

const (
	// hookGrace is what a hook has between SIGTERM and SIGKILL.
	hookGrace = 10 * time.Second
	// hookTail is how much of a hook's output is shown when it fails.
	hookTail = 600
	// hookLog bounds what of a hook's output is written to the log.
	hookLog = 1 << 20
)

// errHookLimit is the cause of a hook's end when its time was up.
var errHookLimit = errors.New("its time limit passed")

// Run runs the hook and returns when it has ended. Its output goes to the log,
// line by line, and the end of it into the *HookError of a failure. The command
// has a minimal environment and no input. When ctx ends, or the limit passes,
// it and what it started get SIGTERM, and SIGKILL if they do not go.
func (h Hook) Run(ctx context.Context, facts HookFacts, log *slog.Logger) error {
	replace := strings.NewReplacer("{serial}", facts.Serial, "{server}", facts.Server, "{note}", facts.Note, "{build}", facts.Build)
	args := make([]string, len(h.Command))
	for i, a := range h.Command {
		args[i] = replace.Replace(a)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.Limit, errHookLimit)
	defer cancel()
	program := args[0]
	if strings.ContainsRune(program, filepath.Separator) && !filepath.IsAbs(program) {
		program = filepath.Join(h.Dir, program)
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...) //nolint:gosec // The owner of the bench names it in farm.yaml.
	cmd.Dir, cmd.Env = h.Dir, hookEnvironment()
	out := &lineLog{log: log.With("hook", h.Name)}
	cmd.Stdout, cmd.Stderr = out, out
	log.Info("hook starts", "hook", h.Name, "command", args)
	start := time.Now()
	err := runGroup(cmd, hookGrace)
	out.flush()
	log.Info("hook ended", "hook", h.Name, "took", time.Since(start), "err", err)
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
		if errors.Is(cause, errHookLimit) {
			err = fmt.Errorf("%w (%v): %w", errHookLimit, h.Limit, err)
		}
	}
	return &HookError{Name: h.Name, Command: args, Output: out.end(), Err: err}
}

// hookEnvironment is what a command needs to find programs and its user's
// files, and nothing that could change what ADB programs talk to.
func hookEnvironment() []string {
	env := []string{"LC_ALL=C.UTF-8"}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// lineLog writes lines to a log and remembers the end.
type lineLog struct {
	log     *slog.Logger
	line    bytes.Buffer
	tail    []byte
	written int
}

// Write takes output of the command; os/exec calls it from one goroutine.
func (l *lineLog) Write(b []byte) (int, error) {
	l.tail = append(l.tail, b...)
	l.tail = l.tail[max(0, len(l.tail)-hookTail):]
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.line.Write(b)
			if l.line.Len() > 4<<10 { // A progress bar is one endless line.
				l.flush()
			}
			return n, nil
		}
		l.line.Write(b[:i])
		l.flush()
		b = b[i+1:]
	}
}

// flush logs what is left of the last line.
func (l *lineLog) flush() {
	text := strings.ToValidUTF8(strings.TrimSpace(l.line.String()), "?")
	l.line.Reset()
	if text == "" || l.written > hookLog {
		return
	}
	if l.written += len(text); l.written > hookLog {
		text = "the hook says more than is kept"
	}
	l.log.Info("hook says", "text", text)
}

func (l *lineLog) end() string {
	return strings.ToValidUTF8(strings.TrimSpace(string(l.tail)), "?")
}
