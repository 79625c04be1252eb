// Package telemetry reads the formats of analytics SDKs as typed events.
//
// A format is recognised by its shape, not by its host: a collector that no
// list knows is read as well as a famous one. What a format encrypts under a
// key that only its maker holds is an event too, with Opaque set, so that it
// is never mistaken for silence.
package telemetry

import (
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// An Event is one thing that an SDK reported.
type Event struct {
	// SDK is "sensors", "mistat" or "onetrack".
	SDK string
	// Name is the event's name as the SDK sent it, empty when Opaque.
	Name string
	// Type is the record's type where the SDK has such, as "track".
	Type string
	// Time is when it happened by the phone's clock, zero when unknown.
	Time time.Time
	// Flushed is when the SDK sent it, by the phone's clock, zero when unknown.
	Flushed time.Time
	// Properties are the event's own, as JSON gives them: string, bool,
	// json.Number, []any, map[string]any, nil.
	Properties map[string]any
	// Identifiers are the values that tell a person or a phone apart, by the
	// name under which they were sent: distinct_id, uuid, $device_id.
	Identifiers map[string]string
	// App is the package that the SDK says it reports for, empty when unsaid.
	App string
	// Project is the collector's project or application id, empty when unsaid.
	Project string
	// Opaque is true when the format is recognised and its content cannot be
	// read; Reason says why.
	Opaque bool
	Reason string
	// Where and Path say where in the request the event lies, as payload has it.
	Where string
	Path  string
}

// Decode returns the events in a request, in order. parts is
// payload.Request(ex); it is taken so that it is not computed twice.
func Decode(ex capture.Exchange, parts []payload.Part) []Event {
	return nil
}

// SensorsConfig reads a reply of Sensors' remote configuration. ok is false
// when the exchange is none or its reply cannot be read; disableSDK is true
// when it turns the SDK off.
func SensorsConfig(ex capture.Exchange) (disableSDK, ok bool) {
	return false, false
}
