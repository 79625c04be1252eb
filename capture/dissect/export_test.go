package dissect

// Hello is what tests see of a ClientHello.
type Hello struct {
	ServerName, JA4 string
	Protocols       []string
	Ciphers         []uint16
	Extensions      []uint16
	Signatures      []uint16
}

// ParseHello reads the body of a ClientHello.
func ParseHello(b []byte) (Hello, bool) {
	h, ok := parseHello(b, 't')
	if !ok {
		return Hello{}, false
	}
	return Hello{h.serverName, h.ja4, h.protocols, h.ciphers, h.extensions, h.signatures}, true
}

// InitialKeys derives the client's keys for QUIC Initial packets.
func InitialKeys(dcid string, version uint32) (iv []byte, mask func(sample []byte) []byte, err error) {
	d := &datagrams{}
	if err := d.keys(dcid, version); err != nil {
		return nil, nil, err
	}
	return d.iv, func(sample []byte) []byte {
		out := make([]byte, 16)
		d.protect.Encrypt(out, sample)
		return out
	}, nil
}

// SealInitial protects an Initial packet as a client does; header ends with a
// packet number of four bytes.
func SealInitial(dcid string, version uint32, header, payload []byte) ([]byte, error) {
	d := &datagrams{}
	if err := d.keys(dcid, version); err != nil {
		return nil, err
	}
	start := len(header) - 4
	nonce := append([]byte(nil), d.iv...)
	for i := range 4 {
		nonce[8+i] ^= header[start+i]
	}
	packet := d.initial.Seal(append([]byte(nil), header...), nonce, payload, header)
	var mask [16]byte
	d.protect.Encrypt(mask[:], packet[start+4:start+20])
	packet[0] ^= mask[0] & 0x0f
	for i := range 4 {
		packet[start+i] ^= mask[1+i]
	}
	return packet, nil
}

// ParseDNS says whether a message can be read, and its questions and answers.
func ParseDNS(b []byte) (questions, answers []string, ok bool) {
	m, ok := parseDNS(b)
	if !ok {
		return nil, nil, false
	}
	for _, q := range m.questions {
		questions = append(questions, q.name+" "+dnsType(q.kind))
	}
	return questions, m.answers, true
}
