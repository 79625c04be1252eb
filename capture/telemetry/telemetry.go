// Package telemetry reads the formats of analytics SDKs as typed events.
//
// A format is recognised by its shape, not by its host: a collector that no
// list knows is read as well as a famous one. What a format encrypts under a
// key that only its maker holds is an event too, with Opaque set, so that it
// is never mistaken for silence; so is what has the shape of a format and is
// damaged. Whoever holds a key, or knows a format that is not here, hands a
// [Decoder] to [Read].
package telemetry

import (
	"context"
	"slices"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// The SDKs whose formats are read.
const (
	Sensors  = "sensors"
	MiStat   = "mistat"
	OneTrack = "onetrack"
	// MIUIAnalytics is the app com.miui.analytics.
	MIUIAnalytics = "miui-analytics"
	// XiaomiConfig is the configuration service of Xiaomi's SDKs. Its requests
	// carry identifiers.
	XiaomiConfig = "xiaomi-sdkconfig"
	// XiaomiAds is Xiaomi's advertising SDK. Its bodies are not known.
	XiaomiAds = "xiaomi-ads"
	// XMPush is Xiaomi's push service; see [Stream].
	XMPush = "xmpush"
	// Firebase is Google Analytics for Firebase, by its wire name app-measurement.
	Firebase        = "firebase"
	GoogleAnalytics = "google-analytics"
	Facebook        = "facebook"
	Adjust          = "adjust"
)

// The types of events that report nothing that a person did. Every other Type
// is the SDK's own word.
const (
	// TypeConfig asks how the SDK is to behave.
	TypeConfig = "config"
	// TypeConsent tells the collector what was agreed to or refused.
	TypeConsent = "consent"
	// TypePush registers the phone for messages.
	TypePush = "push"
)

// An Event is one thing that an SDK reported.
type Event struct {
	// SDK is one of the constants above, or what a Decoder says.
	SDK string
	// Name is the event's name as the SDK sent it, empty when Opaque.
	Name string
	// Type is the record's type where the SDK has such, as "track", or one of
	// the types above.
	Type string
	// Time is when it happened by the phone's clock, to the millisecond or as
	// exact as the SDK sends it; zero when unknown. Where Age is set it is by the
	// recorder's clock.
	Time time.Time
	// Age is set where the format says only how long before its request an event
	// happened: Time is then the request's start less Age.
	Age time.Duration
	// Flushed is when the SDK sent it, by the phone's clock, zero when unknown.
	Flushed time.Time
	// Properties are the event's own, as JSON gives them: string, bool,
	// json.Number, []any, map[string]any, nil.
	Properties map[string]any
	// Identifiers are the values that tell a person or a phone apart, by the
	// name under which they were sent: distinct_id, uuid, $device_id.
	Identifiers map[string]string
	// Consent is what the event itself says of what the person agreed to, by the
	// name and with the value under which it was sent; nil when it says nothing.
	// [ConsentMeaning] puts one into words.
	Consent map[string]string
	// Web is true when the SDK's script for web pages wrote the event, by the
	// event's own words: then it speaks for a page, whichever browser showed it.
	Web bool
	// App is the package that the SDK says it reports for, empty when unsaid.
	App string
	// Project is the collector's project or application id, empty when unsaid.
	Project string
	// Opaque is true when the format is recognised and its content cannot be
	// read; Reason says why. It begins with "damaged: " where the bytes are not
	// what the format asks for.
	Opaque bool
	Reason string
	// Decoder names the Decoder from outside that read the event, empty for the
	// package's own; Doubt is what one that failed on an Opaque event said.
	Decoder string
	Doubt   string
	// Where and Path say where in the request the event lies, as payload has it.
	Where string
	Path  string

	// sealed is what a Decoder may open, nil where there is nothing.
	sealed *sealed
}

// Reports says whether the event is a readable report of something, and not a
// request for configuration, a word about consent, a registration, or bytes
// that could not be read. Only such an event shows that something was collected.
func (e Event) Reports() bool {
	return !e.Opaque && e.Type != TypeConfig && e.Type != TypeConsent && e.Type != TypePush
}

// Decode returns the events in a request, in order. parts is
// [Open] of payload.Request(ex), or payload.Request(ex) alone; it is taken so
// that it is not computed twice.
func Decode(ex capture.Exchange, parts []payload.Part) []Event {
	return newRequest(ex, parts).decode()
}

// Read opens and decodes a request, as [Open] and [Decode] do, and gives what
// stays opaque to decoders from outside, in order, until one opens it. ctx ends
// the programs among them. It changes the tree that parts point to and returns
// parts.
func Read(ctx context.Context, ex capture.Exchange, parts []payload.Part, decoders ...Decoder) ([]payload.Part, []Event) {
	parts = Open(ex, parts)
	r := newRequest(ex, parts)
	return parts, r.outside(ctx, r.decode(), decoders)
}

func (r *request) decode() []Event {
	for _, decode := range []func(*request) []Event{
		(*request).sensors, (*request).mistat, (*request).onetrack, (*request).spock, (*request).sdkconfig, (*request).xiaomiAds,
		(*request).facebook, (*request).adjust, (*request).googleAnalytics, (*request).firebase,
	} {
		if events := decode(r); len(events) > 0 {
			return r.missing(events)
		}
	}
	return nil
}

// missing adds an opaque event for what of the body was not captured, unless an
// event says so already: more may have been in it.
func (r *request) missing(events []Event) []Event {
	why := r.cut()
	if why == "" || slices.ContainsFunc(events, func(e Event) bool { return e.Reason == why }) {
		return events
	}
	return append(events, Event{SDK: events[0].SDK, Project: events[0].Project, App: events[0].App, Opaque: true, Reason: why, Where: "body"})
}
