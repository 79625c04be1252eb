package browser

import (
	"errors"
	"net/http"
	"slices"
	"time"
)

// A Personality is how a browser build behaves: what its switch is called,
// what it does, and what the browser tells whom. A personality is a value that
// anybody can write; the built-in ones are in All.
//
// The simplest liar needs a name and Report:
//
//	liar := browser.Personality{
//		Name:   "liar",
//		Report: func(act browser.Act, s browser.State) []browser.Upload { return browser.Genuine(act) },
//	}
type Personality struct {
	// Name is a word for command lines; Summary says in one line what the
	// browser does.
	Name, Summary string

	// Version is the package's versionName; "" is DefaultVersion.
	Version string
	// Row is the switch; the zero value is that of DefaultVersion.
	Row Row
	// StartsOff is the switch's position at the first start. Collecting is the
	// default of the real builds, whose switches start in the position on.
	StartsOff bool

	// Report decides what is uploaded for an act. It is called on the UI
	// thread, must not block, and may be nil, which reports nothing.
	Report func(act Act, s State) []Upload

	// OnLeave, when set, is told the switch's position when its screen is left
	// and answers the position that is kept.
	OnLeave func(on bool) bool
	// Load, when set, is asked before a page is fetched; its error is shown
	// instead of the page.
	Load func(url string) error
	// Pins, when set, answers whether a host's certificate must come from the
	// phone's own authorities, so that no interception is accepted.
	Pins func(host string) bool
	// FlushEvery is the longest time that events wait in the Sensors queue,
	// before the pace is applied; 0 is 15 s.
	FlushEvery time.Duration
	// Mute browsers have no telemetry at all: not even its configuration is
	// fetched.
	Mute bool
}

// A Row is how the switch appears on the screen "Privacy & security".
type Row struct {
	Title string
	// On and Off are the summary in each position.
	On, Off string
}

// DefaultVersion is the version of personalities that name none.
const DefaultVersion = "12.2.6-g"

// The forms of the switch by version.
var (
	// Row2020 is the row of the first builds with a switch, 12.1.4: it reads as
	// if it protected, but in the position on statistics are sent.
	Row2020 = Row{
		Title: "Enhanced incognito mode",
		On:    "Aggregated statistics about your use are sent while you're in incognito mode",
		Off:   "Aggregated statistics won't be sent while you're in incognito mode",
	}
	// RowLater is the row of later builds.
	RowLater = Row{
		Title: "Help us improve Mi Browser",
		On:    "Turn on to share usage statistics with us when Incognito mode is on",
		Off:   "Turn on to share usage statistics with us when Incognito mode is on",
	}
)

// State is what the browser knows when an act happens.
type State struct {
	// Switch is the position of the widget: true is drawn as on.
	Switch bool
	// Incognito is true when the act happens in an incognito tab.
	Incognito bool
	// Consent is true when the first-run wall was agreed to.
	Consent bool
	// ShareLinks is the second switch, "Improve search & browsing experience".
	ShareLinks bool
}

// ActKind names what a person did or what followed from it.
type ActKind uint8

// The acts. The zero value is none.
const (
	ActNone ActKind = iota
	// ActSearch is a search entered in the bar.
	ActSearch
	// ActPageStart and ActPageFinish are a page that begins to load and one
	// that has loaded.
	ActPageStart
	ActPageFinish
	// ActFeedItem is an item of the news feed that came into view.
	ActFeedItem
)

// An Act is one thing that the browser could report.
type Act struct {
	Kind ActKind
	At   time.Time
	// URL is the page's, or the feed item's.
	URL string
	// Title is the feed item's.
	Title string
	// Words, Engine, Position and Method belong to a search: what was typed,
	// "google" or "duckduckgo", where and how it was entered.
	Words, Engine, Position, Method string
	// Phone is who would be reporting.
	Phone Identity
}

// An Upload is an event for the Sensors queue, or a request of any kind.
type Upload struct {
	// Event, when set, goes into the queue.
	Event *Event
	// Sealed sends the event in the form of SDK 4.2 and later, whose content
	// only the server can read.
	Sealed bool
	// Request, when set, is sent by itself.
	Request *Request
	// After delays a request, before the pace is applied.
	After time.Duration
	// Delegate hands the upload to another app of the phone, which sends it.
	Delegate bool
}

// An Event is an event of the Sensors module. The module adds the identifiers
// and the phone's description.
type Event struct {
	Name       string
	Time       time.Time
	Properties map[string]any
}

// A Request is a raw upload.
type Request struct {
	Method, URL string
	// Way is how it leaves the phone; empty goes by the phone's settings.
	Way    Way
	Header http.Header
	Body   []byte
}

// Identity is what the browser knows about its phone. Fields left empty are
// made up by New.
type Identity struct {
	// AndroidID is the phone's Settings.Secure value, DistinctID the module's
	// random identifier.
	AndroidID, DistinctID string
	Model                 string // such as "Redmi Note 8"
	Manufacturer          string // such as "Xiaomi"
	OSVersion             string // such as "9"
	Build                 string // such as "PKQ1.190616.001"
	MIUIVersion           string // such as "V11.0.8.0.PCOMIXM"
	Region                string // such as "GB"
	Language              string // such as "en"
}

// Genuine is what the builds of 2020 tell the Sensors collector about an act.
// The form of the feed's event is not known and is this project's own.
func Genuine(act Act) []Upload {
	e := Event{Time: act.At}
	switch act.Kind {
	case ActSearch:
		e.Name = "search"
		e.Properties = map[string]any{
			"used_searchengine": act.Engine, "search_position": act.Position,
			"search_method": act.Method, "search_word": act.Words,
		}
	case ActPageStart:
		e.Name = "page_load_event_start"
		e.Properties = map[string]any{"url": act.URL}
	case ActPageFinish:
		e.Name = "page_load_event_finish"
		e.Properties = map[string]any{"url": act.URL}
	case ActFeedItem:
		e.Name = "newsfeed_item_view"
		e.Properties = map[string]any{"url": act.URL, "title": act.Title}
	case ActNone:
		return nil
	default:
		return nil
	}
	return []Upload{{Event: &e}}
}

// ErrPageLost is the error of pages that never load.
var ErrPageLost = errors.New("net::ERR_CONNECTION_TIMED_OUT")

// Find returns the built-in personality of a name.
func Find(name string) (Personality, bool) {
	all := All()
	i := slices.IndexFunc(all, func(p Personality) bool { return p.Name == name })
	if i < 0 {
		return Personality{}, false
	}
	return all[i], true
}
