package canary_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"hash/fnv"
	"testing"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

func javaHash(s string) int32 {
	var h int32
	for _, c := range s {
		h = 31*h + c
	}
	return h
}

func TestShortHashesAreLeadsAndNeverSightings(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	a, b := fnv.New32(), fnv.New32a()
	a.Write([]byte(term))
	b.Write([]byte(term))
	for form, sum := range map[string]uint32{
		"crc32": crc32.ChecksumIEEE([]byte(term)), "crc32c": crc32.Checksum([]byte(term), crc32.MakeTable(crc32.Castagnoli)),
		"adler32": adler32.Checksum([]byte(term)), "java-hash": uint32(javaHash(term)), "fnv32": a.Sum32(), "fnv32a": b.Sum32(),
	} {
		raw := binary.BigEndian.AppendUint32(nil, sum)
		for what, body := range map[string]string{
			"number": fmt.Sprintf(`{"h":%d}`, sum), "signed": fmt.Sprintf(`{"h":%d}`, int32(sum)), "text": fmt.Sprintf(`{"h":"%d"}`, int32(sum)),
			"hex": fmt.Sprintf(`{"h":"%08x"}`, sum), "upper case": fmt.Sprintf(`{"h":"0x%08X"}`, sum), "form": fmt.Sprintf("a=1&h=%08x", sum),
			"base64": `{"h":"` + base64.StdEncoding.EncodeToString(raw) + `"}`, "raw": string(raw), "little-endian": string(binary.LittleEndian.AppendUint32(nil, sum)),
		} {
			parts := payload.Request(request(body))
			if got := finder.Find(parts); len(got) > 0 {
				t.Errorf("%s as %s is a sighting: %+v", form, what, got)
			}
			leads, chance := finder.Leads(parts)
			if len(leads) != 1 || leads[0].Form != form || leads[0].Canary != planted || chance <= 0 || chance > 1e-6 {
				t.Errorf("%s as %s: %+v, chance %g", form, what, leads, chance)
			}
		}
		for what, body := range map[string]string{
			"in a longer number": fmt.Sprintf(`{"h":"7%d77"}`, sum), "in longer hex": fmt.Sprintf(`{"h":"%08xab"}`, sum),
			"in a sentence": fmt.Sprintf("it is %d now", sum), "in five bytes": string(raw) + "\xff",
		} {
			if leads, _ := finder.Leads(payload.Request(request(body))); len(leads) > 0 {
				t.Errorf("%s %s: %+v", form, what, leads)
			}
		}
	}
}

func TestTheBytesOfAMACAreALead(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{{ID: "identifier/MAC", Term: "02:1a:4b:9c:3d:5e"}})
	raw := "\x02\x1a\x4b\x9c\x3d\x5e"
	parts := payload.Request(request(raw))
	if got := finder.Find(parts); len(got) > 0 {
		t.Errorf("six bytes are a sighting: %+v", got)
	}
	if leads, _ := finder.Leads(parts); len(leads) != 1 || leads[0].Form != canary.Raw {
		t.Errorf("%+v", leads)
	}
}

func FuzzLeads(f *testing.F) {
	f.Add([]byte("-1234567890"))
	f.Add([]byte("0xDEADBEEF"))
	f.Add([]byte("3q2+7w=="))
	finder := canary.NewFinder([]canary.Canary{planted, {ID: "identifier/MAC", Term: "02:1a:4b:9c:3d:5e"}})
	f.Fuzz(func(t *testing.T, body []byte) {
		leads, chance := finder.Leads(payload.Request(request(string(body))))
		if len(leads) > 1000 || chance < 0 {
			t.Errorf("%d leads, chance %g", len(leads), chance)
		}
	})
}
