package collector

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// tracker is one of Exodus Privacy's.
type tracker struct {
	Name       string   `json:"name"`
	Signature  string   `json:"network_signature"`
	Categories []string `json:"categories"`
}

var errTrackers = errors.New("want an object or a list of trackers, each with name and network_signature")

// exodusTrackers finds the trackers in a text: {"trackers": {"1": {...}}}, the
// same with a list, or the object or the list alone.
func exodusTrackers(text []byte) ([]tracker, error) {
	var whole struct {
		Trackers json.RawMessage `json:"trackers"`
	}
	if json.Unmarshal(text, &whole) == nil && len(whole.Trackers) > 0 {
		text = whole.Trackers
	}
	var list []tracker
	if json.Unmarshal(text, &list) == nil {
		return list, nil
	}
	var byNumber map[string]json.RawMessage
	if err := json.Unmarshal(text, &byNumber); err != nil {
		return nil, errors.Join(errTrackers, err)
	}
	numbers := make([]string, 0, len(byNumber))
	for n := range byNumber {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		var t tracker
		if err := json.Unmarshal(byNumber[n], &t); err != nil {
			return nil, errors.Join(errTrackers, err)
		}
		list = append(list, t)
	}
	return list, nil
}

// signatureHosts reads a signature that is hosts apart by |, with dots that may
// be escaped, and perhaps something that stands for any name before them.
func signatureHosts(signature string) ([]string, bool) {
	var hosts []string
	for part := range strings.SplitSeq(signature, "|") {
		part = strings.TrimSpace(part)
		part = strings.TrimSuffix(strings.TrimPrefix(part, "^"), "$")
		for _, wild := range []string{`.*\.`, `*\.`, `*.`, `.*`, `\.`, `.`} {
			if rest, ok := strings.CutPrefix(part, wild); ok {
				part = rest
				break
			}
		}
		host := strings.ReplaceAll(strings.ReplaceAll(part, `\.`, "."), `\-`, "-")
		if host == "" || !strings.Contains(host, ".") || strings.Trim(strings.ToLower(host), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			return nil, false
		}
		hosts = append(hosts, host)
	}
	return hosts, true
}
