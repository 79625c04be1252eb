package android

import "strings"

// ParseDataSaver reads `cmd netpolicy get restrict-background` (Android 7 and
// later): true when Data Saver keeps apps in the background from the network. It
// is nil when the phone does not say.
func ParseDataSaver(text string) *bool {
	state, ok := strings.CutPrefix(strings.TrimSpace(text), "Restrict background status: ")
	if !ok {
		return nil
	}
	on := state == "enabled"
	if !on && state != "disabled" {
		return nil
	}
	return &on
}

// ParseIdle reads `dumpsys deviceidle get deep` or `get light` (Android 7 and
// later): the state of Doze in the phone's word, such as ACTIVE, INACTIVE,
// IDLE_PENDING, IDLE or IDLE_MAINTENANCE. ok is false when the phone does not say.
func ParseIdle(text string) (state string, ok bool) {
	state = strings.TrimSpace(text)
	if state == "" || len(state) > len("WAITING_FOR_NETWORK") || strings.Trim(state, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return "", false
	}
	return state, true
}

// ParseRunningUsers reads `pm list users`: the names of the users that run, by
// their numbers. It is nil when the phone does not say.
func ParseRunningUsers(text string) map[string]string {
	var out map[string]string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "UserInfo{")
		if !ok {
			continue
		}
		inside, state, ok := cutLast(rest, "}")
		if !ok || strings.TrimSpace(state) != "running" {
			continue
		}
		// A name may hold colons; the number and the flags do not.
		id, rest, ok := strings.Cut(inside, ":")
		name, _, ok2 := cutLast(rest, ":")
		if !ok || !ok2 || id == "" || strings.Trim(id, "0123456789") != "" {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[id] = name
	}
	return out
}

// cutLast cuts a text at the last sep.
func cutLast(text, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}
