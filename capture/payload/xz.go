package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The parts of an xz file (The .xz File Format 1.2.1, sections 2 and 3).
const (
	xzMagic  = "\xfd7zXZ\x00"
	xzHead   = 12
	xzFooter = 12
	xzFilter = 0x21 // LZMA2
)

var errXZ = errors.New("xz: it is damaged, or uses a filter or a dictionary that is not read")

// An xzReader reads the blocks of an xz stream. The library's own reader of
// whole files makes dictionaries of whatever size, up to 4 GB, a block asks
// for; this one hands it the blocks with a dictionary of maxWindow.
type xzReader struct {
	in    *bytes.Reader
	block io.Reader
	check int64 // the size of the sum behind each block
	start int64 // where the block's data began
}

func unxz(in *bytes.Reader) (io.Reader, error) {
	head := make([]byte, xzHead)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, errXZ
	}
	// Only sums of 0, 4, 8 and 32 bytes are in use.
	sizes := map[byte]int64{0: 0, 1: 4, 4: 8, 10: 32}
	size, ok := sizes[head[7]]
	if !ok || head[6] != 0 {
		return nil, errXZ
	}
	return &xzReader{in: in, check: size}, nil
}

func (x *xzReader) Read(b []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.Read(b)
		if errors.Is(err, io.EOF) {
			x.block = nil
			if err := x.finish(); err != nil {
				return n, err
			}
			err = nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next reads the header of a block, or the index behind the last one.
func (x *xzReader) next() error {
	size, err := x.in.ReadByte()
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	if size == 0 {
		return x.end()
	}
	head := make([]byte, 4*int(size)+3)
	if _, err := io.ReadFull(x.in, head); err != nil {
		return io.ErrUnexpectedEOF
	}
	const oneFilter, packedSize, wholeSize = 0x03, 0x40, 0x80
	flags, rest := head[0], bytes.NewReader(head[1:])
	if flags&oneFilter != 0 {
		return errXZ
	}
	for _, bit := range []byte{packedSize, wholeSize} {
		if flags&bit != 0 {
			if _, err := binary.ReadUvarint(rest); err != nil {
				return errXZ
			}
		}
	}
	var filter [3]byte
	if _, err := io.ReadFull(rest, filter[:]); err != nil || filter[0] != xzFilter || filter[1] != 1 {
		return errXZ
	}
	dictionary := maxWindow
	if small, err := lzma.DecodeDictCap(filter[2]); err == nil && small < maxWindow {
		dictionary = max(int(small), lzma.MinDictCap)
	}
	x.start = x.at()
	x.block, err = lzma.Reader2Config{DictCap: dictionary}.NewReader2(x.in)
	return err
}

// at is how many bytes were read.
func (x *xzReader) at() int64 { return x.in.Size() - int64(x.in.Len()) }

// finish skips the padding and the sum behind a block.
func (x *xzReader) finish() error {
	skip := (4-(x.at()-x.start)%4)%4 + x.check
	if skip > int64(x.in.Len()) {
		return io.ErrUnexpectedEOF
	}
	_, err := x.in.Seek(skip, io.SeekCurrent)
	return err
}

// end skips the index and the footer, which tell where it began.
func (x *xzReader) end() error {
	rest := make([]byte, x.in.Len())
	_, _ = x.in.ReadAt(rest, x.at())
	for at := 0; at+xzFooter <= len(rest); at++ {
		footer := rest[at : at+xzFooter]
		if footer[10] != 'Y' || footer[11] != 'Z' {
			continue
		}
		// The index is what stands between its first byte, which was read, and
		// the footer.
		if size := 4 * (int64(binary.LittleEndian.Uint32(footer[4:])) + 1); size == int64(at)+1 {
			_, err := x.in.Seek(int64(at+xzFooter), io.SeekCurrent)
			if err == nil {
				err = io.EOF
			}
			return err
		}
	}
	return io.ErrUnexpectedEOF
}
