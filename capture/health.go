package capture

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Health says how far a trace can be trusted.
type Health struct {
	// Packets counts what was recorded: packets, or connections of a proxy.
	Packets int64 `json:"packets"`
	// Dropped counts packets that the instrument knows it lost; nil when it
	// cannot tell.
	Dropped *int64 `json:"dropped,omitempty"`
	// Losses are the stretches in which less was recorded, or could be read, than
	// there was. Of Dropped, what no loss holds was lost nobody knows when.
	Losses []Loss `json:"losses,omitempty"`
	// Truncated is true when recording ended before Stop, or when a file ends
	// in the middle of a record.
	Truncated bool `json:"truncated"`
	// Died is when recording ended early, zero when it did not.
	Died time.Time `json:"died,omitzero"`
	// SkippedBytes counts bytes of a stream that reassembly knows are missing.
	SkippedBytes int64 `json:"skipped_bytes"`
	// Problems are further doubts in words, each a full reason that concerns the
	// whole trace.
	Problems []string `json:"problems,omitempty"`
}

// A Loss is a stretch of a trace in which packets were lost. They were lost at some
// time between From and To, both included.
type Loss struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Packets is how many; 0 when nobody knows whether there were any.
	Packets int64 `json:"packets"`
	// Why says what became of them, as in "3 packets with a damaged IP header"; where
	// Packets is 0 it stands alone.
	Why string `json:"why"`
	// Dropped is true for those that Health.Dropped counts too.
	Dropped bool `json:"dropped,omitempty"`
}

// String is the loss in words, without its time.
func (l Loss) String() string {
	switch l.Packets {
	case 0:
		return l.Why
	case 1:
		return "1 packet " + l.Why
	}
	return strconv.FormatInt(l.Packets, 10) + " packets " + l.Why
}

// Unplaced is how many packets of Dropped were lost nobody knows when; 0 as well
// when nobody knows whether any were.
func (h Health) Unplaced() int64 {
	if h.Dropped == nil {
		return 0
	}
	n := *h.Dropped
	for _, l := range h.Losses {
		if l.Dropped {
			n -= l.Packets
		}
	}
	return max(n, 0)
}

// Doubts are all doubts in words: the problems, and the losses by their kind.
func (h Health) Doubts() []string {
	all := slices.Clone(h.Problems)
	lost := map[string]int64{}
	for _, l := range h.Losses {
		lost[l.Why] += l.Packets
	}
	for _, why := range slices.Sorted(maps.Keys(lost)) {
		all = append(all, Loss{Packets: lost[why], Why: why}.String())
	}
	return all
}
