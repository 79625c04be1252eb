package devices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/offproof/offproof/devices/android"
)

// Facts are what is known of a phone when it is asked whether it fits. Whoever
// has only farm.yaml knows less than whoever asks the phone, so each fact may be
// unknown: empty, or nil.
type Facts struct {
	// Build is the fingerprint of the build, ro.build.fingerprint.
	Build string
	// Region is the region that the build was made for, ro.miui.region.
	Region string
	// Rooted says whether a script can be run as root.
	Rooted *bool
	// Capture are the backends that the farm lists for the phone.
	Capture []string
	// Apps are the packages that are installed.
	Apps []string
}

// An Answer says whether a phone meets a requirement.
type Answer int

// The answers. What is unknown can be learnt from the phone only.
const (
	Unclear Answer = iota
	Met
	Unmet
)

// A Requirement is what a spec needs of its phone. The zero Requirement needs
// nothing.
type Requirement struct {
	text string
	// judge returns what the phone has instead, for Unmet.
	judge func(Facts) (met Answer, has string)
}

// String is the requirement in words, such as "root".
func (r Requirement) String() string { return r.text }

// Judge says whether a phone of these facts fits. why is one line, empty unless
// it does not.
func (r Requirement) Judge(f Facts) (met Answer, why string) {
	if r.judge == nil {
		return Met, ""
	}
	met, has := r.judge(f)
	if met == Unmet {
		why = fmt.Sprintf("needs %s, has %s", r.text, has)
	}
	return met, why
}

// Misfit joins the reasons why a phone does not fit; it is empty where none is
// known. When the phone itself was asked, what is still unknown is a reason too.
func Misfit(needs []Requirement, f Facts, asked bool) string {
	var why []string
	for _, n := range needs {
		switch met, reason := n.Judge(f); {
		case met == Unmet:
			why = append(why, reason)
		case met == Unclear && asked:
			why = append(why, "needs "+n.text+", which the phone does not say")
		}
	}
	return strings.Join(why, "; ")
}

// known judges a fact that is a text.
func known(fact string, fits func(string) bool) (met Answer, has string) {
	switch {
	case fact == "":
		return Unclear, ""
	case fits(fact):
		return Met, ""
	}
	return Unmet, fact
}

// Build needs a build whose fingerprint holds a text, such as "umi_global" or
// "V11.0.2.0".
func Build(part string) Requirement {
	return Requirement{"a build with " + part, func(f Facts) (Answer, string) {
		return known(f.Build, func(s string) bool { return strings.Contains(s, part) })
	}}
}

// Region needs a build that was made for one of the regions, such as "EEA" or
// "global".
func Region(names ...string) Requirement {
	return Requirement{"region " + strings.Join(names, " or "), func(f Facts) (Answer, string) {
		return known(f.Region, func(s string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, s) })
		})
	}}
}

// Rooted needs a phone on which scripts can be run as root.
func Rooted() Requirement {
	return Requirement{"root", func(f Facts) (Answer, string) {
		switch {
		case f.Rooted == nil:
			return Unclear, ""
		case *f.Rooted:
			return Met, ""
		}
		return Unmet, "none"
	}}
}

// App needs a package to be installed, such as "com.mi.globalbrowser".
func App(name string) Requirement {
	return Requirement{"the app " + name, func(f Facts) (Answer, string) {
		switch {
		case f.Apps == nil:
			return Unclear, ""
		case slices.Contains(f.Apps, name):
			return Met, ""
		}
		return Unmet, "it not installed"
	}}
}

// CapturedBy needs the farm to list a capture backend for the phone, such as
// "proxy".
func CapturedBy(backend string) Requirement {
	return Requirement{"capture by " + backend, func(f Facts) (Answer, string) {
		switch {
		case f.Capture == nil:
			return Unclear, ""
		case slices.Contains(f.Capture, backend):
			return Met, ""
		}
		return Unmet, "only " + strings.Join(f.Capture, " and ")
	}}
}

// Facts asks the phone. The backends are the farm's to know.
func (d *Device) Facts(ctx context.Context) (Facts, error) {
	build, err := d.Identity(ctx)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Build: build.Fingerprint, Region: build.Region}
	_, err = d.AsRoot(ctx, "")
	rooted := err == nil
	if err != nil && !errors.As(err, new(*NotRootError)) {
		return Facts{}, err
	}
	f.Rooted = &rooted
	list, err := d.Output(ctx, "cmd", "package", "list", "packages")
	if err != nil {
		return Facts{}, err
	}
	for _, p := range android.ParsePackages(list) {
		f.Apps = append(f.Apps, p.Name)
	}
	if len(f.Apps) == 0 {
		return Facts{}, fmt.Errorf("devices: phone %s: list packages: it named none", d.serial)
	}
	return f, nil
}
