package adb

import (
	"bytes"
	"io"
)

// The parsers that the fuzz tests reach.
var (
	ParseTable   = parseTable
	ParseTunnels = parseTunnels
	ReadStatus   = readStatus
	CutTrailer   = cutTrailer
)

// Demux reads a shell stream into two strings.
func Demux(r io.Reader, most int64) (stdout, stderr []byte, exit int, err error) {
	o, e := &capped{most: most}, &capped{most: most}
	exit, err = demux(r, o, e)
	return o.Bytes(), e.Bytes(), exit, err
}

// PullFrom reads a file transfer.
func PullFrom(b []byte, w io.Writer) error { return pull(bytes.NewReader(b), w) }

// StatFrom reads both kinds of answer to a stat.
func StatFrom(b []byte) (FileInfo, error, error) {
	_, err1 := readStatV1(bytes.NewReader(b))
	info, err2 := readStatV2(bytes.NewReader(b))
	return info, err1, err2
}

// PumpTrailer reads the output of an old phone.
func PumpTrailer(r io.Reader, w io.Writer, nonce string) (int, error) {
	return pumpTrailer(r, w, nonce)
}
