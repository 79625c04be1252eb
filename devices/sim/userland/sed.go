package userland

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
)

// A sedCommand is one of the commands of sed that scripts for phones use:
// s///, d, p, q and =, each with an address of a number, $, a pattern or a
// range of two.
type sedCommand struct {
	from, to sedAddress
	hasTo    bool
	negate   bool
	active   bool
	verb     byte
	rx       *regexp.Regexp
	with     string
	global   bool
	print    bool
}

type sedAddress struct {
	line int
	last bool
	rx   *regexp.Regexp
}

func (a sedAddress) set() bool { return a.line > 0 || a.last || a.rx != nil }

func (a sedAddress) match(line string, number int, last bool) bool {
	switch {
	case a.rx != nil:
		return a.rx.MatchString(line)
	case a.last:
		return last
	}
	return a.line == number
}

func (c *sedCommand) applies(line string, number int, last bool) bool {
	hit := true
	switch {
	case c.hasTo && c.active:
		if c.to.match(line, number, last) || c.to.line > 0 && number >= c.to.line {
			c.active = false
		}
	case c.hasTo:
		hit = c.from.match(line, number, last)
		c.active = hit && (c.to.line == 0 || c.to.line > number)
	case c.from.set():
		hit = c.from.match(line, number, last)
	}
	return hit != c.negate
}

var errSed = errors.New("bad pattern")

// until cuts s at the next delimiter that is not escaped.
func until(s string, delim byte) (part, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			if s[i+1] != delim {
				b.WriteByte('\\')
			}
			i++
			b.WriteByte(s[i])
		case s[i] == delim:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errSed
}

func sedPattern(s string, extended bool) (*regexp.Regexp, error) {
	if !extended {
		s = basicRegexp(s)
	}
	return regexp.Compile(s)
}

func parseSedAddress(s string, extended bool) (sedAddress, string, error) {
	switch {
	case strings.HasPrefix(s, "$"):
		return sedAddress{last: true}, s[1:], nil
	case strings.HasPrefix(s, "/"):
		pat, rest, err := until(s[1:], '/')
		if err != nil {
			return sedAddress{}, "", err
		}
		rx, err := sedPattern(pat, extended)
		return sedAddress{rx: rx}, rest, err
	}
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ := atoi(s[:end]) // no digits: no address
	return sedAddress{line: n}, s[end:], nil
}

func parseSed(script string, extended bool) ([]*sedCommand, error) {
	var list []*sedCommand
	s := script
	for {
		s = strings.TrimLeft(s, " \t\n;")
		if s == "" {
			return list, nil
		}
		if len(list) > 256 {
			return nil, errSed
		}
		c := &sedCommand{}
		var err error
		if c.from, s, err = parseSedAddress(s, extended); err != nil {
			return nil, err
		}
		if strings.HasPrefix(s, ",") {
			c.hasTo = true
			if c.to, s, err = parseSedAddress(s[1:], extended); err != nil {
				return nil, err
			}
		}
		s = strings.TrimLeft(s, " ")
		if strings.HasPrefix(s, "!") {
			c.negate = true
			s = s[1:]
		}
		if s == "" {
			return nil, errSed
		}
		c.verb = s[0]
		s = s[1:]
		switch c.verb {
		case 'd', 'p', 'q', '=':
		case 's':
			if s, err = c.parseSubstitute(s, extended); err != nil {
				return nil, err
			}
		default:
			return nil, errSed
		}
		list = append(list, c)
	}
}

func (c *sedCommand) parseSubstitute(s string, extended bool) (string, error) {
	if s == "" {
		return "", errSed
	}
	delim := s[0]
	pat, rest, err := until(s[1:], delim)
	if err != nil {
		return "", err
	}
	with, rest, err := until(rest, delim)
	if err != nil {
		return "", err
	}
	prefix := ""
	for rest != "" && strings.IndexByte("gpiI", rest[0]) >= 0 {
		switch rest[0] {
		case 'g':
			c.global = true
		case 'p':
			c.print = true
		default:
			prefix = "(?i)"
		}
		rest = rest[1:]
	}
	if !extended {
		pat = basicRegexp(pat)
	}
	if c.rx, err = regexp.Compile(prefix + pat); err != nil {
		return "", errSed
	}
	c.with = with
	return rest, nil
}

// replacement expands & and \1 for one match.
func (c *sedCommand) replacement(line string, at []int) string {
	var b strings.Builder
	for i := 0; i < len(c.with); i++ {
		switch {
		case c.with[i] == '&':
			b.WriteString(line[at[0]:at[1]])
		case c.with[i] == '\\' && i+1 < len(c.with):
			i++
			n := int(c.with[i]) - '0'
			switch {
			case n >= 0 && n <= 9 && 2*n+1 < len(at):
				if at[2*n] >= 0 {
					b.WriteString(line[at[2*n]:at[2*n+1]])
				}
			case c.with[i] == 'n':
				b.WriteByte('\n')
			case c.with[i] == 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(c.with[i])
			}
		default:
			b.WriteByte(c.with[i])
		}
	}
	return b.String()
}

func (c *sedCommand) substitute(line string) (string, bool) {
	n := 1
	if c.global {
		n = -1
	}
	matches := c.rx.FindAllStringSubmatchIndex(line, n)
	if matches == nil {
		return line, false
	}
	var b strings.Builder
	last := 0
	for _, at := range matches {
		b.WriteString(line[last:at[0]])
		b.WriteString(c.replacement(line, at))
		last = at[1]
	}
	b.WriteString(line[last:])
	return b.String(), true
}

func cmdSed(p *proc, args []string) int {
	var scripts, rest []string
	quiet, extended, inPlace := false, false, false
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-e" && i+1 < len(args):
			i++
			scripts = append(scripts, args[i])
		case a == "-n":
			quiet = true
		case a == "-E" || a == "-r":
			extended = true
		case a == "-i":
			inPlace = true
		case a == "-ne" && i+1 < len(args):
			i++
			quiet = true
			scripts = append(scripts, args[i])
		case len(a) > 1 && a[0] == '-' && a != "--":
			p.errorf("sed: Unknown option %s (see \"sed --help\")\n", a[1:])
			return 1
		default:
			rest = append(rest, a)
		}
	}
	if len(scripts) == 0 {
		if len(rest) == 0 {
			p.errorf("sed: no pattern\n")
			return 1
		}
		scripts, rest = rest[:1], rest[1:]
	}
	commands, err := parseSed(strings.Join(scripts, "\n"), extended)
	if err != nil {
		p.errorf("sed: bad pattern '%s'\n", strings.Join(scripts, "\n"))
		return 1
	}
	return inputs(p, "sed", rest, func(file string, r io.Reader) error {
		data, err := slurp(r)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		sedRun(commands, lines(data), quiet, &out)
		if inPlace && file != "-" {
			return p.fs().WriteFile(p.abs(file), out.Bytes(), 0o644)
		}
		_, err = p.out().Write(out.Bytes())
		return err
	})
}

func sedRun(commands []*sedCommand, list []string, quiet bool, out *bytes.Buffer) {
	for i, line := range list {
		deleted, quit := false, false
		for _, c := range commands {
			if deleted || !c.applies(line, i+1, i == len(list)-1) {
				continue
			}
			switch c.verb {
			case 'd':
				deleted = true
			case 'p':
				out.WriteString(line + "\n")
			case '=':
				out.WriteString(itoa(i+1) + "\n")
			case 'q':
				quit = true
			case 's':
				var hit bool
				line, hit = c.substitute(line)
				if hit && c.print {
					out.WriteString(line + "\n")
				}
			}
		}
		if !deleted && !quiet {
			out.WriteString(line + "\n")
		}
		if quit || out.Len() > maxText {
			return
		}
	}
}
