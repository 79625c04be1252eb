package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness/canary"
)

// An inspection is what inspect was asked for.
type inspection struct {
	json     bool
	exchange string
	canaries []string
	expect   []string
	keylog   string
	keys     *dissect.KeyLog
	finder   *canary.Finder
}

func inspectCommand() *cobra.Command {
	in := &inspection{}
	cmd := &cobra.Command{
		Use:   "inspect [--json] [--canary TEXT]... [--expect HOST]... [--keylog FILE] [--exchange NUMBER] FILE...",
		Short: "Print what left, from pcap, pcapng or HAR files",
		Long: `Inspect reads captures (pcap, pcapng) and HAR files, and prints to whom something
was sent, how much, and what of it can be read. "-" reads standard input.

With --canary it searches everything that was sent for a text, in any disguise:
percent-encoded, in base64, compressed, reversed, hashed, nested in each other.
A canary is expected at the hosts named by --expect, such as the search engine.

With --keylog it reads what is inside TLS, by the secrets that a program wrote to
its SSLKEYLOGFILE. Secrets that a pcapng file carries are used without it.

With --exchange it prints one request with its layers, one inside the other, and
marks the canaries in it.

Exit status: 0; 1 when a file is damaged and was read only in part; 2 when a file
is of another format or cannot be read.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("inspect: name at least one FILE, a pcap, pcapng or HAR file")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := in.check(); err != nil {
				return err
			}
			return in.run(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&in.json, "json", false, "print one JSON object per line")
	cmd.Flags().StringVar(&in.exchange, "exchange", "", "unfold the request of this `NUMBER`")
	cmd.Flags().StringArrayVar(&in.canaries, "canary", nil, "search for `TEXT` in all that was sent (may be repeated)")
	cmd.Flags().StringArrayVar(&in.expect, "expect", nil, "canaries are expected at `HOST` and the names below it (may be repeated)")
	cmd.Flags().StringVar(&in.keylog, "keylog", "", "read TLS by the secrets in `FILE`")
	return cmd
}

// check refuses flags that would silently find nothing.
func (in *inspection) check() error {
	if in.exchange != "" && in.json {
		return errors.New("inspect: --exchange unfolds a request for people; --json prints all of them for programs")
	}
	var all []canary.Canary
	for _, text := range in.canaries {
		if len(strings.TrimSpace(text)) < canary.ShortestText {
			return fmt.Errorf("inspect: --canary %q is too short: a text of fewer than %d bytes is found by chance", text, canary.ShortestText)
		}
		all = append(all, canary.Canary{ID: text, Term: text})
	}
	for i, host := range in.expect {
		h := strings.ToLower(strings.TrimSuffix(host, "."))
		if h == "" || strings.ContainsAny(h, "/ ") {
			return fmt.Errorf("inspect: --expect %q is no host name", host)
		}
		in.expect[i] = h
	}
	if len(in.expect) > 0 && len(all) == 0 {
		return errors.New("inspect: --expect says where a canary is expected, so it needs --canary")
	}
	if len(all) > 0 {
		in.finder = canary.NewFinder(all)
	}
	if in.keylog == "" {
		return nil
	}
	f, err := os.Open(in.keylog)
	if err != nil {
		return fmt.Errorf("inspect: --keylog %s: %w", in.keylog, reason(err))
	}
	defer func() { _ = f.Close() }()
	if in.keys, err = dissect.ReadKeyLog(f); err != nil {
		return fmt.Errorf("inspect: --keylog %s: %w", in.keylog, err)
	}
	if in.keys.Len() == 0 {
		return fmt.Errorf("inspect: --keylog %s: it holds no secret yet", in.keylog)
	}
	return nil
}

// run inspects the files one by one. The status is that of the worst file.
func (in *inspection) run(ctx context.Context, files []string, stdin io.Reader, stdout, stderr io.Writer) error {
	worst := statusOK
	for i, name := range files {
		c, err := in.open(ctx, name, stdin)
		if ctx.Err() != nil {
			return fmt.Errorf("inspect %s: interrupted", name)
		}
		if err != nil {
			complain(stderr, fmt.Errorf("inspect %s: %w", name, reason(err)))
			worst = statusFailed
			if c == nil {
				continue
			}
			// What was read before the failure is worth showing.
			c.Health.Truncated, c.Damaged = true, true
			c.Health.Problems = append(c.Health.Problems, err.Error())
		}
		found := in.search(name, c)
		switch {
		case in.exchange != "":
			if err := found.unfold(stdout, in.exchange); err != nil {
				return fmt.Errorf("inspect %s: %w", name, err)
			}
		case in.json:
			err = found.lines(stdout)
		default:
			err = found.view(stdout, i > 0)
		}
		if err != nil {
			return fmt.Errorf("inspect %s: write output: %w", name, err)
		}
		if c.Damaged {
			worst = max(worst, statusFound)
		}
	}
	if worst != statusOK {
		return &statusError{status: worst}
	}
	return nil
}

// reason leaves the file's name out of an error that names it again.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func (in *inspection) open(ctx context.Context, name string, stdin io.Reader) (*dissect.Capture, error) {
	if name == "-" {
		return dissect.Open(interruptible{ctx.Err, stdin}, dissect.Options{KeyLog: in.keys})
	}
	f, err := os.Open(name) // #nosec G304 -- the file that was asked for
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return dissect.Open(interruptible{ctx.Err, f}, dissect.Options{KeyLog: in.keys})
}

// interruptible is a reader that ends when its user is interrupted.
type interruptible struct {
	stopped func() error
	r       io.Reader
}

func (i interruptible) Read(b []byte) (int, error) {
	if err := i.stopped(); err != nil {
		return 0, err
	}
	return i.r.Read(b)
}

// findings is what a file holds.
type findings struct {
	in   *inspection
	file string
	*dissect.Capture
	flows     map[string]*capture.Flow
	sightings []seen
	expected  []seen
	events    []event
	// opaque counts bytes inside readable requests that no decoder opens.
	opaque int64
}

// seen is a canary that was found.
type seen struct {
	canary.Sighting
	flow, exchange, host string
}

// An event is one report of an analytics SDK.
type event struct {
	telemetry.Event
	flow, exchange, host string
}

// search looks for canaries in everything that was sent, and for the events of
// known SDKs.
func (in *inspection) search(file string, c *dissect.Capture) *findings {
	f := &findings{in: in, file: file, Capture: c, flows: map[string]*capture.Flow{}}
	for i := range c.Flows {
		f.flows[c.Flows[i].ID] = &c.Flows[i]
	}
	for _, x := range c.Exchanges {
		parts := telemetry.Open(x, payload.Request(x))
		host := urlHost(x.URL)
		f.find(parts, host, seen{flow: x.Flow, exchange: x.ID, host: host})
		for _, e := range telemetry.Decode(x, parts) {
			f.events = append(f.events, event{e, x.Flow, x.ID, host})
		}
		for leaf := range payload.Leaves(parts) {
			if leaf.Kind == payload.KindOpaque {
				f.opaque += int64(leaf.Size)
			}
		}
	}
	for _, u := range c.Unread {
		for _, e := range telemetry.Stream(u.Data) {
			f.events = append(f.events, event{e, u.Flow, "", f.flowHost(u.Flow)})
		}
	}
	if in.finder == nil {
		return f
	}
	for _, l := range c.Lookups {
		f.find(payload.Lookup(l), l.Name, seen{flow: l.Flow, host: f.flowHost(l.Flow)})
	}
	for _, flow := range c.Flows {
		if flow.SNI == "" {
			continue
		}
		// A server name is read like a name that was looked up.
		parts := payload.Lookup(capture.Lookup{Name: flow.SNI})
		for i := range parts {
			parts[i].Where = "sni"
		}
		f.find(parts, flow.Host, seen{flow: flow.ID, host: flow.Host})
	}
	for _, g := range c.Greetings {
		host := f.flowHost(g.Flow)
		f.find([]payload.Part{{Where: "handshake", Root: payload.Peel(g.Data, "")}}, host, seen{flow: g.Flow, host: host})
	}
	for _, u := range c.Unread {
		host := f.flowHost(u.Flow)
		f.find([]payload.Part{{Where: "stream", Root: payload.Peel(u.Data, "")}}, host, seen{flow: u.Flow, host: host})
	}
	return f
}

// find searches the parts of one message. recipient is the host by which the
// sighting is expected or not.
func (f *findings) find(parts []payload.Part, recipient string, at seen) {
	if f.in.finder == nil {
		return
	}
	for _, s := range f.in.finder.Find(parts) {
		at.Sighting = s
		if s.Where == "handshake" && slices.ContainsFunc(slices.Concat(f.sightings, f.expected), func(o seen) bool {
			return o.flow == at.flow && o.Where == "sni" && o.Canary.ID == s.Canary.ID
		}) {
			continue // A handshake holds that name.
		}
		if f.in.expects(recipient) {
			f.expected = append(f.expected, at)
		} else {
			f.sightings = append(f.sightings, at)
		}
	}
}

// expects says whether a canary may be at a host: one that was named, or a name
// below it.
func (in *inspection) expects(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, e := range in.expect {
		if host == e || strings.HasSuffix(host, "."+e) {
			return true
		}
	}
	return false
}

// flowHost is the name of a flow's server, or its address.
func (f *findings) flowHost(id string) string {
	flow := f.flows[id]
	switch {
	case flow == nil:
		return ""
	case flow.Host != "":
		return flow.Host
	case flow.Server.IsValid():
		return flow.Server.Addr().String()
	}
	return ""
}

// urlHost is the host of a URL as it was sent, which need not be a valid one.
func urlHost(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	}
	_, rest, _ := strings.Cut(raw, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(rest)
}
