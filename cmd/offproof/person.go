package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/offproof/offproof/harness"
)

// maxAnswer bounds a line of a person, in bytes.
const maxAnswer = 64 << 10

// A person is told what to do, and answers by lines.
type person struct {
	answers <-chan string // closed at the end of the input
	out     io.Writer
	steps   int
}

// lines reads lines until the input ends. The reader is left waiting for a line
// that nobody asks for any more: a terminal cannot be read in turns with others.
func lines(in io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		sc := bufio.NewScanner(in)
		sc.Buffer(nil, maxAnswer)
		for sc.Scan() {
			out <- sc.Text()
		}
	}()
	return out
}

// do shows what is to be done and waits for the answer.
func (p *person) do(ctx context.Context, words string) error {
	p.steps++
	const ask = "    done, cannot WHY, or abort> "
	if _, err := fmt.Fprintf(p.out, "\n%3d %s\n%s", p.steps, visible(words), ask); err != nil {
		return fmt.Errorf("observe: ask the person: %w", err)
	}
	for {
		var line string
		var more bool
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case line, more = <-p.answers:
		}
		if !more {
			return fmt.Errorf("%w: the input ended", harness.ErrAborted)
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch strings.ToLower(word) {
		case "done":
			return nil
		case "cannot":
			return &harness.CannotError{Words: words, Why: strings.TrimSpace(rest)}
		case "abort":
			return harness.ErrAborted
		}
		if _, err := fmt.Fprintf(p.out, "    %q is no answer\n%s", word, ask); err != nil {
			return fmt.Errorf("observe: ask the person: %w", err)
		}
	}
}
