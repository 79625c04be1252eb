package packets

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// maxLine bounds a line that a program says; the rest of it is dropped.
const maxLine = 4 << 10

// Lines hands over what a program says, line by line without blanks around, until
// the reader ends. Empty lines are passed over.
func Lines(r io.Reader, hear func(line string)) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if text != "" {
			hear(text)
		}
		if err != nil {
			return
		}
	}
}
