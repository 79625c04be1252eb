package pcapdroid

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

const (
	// chunkLen is how much of the phone's file is read at one time.
	chunkLen = 4 << 20
	// hasty is how often the file is read while a beacon is waited for.
	hasty = 150 * time.Millisecond
	gone  = "no-file"
)

// A session is one recording by the app.
type session struct {
	*packets.Recorder
	b      *Backend
	o      Options
	name   string // of the dump
	file   string // its path on the phone, empty where there is none
	mark   string // a line in the phone's log, before the start
	tunnel string

	life  context.Context //nolint:containedctx // That of the reading, which outlives Start.
	quit  context.CancelFunc
	stop  chan struct{} // closed when Stop wants the reading to end
	kick  chan struct{}
	begun bool          // somebody reads
	ended chan struct{} // closed when nobody follows the file any more

	fetching sync.Mutex // one reading of the file at a time
	over     bool       // nothing may be added to the recording; guarded by it

	mu       sync.Mutex
	offset   int64 // bytes of the dump that have arrived
	haste    int   // beacons that are waited for
	stopping bool
	forced   bool // the app was killed, which loses what it held back
	failed   bool // Start did
	passed   *int64
	least    int64  // packets are missing at least, at some time
	most     *int64 // and were at most, at some time since the start
	missed   *int64 // what that comes to, nil before it is known
	captured *int64 // by the app's own count
	release  func() error
}

var _ capture.Tunnel = (*session)(nil)

// Tunnel is the interface of PCAPdroid's VPN.
func (s *session) Tunnel() string { return s.tunnel }

// Via is PCAPdroid's package.
func (s *session) Via() string { return Package }

func newSession(b *Backend, rec *packets.Recorder) *session {
	id := strings.ToLower(rand.Text())[:16]
	s := &session{
		Recorder: rec, b: b, o: b.o, name: "offproof-" + id + ".pcap", mark: "record-" + id,
		stop: make(chan struct{}), kick: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if b.o.Isolated {
		close(s.ended)
	} else {
		s.file = folder + "/" + s.name
	}
	return s
}

// begin starts to read what the app writes.
func (s *session) begin(ctx context.Context) error {
	s.life, s.quit = context.WithCancel(context.WithoutCancel(ctx))
	if s.file != "" {
		s.begun = true
		go func() {
			defer close(s.ended)
			s.follow()
		}()
		return nil
	}
	addr, release, err := s.b.phone.Forward(ctx, s.o.Port)
	if err != nil {
		return fmt.Errorf("pcapdroid: start: reach its server: %w", err)
	}
	s.release = release
	// Only the head of the answer is bounded: its body lasts as long as the session.
	hurry := time.AfterFunc(s.o.ReadyWait, s.quit)
	cancel := context.AfterFunc(ctx, s.quit)
	body, err := dial(s.life, "http://"+addr+"/"+s.name)
	if !hurry.Stop() || !cancel() {
		err = errors.Join(err, context.Cause(s.life))
	}
	if err != nil {
		if body != nil {
			_ = body.Close() // It is not read.
		}
		return fmt.Errorf("%w: its server: %w", ErrNotReady, err)
	}
	s.begun = true
	go s.receive(body)
	return nil
}

// dial asks the app's server for the dump.
func dial(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// No proxy of the host's, and nothing that outlives the answer.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // It says nothing that is needed.
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	return res.Body, nil
}

// receive moves what the server sends to where it belongs, until it ends.
func (s *session) receive(body io.ReadCloser) {
	buf := make([]byte, 64<<10)
	var end error
	for end == nil {
		var n int
		n, end = body.Read(buf)
		if n > 0 {
			s.mu.Lock()
			s.offset += int64(n)
			s.mu.Unlock()
			if !s.Take(buf[:n]) {
				break
			}
		}
	}
	_ = body.Close() // Nothing more is read.
	broken := !errors.Is(end, io.EOF)
	if !broken {
		s.reckon(s.life)
	}
	how := s.how()
	how.Lost = how.Lost || broken
	switch {
	case how.Early:
		how.Doubt = "its server ended the stream: " + s.whyEnded()
	case broken && end != nil:
		how.Doubt = fmt.Sprintf("the stream of its server broke off: %v", end)
	}
	s.End(how)
}

// follow reads the phone's file as it grows, until the recording ends.
func (s *session) follow() {
	var away time.Time // since when the phone does not answer
	for {
		s.mu.Lock()
		every := s.o.PollEvery
		if s.haste > 0 {
			every = min(every, hasty)
		}
		s.mu.Unlock()
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-s.kick:
		case <-s.stop:
			timer.Stop()
			return // Stop reads on, and ends it.
		}
		timer.Stop()
		up, more, err := s.fetch(s.life)
		for more && err == nil {
			up, more, err = s.fetch(s.life)
		}
		var damage *damageError
		switch {
		case errors.As(err, &damage):
			s.finish(true, "")
			return
		case err != nil && away.IsZero():
			away = time.Now()
		case err != nil && time.Since(away) > s.o.LostWait:
			s.finish(true, fmt.Sprintf("the phone was away for %v: %v", s.o.LostWait, err))
			return
		case err == nil:
			away = time.Time{}
			if !up {
				if s.settle(s.life) == nil {
					s.reckon(s.life)
				}
				s.finish(true, s.whyEnded())
				return
			}
		}
	}
}

// A damageError says that the dump cannot be followed further.
type damageError struct{}

func (*damageError) Error() string { return "pcapdroid: the dump cannot be followed" }

// fetch reads what is new in the phone's file, and looks at the tunnel before.
// up says whether that is there; more that there is probably more to read.
func (s *session) fetch(ctx context.Context) (up, more bool, err error) {
	s.fetching.Lock()
	defer s.fetching.Unlock()
	if s.over {
		return true, false, nil
	}
	s.mu.Lock()
	at := s.offset
	s.mu.Unlock()
	script := "{ " + stateScript + "; [ -e " + s.file + " ] || echo " + gone + "; } >&2; tail -c +" + strconv.FormatInt(at+1, 10) + " " + s.file +
		" 2>/dev/null | head -c " + strconv.Itoa(chunkLen)
	out, words, _, err := s.b.phone.Run(ctx, script)
	if err != nil {
		return true, false, fmt.Errorf("pcapdroid: read the dump: %w", err)
	}
	now, whole := parseState(string(words))
	if !whole {
		return true, false, fmt.Errorf("pcapdroid: read the dump: the phone says %s", packets.Excerpt(words))
	}
	up = now.tunnel == s.tunnel
	s.mu.Lock()
	if up && now.passed != nil {
		s.passed = now.passed
	}
	s.offset += int64(len(out))
	s.mu.Unlock()
	if len(out) > 0 && !s.Take(out) {
		return up, false, &damageError{}
	}
	if at > 0 && len(out) == 0 && strings.Contains(string(words), gone) {
		s.Doubt("its dump %s has gone from the phone: somebody removed it", s.file)
		return up, false, &damageError{}
	}
	return up, len(out) >= chunkLen, nil
}

// look reads how many packets have passed the tunnel, nil where that cannot be
// read.
func (s *session) look(ctx context.Context) *int64 {
	now, err := s.b.state(ctx)
	if err != nil || now.tunnel == "" || now.tunnel != s.tunnel {
		return nil
	}
	return now.passed
}

// compare notes how many of the packets that had passed the tunnel have not
// arrived, now that all of them would have: at least so many are missing.
func (s *session) compare(passed *int64) {
	if passed == nil {
		return
	}
	arrived := s.Records()
	s.mu.Lock()
	least := max(s.least, *passed-arrived)
	s.least = least
	if s.most == nil { // Nobody knows what was missing from the beginning.
		s.mu.Unlock()
		return
	}
	n := max(0, least-*s.most)
	first := n > 0 && (s.missed == nil || *s.missed == 0)
	s.missed = &n
	s.mu.Unlock()
	if first {
		s.Doubt("there are gaps that the app does not count: its dump lacks packets that passed the tunnel, at least %d", n)
	}
}

// bound notes how many packets can be missing at most. None that is missing ever
// comes, so at no earlier time were there more: what the kernel sent into the
// tunnel on its own before the app listened is no hole in what follows.
func (s *session) bound(ctx context.Context) {
	arrived := s.Records()
	passed := s.look(ctx)
	if passed == nil {
		return
	}
	n := max(0, *passed-arrived)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed = passed
	if s.most == nil || n < *s.most {
		s.most = &n
	}
}

// Beacon asks for a name that holds the nonce and returns when the question has
// come back in the packets. All that passed the tunnel before must then have
// arrived too.
func (s *session) Beacon(ctx context.Context, nonce string) (capture.Beacon, error) {
	passed := s.look(ctx)
	s.hurry(1)
	defer s.hurry(-1)
	b, err := s.Recorder.Beacon(ctx, nonce)
	if err == nil {
		s.bound(ctx)
		s.compare(passed)
	}
	return b, err
}

// hurry has the file read more often while somebody waits.
func (s *session) hurry(by int) {
	s.mu.Lock()
	s.haste += by
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Read fetches what has been written and returns everything recorded so far.
func (s *session) Read(ctx context.Context) (capture.Trace, error) {
	var fetchErr error
	select {
	case <-s.Done():
	default:
		for more := s.file != ""; more && fetchErr == nil; {
			_, more, fetchErr = s.fetch(ctx)
		}
	}
	trace, err := s.Recorder.Read(ctx)
	trace.Tunnel = s.tunnel
	return trace, errors.Join(err, fetchErr)
}

// whyEnded says what is known of an end that nobody here asked for.
func (s *session) whyEnded() string {
	const advice = "let it run in the background without battery limits, and leave it alone"
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), s.o.StopWait)
	defer cancel()
	now, err := s.b.state(ctx)
	switch {
	case err != nil:
		return "the phone does not answer"
	case len(now.others) > 0:
		return "PCAPdroid's VPN ended, and another app's is up on " + strings.Join(now.others, ", ") + ": end that, Android allows one only"
	}
	return "PCAPdroid's VPN ended by itself, by another app or by hand: " + advice
}
