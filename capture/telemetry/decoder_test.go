package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

// A stub is a decoder that answers what it is told to.
type stub struct {
	name   string
	opened telemetry.Opened
	err    error
	asked  *[]telemetry.Sealed
}

func (s stub) Name() string { return s.name }

func (s stub) Decode(_ context.Context, sealed telemetry.Sealed) (telemetry.Opened, error) {
	if s.asked != nil {
		*s.asked = append(*s.asked, sealed)
	}
	return s.opened, s.err
}

func read(t *testing.T, ex capture.Exchange, decoders ...telemetry.Decoder) ([]payload.Part, []telemetry.Event) {
	t.Helper()
	return telemetry.Read(t.Context(), ex, payload.Request(ex), decoders...)
}

func TestADecoderFromOutside(t *testing.T) {
	v := vectors(t)["onetrack_v4"]
	ex := v.request(t)
	sealedBytes, err := hex.DecodeString(v.BodyHex)
	if err != nil {
		t.Fatal(err)
	}
	parts, _ := read(t, ex)
	before := opaqueBytes(parts)
	happened := time.UnixMilli(1588300000000)
	var asked []telemetry.Sealed
	reading := stub{name: "our reader", asked: &asked, opened: telemetry.Opened{Events: []telemetry.Event{{
		Name: "open", Time: happened, Properties: map[string]any{"word": "korvandel"}, Identifiers: map[string]string{"oaid": "x"},
	}}}}
	parts, events := read(t, ex, stub{name: "one that knows nothing"}, stub{name: "one that fails", err: errors.New("no luck")}, reading)
	if len(asked) != 1 || asked[0].SDK != telemetry.OneTrack || asked[0].URL != v.URL || !bytes.Equal(asked[0].Document, sealedBytes) || len(asked[0].Pieces) != 1 {
		t.Errorf("it was asked %+v", asked)
	}
	if len(events) != 2 {
		t.Fatalf("%+v", events)
	}
	e := events[0]
	if e.Name != "open" || e.Decoder != "our reader" || e.SDK != telemetry.OneTrack || e.App != "com.android.browser" || !e.Time.Equal(happened) || !e.Reports() {
		t.Errorf("%+v", e)
	}
	// What says something and does not vouch for the whole leaves the rest opaque.
	if rest := events[1]; !rest.Opaque || !strings.Contains(rest.Doubt, "no luck") || !strings.Contains(rest.Doubt, "a part of it") {
		t.Errorf("%+v", rest)
	}
	if after := opaqueBytes(parts); after < before {
		t.Errorf("%d bytes are opaque, %d were before", after, before)
	}
	if !contains(parts, "korvandel") {
		t.Error("what the decoder found cannot be searched")
	}

	parts, events = read(t, ex, stub{name: "our plaintext", opened: telemetry.Opened{Plain: [][]byte{[]byte(v.Plaintext)}}})
	if len(events) != 1 || events[0].Name != "onetrack_dau" || events[0].Decoder != "our plaintext" || events[0].Doubt != "" {
		t.Fatalf("%+v", events)
	}
	if after := opaqueBytes(parts); after >= before {
		t.Errorf("%d bytes are opaque, %d were before", after, before)
	}
	if !contains(parts, "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69") {
		t.Error("the plaintext cannot be searched")
	}

	// Decoders that fail leave the event as it is, with their words.
	_, events = read(t, ex, stub{name: "broken", err: errors.New("no luck")})
	if len(events) != 1 || !events[0].Opaque || events[0].Decoder != "" || events[0].Doubt != "decoder broken: no luck" {
		t.Errorf("%+v", events)
	}
	// What is readable is nobody else's affair.
	plain := vectors(t)["sensors_plain"].request(t)
	asked = nil
	if _, events = read(t, plain, reading); len(events) != 3 || len(asked) != 0 {
		t.Errorf("%d events, asked %+v", len(events), asked)
	}
}

func contains(parts []payload.Part, word string) bool {
	for leaf := range payload.Leaves(parts) {
		if bytes.Contains(leaf.Value, []byte(word)) {
			return true
		}
	}
	return false
}

// A request may hold many sealed records; each may cost a program.
func TestDecodersAreNotAskedForEver(t *testing.T) {
	const envelope = `{"ekey":"EREREREREREREREREREREQ==","pkv":1,"payloads":["ERERERERERERERERERERERERERERERERERERERERERE="]}`
	body := "[" + strings.Repeat(envelope+",", 99) + envelope + "]"
	var asked []telemetry.Sealed
	_, events := read(t, post("https://x.example/sa", body, "Content-Type", "application/json"), stub{name: "patient", asked: &asked})
	if len(events) != 100 || len(asked) != 64 || !strings.Contains(events[99].Doubt, "more than 64") || events[99].Opaque != true {
		t.Errorf("%d events, asked %d times, the last says %q", len(events), len(asked), events[len(events)-1].Doubt)
	}
}

func TestKeysDoNotShowThemselves(t *testing.T) {
	secret := []byte("SECRETSECRETSECR")
	k, err := telemetry.NewKeys("bench", secret)
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%U", "%T", "%o"} {
		fmt.Fprintf(&shown, verb+"\n", k)
		fmt.Fprintf(&shown, verb+"\n", &k)
		fmt.Fprintf(&shown, verb+"\n", []any{k})
		fmt.Fprintf(&shown, verb+"\n", struct{ K telemetry.Keys }{k})
	}
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "k", k)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "k", k)
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(b)
	_, err = telemetry.NewKeys("short", secret[:15])
	fmt.Fprint(&shown, err)
	said := shown.String()
	for _, form := range []string{"SECRET", hex.EncodeToString(secret[:4]), strings.ToUpper(hex.EncodeToString(secret[:4])), "83 69 67", "U+0053", "U0VDUk", "0x53"} {
		if strings.Contains(said, form) {
			t.Errorf("the key is shown as %q in %s", form, said)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "15 bytes") {
		t.Errorf("a key of 15 bytes: %v", err)
	}
	if _, err := telemetry.NewKeys("none"); err == nil {
		t.Error("no key is accepted")
	}
	// The caller's slice is its own.
	copied := append([]byte(nil), secret...)
	k, _ = telemetry.NewKeys("bench", copied)
	clear(copied)
	_ = k
}

func TestAWrongKeyOpensNothing(t *testing.T) {
	wrong, err := telemetry.NewKeys("wrong", []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"onetrack_v4", "sensors_encrypted_gzip9"} {
		ex := vectors(t)[name].request(t)
		_, without := read(t, ex)
		parts, events := read(t, ex, wrong)
		if len(events) != len(without) || !events[0].Opaque || events[0].Decoder != "" || opaqueBytes(parts) < 100 {
			t.Errorf("%s: %+v", name, events)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ex := vectors(t)["onetrack_v4"].request(t)
	_, events := telemetry.Read(ctx, ex, payload.Request(ex), wrong)
	if len(events) != 1 || !strings.Contains(events[0].Doubt, "canceled") {
		t.Errorf("%+v", events)
	}
}

// TestMain lets the test's own program stand for a decoder's.
func TestMain(m *testing.M) {
	switch os.Getenv("OFFPROOF_TEST_PROGRAM") {
	case "":
		os.Exit(m.Run())
	case "read":
		var in bytes.Buffer
		if _, err := in.ReadFrom(os.Stdin); err != nil {
			os.Exit(3)
		}
		fmt.Fprintf(os.Stdout, `[{"name":"open","time":"2020-05-01T02:26:40Z","properties":{"size":%d,"sdk":%q,"url":%q},"identifiers":{"oaid":"x"}}]`,
			in.Len(), os.Getenv("OFFPROOF_SDK"), os.Getenv("OFFPROOF_URL"))
	case "lines":
		fmt.Fprint(os.Stdout, "{\"name\":\"a\",\"time\":1588300000000}\n{\"name\":\"b\"}\n")
	case "fail":
		fmt.Fprint(os.Stderr, "no key for this phone\nand more")
		os.Exit(3)
	case "rubbish":
		fmt.Fprint(os.Stdout, "hello")
	case "flood":
		b := bytes.Repeat([]byte("x"), 1<<20)
		for {
			if _, err := os.Stdout.Write(b); err != nil {
				os.Exit(4)
			}
		}
	case "hang":
		<-time.NewTimer(time.Hour).C // An empty select would be a deadlock, and end it, where there is no cgo.
	case "child": // One that ends and leaves a child with its pipes.
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "OFFPROOF_TEST_PROGRAM=linger")
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			os.Exit(5)
		}
	case "linger":
		<-time.After(5 * time.Second)
	case "silent":
	}
}

func TestProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ex := vectors(t)["onetrack_v4"].request(t)
	for name, c := range map[string]struct {
		timeout time.Duration
		command []string
		names   []string
		doubt   string
	}{
		"read":    {0, nil, []string{"open", ""}, "opened a part"},
		"lines":   {0, nil, []string{"a", "b", ""}, "opened a part"},
		"silent":  {0, nil, []string{""}, ""},
		"fail":    {0, nil, []string{""}, "no key for this phone"},
		"rubbish": {0, nil, []string{""}, "event 1 of the answer is no JSON"},
		"flood":   {0, nil, []string{""}, "answers more than"},
		"hang":    {100 * time.Millisecond, nil, []string{""}, "did not end within 100ms"},
		"child":   {0, nil, []string{""}, "WaitDelay"},
		"missing": {0, []string{"/does/not/exist"}, []string{""}, "no such file"},
		"none":    {0, []string{}, []string{""}, "no command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OFFPROOF_TEST_PROGRAM", name)
			command := c.command
			if command == nil {
				command = []string{self}
			}
			_, events := read(t, ex, telemetry.Program{Label: "lab", Command: command, Timeout: c.timeout})
			if len(events) != len(c.names) {
				t.Fatalf("%+v", events)
			}
			for i, e := range events {
				if e.Name != c.names[i] || (e.Decoder == "lab") != (e.Name != "") {
					t.Errorf("event %d: %+v", i, e)
				}
			}
			if last := events[len(events)-1]; !last.Opaque || !strings.Contains(last.Doubt, c.doubt) || (last.Doubt == "") != (c.doubt == "") {
				t.Errorf("the last is %+v, want doubt %q", last, c.doubt)
			}
			if name == "read" {
				e := events[0]
				if e.Properties["size"] != json.Number(fmt.Sprint(len(ex.RequestBody))) || e.Properties["sdk"] != telemetry.OneTrack || e.Properties["url"] != ex.URL ||
					!e.Time.Equal(time.Date(2020, 5, 1, 2, 26, 40, 0, time.UTC)) || e.Identifiers["oaid"] != "x" {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(`[{"name":"a","time":1588300000000,"properties":{"x":[1]}}]`))
	f.Add([]byte("{\"name\":\"a\",\"time\":\"2020-05-01T02:26:40Z\"}\n{\"properties\":{\"x\":null}}"))
	f.Add([]byte(`[{"name":"a"}] []`))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := telemetry.ParseEvents(b)
		if err != nil && events != nil {
			t.Error("events beside an error")
		}
		for _, e := range events {
			if e.Name == "" && len(e.Properties) == 0 {
				t.Errorf("%+v says nothing", e)
			}
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("\xc2\xfe\x00\x05\x00\x00\x00\x0e\x12\x05model\x1a\x05build"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, e := range telemetry.Stream(b) {
			if e.SDK == "" || e.Opaque != (e.Reason != "") || e.Reports() {
				t.Errorf("%+v", e)
			}
		}
	})
}
