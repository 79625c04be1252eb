package android

import (
	"fmt"
	"path"
	"strings"
)

// An Installed is one line of `cmd package list packages -U`.
type Installed struct {
	Name string `json:"name"`
	// UIDs are the user ids of the package, one per Android user that has it.
	// It is empty when the list was made without -U.
	UIDs []int `json:"uids,omitempty"`
}

// ParsePackages reads the list of packages. The command matches substrings, so
// the caller must compare names exactly.
func ParsePackages(text string) []Installed {
	var list []Installed
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "package:")
		if !ok || len(list) >= maxEntries {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		p := Installed{Name: fields[0]}
		// With -f the line is package:PATH=NAME.
		if i := strings.LastIndexByte(p.Name, '='); i >= 0 {
			p.Name = p.Name[i+1:]
		}
		for _, f := range fields[1:] {
			uids, ok := strings.CutPrefix(f, "uid:")
			if !ok {
				continue
			}
			for text := range strings.SplitSeq(uids, ",") {
				if uid := number[int](text); uid != nil {
					p.UIDs = append(p.UIDs, *uid)
				}
			}
		}
		list = append(list, p)
	}
	return list
}

// A Package is what the phone says of one installed package. An empty string
// or nil is "not said".
type Package struct {
	Name        string `json:"name"`
	VersionName string `json:"version_name,omitempty"`
	VersionCode *int64 `json:"version_code,omitempty"`
	TargetSDK   *int   `json:"target_sdk,omitempty"`
	// UID is the id of the first Android user.
	UID *int `json:"uid,omitempty"`
	// CodePath is the folder, Path the base APK in it.
	CodePath string `json:"code_path,omitempty"`
	Path     string `json:"path,omitempty"`
	// SHA256 is the hash of the base APK in lower-case hexadecimal digits.
	SHA256 string `json:"sha256,omitempty"`
	// FirstInstall and LastUpdate are in the phone's words and zone.
	FirstInstall string `json:"first_install,omitempty"`
	LastUpdate   string `json:"last_update,omitempty"`
	Installer    string `json:"installer,omitempty"`
	// Granted are the permissions that the phone says are granted.
	Granted []string `json:"granted,omitempty"`
	// Requested are the permissions that the package asks for.
	Requested []string `json:"requested,omitempty"`
	// Signers are 32-bit hashes of the certificates with which the package is
	// signed now, in hexadecimal: they tell two signers apart and prove nothing.
	Signers []string `json:"signers,omitempty"`
	// Users are the Android users, as far as the phone lists them.
	Users []PackageUser `json:"users,omitempty"`
}

// A PackageUser is what the phone says of a package for one Android user; nil is
// "not said".
type PackageUser struct {
	ID        int   `json:"id"`
	Installed *bool `json:"installed,omitempty"`
	Hidden    *bool `json:"hidden,omitempty"`
	Suspended *bool `json:"suspended,omitempty"`
	Stopped   *bool `json:"stopped,omitempty"`
	// Enabled is PackageManager's number: 0 default, 1 enabled, 2 to 4 disabled.
	Enabled *int `json:"enabled,omitempty"`
}

// packageUser reads "User 0: installed=true hidden=false ...".
func packageUser(line string) (u PackageUser, ok bool) {
	head, rest, ok := strings.Cut(strings.TrimPrefix(line, "User "), ":")
	id := number[int](head)
	if !ok || id == nil {
		return u, false
	}
	u.ID = *id
	for _, f := range strings.Fields(rest) {
		key, value, _ := strings.Cut(f, "=")
		var flag *bool
		if value == "true" || value == "false" {
			is := value == "true"
			flag = &is
		}
		switch key {
		case "installed":
			u.Installed = flag
		case "hidden":
			u.Hidden = flag
		case "suspended":
			u.Suspended = flag
		case "stopped":
			u.Stopped = flag
		case "enabled":
			u.Enabled = number[int](value)
		}
	}
	return u, true
}

// signers reads "PackageSignatures{1a2b version:2, signatures:[3c4d], past
// signatures:[]}" (Android 9 and later) and "PackageSignatures{1a2b [3c4d]}".
func signers(value string) []string {
	_, list, ok := strings.Cut(value, "signatures:[")
	if !ok {
		if _, list, ok = strings.Cut(value, " ["); !ok {
			return nil
		}
	}
	list, _, ok = strings.Cut(list, "]")
	if !ok {
		return nil
	}
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		const digits = 8
		if s = strings.TrimSpace(s); s != "" && len(s) <= digits && strings.Trim(s, "0123456789abcdef") == "" {
			out = append(out, s)
		}
	}
	return out
}

// ParseDumpsysPackage reads one package out of `dumpsys package NAME`. The
// second value is false when the package is not installed. A system app that
// was updated appears twice; the hidden original is skipped.
func ParseDumpsysPackage(name, text string) (Package, bool) {
	p := Package{Name: name}
	var (
		found   bool
		inside  bool   // in the block of this package
		hidden  bool   // in the section of hidden system packages
		section string // permission list that goes on
	)
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "Hidden system packages:"):
			hidden, inside = true, false
			continue
		case line == "Packages:":
			hidden, inside = false, false
			continue
		case strings.HasPrefix(line, "Package ["):
			got, _, _ := strings.Cut(strings.TrimPrefix(line, "Package ["), "]")
			inside = got == name && !hidden && !found
			found = found || inside
			section = ""
			continue
		case raw[0] != ' ' && raw[0] != '\t':
			inside = false // The next section of the dump.
			continue
		}
		if inside {
			section = p.read(line, section)
		}
	}
	return p, found
}

// read takes one line of the package's block and returns the list that the
// next line may belong to.
func (p *Package) read(line, section string) string {
	if strings.HasSuffix(line, ":") && strings.Contains(line, "permissions") {
		return strings.TrimSuffix(line, ":")
	}
	if section != "" && strings.Contains(line, ".") && !strings.ContainsAny(before(line, ":"), " =") {
		permission := before(line, ":")
		switch {
		case len(p.Granted)+len(p.Requested) >= maxEntries:
		case section == "requested permissions":
			p.Requested = append(p.Requested, permission)
		case strings.Contains(line, "granted=true"):
			p.Granted = append(p.Granted, permission)
		}
		return section
	}
	if strings.HasPrefix(line, "User ") {
		if u, ok := packageUser(line); ok && len(p.Users) < maxEntries {
			p.Users = append(p.Users, u)
		}
		return ""
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return ""
	}
	switch key {
	case "signatures":
		p.Signers = signers(value)
	case "userId", "appId":
		if p.UID == nil {
			p.UID = number[int](before(value, " "))
		}
	case "versionName":
		p.VersionName = value
	case "versionCode":
		p.VersionCode = number[int64](before(value, " "))
		if _, sdk, ok := strings.Cut(value, "targetSdk="); ok {
			p.TargetSDK = number[int](before(sdk, " "))
		}
	case "codePath":
		p.CodePath = value
	case "firstInstallTime":
		p.FirstInstall = value
	case "lastUpdateTime":
		p.LastUpdate = value
	case "installerPackageName":
		if value != "null" {
			p.Installer = value
		}
	}
	return ""
}

func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}

// ParsePath reads `pm path NAME` and returns the base APK; false when there is
// none.
func ParsePath(text string) (string, bool) {
	var first string
	for line := range strings.Lines(text) {
		p, ok := strings.CutPrefix(strings.TrimSpace(line), "package:")
		if !ok || !strings.HasPrefix(p, "/") {
			continue
		}
		if path.Base(p) == "base.apk" {
			return p, true
		}
		if first == "" {
			first = p
		}
	}
	return first, first != ""
}

// ParseSum reads the first line of sha256sum: 64 hexadecimal digits, then the
// file's name.
func ParseSum(text string) (string, error) {
	sum := strings.ToLower(before(strings.TrimSpace(text), " "))
	const digits = 64
	if len(sum) != digits || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", fmt.Errorf("android: read sha256sum: %q: %w", shorten(text), ErrFormat)
	}
	return sum, nil
}
