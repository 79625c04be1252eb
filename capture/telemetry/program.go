package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The bounds of a Program.
const (
	// ProgramTimeout ends a program that sets no limit of its own.
	ProgramTimeout = 10 * time.Second
	// MaxProgramOutput is how many bytes a program may answer, and MaxProgramEvents
	// how many events.
	MaxProgramOutput = 8 << 20
	MaxProgramEvents = maxRecords
)

// A Program is a Decoder outside offproof. It gets Sealed.Document on its
// standard input, and in its environment OFFPROOF_SDK, OFFPROOF_TYPE and
// OFFPROOF_URL. It answers on its standard output with events, as one JSON array
// or one object after another:
//
//	{"name": "search", "type": "track", "time": "2020-05-01T02:26:41Z",
//	 "properties": {}, "identifiers": {"oaid": "..."}, "consent": {}, "app": "com.x", "project": ""}
//
// name or properties must be there; time is RFC 3339, or milliseconds since
// 1970, by the phone's clock. No answer and exit status 0 mean that it does not
// know the bytes. What it reads counts as shown, what it was given still counts
// as opaque: a program cannot vouch for silence.
type Program struct {
	// Label goes into evidence.
	Label string
	// Command is the program and its arguments, run without a shell.
	Command []string
	// Timeout ends it, ProgramTimeout when zero.
	Timeout time.Duration
}

// Name is the program's label.
func (p Program) Name() string { return p.Label }

var errSays = errors.New("it says")

// Decode runs the program.
func (p Program) Decode(ctx context.Context, s Sealed) (Opened, error) {
	if len(p.Command) == 0 {
		return Opened{}, fmt.Errorf("telemetry program: start %s: it has no command", p.Label)
	}
	limit := p.Timeout
	if limit <= 0 {
		limit = ProgramTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Command[0], p.Command[1:]...) //nolint:gosec // The person at the bench names the program.
	cmd.Stdin = bytes.NewReader(s.Document)
	// What has no end would make the program fail to start.
	const longest = 4096
	address := s.URL
	if len(address) > longest {
		address = address[:longest]
	}
	cmd.Env = os.Environ()
	for _, v := range []string{"OFFPROOF_SDK=" + s.SDK, "OFFPROOF_TYPE=" + s.Type, "OFFPROOF_URL=" + address} {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(v, "\x00", ""))
	}
	out, said := &bounded{most: MaxProgramOutput, end: cancel}, &bounded{most: longest}
	cmd.Stdout, cmd.Stderr = out, said
	// Its own children may hold the pipes when it has ended.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case out.over:
		return Opened{}, fmt.Errorf("telemetry program: read %s: it answers more than %d bytes", p.Label, MaxProgramOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return Opened{}, fmt.Errorf("telemetry program: run %s: it did not end within %v", p.Label, limit)
	case err != nil:
		if line, _, _ := strings.Cut(strings.TrimSpace(said.buffer.String()), "\n"); line != "" {
			err = fmt.Errorf("%w; %w: %s", err, errSays, line)
		}
		return Opened{}, fmt.Errorf("telemetry program: run %s: %w", p.Label, err)
	}
	events, err := ParseEvents(out.buffer.Bytes())
	if err != nil {
		return Opened{}, fmt.Errorf("telemetry program: read %s: %w", p.Label, err)
	}
	return Opened{Events: events}, nil
}

// bounded keeps the beginning of what is written to it. It does not embed the
// buffer, whose ReadFrom knows no bound.
type bounded struct {
	buffer bytes.Buffer
	most   int
	over   bool
	end    func()
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.buffer.Len()
	if len(p) <= room {
		return b.buffer.Write(p)
	}
	b.over = true
	_, _ = b.buffer.Write(p[:room])
	if b.end != nil {
		b.end()
	}
	return len(p), nil
}

// eventJSON is an event as a program writes it.
type eventJSON struct {
	SDK         string            `json:"sdk,omitempty"`
	Name        string            `json:"name"`
	Type        string            `json:"type,omitempty"`
	Time        any               `json:"time,omitempty"`
	Properties  map[string]any    `json:"properties,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"`
	Consent     map[string]string `json:"consent,omitempty"`
	App         string            `json:"app,omitempty"`
	Project     string            `json:"project,omitempty"`
}

// ParseEvents reads events as a [Program] writes them. An error means that
// nothing of it may be used.
func ParseEvents(b []byte) ([]Event, error) {
	b = bytes.TrimSpace(b)
	in := json.NewDecoder(bytes.NewReader(b))
	in.UseNumber()
	list := len(b) > 0 && b[0] == '['
	if list {
		if _, err := in.Token(); err != nil {
			return nil, fmt.Errorf("the answer is no JSON: %w", err)
		}
	}
	var events []Event
	for in.More() {
		var e eventJSON
		if err := in.Decode(&e); err != nil {
			return nil, fmt.Errorf("event %d of the answer is no JSON object of an event: %w", len(events)+1, err)
		}
		if e.Name == "" && len(e.Properties) == 0 {
			return nil, fmt.Errorf("event %d of the answer has neither name nor properties", len(events)+1)
		}
		if len(events) == MaxProgramEvents {
			return nil, fmt.Errorf("the answer has more than %d events", MaxProgramEvents)
		}
		at := millis(e.Time)
		if s, ok := e.Time.(string); ok && at.IsZero() {
			at = written(s, time.RFC3339)
		}
		if at.IsZero() && e.Time != nil {
			return nil, fmt.Errorf("event %d of the answer has a time that is neither RFC 3339 nor milliseconds since 1970", len(events)+1)
		}
		events = append(events, Event{
			SDK: e.SDK, Name: e.Name, Type: e.Type, Time: at, Properties: e.Properties, Identifiers: e.Identifiers, Consent: e.Consent,
			App: e.App, Project: e.Project,
		})
	}
	if list {
		if _, err := in.Token(); err != nil {
			return nil, fmt.Errorf("the answer breaks off: %w", err)
		}
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the answer's events")
	}
	return events, nil
}

// eventsText is what events say, so that it can be searched.
func eventsText(events []Event) ([]byte, error) {
	all := make([]eventJSON, len(events))
	for i, e := range events {
		all[i] = eventJSON{SDK: e.SDK, Name: e.Name, Type: e.Type, Properties: e.Properties, Identifiers: e.Identifiers, Consent: e.Consent, App: e.App, Project: e.Project}
	}
	return json.Marshal(all)
}
