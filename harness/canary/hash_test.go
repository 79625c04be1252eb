package canary_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

var hashes = map[string]func() hash.Hash{
	"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	"sha512/224": sha512.New512_224, "sha512/256": sha512.New512_256,
	"sha3-224": func() hash.Hash { return sha3.New224() }, "sha3-256": func() hash.Hash { return sha3.New256() },
	"sha3-384": func() hash.Hash { return sha3.New384() }, "sha3-512": func() hash.Hash { return sha3.New512() },
}

func sumOf(fn func() hash.Hash, text string) []byte {
	h := fn()
	h.Write([]byte(text))
	return h.Sum(nil)
}

// forms are the whole sightings of the planted term in a JSON leaf.
func formsIn(finder *canary.Finder, leaf string) []string {
	var out []string
	for _, s := range finder.Find(payload.Request(request(`{"w":"` + leaf + `"}`))) {
		if s.Whole() && s.Canary == planted {
			out = append(out, s.Form)
		}
	}
	return out
}

func TestHashesAreFoundInEveryEncoding(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	colons := func(sum []byte) string { return strings.ReplaceAll(fmt.Sprintf("% x", sum), " ", ":") }
	for name, fn := range hashes {
		for _, text := range []string{term, strings.ToUpper(term), first + second, first + "+" + second, first + "-" + second} {
			sum := sumOf(fn, text)
			digits := hex.EncodeToString(sum)
			for encoding, c := range map[string]struct{ leaf, form string }{
				"hex":               {digits, "-hex"},
				"upper case":        {strings.ToUpper(digits), "-hex"},
				"cut to 8 bytes":    {digits[:16], "-hex"},
				"cut to 10 bytes":   {digits[:20], "-hex"},
				"behind another":    {"v1-" + strings.Repeat("0", 31) + digits, "-hex"},
				"with colons":       {colons(sum), "-raw"}, // payload opens it
				"with dashes":       {digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:], "-hex"},
				"base64 behind":     {"h" + base64.RawURLEncoding.EncodeToString(sum), "-base64"},
				"base64url cut":     {"id." + base64.RawURLEncoding.EncodeToString(sum)[:14], "-base64"},
				"base64 of 8 bytes": {"id." + base64.RawStdEncoding.EncodeToString(sum[:8]), "-base64"},
			} {
				if got := formsIn(finder, c.leaf); !slices.Contains(got, name+c.form) || len(got) != 1 {
					t.Errorf("%s of %q, %s: seen %q, want %s", name, text, encoding, got, name+c.form)
				}
			}
			if got := finder.FindRaw(slices.Concat([]byte("\x00\xff"), sum, []byte("\x80"))); len(got) != 1 || got[0].Form != name+"-raw" {
				t.Errorf("%s of %q, raw: seen %+v", name, text, got)
			}
		}
		sum := sumOf(fn, term)
		if got := formsIn(finder, hex.EncodeToString(sum[len(sum)-8:])); !slices.Equal(got, []string{name + "-end"}) {
			t.Errorf("the end of %s: seen %q", name, got)
		}
	}
}

// In a long address a hash begins anywhere; in a blob where an encoder began it.
func TestHashesAreFoundInLongRuns(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	sum := sumOf(hashes["sha256"], term)
	for n := range 400 {
		path := strings.Repeat("a/b-", n/4) + strings.Repeat("z", n%4)
		for form, text := range map[string]string{"sha256-hex": hex.EncodeToString(sum), "sha256-base64": base64.RawURLEncoding.EncodeToString(sum)} {
			got := finder.FindRaw([]byte("https://x.example/" + path + "/" + text + "/" + path))
			if len(got) != 1 || got[0].Form != form {
				t.Errorf("%s behind %d characters: %+v", form, n, got)
			}
		}
	}
	r := source(73)
	for n := range 100 {
		blob := append(randomBytes(r, 3000+3*n), sum...)
		if got := finder.FindRaw([]byte(base64.StdEncoding.EncodeToString(blob))); len(got) != 1 || got[0].Form != "sha256-base64" {
			t.Errorf("base64 behind %d bytes: %+v", len(blob)-len(sum), got)
		}
		blob = append(randomBytes(r, 3000+n), sum...)
		if got := finder.FindRaw([]byte(hex.EncodeToString(blob))); len(got) != 1 || got[0].Form != "sha256-hex" {
			t.Errorf("hex behind %d bytes: %+v", len(blob)-len(sum), got)
		}
	}
}

func TestSevenBytesOfAHashAreNoSighting(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for name, fn := range hashes {
		sum := sumOf(fn, term)
		for _, leaf := range []string{hex.EncodeToString(sum)[:15], base64.RawStdEncoding.EncodeToString(sum[:7])} {
			if got := formsIn(finder, leaf); len(got) > 0 {
				t.Errorf("%s: %q is called %q", name, leaf, got)
			}
		}
		if got := finder.FindRaw(sum[:7]); len(got) > 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNameBasedUUIDsAreHashes(t *testing.T) {
	sum := md5.Sum([]byte(term))
	sum[6], sum[8] = sum[6]&0x0f|0x30, sum[8]&0x3f|0x80
	id := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:])
	if got := formsIn(canary.NewFinder([]canary.Canary{planted}), id); !slices.Contains(got, "md5-uuid") {
		t.Errorf("%s is called %q", id, got)
	}
}

// A phone may hash the whole address that was opened, not the term in it.
func TestHashesOfWhatWasTypedAreFound(t *testing.T) {
	typed, err := planted.As(canary.Address, "https://pages.example/a/")
	if err != nil {
		t.Fatal(err)
	}
	finder := canary.NewFinder([]canary.Canary{typed})
	for text, want := range map[string]bool{
		typed.Typed: true, typed.Typed + "/": true, strings.TrimPrefix(typed.Typed, "https://"): true, strings.ToUpper(typed.Typed): true,
		"/a/" + first + "-" + second: true, "pages.example": false, "https://pages.example/a/": false,
	} {
		got := finder.FindRaw([]byte(fmt.Sprintf("%x", sha256.Sum256([]byte(text)))))
		if (len(got) > 0) != want {
			t.Errorf("the hash of %q: %+v, want a sighting: %v", text, got, want)
		}
	}
}

var facts = canary.Facts{
	Packages: []string{"com.mi.globalbrowser", "com.xiaomi.xmsf"},
	Devices:  []string{"9F3C1D2E4B5A6978", "02:1a:4b:9c:3d:5e"},
	From:     time.Date(2020, 5, 4, 12, 40, 0, 0, time.FixedZone("", 5*3600+1800)),
	To:       time.Date(2020, 5, 4, 15, 10, 0, 0, time.FixedZone("", 5*3600+1800)),
}

func TestSaltsByPackageDeviceHourAndDay(t *testing.T) {
	// An observation has a few terms with their shams.
	r := source(71)
	all := []canary.Canary{planted}
	for range 5 {
		c, sham := canary.Mint(r, "query")
		all = append(all, c, sham)
	}
	finder := canary.NewFinder(all, canary.Salts(facts)...)
	if n := finder.Unsalted(); n != 0 {
		t.Fatalf("%d of %d terms have no salted hashes", n, len(all))
	}
	utc := time.Date(2020, 5, 4, 9, 0, 0, 0, time.UTC) // within the span, of which the phone's zone is half an hour off
	for salt, name := range map[string]string{
		"com.xiaomi.xmsf": "package", "9f3c1d2e4b5a6978": "device", "021A4B9C3D5E": "device", "02:1a:4b:9c:3d:5e": "device",
		fmt.Sprint(utc.UnixMilli()): "hour", fmt.Sprint(utc.Unix()): "hour", fmt.Sprint(utc.Unix() / 3600): "hour", "2020050409": "hour",
		"2020050415": "hour", "2020-05-04": "day", "20200504": "day", fmt.Sprint(utc.Unix() / 86400): "day",
		"com.mi.globalbrowser02:1a:4b:9c:3d:5e": "package+device",
	} {
		for _, fn := range []string{"md5", "sha1", "sha256", "sha512", "sha3-256"} {
			for _, text := range []string{term, first + second} {
				for _, salted := range []string{salt + text, text + salt, salt + ":" + text, salt + "_" + text, text + "_" + salt} {
					// Two kinds of salt may have one value: either name is right.
					leaf := hex.EncodeToString(sumOf(hashes[fn], salted))[:16]
					if got := formsIn(finder, leaf); len(got) == 0 || !strings.HasPrefix(got[0], fn+":") || !slices.Contains(got, fn+":"+name) {
						t.Errorf("%s of %q: seen %q, want %s:%s", fn, salted, got, fn, name)
					}
				}
				mac := hmac.New(hashes[fn], []byte(salt))
				mac.Write([]byte(text))
				want := "hmac-" + fn + ":" + name
				if got := formsIn(finder, base64.StdEncoding.EncodeToString(mac.Sum(nil))); !slices.Contains(got, want) {
					t.Errorf("HMAC of %q under %q: seen %q, want %s", text, salt, got, want)
				}
			}
		}
	}
	for _, salt := range []string{"com.android.browser", "2020050420", "2020-05-05"} {
		if got := formsIn(finder, fmt.Sprintf("%x", sha256.Sum256([]byte(salt+term)))); len(got) > 0 {
			t.Errorf("salted with %q: seen %q", salt, got)
		}
	}
}

func TestSaltsAreBounded(t *testing.T) {
	long := facts
	long.To = long.From.AddDate(1, 0, 0)
	for range 200 {
		long.Packages = append(long.Packages, fmt.Sprintf("com.example.p%d", len(long.Packages)))
	}
	salts := canary.Salts(long)
	if len(salts) > 20_000 {
		t.Errorf("%d salts", len(salts))
	}
	if n := len(canary.Salts(canary.Facts{})); n != 0 {
		t.Errorf("%d salts of nothing", n)
	}
}

// What has no room is said, and the newest terms come first.
func TestTheOldestTermsLoseTheirSaltsFirst(t *testing.T) {
	r := source(72)
	var all []canary.Canary
	start := time.Date(2020, 5, 4, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		c, _ := canary.Mint(r, "query")
		c.Minted = start.Add(time.Duration(i) * time.Hour)
		all = append(all, c)
	}
	finder := canary.NewFinder(all, canary.Salts(facts)...)
	if n := finder.Unsalted(); n == 0 || n == len(all) {
		t.Fatalf("%d of %d terms have no salted hashes", n, len(all))
	}
	seen := func(c canary.Canary) bool {
		return len(finder.FindRaw([]byte(fmt.Sprintf("%x", sha256.Sum256([]byte("com.xiaomi.xmsf"+c.Term)))))) > 0
	}
	if !seen(all[len(all)-1]) || seen(all[0]) {
		t.Errorf("the newest is found: %v, the oldest: %v", seen(all[len(all)-1]), seen(all[0]))
	}
}

// Nobody can tell what a hash under an unknown key is: it is no sighting, and
// its leaf must not pass for clean.
func TestAHashUnderASecretKeyIsOpaqueAndNoSighting(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted}, canary.Salts(facts)...)
	for name, fn := range hashes {
		mac := hmac.New(fn, []byte("a key that nobody told"))
		mac.Write([]byte(term))
		sum := mac.Sum(nil)
		for _, leaf := range []string{hex.EncodeToString(sum), strings.ToUpper(hex.EncodeToString(sum)), base64.StdEncoding.EncodeToString(sum), hex.EncodeToString(sum[:8])} {
			parts := payload.Request(request(`{"w":"` + leaf + `"}`))
			if got := finder.Find(parts); len(got) > 0 {
				t.Errorf("%s: %+v", name, got)
			}
			for l := range payload.Leaves(parts) {
				if l.Where == "body" && l.Kind != payload.KindOpaque && l.Kind != payload.KindToken {
					t.Errorf("HMAC-%s as %q is %v at %q", name, leaf, l.Kind, l.Path)
				}
			}
		}
	}
}

func TestParseSaltsNamesTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"hour": "line 1", "# x\n\nHour {hour.ms}": "line 3", "a {hour.us}": "line 1", "a {planet}": "line 1", "a {": "line 1",
		"a {hour.ms}{hour.ms}{day.ms}{day.ms}": "more than 3",
	} {
		if _, err := canary.ParseSalts(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func FuzzParseSalts(f *testing.F) {
	f.Add("package {package}\n# c\nhour {hour:2006010215}{device}\n")
	f.Add("a {hour.ms}{hour.n}{day.s}")
	f.Fuzz(func(t *testing.T, text string) {
		templates, err := canary.ParseSalts(text)
		if err != nil {
			return
		}
		if len(templates) > 100 {
			templates = templates[:100]
		}
		for _, s := range canary.FillSalts(templates, facts) {
			if s.Name == "" || s.Value == "" {
				t.Errorf("%+v", s)
			}
		}
	})
}
