package userland

import (
	"bytes"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func cmdHead(p *proc, args []string) int {
	args = oldCount(args)
	flags, files, ok := options(p, args, "qv", "nc")
	if !ok {
		return 1
	}
	n := 10
	if v, isNumber := atoi(flags['n']); isNumber {
		n = v
	}
	code := inputs(p, "head", files, func(_ string, r io.Reader) error {
		if c, isNumber := atoi(flags['c']); isNumber {
			_, err := io.Copy(p.out(), io.LimitReader(r, int64(c)))
			return err
		}
		one := make([]byte, 1)
		var line []byte
		for left := n; left > 0 && len(line) < maxText; {
			got, err := r.Read(one)
			if got == 1 {
				line = append(line, one[0])
				if one[0] == '\n' {
					if _, werr := p.out().Write(line); werr != nil {
						return nil //nolint:nilerr // Nobody reads on: head is done.
					}
					line = line[:0]
					left--
				}
			}
			if err != nil {
				_, _ = p.out().Write(line)
				return nil //nolint:nilerr // The end of the input.
			}
		}
		return nil
	})
	return code
}

// oldCount turns -5 into -n 5.
func oldCount(args []string) []string {
	if len(args) > 1 && len(args[1]) > 1 && args[1][0] == '-' {
		if _, ok := atoi(args[1][1:]); ok {
			return append([]string{args[0], "-n", args[1][1:]}, args[2:]...)
		}
	}
	return args
}

func cmdTail(p *proc, args []string) int {
	args = oldCount(args)
	flags, files, ok := options(p, args, "fqv", "nc")
	if !ok {
		return 1
	}
	count, from := 10, false
	if v := flags['n']; v != "" {
		from = v[0] == '+'
		count, _ = atoi(strings.TrimLeft(v, "+-"))
	}
	return inputs(p, "tail", files, func(file string, r io.Reader) error {
		data, err := slurp(r)
		if err != nil {
			return err
		}
		if c, isNumber := atoi(strings.TrimPrefix(flags['c'], "+")); isNumber {
			start := max(len(data)-c, 0)
			if strings.HasPrefix(flags['c'], "+") {
				start = min(max(c-1, 0), len(data))
			}
			_, err = p.out().Write(data[start:])
			return err
		}
		list := lines(data)
		if from {
			list = list[min(max(count-1, 0), len(list)):]
		} else {
			list = list[max(len(list)-count, 0):]
		}
		for _, l := range list {
			p.printf("%s\n", l)
		}
		if flags['f'] == "" || file == "-" {
			return nil
		}
		return p.follow(file, int64(len(data)))
	})
}

// follow shows what is added to a file until the process is killed.
func (p *proc) follow(file string, at int64) error {
	for {
		data, err := p.fs().ReadFile(p.abs(file))
		if err != nil {
			return err
		}
		if int64(len(data)) < at {
			at = 0
		}
		if _, err := p.out().Write(data[at:]); err != nil {
			return nil //nolint:nilerr // Nobody reads on.
		}
		at = int64(len(data))
		t := newTimer(pollEvery)
		select {
		case <-t.C:
		case <-p.done:
			t.Stop()
			return nil
		}
	}
}

func cmdWc(p *proc, args []string) int {
	flags, files, ok := options(p, args, "lwcm", "")
	if !ok {
		return 1
	}
	var total [3]int
	show := func(n [3]int, name string) {
		var cols []string
		for i, f := range []byte{'l', 'w', 'c'} {
			if len(flags) == 0 || flags[f] != "" || f == 'c' && flags['m'] != "" {
				cols = append(cols, strconv.Itoa(n[i]))
			}
		}
		if name != "-" {
			cols = append(cols, name)
		}
		p.printf("%s\n", strings.Join(cols, " "))
	}
	code := inputs(p, "wc", files, func(file string, r io.Reader) error {
		data, err := slurp(r)
		if err != nil {
			return err
		}
		n := [3]int{bytes.Count(data, []byte{'\n'}), len(bytes.Fields(data)), len(data)}
		for i := range n {
			total[i] += n[i]
		}
		show(n, file)
		return nil
	})
	if len(files) > 1 {
		show(total, "total")
	}
	return code
}

func cmdGrep(p *proc, args []string) int {
	name := path.Base(args[0])
	var patterns []string
	rest := []string{args[0]}
	for i := 1; i < len(args); i++ {
		if args[i] == "-e" && i+1 < len(args) {
			patterns = append(patterns, args[i+1])
			i++
			continue
		}
		rest = append(rest, args[i])
	}
	flags, rest, ok := options(p, rest, "EFGHabchilLnoqrRsvwxz", "mABC")
	if !ok {
		return 2
	}
	if len(patterns) == 0 {
		if len(rest) == 0 {
			p.errorf("%s: Needs 1 argument (see \"%s --help\")\n", name, name)
			return 2
		}
		patterns, rest = strings.Split(rest[0], "\n"), rest[1:]
	}
	for i, pat := range patterns {
		switch {
		case flags['F'] != "" || name == "fgrep":
			pat = regexp.QuoteMeta(pat)
		case flags['E'] == "" && name != "egrep":
			pat = basicRegexp(pat)
		}
		if flags['w'] != "" {
			pat = `\b(?:` + pat + `)\b`
		}
		if flags['x'] != "" {
			pat = "^(?:" + pat + ")$"
		}
		patterns[i] = "(?:" + pat + ")"
	}
	expr := strings.Join(patterns, "|")
	if flags['i'] != "" {
		expr = "(?i)" + expr
	}
	rx, err := regexp.Compile(expr)
	if err != nil {
		p.errorf("%s: bad REGEX: %s\n", name, err)
		return 2
	}
	files := rest
	if (flags['r'] != "" || flags['R'] != "") && len(files) > 0 {
		files = nil
		eachPath(p, name, rest, true, func(full string) error {
			info, err := p.fs().Stat(full)
			if err == nil && info.Mode().IsRegular() {
				files = append(files, full)
			}
			return err
		})
	}
	most := maxText
	if n, isNumber := atoi(flags['m']); isNumber {
		most = n
	}
	titled := len(files) > 1 || flags['H'] != ""
	found := false
	code := inputs(p, name, files, func(file string, r io.Reader) error {
		title := ""
		if titled && flags['h'] == "" {
			title = file + ":"
		}
		n, err := grepOne(p, r, rx, flags, title, most)
		found = found || n > 0
		switch {
		case flags['c'] != "":
			p.printf("%s%d\n", title, n)
		case flags['l'] != "" && n > 0, flags['L'] != "" && n == 0:
			p.printf("%s\n", file)
		}
		return err
	})
	switch {
	case found && code == 0:
		return 0
	case code != 0:
		return 2
	}
	return 1
}

// grepOne searches one input line by line, so that it can be used at the end
// of a pipe that never ends.
func grepOne(p *proc, r io.Reader, rx *regexp.Regexp, flags map[byte]string, title string, most int) (int, error) {
	quiet := flags['q'] != "" || flags['c'] != "" || flags['l'] != "" || flags['L'] != ""
	before, _ := atoi(flags['B'] + flags['C'])
	after, _ := atoi(flags['A'] + flags['C'])
	var recent []string
	n, number, trailing := 0, 0, 0
	emit := func(line string, at int) {
		if flags['n'] != "" {
			p.printf("%s%d:%s\n", title, at, line)
		} else {
			p.printf("%s%s\n", title, line)
		}
	}
	err := eachLine(r, func(line string) bool {
		number++
		if rx.MatchString(line) == (flags['v'] != "") {
			switch {
			case trailing > 0 && !quiet:
				trailing--
				emit(line, number)
			case before > 0:
				recent = append(recent, line)
				recent = recent[max(len(recent)-before, 0):]
			}
			return !p.dead()
		}
		n++
		if quiet {
			return flags['q'] == "" && n < most
		}
		for i, l := range recent {
			emit(l, number-len(recent)+i)
		}
		recent = nil
		trailing = after
		if flags['o'] != "" {
			for _, m := range rx.FindAllString(line, -1) {
				if m != "" {
					p.printf("%s%s\n", title, m)
				}
			}
		} else {
			emit(line, number)
		}
		return n < most && !p.dead()
	})
	return n, err
}

// eachLine calls f for every line until f says stop.
func eachLine(r io.Reader, f func(line string) bool) error {
	buf := make([]byte, 32<<10)
	var rest []byte
	for {
		n, err := r.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				break
			}
			if !f(string(rest[:i])) {
				return nil
			}
			rest = rest[i+1:]
		}
		if len(rest) > maxText {
			return syscall.ENOMEM
		}
		if err != nil {
			if len(rest) > 0 {
				f(string(rest))
			}
			if err == io.EOF || err == syscall.EINTR { //nolint:errorlint // Our own readers return these as they are.
				return nil
			}
			return err
		}
	}
}

// basicRegexp turns a basic regular expression into an extended one.
func basicRegexp(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '[':
			end := i + 1
			if end < len(s) && s[end] == '^' {
				end++
			}
			if end < len(s) && s[end] == ']' {
				end++
			}
			for end < len(s) && s[end] != ']' {
				if s[end] == '[' && end+1 < len(s) && s[end+1] == ':' {
					if j := strings.Index(s[end:], ":]"); j > 0 {
						end += j + 1
					}
				}
				end++
			}
			end = min(end, len(s)-1)
			b.WriteString(strings.ReplaceAll(s[i:end+1], `\`, `\\`))
			i = end
		case c == '\\' && i+1 < len(s):
			i++
			if strings.IndexByte("(){}|+?", s[i]) >= 0 {
				b.WriteByte(s[i])
			} else {
				b.WriteByte('\\')
				b.WriteByte(s[i])
			}
		case strings.IndexByte("(){}|+?", c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func cmdCut(p *proc, args []string) int {
	flags, files, ok := options(p, args, "sn", "dfcb")
	if !ok {
		return 1
	}
	list := flags['f'] + flags['c'] + flags['b']
	if list == "" {
		p.errorf("cut: no -bcf\n")
		return 1
	}
	type span struct{ from, to int }
	var spans []span
	for part := range strings.SplitSeq(list, ",") {
		a, b, isRange := strings.Cut(part, "-")
		from, _ := atoi(a)
		to := from
		if isRange {
			to = maxText
			if n, isNumber := atoi(b); isNumber {
				to = n
			}
			from = max(from, 1)
		}
		spans = append(spans, span{from, to})
	}
	wanted := func(i int) bool {
		return slices.ContainsFunc(spans, func(s span) bool { return i >= s.from && i <= s.to })
	}
	sep := "\t"
	if flags['d'] != "" {
		sep = flags['d']
	}
	return inputs(p, "cut", files, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			var out []string
			if flags['f'] == "" {
				for i := range len(line) {
					if wanted(i + 1) {
						out = append(out, line[i:i+1])
					}
				}
				p.printf("%s\n", strings.Join(out, ""))
				return !p.dead()
			}
			if !strings.Contains(line, sep) {
				if flags['s'] == "" {
					p.printf("%s\n", line)
				}
				return !p.dead()
			}
			for i, f := range strings.Split(line, sep) {
				if wanted(i + 1) {
					out = append(out, f)
				}
			}
			p.printf("%s\n", strings.Join(out, sep))
			return !p.dead()
		})
	})
}

// trSet expands a set of tr: ranges, escapes and a few classes.
func trSet(s string) []byte {
	text, _ := unescape(s, false)
	for class, members := range map[string]string{
		"[:lower:]": "a-z", "[:upper:]": "A-Z", "[:digit:]": "0-9", "[:space:]": " \t\n\r\v\f", "[:alpha:]": "a-zA-Z",
		"[:alnum:]": "a-zA-Z0-9",
	} {
		text = strings.ReplaceAll(text, class, members)
	}
	var out []byte
	for i := 0; i < len(text); i++ {
		if i+2 < len(text) && text[i+1] == '-' && text[i] <= text[i+2] {
			for c := int(text[i]); c <= int(text[i+2]); c++ {
				out = append(out, byte(c))
			}
			i += 2
			continue
		}
		out = append(out, text[i])
	}
	return out
}

func cmdTr(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "cCds", "")
	if !ok || len(rest) == 0 {
		return 1
	}
	from := trSet(rest[0])
	var to []byte
	if len(rest) > 1 {
		to = trSet(rest[1])
	}
	complement := flags['c'] != "" || flags['C'] != ""
	if complement {
		var rev []byte
		for c := range 256 {
			if !bytes.Contains(from, []byte{byte(c)}) {
				rev = append(rev, byte(c))
			}
		}
		from = rev
	}
	buf := make([]byte, 32<<10)
	last := -1
	for {
		n, err := p.in().Read(buf)
		var out []byte
		for _, c := range buf[:n] {
			i := bytes.IndexByte(from, c)
			if i >= 0 && flags['d'] != "" {
				continue
			}
			if i >= 0 && len(to) > 0 {
				c = to[min(i, len(to)-1)]
			}
			if i >= 0 && flags['s'] != "" && last == int(c) {
				continue
			}
			last = int(c)
			out = append(out, c)
		}
		if _, werr := p.out().Write(out); werr != nil || err != nil {
			return 0
		}
	}
}
