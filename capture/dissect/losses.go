package dissect

import (
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	lossGap   = time.Second // losses of one kind that are nearer than that are one stretch
	cutShort  = "that the capture cut short (snapshot length)"
	maxLosses = 1000 // stretches of one kind; the last one takes what comes after
)

// losses are the packets that could not be read, by what is wrong with them.
type losses map[string][]capture.Loss

// add notes a packet that lies between two times.
func (l losses) add(why string, from, to time.Time) {
	all := l[why]
	if n := len(all) - 1; n >= 0 {
		if last := &all[n]; len(all) >= maxLosses || from.Sub(last.To) < lossGap && last.From.Sub(to) < lossGap {
			last.Packets++
			if from.Before(last.From) {
				last.From = from
			}
			if to.After(last.To) {
				last.To = to
			}
			return
		}
	}
	l[why] = append(all, capture.Loss{From: from, To: to, Packets: 1, Why: why})
}

// list returns all of them by time.
func (l losses) list() []capture.Loss {
	var all []capture.Loss
	for _, some := range l {
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b capture.Loss) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.Why, b.Why)
	})
	return all
}
