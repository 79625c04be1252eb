package packets

import "time"

// What the fuzz tests reach into.
var (
	Holds    = holds
	WireName = wireName
)

// CloseFile makes every later write of a recording fail.
func (r *Recorder) CloseFile() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.file.Close()
}

// Split cuts a pcap stream given in chunks, and returns the whole records'
// bytes, the packets with their times, and what is left over.
func Split(chunks [][]byte) (whole []byte, packets [][]byte, stamps []time.Time, rest []byte, err error) {
	var s splitter
	for _, c := range chunks {
		var w []byte
		w, err = s.feed(c, func(p []byte, at time.Time) {
			packets, stamps = append(packets, append([]byte(nil), p...)), append(stamps, at)
		})
		whole = append(whole, w...)
		if err != nil {
			break
		}
	}
	return whole, packets, stamps, s.rest, err
}
