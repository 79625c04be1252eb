package payload

import (
	_ "embed"
)

// The model of what words look like. A character's excess is how many bits it
// costs under the model beyond typicalBits; words of any language written in
// ASCII have a negative sum, random letters and digits a positive one, so a
// stretch with a high sum is random wherever it stands in a text.
const (
	// typicalBits is a little above what a letter of a foreign word costs.
	typicalBits = 4.6
	// randomScore is the sum of excess at which a stretch counts as random.
	randomScore = 12
	// wordScore is the same for the whole of a word of longWord characters or
	// more, where there is more to go by.
	wordScore = 3.0
	longWord  = 20
	// camelBits, capsEnds, digitEnters and digitLeaves are the costs of changing
	// class in the middle of a word; hasty is added after fewer than three
	// letters, since random text changes class all the time.
	hasty = 2.0
	// longAcronym is up to how many capitals the next may be an initial.
	longAcronym = 3
	camelBits   = 2
	capsEnds    = 2
	digitBits   = 3.32
	digitEnters = 1.5
	digitLeaves = 2.5
	// commonMark and rareMark are the excess of punctuation.
	commonMark = -2.0
	rareMark   = 0.7
	// otherChar is the excess of a byte beyond ASCII.
	otherChar = -1.0
)

// bigramData is written by gen_bigrams.go: 27 lines (after a to z, and at the
// start of a word) of 26 letters, 'A' plus four times the bits.
//
//go:embed bigrams.txt
var bigramData string

// bigramExcess is what a letter costs after another beyond typicalBits.
var bigramExcess = readBigrams(bigramData)

func readBigrams(data string) (table [27][26]float64) {
	for prev := range table {
		for cur := range table[prev] {
			if i := prev*27 + cur; i < len(data) {
				table[prev][cur] = float64(data[i]-'A')/4 - typicalBits
			}
		}
	}
	return table
}

type charClass uint8

const (
	classOther charClass = iota
	classLower
	classUpper
	classDigit
	classCommon
	classRare
)

var charClasses = func() (classes [256]charClass) {
	for c := range 128 {
		switch {
		case c >= 'a' && c <= 'z':
			classes[c] = classLower
		case c >= 'A' && c <= 'Z':
			classes[c] = classUpper
		case c >= '0' && c <= '9':
			classes[c] = classDigit
		case c == '\t' || c == '\n' || c == '\r':
			classes[c] = classCommon
		default:
			classes[c] = classRare
		}
	}
	for _, c := range []byte(" ,.-_/:;()'\"=&?%#") {
		classes[c] = classCommon
	}
	return classes
}()

// A stretch is a half-open range of bytes.
type stretch struct{ from, to int }

// wordModel walks a text byte by byte.
type wordModel struct {
	prev   charClass
	before charClass
	letter int  // the last letter
	run    int  // how many letters since the last change of class
	digits bool // whether the run follows a digit
}

// excess returns by how many bits the next byte costs more than typical.
func (m *wordModel) excess(c byte) float64 {
	class := charClasses[c]
	var e float64
	switch class {
	case classLower, classUpper:
		e = m.letterExcess(class, int(c|0x20)-'a')
	case classDigit:
		e = digitBits - typicalBits
		if m.prev == classLower || m.prev == classUpper {
			e += digitEnters + m.haste()
		}
		m.run = 0
	case classCommon:
		e, m.run = commonMark, 0
	case classRare:
		e, m.run = rareMark, 0
	case classOther:
		e, m.run = otherChar, 0
	}
	m.before, m.prev = m.prev, class
	return e
}

func (m *wordModel) letterExcess(class charClass, letter int) float64 {
	first, next := bigramExcess[26][letter], bigramExcess[m.letter][letter]
	var e float64
	switch {
	case m.prev == classDigit:
		e, m.run, m.digits = first+digitLeaves, 0, true
	case m.prev != classLower && m.prev != classUpper:
		e, m.run, m.digits = first, 0, false
	case m.prev == class:
		e = next
		if class == classUpper && m.run <= longAcronym && !m.digits {
			e = min(next, first)
		}
	case class == classUpper: // camelCase
		e = first + camelBits + m.haste()
		m.run, m.digits = 0, false
	case m.before == classUpper: // the second word of HTTPServer
		e = next + capsEnds
		m.run = 1
	default: // Title
		e = next
	}
	m.letter = letter
	m.run++
	return e
}

func (m *wordModel) haste() float64 {
	if m.run < 3 {
		return hasty
	}
	return 0
}

// randomStretches returns the stretches of text that look random, in order and
// apart. Each begins and ends inside a random word, not always at its edges.
func randomStretches(text []byte) []stretch {
	var (
		found      []stretch
		m          wordModel
		sum, best  float64
		from, peak int
		word       float64 // the sum since the current word began
		began      int
	)
	for i := 0; i <= len(text); i++ {
		if i == len(text) || !wordByte(text[i]) {
			if i-began >= longWord && word > wordScore && best < randomScore {
				// Long enough to be sure with less.
				found = append(found, stretch{began, i})
				sum, best, from = 0, 0, i+1
			}
			word, began = 0, i+1
		}
		if i == len(text) {
			break
		}
		e := m.excess(text[i])
		if text[i] != '=' { // padding says nothing of the word before it
			word += e
		}
		sum += e
		switch {
		case sum <= 0 || (best >= randomScore && sum < best-randomScore):
			if best >= randomScore {
				found = append(found, stretch{from, peak})
			}
			sum, best, from = 0, 0, i+1
		case sum > best:
			best, peak = sum, i+1
		}
	}
	if best >= randomScore {
		found = append(found, stretch{from, peak})
	}
	return found
}

// wordByte is true for the bytes of which encoded words are made.
func wordByte(c byte) bool { return wordBytes[c] }

var wordBytes = func() (is [256]bool) {
	for i := range is {
		c := byte(i)
		is[i] = isAlnum(c) || c == '+' || c == '/' || c == '=' || c == '-' || c == '_'
	}
	return is
}()
