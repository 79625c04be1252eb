package payload

import (
	"unicode"
	"unicode/utf8"
)

// Text in other scripts has statistics too. Bytes can be written as Chinese
// characters, as Korean syllables or as Braille, and then look like text to
// anybody who asks only whether they are letters.
const (
	// enoughLetters is how many letters of a script are judged.
	enoughLetters = 24
	// manyScripts is how many scripts no text mixes.
	manyScripts = 6
)

// commonHan are the most frequent characters of Chinese, simplified and
// traditional: in running text about half of all.
const commonHan = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运" +
	"這個們來為國說時會對後裡學當沒動還進樣開從實軍無與長機關點業將兩間問並應戰頭體見產話給門東聲員論處義條氣題爾變總電數報結務場計網頁搜尋請輸網站設置頁面手機載輸入選擇"

// commonHangul are frequent syllables of Korean.
const commonHangul = "이다는을의가에고하지은를로한도사기서시나리어자인대으정그수아해들보일상라것만스전여부제게우주면있과했장니오연구동없신년모공조성원때화소비무세생안문었였려적경계명말마더미와"

var usualHanSet, usualHangulSet = runeSet(commonHan), runeSet(commonHangul)

func runeSet(text string) map[rune]bool {
	set := make(map[rune]bool, len(text)/3)
	for _, r := range text {
		set[r] = true
	}
	return set
}

// strangeScript is KindOpaque for letters that are not used as any language
// uses them, else KindText.
func strangeScript(b []byte) Kind {
	var han, usualHan, hangul, usualHangul, kana, braille, letters int
	scripts := map[int32]bool{}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		i += size
		if r >= 0x2800 && r <= 0x28ff {
			braille++
		}
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		switch {
		case r >= 0x3040 && r <= 0x30ff:
			kana++
		case unicode.Is(unicode.Han, r):
			han++
			if usualHanSet[r] {
				usualHan++
			}
		case unicode.Is(unicode.Hangul, r):
			hangul++
			if usualHangulSet[r] {
				usualHangul++
			}
		case unicode.Is(unicode.Latin, r):
		default:
			if len(scripts) < manyScripts {
				scripts[r>>8] = true
			}
		}
	}
	switch {
	case braille >= enoughLetters,
		han >= enoughLetters && kana*10 < han && usualHan*10 < han,
		hangul >= enoughLetters && usualHangul*8 < hangul,
		letters >= enoughLetters && len(scripts) >= manyScripts && len(scripts)*12 > letters:
		return KindOpaque
	}
	return KindText
}
