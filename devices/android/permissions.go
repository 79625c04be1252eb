package android

import "strings"

// ParseRuntimePermissions reads the runtime permissions of one user from `dumpsys
// package NAME` (Android 6 and later): which were asked for, and whether they are
// granted. ok is false when the dump does not describe the package for that user.
// A permission that was never decided about is not listed on every version.
func ParseRuntimePermissions(name, user, text string) (granted map[string]bool, ok bool) {
	inside, mine, listed := false, false, false
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "Package ["):
			// A second one is the version that an update replaced.
			inside = !ok && strings.HasPrefix(line, "Package ["+name+"] ")
			mine, listed = false, false
			continue
		case raw[0] != ' ' && raw[0] != '\t':
			inside, mine, listed = false, false, false
			continue
		case !inside:
			continue
		}
		if rest, is := strings.CutPrefix(line, "User "); is && strings.Contains(rest, ":") {
			mine, listed = before(rest, ":") == user, false
			if mine {
				ok = true
			}
			continue
		}
		if mine && line == "runtime permissions:" {
			listed = true
			continue
		}
		permission, state, is := strings.Cut(line, ": granted=")
		if !listed || !is || strings.ContainsAny(permission, " \t=") {
			listed = false
			continue
		}
		if len(granted) >= maxEntries {
			return nil, false
		}
		if granted == nil {
			granted = map[string]bool{}
		}
		switch before(state, ",") {
		case "true":
			granted[permission] = true
		case "false":
			granted[permission] = false
		}
	}
	return granted, ok
}

// ParseAppOp reads `appops get PACKAGE OP`: the mode that was set, such as allow,
// ignore, deny, default or foreground, empty where none was; and the operation's
// default mode, where the phone tells it. ok is false when the phone does not say.
func ParseAppOp(op, text string) (mode, standard string, ok bool) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "No operations." {
			ok = true
			continue
		}
		key, value, found := strings.Cut(line, ": ")
		// What is set for the user id of the package comes first, and is not the
		// package's own.
		if !found || key == "Uid mode" {
			continue
		}
		value = strings.TrimSpace(before(value, ";"))
		if value == "" || strings.Trim(value, "abcdefghijklmnopqrstuvwxyz") != "" {
			continue
		}
		switch key {
		case "Default mode":
			standard = value
		case op:
			mode, ok = value, true
		}
	}
	return mode, standard, ok
}
