package canary

import (
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// A term can be cut into more pieces than its two words, each in a field of its
// own and none of them long enough to be seen alone. Put together in the order in
// which they were sent, they are the term again.

// longestPiece is the longest value that is taken for a piece: of one that is
// longer, a word or the beginning of one is seen by itself.
const longestPiece = 12

// shownPieces is how many places the path of a sighting names.
const shownPieces = 4

// A scrap is a short text in a message.
type scrap struct {
	where, path string
	end         int // in all the scraps of the message together
}

// scrap keeps a leaf that may be a piece of a term. Numbers count the pieces.
func (s *search) scrap(where, path string, n *payload.Node) {
	if len(n.Children) > 0 || n.Kind != payload.KindText && n.Kind != payload.KindToken || len(n.Value) > longestPiece {
		return
	}
	s.scraps = append(s.scraps, n.Value...)
	s.pieces = append(s.pieces, scrap{where, path, len(s.scraps)})
}

// pieced finds whole terms in what the short texts of the message say together.
func (s *search) pieced() {
	if len(s.pieces) < 2 {
		return
	}
	whole := map[int32]bool{}
	for i, sighting := range s.out {
		if sighting.Whole() {
			whole[s.at[i]] = true
		}
	}
	for _, h := range s.f.hits(s.scraps) {
		if !s.f.whole(h) || whole[h.canary] {
			continue
		}
		var paths []string
		var where string
		from := 0
		for _, p := range s.pieces {
			if from < h.to && p.end > h.from {
				if paths = append(paths, p.path); !strings.Contains(where, p.where) {
					where = strings.TrimPrefix(where+"+"+p.where, "+")
				}
			}
			from = p.end
		}
		if len(paths) > shownPieces {
			paths = append(paths[:shownPieces-1], "… + "+paths[len(paths)-1])
		}
		h.form = Split
		s.keep(s.place([]hit{h}, where, strings.Join(paths, " + "), s.scraps))
	}
}
