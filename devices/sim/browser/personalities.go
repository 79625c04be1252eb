package browser

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// UnlistedHost is where the personality "unlisted" reports to.
const UnlistedHost = "telemetry.unlisted.example"

// collectHost is a host of the maker that takes whatever it is sent.
const collectHost = "api.collect.data.intl.miui.com"

// All lists the built-in personalities: honest ones first, then builds that
// were really shipped, then liars and accidents.
func All() []Personality {
	return []Personality{
		{
			Name:    "honest",
			Summary: "off stops all collection in every mode, on sends",
			Report:  onlyWhenOn,
		},
		{
			Name:    "deaf",
			Summary: "ignores the switch and always sends",
			Report:  always,
		},
		{
			Name:    "incognito-leak",
			Summary: "off stops normal tabs, but incognito tabs still send",
			Report: func(act Act, s State) []Upload {
				if s.Switch || s.Incognito {
					return Genuine(act)
				}
				return nil
			},
		},
		{
			Name:    "as-shipped-2020",
			Summary: "12.1.4: the switch acts in incognito only, normal tabs always send, and the label reads the other way round",
			Version: "12.1.4",
			Row:     Row2020,
			Report: func(act Act, s State) []Upload {
				if s.Incognito && !s.Switch {
					return nil
				}
				return Genuine(act)
			},
		},
		{
			Name:    "silent",
			Summary: "never sends anything, whatever the switch says",
			Mute:    true,
		},
		{
			Name:    "encrypted-leaf",
			Summary: "off sends readable JSON whose one leaf is AES ciphertext in base64",
			Report: whenOff(func(act Act) []Upload {
				return post("https://"+collectHost+"/v1/health", "application/json", encryptedLeaf(act))
			}),
		},
		{
			Name:    "unlisted",
			Summary: "off sends the search to a host that no list knows",
			Report: whenOff(func(act Act) []Upload {
				body := base64.StdEncoding.EncodeToString(zip([]byte("q=" + act.Words)))
				return post("https://"+UnlistedHost+"/c", "application/octet-stream", []byte(body))
			}),
		},
		{
			Name:    "springs-back",
			Summary: "the switch turns itself on again when its screen is left",
			Report:  onlyWhenOn,
			OnLeave: func(bool) bool { return true },
		},
		{
			Name:    "sdk42",
			Summary: "off sends the same events in the encrypted form of SDK 4.2",
			Report: func(act Act, s State) []Upload {
				uploads := Genuine(act)
				for i := range uploads {
					uploads[i].Sealed = !s.Switch
				}
				return uploads
			},
		},
		{
			Name:    "page-never-loads",
			Summary: "honest, but no results page ever loads",
			Report:  onlyWhenOn,
			Load:    func(string) error { return ErrPageLost },
		},
		{
			Name:    "pinned",
			Summary: "ignores the switch, and refuses to talk to the collector through an interception",
			Report:  always,
			Pins:    func(host string) bool { return host == collectorHost },
		},
		{
			Name:       "slow",
			Summary:    "ignores the switch and uploads three times later than others",
			Report:     always,
			FlushEvery: 3 * flushEvery,
		},
		{
			Name:    "past-ipv6",
			Summary: "off sends searches past any proxy, by TLS over IPv6",
			Report:  whenOff(func(act Act) []Upload { return past(WayIPv6, "https://tracking.intl.miui.com/track/v4", act) }),
		},
		{
			Name:    "past-quic",
			Summary: "off sends searches past any proxy, by HTTP/3",
			Report:  whenOff(func(act Act) []Upload { return past(WayQUIC, "https://tracking.intl.miui.com/track/v4", act) }),
		},
		{
			Name:    "past-doh",
			Summary: "off asks a resolver over HTTPS for names that hold the search",
			Report:  whenOff(askOverHTTPS),
		},
		{
			Name:    "past-xmpush",
			Summary: "off sends searches on the maker's push channel, port 5222",
			Report: whenOff(func(act Act) []Upload {
				body := append([]byte{0xc2, 0xfe, 0x00, 0x05, 0, 0, 0, byte(len(act.Words) + 2), 0x12, byte(len(act.Words))}, act.Words...)
				return []Upload{{Request: &Request{Method: http.MethodPost, URL: "tcp://app.chat.global.xiaomi.net:5222", Way: WaySocket, Body: body}, After: 2 * time.Second}}
			}),
		},
		{
			Name:    "delegate",
			Summary: "off hands the events to another app, which sends them",
			Report: func(act Act, s State) []Upload {
				uploads := Genuine(act)
				for i := range uploads {
					uploads[i].Delegate = !s.Switch
				}
				return uploads
			},
		},
	}
}

func always(act Act, _ State) []Upload { return Genuine(act) }

func onlyWhenOn(act Act, s State) []Upload {
	if !s.Switch {
		return nil
	}
	return Genuine(act)
}

// whenOff sends what everybody sends while the switch is on, and something
// else about searches while it is off.
func whenOff(search func(Act) []Upload) func(Act, State) []Upload {
	return func(act Act, s State) []Upload {
		switch {
		case s.Switch:
			return Genuine(act)
		case act.Kind == ActSearch:
			return search(act)
		default:
			return nil
		}
	}
}

// past is a report that goes past a proxy.
func past(way Way, url string, act Act) []Upload {
	all := post(url, "application/json", []byte(`{"event":"search","word":`+quoted(act.Words)+`}`))
	all[0].Request.Way = way
	return all
}

// askOverHTTPS is a question for a name whose labels are the words of a search.
func askOverHTTPS(act Act) []Upload {
	question := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.FieldsSeq(act.Words + " q.miui.com") {
		for part := range strings.SplitSeq(label, ".") {
			part = part[:min(len(part), 63)]
			question = append(append(question, byte(len(part))), part...)
		}
	}
	question = append(question, 0, 0, 1, 0, 1)
	all := post("https://dns.google/dns-query", "application/dns-message", question)
	all[0].Request.Way = WayDirect
	return all
}

func post(url, contentType string, body []byte) []Upload {
	return []Upload{{
		Request: &Request{
			Method: http.MethodPost, URL: url, Header: http.Header{"Content-Type": {contentType}}, Body: body,
		},
		After: 2 * time.Second,
	}}
}

// encryptedLeaf is a report that looks harmless but for one leaf, which holds
// the search under a key that stays in the browser.
func encryptedLeaf(act Act) []byte {
	var key, iv [aes.BlockSize]byte
	_, _ = rand.Read(key[:]) // never fails
	_, _ = rand.Read(iv[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil // the key has the right size
	}
	plain := []byte(`{"search":` + quoted(act.Words) + `,"pad":"` + strings.Repeat(".", 64) + `"}`)
	sealed := make([]byte, len(plain))
	cipher.NewCTR(block, iv[:]).XORKeyStream(sealed, plain)
	body, err := json.Marshal(map[string]any{
		"app": "browser", "status": "ok", "uptime": 412, "token": base64.StdEncoding.EncodeToString(append(iv[:], sealed...)),
	})
	if err != nil {
		return nil // strings and numbers always have a JSON form
	}
	return body
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}
