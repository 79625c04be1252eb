package userland

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

const maxLog = 4096 // lines that logcat keeps

type logLine struct {
	at         time.Time
	pid        int
	level, tag string
	text       string
}

func (l logLine) String() string {
	return fmt.Sprintf("%s %5d %5d %s %-8s: %s", l.at.UTC().Format("01-02 15:04:05.000"), l.pid, l.pid, l.level, l.tag, l.text)
}

// logBuffer is the phone's log, a ring of lines.
type logBuffer struct {
	mu      sync.Mutex
	lines   []logLine
	first   int // number of lines[0]
	changed chan struct{}
}

func newLogBuffer() *logBuffer { return &logBuffer{changed: make(chan struct{})} }

func (b *logBuffer) add(l logLine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.lines) >= maxLog {
		drop := maxLog / 8
		b.lines = append([]logLine(nil), b.lines[drop:]...)
		b.first += drop
	}
	b.lines = append(b.lines, l)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *logBuffer) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first += len(b.lines)
	b.lines = nil
}

// from returns the lines numbered n and above, the next number, and a channel
// that is closed when there are more.
func (b *logBuffer) from(n int) ([]logLine, int, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := min(max(n-b.first, 0), len(b.lines))
	return append([]logLine(nil), b.lines[i:]...), b.first + len(b.lines), b.changed
}

func (s *System) logf(level, tag string, pid int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > 4000 {
		text = text[:4000]
	}
	s.logs.add(logLine{at: s.Now(), pid: pid, level: level, tag: tag, text: text})
}

// cmdLogcat is logcat: -d dumps, -c clears, -t N the last lines, -s TAG... and
// TAG:LEVEL choose.
func cmdLogcat(_ context.Context, p *proc, args []string) int {
	dump, only := false, map[string]bool{}
	last := -1
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-d":
			dump = true
		case a == "-c":
			p.sys.logs.clear()
			return 0
		case a == "-g":
			p.printf("main: ring buffer is 256Kb (64Kb consumed), max entry is 5120b, max payload is 4068b\n")
			return 0
		case a == "-t" || a == "-T":
			dump = a == "-t" || dump
			if i++; i < len(args) {
				if n, ok := atoi(args[i]); ok {
					last = n
				}
			}
		case a == "-v" || a == "-b" || a == "-f" || a == "-r" || a == "-n" || a == "-e":
			i++
		case a == "-s":
			only["*"] = false
		case strings.HasPrefix(a, "-"):
		default:
			tag, level, _ := strings.Cut(a, ":")
			if tag == "*" {
				only["*"] = !strings.EqualFold(level, "S")
				continue
			}
			only[tag] = !strings.EqualFold(level, "S")
		}
	}
	show := func(l logLine) bool {
		if v, ok := only[l.tag]; ok {
			return v
		}
		if v, ok := only["*"]; ok {
			return v
		}
		return true
	}
	p.printf("--------- beginning of main\n")
	next := 0
	for {
		lines, n, changed := p.sys.logs.from(next)
		next = n
		if last >= 0 && len(lines) > last {
			lines = lines[len(lines)-last:]
		}
		last = -1
		for _, l := range lines {
			if !show(l) {
				continue
			}
			if _, err := fmt.Fprintln(p.out(), l); err != nil {
				return 1
			}
		}
		if dump {
			return 0
		}
		select {
		case <-changed:
		case <-p.done:
			return 1
		}
	}
}

// cmdLog is log: it writes a line to the log.
func cmdLog(_ context.Context, p *proc, args []string) int {
	level, tag := "I", "log"
	args = args[1:]
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-p":
			level = strings.ToUpper(args[1])
		case "-t":
			tag = args[1]
		default:
			p.errorf("log: unknown option %s\n", args[0])
			return 1
		}
		args = args[2:]
	}
	p.sys.logf(level, tag, p.pid, "%s", strings.Join(args, " "))
	return 0
}
