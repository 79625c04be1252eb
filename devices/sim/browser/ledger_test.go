package browser_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/web"
)

// What the world must have received after one search.
const (
	nothing  = "nothing"
	events   = "search page_load_event_start page_load_event_finish"
	begun    = "search page_load_event_start"
	sealed   = "sealed"
	leaf     = "leaf"
	unlisted = "unlisted"
	handed   = "by the other app: " + events
	byIPv6   = "past the proxy: HTTP/2.0"
	byQUIC   = "past the proxy: HTTP/3.0"
	byDoH    = "past the proxy: a question"
	byPush   = "past the proxy: port 5222"
)

// The truth about every built-in personality: on in a normal tab, on in
// incognito, off in a normal tab, off in incognito.
var truths = map[string][4]string{
	"honest":           {events, events, nothing, nothing},
	"deaf":             {events, events, events, events},
	"incognito-leak":   {events, events, nothing, events},
	"as-shipped-2020":  {events, events, events, nothing},
	"silent":           {nothing, nothing, nothing, nothing},
	"encrypted-leaf":   {events, events, leaf, leaf},
	"unlisted":         {events, events, unlisted, unlisted},
	"springs-back":     {events, events, events, events},
	"sdk42":            {events, events, sealed, sealed},
	"page-never-loads": {begun, begun, nothing, nothing},
	"pinned":           {events, events, events, events},
	"slow":             {events, events, events, events},
	"delegate":         {events, events, handed, handed},
	"past-ipv6":        {events, events, byIPv6, byIPv6},
	"past-quic":        {events, events, byQUIC, byQUIC},
	"past-doh":         {events, events, byDoH, byDoH},
	"past-xmpush":      {events, events, byPush, byPush},
}

const words = "valo merik"

func TestEachPersonalityTellsExactlyWhatItShould(t *testing.T) {
	for _, personality := range browser.All() {
		truth, ok := truths[personality.Name]
		if !ok {
			t.Errorf("%s: the test knows no truth about it", personality.Name)
			continue
		}
		if personality.Summary == "" {
			t.Errorf("%s has no summary", personality.Name)
		}
		for i, want := range truth {
			on, private := i < 2, i%2 == 1
			t.Run(fmt.Sprintf("%s/on=%v/incognito=%v", personality.Name, on, private), func(t *testing.T) {
				t.Parallel()
				check(t, personality, on, private, want)
			})
		}
	}
	if len(truths) != len(browser.All()) {
		t.Errorf("the test knows %d personalities, there are %d", len(truths), len(browser.All()))
	}
}

func check(t *testing.T, personality browser.Personality, on, private bool, want string) {
	p := someone(t, personality)
	p.begin()
	p.engine("DuckDuckGo")
	p.set(on)
	if private {
		p.incognito()
	}
	p.enter(words)
	p.rest()

	lost := personality.Load != nil
	seen := map[string]int{}
	for _, e := range p.internet.Ledger().Entries() {
		switch {
		case strings.HasSuffix(e.Host, "duckduckgo.com"):
			seen["engine"]++
			if e.URL == "https://duckduckgo.com/?t=xiaomi&q=valo+merik" {
				seen["results"]++
			}
		case e.Host == web.Sensors && strings.HasPrefix(e.RequestURI, "/config/Android.conf"):
			seen["config"]++
		case e.Host == web.Sensors && strings.HasPrefix(e.RequestURI, "/sa?project=global_browser&r=GB"):
			seen["upload"]++
		case e.Host == "api.collect.data.intl.miui.com":
			seen["leaf"]++
			checkLeaf(t, e)
		case e.Host == web.Tracking && strings.Contains(string(e.Body), words) && e.Remote.Addr().Is6():
			seen["past the proxy: "+e.Proto]++
		case e.Host == web.Resolver && strings.Contains(string(e.Body), "\x04valo\x05merik\x01q\x04miui\x03com\x00"):
			seen[byDoH]++
		case e.Host == web.Unlisted:
			seen["unlisted"]++
			checkUnlisted(t, e)
		default:
			t.Errorf("unexpected request: %s %s", e.Method, e.URL)
		}
	}
	counts := map[string]int{"engine": seen["engine"], "results": 1, "config": 1}
	if personality.Mute {
		delete(counts, "config")
	}
	if lost {
		delete(counts, "results")
		if seen["engine"] != 0 {
			t.Errorf("a page that never loads was asked for %d times", seen["engine"])
		}
	} else if seen["engine"] < 5 {
		t.Errorf("the engine got %d requests, want the page and what it refers to", seen["engine"])
	}

	var names []string
	opaque := 0
	for _, u := range p.events.Uploads() {
		if u.Opaque {
			opaque++
		}
		for _, e := range u.Events {
			names = append(names, e.Event)
			checkEvent(t, p, e)
		}
	}
	handedOver := p.stack.UIDCounters()[p.browser.DelegateUID()].TxBytes > 0
	switch want {
	case nothing:
		want = ""
	case sealed:
		want = ""
		if opaque == 0 {
			t.Error("no sealed upload")
		}
		counts["upload"] = opaque
	case leaf:
		want, counts["leaf"] = "", 1
	case unlisted:
		want, counts["unlisted"] = "", 1
	case byIPv6, byQUIC, byDoH:
		want, counts[want] = "", 1
	case byPush:
		want, counts[byPush] = "", 1
		for _, c := range p.internet.Ledger().Connections() {
			if c.Host == web.PushChannel && c.Port == 5222 {
				seen[byPush]++
			}
		}
	case handed:
		want = events
		if !handedOver {
			t.Error("the other app sent nothing")
		}
		counts["config"] = 2 // its module's too
		handedOver = false
	}
	if handedOver {
		t.Error("the other app sent something")
	}
	if want != "" {
		counts["upload"] = len(p.events.Uploads())
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("the collector received %q, want %q", got, want)
	}
	for _, name := range []string{"results", "config", "upload", "leaf", "unlisted", byIPv6, byQUIC, byDoH, byPush} {
		if seen[name] != counts[name] {
			t.Errorf("%d requests of kind %q, want %d", seen[name], name, counts[name])
		}
	}
	if r := p.events.Rejected(); len(r) > 0 {
		t.Errorf("the collector rejected: %v", r)
	}
	if lost {
		p.see(byID("error_retry"))
	}
}

func checkEvent(t *testing.T, p *person, e web.Event) {
	t.Helper()
	for name, want := range map[string]any{
		"$model": "Redmi Note 8", "$os_version": "9", "$manufacturer": "Xiaomi", "miui_region": "GB",
		"miui_version": "V11.0.8.0.PCOMIXM", "$app_version": p.browser.Version(), "uuid": e.DistinctID,
	} {
		if e.Properties[name] != want {
			t.Errorf("%s: %s is %v, want %v", e.Event, name, e.Properties[name], want)
		}
	}
	if id, ok := e.Properties["$device_id"].(string); !ok || len(id) != 16 {
		t.Errorf("%s: $device_id is %v", e.Event, e.Properties["$device_id"])
	}
	switch e.Event {
	case "search":
		for name, want := range map[string]string{
			"search_word": words, "used_searchengine": "duckduckgo", "search_method": "enter", "search_position": "homepage",
		} {
			if e.Properties[name] != want {
				t.Errorf("search: %s is %v, want %q", name, e.Properties[name], want)
			}
		}
	case "page_load_event_start", "page_load_event_finish":
		if want := "https://duckduckgo.com/?t=xiaomi&q=valo+merik"; e.Properties["url"] != want {
			t.Errorf("%s: url is %v, want %q", e.Event, e.Properties["url"], want)
		}
	default:
		t.Errorf("unknown event %q", e.Event)
	}
}

func checkLeaf(t *testing.T, e internet.Entry) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(e.Body, &body); err != nil {
		t.Fatalf("the report is no JSON: %v", err)
	}
	token, _ := body["token"].(string)
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(raw) < 64 {
		t.Errorf("token is %q", token)
	}
	if strings.Contains(string(raw), words) || strings.Contains(string(e.Body), words) {
		t.Error("the report holds the words in the clear")
	}
}

func checkUnlisted(t *testing.T, e internet.Entry) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(e.Body))
	if err != nil || len(raw) < 2 || raw[0] != 0x1f || raw[1] != 0x8b {
		t.Errorf("the body is no gzip in base64: %q", e.Body)
	}
}

func TestOthersCanWriteAPersonality(t *testing.T) {
	liar := browser.Personality{
		Name: "liar",
		Report: func(act browser.Act, s browser.State) []browser.Upload {
			if s.Switch || act.Kind != browser.ActSearch {
				return nil
			}
			return []browser.Upload{{Request: &browser.Request{
				Method: "PUT", URL: "https://" + web.Unlisted + "/x/" + act.Phone.AndroidID, Body: []byte(act.Words),
			}}}
		},
	}
	p := someone(t, liar, func(c *browser.Config) { c.Identity.AndroidID = "9f3c1d2e4b5a6978" })
	p.begin()
	p.enter(words)
	p.set(false)
	p.enter("other words")
	p.rest()
	var got []string
	for _, e := range p.internet.Ledger().Entries() {
		if e.Host == web.Unlisted {
			got = append(got, e.Method+" "+e.RequestURI+" "+string(e.Body))
		}
	}
	if want := []string{"PUT /x/9f3c1d2e4b5a6978 other words"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOnlyItemsOfTheFeedThatWereInViewAreReported(t *testing.T) {
	deaf, _ := browser.Find("deaf")
	var feed []browser.FeedItem
	for i := range 12 {
		feed = append(feed, browser.FeedItem{Title: fmt.Sprintf("News %d", i), Source: "Paper", URL: fmt.Sprintf("https://www.pages.example/%d", i)})
	}
	p := someone(t, deaf, func(c *browser.Config) { c.Feed = feed })
	p.begin()
	viewed := map[string]bool{}
	note := func() {
		p.look().find(func(n *node) bool {
			if strings.HasPrefix(n.Text, "News ") {
				viewed[n.Text] = true
			}
			return false
		})
	}
	note()
	p.display.Swipe(540, 1800, 540, 1300, 0)
	note()
	if len(viewed) == 0 || len(viewed) == len(feed) {
		t.Fatalf("%d of %d items are in view: the test shows nothing", len(viewed), len(feed))
	}
	p.rest()
	var reported int
	for _, u := range p.events.Uploads() {
		for _, e := range u.Events {
			title, _ := e.Properties["title"].(string)
			if e.Event != "newsfeed_item_view" || !viewed[title] {
				t.Errorf("reported %s of %q, which was not in view", e.Event, title)
			}
			reported++
		}
	}
	// An item whose card is in view by its edge only shows no title.
	if reported < len(viewed) || reported > len(viewed)+2 {
		t.Errorf("%d items reported, %d viewed", reported, len(viewed))
	}
	p.display.Key(screen.KeyHome)
}
