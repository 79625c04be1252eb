package devices

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

const (
	// guardBeat lies between two signs of life; guardPatience is how long the phone
	// waits for one. A phone on a cable notices at once that its host is gone.
	guardBeat     = 5 * time.Second
	guardPatience = time.Minute
	// guardLooks is how often the phone looks, a second apart, whether the proxy is
	// set: a command that sets it may land after its host is gone.
	guardLooks = 5
	guardReady = "guarding"
	guardEnd   = "end"
	// guardLimit bounds the wait for the guard's first and last word.
	guardLimit = 20 * time.Second
)

// A ProxyGuard is a process on the phone that takes the phone's proxy away when
// its host is gone: a program that was killed, a host without power or a cable
// that was pulled leave a phone that still reaches the network. It ends with the
// phone's own restart, and then only the next lease puts the setting right.
type ProxyGuard struct {
	stream *Stream
	input  *io.PipeWriter
	once   sync.Once
	err    error
}

// guardScript waits for signs of life and removes the proxy when they stop. SIGHUP
// is what adbd sends to a command whose host has gone.
func guardScript(value string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "trap '' HUP INT PIPE TERM\necho %s\nexec >/dev/null 2>&1\n", guardReady)
	fmt.Fprintf(&b, "while read -t %d word; do [ \"$word\" = %s ] && exit 0; done\n", int(guardPatience.Seconds()), guardEnd)
	fmt.Fprintf(&b, "n=0\nwhile [ $n -lt %d ]; do\n", guardLooks)
	fmt.Fprintf(&b, "if [ \"$(settings get global %s)\" = %s ]; then\n", proxyKey, adb.Quote(value))
	fmt.Fprintf(&b, "settings put global %s %s; settings delete global %[1]s\n", proxyKey, noProxy)
	for _, key := range proxyCompanions() {
		fmt.Fprintf(&b, "settings delete global %s\n", key)
	}
	b.WriteString("fi\nn=$((n+1)); sleep 1\ndone\n")
	return b.String()
}

// GuardProxy starts a guard against a proxy, host:port, and returns when it
// stands. It must be started before the proxy is set, and closed after the proxy
// was undone.
func (d *Device) GuardProxy(ctx context.Context, value string) (*ProxyGuard, error) {
	input, feed := io.Pipe()
	stream, err := d.client.StreamInput(context.WithoutCancel(ctx), d.serial, guardScript(value), input)
	if err != nil {
		return nil, fmt.Errorf("devices: phone %s: guard the proxy: %w", d.serial, err)
	}
	g := &ProxyGuard{stream: stream, input: feed}
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	late := time.AfterFunc(guardLimit, func() { _ = stream.Close() })
	word, err := bufio.NewReader(io.LimitReader(stream.Stdout, 1<<10)).ReadString('\n')
	if late.Stop(); !stop() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil || strings.TrimSpace(word) != guardReady {
		_ = feed.Close()
		return nil, errors.Join(fmt.Errorf("devices: phone %s: guard the proxy: it says %q, not that it guards", d.serial, strings.TrimSpace(word)), err, stream.Close())
	}
	go g.beat()
	return g, nil
}

// beat tells the guard that its host lives, until either has ended.
func (g *ProxyGuard) beat() {
	t := time.NewTicker(guardBeat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if _, err := io.WriteString(g.input, "alive\n"); err != nil {
				return
			}
		case <-g.stream.Done():
			return
		}
	}
}

// Abandon ends the connection to the guard without letting it go: it does its
// work. It may be called again, and after Close it does nothing.
func (g *ProxyGuard) Abandon() {
	g.once.Do(func() {
		g.err = g.stream.Close()
		_ = g.input.Close()
	})
}

// Close lets the guard go. The proxy must have been undone before: the guard does
// not look at it any more. It may be called again.
func (g *ProxyGuard) Close() error {
	g.once.Do(func() {
		wrote := make(chan error, 1)
		go func() {
			_, err := io.WriteString(g.input, guardEnd+"\n")
			wrote <- err
		}()
		late := time.AfterFunc(guardLimit, func() { _ = g.stream.Close() })
		<-g.stream.Done()
		late.Stop()
		_ = g.input.Close()
		<-wrote
		_, g.err = g.stream.Wait()
		g.err = errors.Join(g.err, g.stream.Close())
	})
	return g.err
}
