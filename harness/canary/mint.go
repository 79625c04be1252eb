package canary

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// The lengths of a word of a term, in letters.
const (
	shortWord = 7
	longWord  = 9
)

// The letters of which words are made: easy to say in most languages, easy to
// type, and without those that spelling correction likes to swap.
const (
	consonants = "bdfgklmnprtvz"
	vowels     = "aeiou"
)

// clusters stand between two vowels in the middle of a word. They can be said,
// and are rare inside the words of the languages that phones are set to.
var clusters = []string{
	"kv", "zd", "mz", "lv", "vr", "zm", "tv", "gm", "fk", "nz", "bl", "dv", "rz", "zb", "pk", "lg", "vn", "fz", "gz", "kz",
}

// commonParts are syllables and words that real words are full of. A minted
// word holds none, so that neither it nor its beginning is a word by chance.
var commonParts = strings.Fields(`
able acti agen alit ance andr anim anti apar appl area arti asia auto back band bank base beau bell bile blog boar body book
brow cal came cand card care cast cent cide city clas club code coin come comp conn cont cons core coun data date deal deli dera
dema deni derma desi deta deve digi dina dire disc divi dona dore dow duce econ edit educ elec elle emen ence ende ener enga engl
enti equi esta eter euro even ever exam expe face fact fami fant fast feat fede feel feli femi fera feri figu fila file film fina
find fine fini fire fish five flor folk fond food foot fora fore form foru free frie fron full func fund gala game gara gard gate
gene gent geni geo gers gest gita glob gold gole good goog grad gram gran grap grat gree grou hand head heal help high home host
hote hous idea ided imag imen impo indi info inge ings inte inve isla item kata kele kind king kita know labo land lang lase late
latin lead lear lect lega lent lete leta life ligh like limi line link liqu list lita lite live loca logi logo lond long look
lore love luna made mage magi mail main make mala male mali mana mand mani mano mark mart mass mate mati matr mede media medi meli
memb memo ment meri mero mess meta mete meti micr mili mind mine mini mira mobi mode modu mole mone moni mono mont more moto move
movi mult mura musi muta name nami nara nate nati natu neti nera neta news nite nomi nora norm note nova nove numb nume onal open
oper orde orga pala pape para pare park part pate path pati pede pens pera peri pers pete phon phot pica pict pila pita plan plat
play poli popu port posi post powe pram pres pret prin prob prod prog proj prop prov publ puta quer radi rail rama rami rand rang
rati rato read real rece rede refe regi rela reli rema rena rend rent repo repu resi reta rete retu revi rica ride righ rina ring
risk rita roma romo rona room rota rout sale sear secu self sell send seni sent seri serv sess shop shor show sign simi site size
soci soft sola solu song sour spec spor star stat stor stre stud styl subs supe supp syst tabl tako tale tali tall tang tara tari
tate tati team tech tela tele temp tend tent term terr test text than that them ther thin thre tica tick tics tige time ting tion
tita titl tive toda tome tona tool tora tore tori torn total tour town trad trai tran trav tree tril tube tura ture tuto type
unit univ upda urat user vale vali vana vari vate vela velo vend vent vera verd veri vers vest vice vide vida view vila vill vine
vira visi vita viva vora wate webs week well west what when wind wine wire with woma wood word work worl year york youn your zara
zone`)

// Mint makes a canary for a field and its sham twin: a term of the same shape
// that nobody types. The same state of r gives the same terms. Serial,
// Observation and Minted are the caller's to fill in, in both.
func Mint(r *rand.Rand, field string) (planted, sham Canary) {
	first, second := word(r, 0), word(r, 0)
	for alike(first, second) || !readable(first, second) {
		first, second = word(r, 0), word(r, 0)
	}
	planted = Canary{ID: id(r), Field: field, Term: first + " " + second}
	for {
		a, b := word(r, len(first)), word(r, len(second))
		if readable(a, b) && !alike(a, b) && !alike(a, first) && !alike(a, second) && !alike(b, first) && !alike(b, second) {
			return planted, Canary{ID: id(r), Field: field, Term: a + " " + b, Sham: true}
		}
	}
}

// readable is true when the two words pass for text: a term that looked like
// a token would turn every place that holds it into one.
func readable(first, second string) bool {
	for _, between := range []string{" ", "", "-", "."} {
		if payload.Peel([]byte(first+between+second), "").Kind != payload.KindText {
			return false
		}
	}
	return true
}

func id(r *rand.Rand) string { return fmt.Sprintf("%016x", r.Uint64()) }

// word makes a word of the given length, or of any allowed one for 0.
func word(r *rand.Rand, length int) string {
	for {
		want := length
		if want == 0 {
			want = shortWord + r.IntN(longWord-shortWord+1)
		}
		var b strings.Builder
		cluster := 1 + r.IntN(2) // behind which syllable
		for i := 0; b.Len() < want; i++ {
			if i == cluster {
				b.WriteString(clusters[r.IntN(len(clusters))])
			} else {
				b.WriteByte(consonants[r.IntN(len(consonants))])
			}
			b.WriteByte(vowels[r.IntN(len(vowels))])
		}
		w := b.String()[:want]
		if good(w) {
			return w
		}
	}
}

func good(w string) bool {
	for _, part := range commonParts {
		if strings.Contains(w, part) {
			return false
		}
	}
	// A syllable said twice looks like a child's word, and is one somewhere.
	for i := 0; i+4 <= len(w); i++ {
		if w[i:i+2] == w[i+2:i+4] {
			return false
		}
	}
	return true
}

// alike is true for words that begin alike or share a stretch of four letters.
func alike(a, b string) bool {
	const shared = 4
	for i := 0; i+shared <= len(a); i++ {
		if strings.Contains(b, a[i:i+shared]) {
			return true
		}
	}
	return a[:3] == b[:3]
}
