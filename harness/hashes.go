package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/harness/canary"
)

// hashDoubts are reasons why silence may not be silence that lie in hashes of
// what was planted. silent is true when nothing else speaks against silence:
// values too short to prove anything are looked at only then.
func (v *view) hashDoubts(o *Observation, silent bool) []string {
	var out []string
	if o.Arm == Off && v.unsalted > v.earlierTerms() {
		out = append(out, fmt.Sprintf("%d of the terms and identifiers of this very run were not searched for in salted hashes, because the table of hashes has no room for so many; make a trial of fewer pairs or claims of fewer apps", v.unsalted-v.earlierTerms()))
	}
	out = append(out, v.keyedDoubts(o)...)
	if silent && len(out) == 0 {
		out = append(out, v.leadDoubts(o)...)
	}
	return out
}

// hashWords say what was not searched for and speaks against nothing: terms of
// earlier runs, which were searched with the salts of their own time.
func (v *view) hashWords() []string {
	if n := min(v.unsalted, v.earlierTerms()); n > 0 {
		return []string{fmt.Sprintf("%d terms of earlier runs were searched for without salted hashes", n)}
	}
	return nil
}

// earlierTerms is how many terms of earlier runs are searched for.
func (v *view) earlierTerms() int {
	if len(v.all) == 0 || v.all[0].evidence == nil {
		return 0
	}
	return len(v.all[0].evidence.Known)
}

// earlierThan makes terms of earlier runs older than the first window, whatever
// their record says, so that those of this run have their hashes salted first.
func earlierThan(all []*Observation, known []canary.Canary) []canary.Canary {
	var first time.Time
	for _, o := range all {
		for _, at := range append(mintings(o), o.Window.Open) {
			if !at.IsZero() && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	out := slices.Clone(known)
	for i := range out {
		if out[i].Minted.IsZero() || !out[i].Minted.Before(first) {
			out[i].Minted = first.Add(-time.Second)
		}
	}
	return out
}

func mintings(o *Observation) []time.Time {
	var out []time.Time
	for _, c := range o.Canaries {
		out = append(out, c.Minted)
	}
	return out
}

// leadLimit is how many short hashes may be expected by chance in a window at
// most, for one that was seen to be held against silence.
const leadLimit = 0.01

// leadDoubts are the values in a window that are a short hash of a term that was
// planted in it, or of an identifier of the phone. So short a value turns up by
// chance: it accuses nobody, and counts only where chance would hardly show it.
func (v *view) leadDoubts(o *Observation) []string {
	finder := canary.NewFinder(slices.Concat(o.Canaries, o.Identifiers))
	expected := 0.0
	shams := map[string]bool{}
	type seen struct {
		lead canary.Lead
		host string
	}
	var all []seen
	for i := range v.messages {
		m := &v.messages[i]
		// A handshake is full of values that are random by its nature.
		if m.instrument || m.greeting || v.pageSpeaks(m) || !v.decides(m, o) || !v.sentIn(m, o) {
			continue
		}
		leads, chance := finder.Leads(m.parts)
		expected += chance
		for _, l := range leads {
			shams[l.Form] = shams[l.Form] || l.Canary.Sham
			all = append(all, seen{l, m.host})
		}
	}
	if expected >= leadLimit {
		return nil
	}
	var out []string
	for _, s := range all {
		if s.lead.Canary.Sham || shams[s.lead.Form] {
			continue // Chance has shown that it makes such values here.
		}
		of := "the planted words"
		if strings.HasPrefix(s.lead.Canary.ID, identifierPrefix) {
			of = "the phone's " + s.lead.Canary.Field
		}
		words := fmt.Sprintf("a value that is %s of %s was transmitted to %s in the %s: %s (%.1g such values are to be expected here by chance)",
			leadWords(s.lead.Form), of, s.host, s.lead.Where, s.lead.Path, expected)
		if !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	return head(out, 5)
}

// leadWords is a form of short hash in words.
func leadWords(form string) string {
	switch form {
	case "crc32":
		return "the CRC32"
	case "crc32c":
		return "the CRC32C"
	case "adler32":
		return "the Adler-32 sum"
	case "java-hash":
		return "Java's hash code"
	case "fnv32":
		return "the FNV-1 hash of 32 bits"
	case "fnv32a":
		return "the FNV-1a hash of 32 bits"
	case canary.Raw:
		return "the raw bytes"
	}
	return "a short hash"
}
