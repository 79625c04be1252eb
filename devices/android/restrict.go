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

// A User is an Android user.
type User struct {
	Name string `json:"name"`
	// Flags are UserInfo's, in hexadecimal.
	Flags   string `json:"flags"`
	Running bool   `json:"running"`
}

// ParseUsers reads `pm list users`, by the users' numbers. It is nil when the phone
// does not say.
func ParseUsers(text string) map[int]User {
	var out map[int]User
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "UserInfo{")
		if !ok || len(out) >= maxEntries {
			continue
		}
		// A name may hold colons and braces; the number and the flags do not.
		inside, state, ok := cutLast(rest, "}")
		id, rest, ok2 := strings.Cut(inside, ":")
		name, flags, ok3 := cutLast(rest, ":")
		n := number[int](id)
		if !ok || !ok2 || !ok3 || n == nil || *n < 0 {
			continue
		}
		if out == nil {
			out = map[int]User{}
		}
		out[*n] = User{Name: name, Flags: flags, Running: strings.TrimSpace(state) == "running"}
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
