package userland

// HID report descriptors, as the USB Device Class Definition for HID 1.11,
// section 6.2.2, describes them: a list of items, each a byte with its type, tag
// and size, and up to four bytes of data.

// A hidField is one value of a report, or a slot for the usage of a pressed key.
type hidField struct {
	report, at, bits int // the report's number, and the place in it in bits
	min, max         int // logical bounds
	application      int // usage of the outermost collection
	usage            int // page << 16 + usage
	slot             bool
}

// hidDescriptor parses a report descriptor; ok is false when it is malformed.
func hidDescriptor(b []byte) (fields []hidField, numbered, ok bool) {
	const (
		mainItem, globalItem, localItem = 0, 1, 2
		maxFields                       = 4096
	)
	var page, size, count, report, low, high, application, depth int
	var usages []int
	least := 0
	at := map[int]int{}
	for len(b) > 0 {
		head := b[0]
		n := int(head & 3)
		if n == 3 {
			n = 4
		}
		if head == 0xfe || len(b) < 1+n {
			return nil, false, false
		}
		unsigned := 0
		for i := range n {
			unsigned |= int(b[1+i]) << (8 * i)
		}
		signed := unsigned
		if n > 0 && n < 4 && unsigned>>(8*n-1) == 1 {
			signed -= 1 << (8 * n)
		}
		b = b[1+n:]
		tag := int(head >> 4)
		full := func() int {
			if n == 4 {
				return unsigned
			}
			return page<<16 | unsigned
		}
		switch head >> 2 & 3 {
		case globalItem:
			switch tag {
			case 0:
				page = unsigned
			case 1:
				low = signed
			case 2:
				high = signed
			case 7:
				size = unsigned
			case 8:
				report, numbered = unsigned, true
			case 9:
				count = unsigned
			}
		case localItem:
			switch tag {
			case 0:
				usages = append(usages, full())
			case 1:
				least = full()
			case 2:
				for u := least; u <= full() && len(usages) < maxFields; u++ {
					usages = append(usages, u)
				}
			}
		case mainItem:
			switch tag {
			case 0xa:
				if depth == 0 && len(usages) > 0 {
					application = usages[0]
				}
				depth++
			case 0xc:
				depth--
			case 0x8:
				if size < 1 || size > 32 || count < 0 || len(fields)+count > maxFields || depth < 1 {
					return nil, false, false
				}
				for i := range count {
					f := hidField{report: report, at: at[report], bits: size, min: low, max: high, application: application, slot: unsigned&2 == 0}
					at[report] += size
					if unsigned&1 != 0 {
						continue // Padding.
					}
					if f.slot {
						f.usage = page << 16
					} else if len(usages) > 0 {
						f.usage = usages[min(i, len(usages)-1)]
					}
					fields = append(fields, f)
				}
			}
			usages, least = nil, 0
		}
	}
	return fields, numbered, depth == 0 && len(fields) > 0
}

// value takes the field out of a report's data.
func (f hidField) value(data []byte) (int, bool) {
	v := 0
	for i := range f.bits {
		bit := f.at + i
		if bit/8 >= len(data) {
			return 0, false
		}
		v |= int(data[bit/8]>>(bit%8)&1) << i
	}
	if f.min < 0 && v>>(f.bits-1) == 1 {
		v -= 1 << f.bits
	}
	return v, true
}
