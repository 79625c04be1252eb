package payload_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// readable are values in which nothing is hidden: each of their leaves must be
// text, a number or empty.
var readable = []string{
	// Words, names and sentences.
	"search", "homepage", "enter", "duckduckgo", "incognito", "zuvkomir tefralon", "Redmi Note 8", "Mi MIX 3", "Xiaomi",
	"The quick brown fox jumps over the lazy dog.", "How do I turn off aggregated statistics?", "IT'S ALL CAPS HERE, AND LOUD!",
	"Donaudampfschifffahrtsgesellschaftskapitän", "antidisestablishmentarianism", "rhythm", "strengths",
	"Aidez nous à améliorer Mi Browser", "Помогите нам улучшить Браузер", "Конфиденциальность и безопасность",
	"Zażółć gęślą jaźń", "Příliš žluťoučký kůň úpěl ďábelské ódy", "İstanbul'da hava bugün çok güzel", "Tiếng Việt có nhiều dấu",
	"Wszyscy ludzie rodzą się wolni i równi pod względem swej godności", "Minden emberi lény szabadon születik",
	"Kaikki ihmiset syntyvät vapaina ja tasavertaisina", "Alla människor är födda fria och lika i värde och rättigheter",
	"ni hao zhongguo shouji liulanqi sousuo", "watashi wa nihongo wo hanashimasu", "Ang lahat ng tao ay isinilang na malaya",
	// Other scripts.
	"人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。", "小米手机浏览器", "天氣預報 台北市",
	"すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。", "モバイルブラウザ設定",
	"모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며", "검색",
	"يولد جميع الناس أحراراً متساوين في الكرامة والحقوق", "כל בני האדם נולדו בני חורין", "सभी मनुष्यों को गौरव और अधिकारों के मामले में",
	"มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกัน", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι", "எல்லா மனிதரும் சுதந்திரமாகவே பிறக்கின்றனர்", "🎉🔥😂 party 🎂",
	// Numbers, times, versions.
	"0", "-1", "42", "3.14159", "1588300000000", "2147483647", "-1153195842", "18446744073709551615", "0.30000000000000004", "6.02e23", "true", "null",
	"2020-05-04", "2020-05-04T12:34:56.789Z", "2020-05-04T12:34:56+08:00", "Mon, 04 May 2020 12:34:56 GMT", "12:34:56", "+49 30 1234567",
	"1.0", "12.2.6-g", "V11.0.8.0.PCOMIXM", "PKQ1.190616.001", "9", "3.4.0", "1080x2340", "12.1.4 (202005041200)", "GMT+01:00", "SM-G973F", "QKQ1.190825.002",
	"xiaomi/ginkgo/ginkgo:9/PKQ1.190616.001/V11.0.8.0.PCOMIXM:user/release-keys",
	// HTTP.
	"Mozilla/5.0 (Linux; Android 9; Redmi Note 8 Build/PKQ1.190616.001; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/71.0.3578.141 Mobile Safari/537.36 XiaoMi/MiuiBrowser/12.2.6-g",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 13_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0", "okhttp/3.12.1", "Dalvik/2.1.0 (Linux; U; Android 10; MI 9 MIUI/V11.0.5.0.QFAMIXM)",
	"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.9",
	"en-GB,en-US;q=0.9,en;q=0.8,zh-CN;q=0.7", "gzip, deflate, br, zstd", "application/x-www-form-urlencoded; charset=UTF-8", "keep-alive", "max-age=0",
	"no-cache, no-store, must-revalidate", `"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"`, "?0", "bytes=0-1023", "cross-site",
	`W/"1588-17a3"`, "__utma=1.2; theme=dark", "lang=en-GB", "GA1.2.1234567890.1588300000", "timestamp=1588300000&region=GB", "width=1080&height=2340",
	// Identifiers that people write.
	"com.android.browser.BrowserSettingsActivity", "com.mi.globalbrowser/com.android.browser.BrowserActivity", "java.lang.NullPointerException",
	"android.permission.WRITE_SECURE_SETTINGS", "XMLHttpRequestEventTarget", "page_load_event_finish", "$screen_width", "global_browser_mini", "is_first_day",
	"getSystemServiceRegistryInitializationCompletedCallback", "MAX_CONCURRENT_STREAMS", "libwebviewchromium_plat_support.so", "aes-256-gcm", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"https://www.google.com/search?q=zuvkomir+tefralon&ie=UTF-8&oe=UTF-8", "https://duckduckgo.com/?q=zuvkomir+tefralon&t=h_&ia=web", "/sa?project=global_browser_mini&r=GB",
	"sa.api.intl.miui.com", "data.mistat.intl.xiaomi.com:443", "user@example.com", "192.168.1.17", "2001:db8:85a3::8a2e:370:7334", "fe80::1", "/data/user/0/com.android.browser/cache",
	"[1, 2, 3]", `{"a":{"b":[true,null,"x"]},"c":""}`, "a##b##c.java##1", "#ff8800", "50% off", "100%", "C++", "x=1; y=2", "<p>Hello, <b>world</b></p>",
	// Encodings of something readable.
	"SGVsbG8sIHdvcmxkISBUaGlzIGlzIHBsYWluLg==", "eyJzZWFyY2hfd29yZCI6InRlc3QiLCJuIjoxfQ", "68656c6c6f20776f726c64", "hello%20world%21", "%E5%B0%8F%E7%B1%B3", "JBSWY3DPEB3W64TMMQQHI2DFOJSQ",
}

// hidden are values that must not pass for readable, with what they are.
var hidden = map[string]payload.Kind{
	// Base64 of cipher text, of one block and more, in both alphabets.
	"9m4Zb2Rz0cQ3yJxT7vKpLw==":                     payload.KindOpaque,
	"9m4Zb2Rz0cQ3yJxT7vKpLw":                       payload.KindOpaque,
	"b3u/7Qx+0kPZr8vN1mWcTg==":                     payload.KindOpaque,
	"b3u_7Qx-0kPZr8vN1mWcTg":                       payload.KindOpaque,
	"q83vEjRWeJCrze8SNFZ4kA==":                     payload.KindOpaque,
	"uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=": payload.KindOpaque,
	"EBESExQVFhcYGRobHB0eH1SK1WfMAnRVFwzacjrjp/wPkeJ26HGyk29wyjnfyWaM7/qd": payload.KindOpaque,
	"JNinlaIqijZlsm7I4FrAwmzgfmLpLdxa%2F%2Ft8QdsjT365yJxcpZvJqBMpAVbw":     payload.KindOpaque,
	"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU":                          payload.KindOpaque,
	// Hex: hashes, keys, cipher text; upper case, in groups, with colons.
	"d41d8cd98f00b204e9800998ecf8427e":                                                       payload.KindOpaque,
	"D41D8CD98F00B204E9800998ECF8427E":                                                       payload.KindOpaque,
	"da39a3ee5e6b4b0d3255bfef95601890afd80709":                                               payload.KindOpaque,
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855":                       payload.KindOpaque,
	"c228a51c5dc032a7e0c97c697abe9f0fcecb6ca59088be41e59a3c1d9df044e8":                       payload.KindOpaque,
	"d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e":                                        payload.KindOpaque,
	"d41d 8cd9 8f00 b204 e980 0998 ecf8 427e":                                                payload.KindOpaque,
	"d41d8cd9-8f00b204-e9800998-ecf8427e":                                                    payload.KindOpaque,
	"00112233445566778899aabbccddeeff":                                                       payload.KindOpaque,
	"4ef8b4ac42dbc3f95320b73ae0edbd43":                                                       payload.KindOpaque,
	"If-Match d41d8cd98f00b204e9800998ecf8427e in a sentence":                                payload.KindOpaque,
	`"5e8d1f2c3b4a5968778695a4b3c2d1e0"`:                                                     payload.KindOpaque,
	`W/"5e8d1f2c3b4a5968778695a4b3c2d1e0-gzip"`:                                              payload.KindOpaque,
	"/assets/app.d41d8cd98f00b204e9800998ecf8427e.js":                                        payload.KindOpaque,
	"https://x.example/p/9m4Zb2Rz0cQ3yJxT7vKpLw/end":                                         payload.KindOpaque,
	"https://x.example/p?token=q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp":                              payload.KindOpaque,
	"sid=b7Kq2ZxW9vLr4Tn8Yc3Jm6Hd1Gs5Fp0A; Path=/":                                           payload.KindOpaque,
	"NID=204=qL7vXz3Kp9RtY2wNc5Mh1JdGs4FbA8eU6iO0xZkQmWvTnRyPjHgLfDsCaEuB":                   payload.KindOpaque,
	"Bearer q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp":                                                 payload.KindOpaque,
	"Basic 9m4Zb2Rz0cQ3yJxT7vKpLw==":                                                         payload.KindOpaque,
	"AKCp8krAbLmXzQvRt7Yw3Nc5Mh1Jd6Gs4FpZk3Lx":                                               payload.KindOpaque,
	`{"id":"q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp"}`:                                               payload.KindOpaque,
	`{"data":{"list":[{"p":"9m4Zb2Rz0cQ3yJxT7vKpLw=="}]}}`:                                   payload.KindOpaque,
	`{"d41d8cd98f00b204e9800998ecf8427e":1}`:                                                 payload.KindOpaque,
	`{"s":"{\"p\":\"9m4Zb2Rz0cQ3yJxT7vKpLw==\"}"}`:                                           payload.KindOpaque,
	"a=1&p=9m4Zb2Rz0cQ3yJxT7vKpLw%3D%3D":                                                     payload.KindOpaque,
	"a=1&p=9m4Zb2Rz0cQ3yJxT7vKpLw==":                                                         payload.KindOpaque,
	"sign=dace93cb73bbbc9a93455b27ae6bcf27&size=1":                                           payload.KindOpaque,
	"9m4Zb2Rz0cQ3yJxT7vKpLw==\n":                                                             payload.KindOpaque,
	"EBESExQVFhcYGRobHB0eH1SK1WfMAnRVFwzacjrjp/wPkeJ26HGyk29wyjnf\nyWaM7/qdFFLlkA0wMt1iUIyc": payload.KindOpaque,
	"[246,110,25,111,100,115,209,196,55,200,156,83,238,242,169,47]":                          payload.KindOpaque,
	"[-10,110,25,111,-100,115,-47,-60,55,-56,-100,83,-18,-14,-87,47]":                        payload.KindOpaque,
	`{"n":182736455463728190918273645546372819}`:                                             payload.KindOpaque,
	// Base32, base36, random letters.
	"MZXW6YTBOJ2GK4TQNFXGO5DPOJQXG2DFONUW4ZZAMFXGI": payload.KindText, // spells words
	"K5SXG2LQ7XZTN4MB2VGC6HJRDWFYEAPU":              payload.KindOpaque,
	"k5sxg2lq7xztn4mb2vgc6hjrdwfyeapu":              payload.KindOpaque,
	"7xk2m9qv4tz8wn3rj6pb1ch5gd0flsay":              payload.KindOpaque,
	"xqzvjkwpbfhgdmtncrlyxskzqwvjpbxhf":             payload.KindOpaque,
	"XQZVJKWPBFHGDMTNCRLYXSKZQWVJPBXHF":             payload.KindOpaque,
	"vq9z.k3lx.0vb7.rt2y.w8nc.5mh1.jd6g.s4fp.zx8k":  payload.KindOpaque,
	"Vq9Zk3Lx Rt2Yw8Nc 5Mh1Jd6G Fp0AzX8k QmWvTnRy":  payload.KindOpaque,
	// Identifiers.
	"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69":                 payload.KindToken,
	"0B5C2A7E-6D1F-4A3C-9B5E-1F2D3C4B5A69":                 payload.KindToken,
	"9f3c1d2e4b5a6978":                                     payload.KindToken,
	"d0e1f2a3b4c5":                                         payload.KindToken,
	"a4:50:46:12:34:56":                                    payload.KindToken,
	"A4-50-46-1B-3C-56":                                    payload.KindToken,
	"uuid 0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69 seen twice": payload.KindToken,
	`{"$device_id":"9f3c1d2e4b5a6978"}`:                    payload.KindToken,
	"id=9f3c1d2e4b5a6978&x=1":                              payload.KindToken,
	"device9f3c1d2e4b5a6978":                               payload.KindToken,
	"aB3xK9zQ7mWp2Lr":                                      payload.KindToken,
	"dQw4w9WgXcQz":                                         payload.KindToken,
	"356938035643809123456789":                             payload.KindToken,
	"cB7kQ2xZ9vWr":                                         payload.KindToken,
	"https://x.example/u/9f3c1d2e4b5a6978/feed":            payload.KindToken,
	// Bytes and odd scripts.
	"\x80\x81\xfe\x00\x17\x99": payload.KindOpaque,
	"\xf6n\x19od":              payload.KindOpaque,
	"⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵": payload.KindOpaque,
	"龘靐齉爩鱻麤灪龖鸞虪厵灩驫籲癵爨麷鬱鸜麣龗讟钃馫":   payload.KindOpaque,
}

func TestReadableIsNotHidden(t *testing.T) {
	if len(readable) < 60 {
		t.Fatalf("only %d readable samples", len(readable))
	}
	for _, value := range readable {
		t.Run(short(value), func(t *testing.T) {
			for leaf := range payload.Leaves([]payload.Part{{Root: payload.Peel([]byte(value), "")}}) {
				switch leaf.Kind {
				case payload.KindText, payload.KindNumber, payload.KindEmpty:
				case payload.KindUnknown, payload.KindToken, payload.KindOpaque:
					t.Errorf("%q: leaf %q at %q is %v", value, leaf.Value, leaf.Path, leaf.Kind)
				}
			}
		})
	}
}

func TestHiddenIsNotReadable(t *testing.T) {
	if len(hidden) < 60 {
		t.Fatalf("only %d hidden samples", len(hidden))
	}
	for value, want := range hidden {
		t.Run(short(value), func(t *testing.T) {
			worst := payload.KindUnknown
			for leaf := range payload.Leaves([]payload.Part{{Root: payload.Peel([]byte(value), "")}}) {
				if leaf.Kind == payload.KindToken || leaf.Kind == payload.KindOpaque {
					worst = max(worst, leaf.Kind)
				}
			}
			if want == payload.KindText {
				want = payload.KindUnknown
			}
			if worst != want {
				t.Errorf("%q is %v, want %v:\n%s", value, worst, want, tree(payload.Peel([]byte(value), "")))
			}
		})
	}
}

func short(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 40)], "?")
}
