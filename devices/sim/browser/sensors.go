package browser

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	crand "crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf16"
)

const (
	collectorHost = "sa.api.intl.miui.com"
	project       = "global_browser"

	// The module's habits: it sends after this time or at this many events, so
	// many at once, and forgets the oldest when it cannot send.
	flushEvery = 15 * time.Second
	flushCount = 100
	perPost    = 50
	maxQueued  = 5000

	// It asks for its configuration so many times, so far apart.
	configTries = 3
	configRetry = 30 * time.Second

	sdkVersion = "3.2.10"
	sdkAgent   = "SensorsAnalytics Android SDK"
)

// A module is the Sensors module inside an app: a queue on disk and a loop
// that empties it.
type module struct {
	cfg      *Config
	uid      int
	identity Identity
	first    time.Time
	wake     chan struct{}
	// running keeps a new process from sending what a dying one still sends.
	running chan struct{}

	mu         sync.Mutex
	queue      []queued
	configured bool // a configuration came, or none will
	disabled   bool
}

type queued struct {
	Event
	track  uint32
	sealed bool
}

func newModule(cfg *Config, uid int, id Identity) *module {
	return &module{cfg: cfg, uid: uid, identity: id, first: cfg.Now(), wake: make(chan struct{}, 1), running: make(chan struct{}, 1)}
}

// add puts an event into the queue.
func (m *module) add(e Event, sealed bool) {
	m.mu.Lock()
	if len(m.queue) >= maxQueued {
		m.queue = m.queue[1:]
	}
	m.queue = append(m.queue, queued{e, rand.Uint32(), sealed})
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default: // the loop has yet to look
	}
}

func (m *module) pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue)
}

// run is the module's life in a process.
func (m *module) run(ctx context.Context) {
	select {
	case m.running <- struct{}{}:
		defer func() { <-m.running }()
	case <-ctx.Done():
		return
	}
	c := newClient(m.cfg, m.uid, nil)
	defer c.close()
	if !m.configure(ctx, c) {
		// Events do not wait for the configuration that did not come.
		var again sync.WaitGroup
		defer again.Wait()
		again.Go(func() {
			for range configTries - 1 {
				if !pause(ctx, time.Duration(float64(configRetry)*m.cfg.Pace)) || m.configure(ctx, c) {
					return
				}
			}
			m.configuredAs(nil)
		})
	}
	every := m.cfg.Personality.FlushEvery
	if every <= 0 {
		every = flushEvery
	}
	every = time.Duration(float64(every) * m.cfg.Pace)
	timer := time.NewTimer(every)
	defer timer.Stop()
	armed := true
	for {
		switch n := m.pending(); {
		case n >= flushCount:
			// An error leaves the rest to the timer, which must not be outrun by
			// a full queue that cannot be sent.
			if m.flush(ctx, c) != nil {
				timer.Reset(every)
				armed = true
				select {
				case <-timer.C:
					armed = false
				case <-ctx.Done():
					return
				}
				continue
			}
		case n > 0 && !armed:
			timer.Reset(every)
			armed = true
		}
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
			armed = false
			if err := m.flush(ctx, c); err != nil {
				m.cfg.Log.Debug("browser: events stay in the queue", "err", err)
			}
		}
	}
}

// configure asks the collector whether the module shall be off, and reports
// whether it told.
func (m *module) configure(ctx context.Context, c *client) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+collectorHost+"/config/Android.conf?project="+project, http.NoBody)
	if err != nil {
		return false
	}
	req.Header.Set("User-Agent", sdkAgent)
	res, err := c.do(req)
	if err != nil {
		m.cfg.Log.Debug("browser: fetch module configuration", "err", err)
		return false
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	if err != nil || res.StatusCode != http.StatusOK {
		m.cfg.Log.Debug("browser: read module configuration", "status", res.StatusCode, "err", err)
		return false
	}
	var conf struct {
		Disable bool `json:"disableSDK"`
		Configs struct {
			Disable bool `json:"disableSDK"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(body, &conf); err != nil {
		m.cfg.Log.Debug("browser: read module configuration", "err", err)
		return false
	}
	off := conf.Disable || conf.Configs.Disable
	m.configuredAs(&off)
	return true
}

// configuredAs ends the waiting for a configuration. Where none came, what an
// earlier one said holds.
func (m *module) configuredAs(off *bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.configured = true
	if off != nil {
		m.disabled = *off
	}
}

// flush sends the queue, and stops at the first error.
func (m *module) flush(ctx context.Context, c *client) error {
	for {
		batch := m.batch()
		if len(batch) == 0 {
			return nil
		}
		body, err := m.form(batch)
		if err != nil {
			return err
		}
		where := "https://" + collectorHost + "/sa?project=" + project + "&r=" + url.QueryEscape(m.identity.Region)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, strings.NewReader(body))
		if err != nil {
			return fmt.Errorf("sensors: make request: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("User-Agent", sdkAgent)
		res, err := c.do(req)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16))
		_ = res.Body.Close()
		switch {
		case res.StatusCode == http.StatusForbidden, res.StatusCode == http.StatusNotFound, res.StatusCode >= 500:
			return fmt.Errorf("sensors: send events: status %d", res.StatusCode)
		}
		m.drop(batch)
	}
}

// batch is the beginning of the queue as far as it has one form.
func (m *module) batch() []queued {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disabled {
		m.queue = nil
	}
	n := 0
	for n < len(m.queue) && n < perPost && m.queue[n].sealed == m.queue[0].sealed {
		n++
	}
	return append([]queued(nil), m.queue[:n]...)
}

func (m *module) drop(sent []queued) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// The queue may have lost its oldest while the batch was under way.
	for len(sent) > 0 && len(m.queue) > 0 {
		if sent[0].track == m.queue[0].track {
			m.queue = m.queue[1:]
		}
		sent = sent[1:]
	}
}

// form makes the body of a POST.
func (m *module) form(batch []queued) (string, error) {
	now := m.cfg.Now()
	var records []map[string]any
	for _, q := range batch {
		records = append(records, m.record(q, now))
	}
	plain, err := json.Marshal(records)
	if err != nil {
		return "", fmt.Errorf("sensors: encode events: %w", err)
	}
	if !batch[0].sealed {
		list := base64.StdEncoding.EncodeToString(zip(plain))
		return fmt.Sprintf("crc=%d&gzip=1&data_list=%s", javaHash(list), url.QueryEscape(list)), nil
	}
	list, err := seal(plain, now)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("crc=%d&gzip=9&data_list=%s", javaHash(list), url.QueryEscape(list)), nil
}

// record is an event with everything that the module adds.
func (m *module) record(q queued, flushed time.Time) map[string]any {
	id := m.identity
	library := map[string]any{
		"$lib": "Android", "$lib_version": sdkVersion, "$app_version": m.cfg.Personality.Version, "$lib_method": "code",
	}
	props := map[string]any{
		"$lib": "Android", "$lib_version": sdkVersion, "$os": "Android", "$os_version": id.OSVersion,
		"$manufacturer": id.Manufacturer, "$model": id.Model, "$app_version": m.cfg.Personality.Version,
		"$screen_width": 1080, "$screen_height": 2340, "$carrier": "", "$device_id": id.AndroidID, "$wifi": true,
		"$network_type": "WIFI", "$is_first_day": q.Time.Sub(m.first) < 24*time.Hour, "uuid": id.DistinctID,
		"internet_status": 1, "platform": "AndroidApp", "miui_version": id.MIUIVersion, "miui_region": id.Region,
		"system_language": id.Language,
	}
	maps.Copy(props, q.Properties)
	return map[string]any{
		"_track_id": q.track, "time": q.Time.UnixMilli(), "type": "track", "distinct_id": id.DistinctID, "lib": library,
		"event": q.Name, "properties": props, "_flush_time": flushed.UnixMilli(),
	}
}

// javaHash is String.hashCode of Java, which the module sends as a checksum.
func javaHash(s string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(unit)
	}
	return h
}

// seal encrypts events for the server alone: the key is thrown away here, and
// what stands for its encrypted form is random.
func seal(plain []byte, now time.Time) (string, error) {
	var key, iv [aes.BlockSize]byte
	var ekey [128]byte
	_, _ = crand.Read(key[:]) // never fails
	_, _ = crand.Read(iv[:])
	_, _ = crand.Read(ekey[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return "", fmt.Errorf("sensors: make cipher: %w", err)
	}
	padded := zip(plain)
	pad := aes.BlockSize - len(padded)%aes.BlockSize
	for range pad {
		padded = append(padded, byte(pad))
	}
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(padded, padded)
	list, err := json.Marshal([]any{map[string]any{
		"ekey": base64.StdEncoding.EncodeToString(ekey[:]), "pkv": 1,
		"payloads":   []string{base64.StdEncoding.EncodeToString(append(iv[:], padded...))},
		"flush_time": now.UnixMilli(),
	}})
	if err != nil {
		return "", fmt.Errorf("sensors: encode sealed events: %w", err)
	}
	return string(list), nil
}

// raw sends a request of the personality's own.
func (m *module) raw(ctx context.Context, r Request) {
	c := newClient(m.cfg, m.uid, nil)
	defer c.close()
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, strings.NewReader(string(r.Body)))
	if err != nil {
		m.cfg.Log.Warn("browser: make upload", "err", err)
		return
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", appAgent(m.identity))
	}
	if r.Way != "" {
		err := m.past(ctx, r, req)
		if err != nil {
			m.cfg.Log.Debug("browser: upload past the proxy", "err", err)
		}
		if r.Way != WayQUIC || !errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		// Where QUIC is refused its libraries take TCP, by the phone's proxy.
	}
	res, err := c.do(req)
	if err != nil {
		m.cfg.Log.Debug("browser: upload", "err", err)
		return
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	_ = res.Body.Close()
}
