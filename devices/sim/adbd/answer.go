package adbd

import (
	"fmt"
	"io"
)

// The answers of ADB's smart sockets, which the server and the daemon's reverse
// service both give.

// maxBlock is what four hexadecimal digits can announce.
const maxBlock = 0xffff

// SendOkay says that a request is granted.
func SendOkay(w io.Writer) error {
	_, err := io.WriteString(w, "OKAY")
	return err
}

// SendFail says why a request is refused.
func SendFail(w io.Writer, reason string) error {
	reason = reason[:min(len(reason), maxBlock)]
	_, err := fmt.Fprintf(w, "FAIL%04x%s", len(reason), reason)
	return err
}

// SendBlock sends a text with its length.
func SendBlock(w io.Writer, text string) error {
	text = text[:min(len(text), maxBlock)]
	_, err := fmt.Fprintf(w, "%04x%s", len(text), text)
	return err
}
