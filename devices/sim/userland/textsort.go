package userland

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

func cmdSort(p *proc, args []string) int {
	flags, files, ok := options(p, args, "nrufbigMcszV", "kto")
	if !ok {
		return 1
	}
	var all []string
	code := inputs(p, "sort", files, func(_ string, r io.Reader) error {
		data, err := slurp(r)
		all = append(all, lines(data)...)
		return err
	})
	field, _, _ := strings.Cut(flags['k'], ",")
	column, _ := atoi(strings.TrimRight(field, "nrbf"))
	numeric := flags['n'] != "" || strings.Contains(flags['k'], "n")
	key := func(s string) string {
		if column < 1 {
			return s
		}
		fields := strings.Fields(s)
		if flags['t'] != "" {
			fields = strings.Split(s, flags['t'])
		}
		if column > len(fields) {
			return ""
		}
		return fields[column-1]
	}
	number := func(s string) float64 {
		s = strings.TrimSpace(s)
		end := 0
		for end < len(s) && (s[end] == '-' && end == 0 || s[end] == '.' || s[end] >= '0' && s[end] <= '9') {
			end++
		}
		f, _ := strconv.ParseFloat(s[:end], 64) // no number counts as zero
		return f
	}
	less := func(a, b string) bool {
		if numeric {
			if x, y := number(key(a)), number(key(b)); x != y {
				return x < y
			}
		}
		x, y := key(a), key(b)
		if flags['f'] != "" {
			x, y = strings.ToUpper(x), strings.ToUpper(y)
		}
		return x < y
	}
	sort.SliceStable(all, func(i, j int) bool {
		if flags['r'] != "" {
			return less(all[j], all[i])
		}
		return less(all[i], all[j])
	})
	if flags['u'] != "" {
		all = slices.Compact(all)
	}
	for _, l := range all {
		p.printf("%s\n", l)
	}
	return code
}

func cmdUniq(p *proc, args []string) int {
	flags, files, ok := options(p, args, "cdui", "f")
	if !ok {
		return 1
	}
	last, n := "", 0
	flush := func() {
		if n == 0 || flags['d'] != "" && n < 2 || flags['u'] != "" && n > 1 {
			return
		}
		if flags['c'] != "" {
			p.printf("%7d ", n)
		}
		p.printf("%s\n", last)
	}
	code := inputs(p, "uniq", files, func(_ string, r io.Reader) error {
		return eachLine(r, func(line string) bool {
			if n > 0 && line == last {
				n++
				return !p.dead()
			}
			flush()
			last, n = line, 1
			return !p.dead()
		})
	})
	flush()
	return code
}

func cmdTee(p *proc, args []string) int {
	flags, files, ok := options(p, args, "ai", "")
	if !ok {
		return 1
	}
	mode := syscall.O_WRONLY | syscall.O_CREAT | syscall.O_TRUNC
	if flags['a'] != "" {
		mode = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_APPEND
	}
	outs := []io.Writer{p.out()}
	code := 0
	for _, f := range files {
		h, err := p.fs().OpenFile(p.abs(f), mode, 0o644)
		if err != nil {
			p.errorf("tee: %s: %s\n", f, strerror(err))
			code = 1
			continue
		}
		outs = append(outs, h)
	}
	if _, err := io.Copy(io.MultiWriter(outs...), p.in()); err != nil {
		return 1
	}
	return code
}

func cmdBase64(p *proc, args []string) int {
	flags, files, ok := options(p, args, "di", "w")
	if !ok {
		return 1
	}
	width := 76
	if n, isNumber := atoi(flags['w']); isNumber {
		width = n
	}
	return inputs(p, "base64", files, func(_ string, r io.Reader) error {
		data, err := slurp(r)
		if err != nil {
			return err
		}
		if flags['d'] != "" {
			clean := strings.Join(strings.Fields(string(data)), "")
			raw, err := base64.StdEncoding.DecodeString(clean)
			_, _ = p.out().Write(raw)
			return err
		}
		text := base64.StdEncoding.EncodeToString(data)
		for width > 0 && len(text) > width {
			p.printf("%s\n", text[:width])
			text = text[width:]
		}
		p.printf("%s\n", text)
		return nil
	})
}

func cmdXxd(p *proc, args []string) int {
	flags, files, ok := options(p, args, "pr", "cgls")
	if !ok {
		return 1
	}
	return inputs(p, "xxd", files, func(_ string, r io.Reader) error {
		data, err := slurp(r)
		if err != nil {
			return err
		}
		switch {
		case flags['r'] != "":
			raw, err := hex.DecodeString(strings.Join(strings.Fields(string(data)), ""))
			_, _ = p.out().Write(raw)
			return err
		case flags['p'] != "":
			text := hex.EncodeToString(data)
			for len(text) > 60 {
				p.printf("%s\n", text[:60])
				text = text[60:]
			}
			p.printf("%s\n", text)
			return nil
		}
		for off := 0; off < len(data) && !p.dead(); off += 16 {
			row := data[off:min(off+16, len(data))]
			var left strings.Builder
			for i := 0; i < len(row); i += 2 {
				left.WriteString(hex.EncodeToString(row[i:min(i+2, len(row))]) + " ")
			}
			right := bytes.Map(func(r rune) rune {
				if r < 32 || r > 126 {
					return '.'
				}
				return r
			}, row)
			p.printf("%08x: %-40s %s\n", off, left.String(), right)
		}
		return nil
	})
}

func cmdBasename(p *proc, args []string) int {
	if len(args) < 2 {
		p.errorf("%s: Needs 1 argument\n", args[0])
		return 1
	}
	if path.Base(args[0]) == "dirname" {
		p.printf("%s\n", path.Dir(args[1]))
		return 0
	}
	base := path.Base(args[1])
	if len(args) > 2 && base != args[2] {
		base = strings.TrimSuffix(base, args[2])
	}
	p.printf("%s\n", base)
	return 0
}

func cmdSeq(p *proc, args []string) int {
	n := []int{1, 1, 1}
	var vals []int
	for _, a := range args[1:] {
		v, err := strconv.Atoi(a)
		if err != nil {
			p.errorf("seq: bad number '%s'\n", a)
			return 1
		}
		vals = append(vals, v)
	}
	switch len(vals) {
	case 1:
		n[2] = vals[0]
	case 2:
		n[0], n[2] = vals[0], vals[1]
	case 3:
		n = vals
	default:
		return 1
	}
	for i := n[0]; n[1] != 0 && (n[1] > 0 && i <= n[2] || n[1] < 0 && i >= n[2]); i += n[1] {
		if _, err := fmt.Fprintf(p.out(), "%d\n", i); err != nil {
			return 1
		}
	}
	return 0
}

func cmdYes(p *proc, args []string) int {
	text := "y"
	if len(args) > 1 {
		text = strings.Join(args[1:], " ")
	}
	for {
		if _, err := fmt.Fprintln(p.out(), text); err != nil {
			return 1
		}
	}
}

func cmdCmp(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "ls", "")
	if !ok || len(rest) < 2 {
		return 2
	}
	a, err1 := p.fs().ReadFile(p.abs(rest[0]))
	b, err2 := p.fs().ReadFile(p.abs(rest[1]))
	switch {
	case err1 != nil || err2 != nil:
		p.errorf("cmp: %s: No such file or directory\n", rest[oneIf(err1 == nil)])
		return 2
	case bytes.Equal(a, b):
		return 0
	}
	if flags['s'] == "" {
		i := 0
		for i < len(a) && i < len(b) && a[i] == b[i] {
			i++
		}
		p.printf("%s %s differ: char %d, line %d\n", rest[0], rest[1], i+1, 1+bytes.Count(a[:i], []byte{'\n'}))
	}
	return 1
}

// cmdPrintf is printf.
func cmdPrintf(p *proc, args []string) int {
	if len(args) < 2 {
		p.errorf("printf: Needs 1 argument (see \"printf --help\")\n")
		return 1
	}
	format, rest := args[1], args[2:]
	for rounds := 0; rounds < maxVars; rounds++ {
		text, used, stop, err := formatArgs(format, rest)
		if _, werr := io.WriteString(p.out(), text); werr != nil {
			return 1
		}
		if err != "" {
			p.errorf("printf: %s\n", err)
			return 1
		}
		rest = rest[used:]
		if used == 0 || len(rest) == 0 || stop {
			break
		}
	}
	return 0
}

// formatArgs applies a format once.
func formatArgs(format string, args []string) (text string, used int, stop bool, problem string) {
	var b strings.Builder
	next := func() string {
		if used >= len(args) {
			return ""
		}
		used++
		return args[used-1]
	}
	for i := 0; i < len(format); i++ {
		if format[i] == '\\' {
			end := i + 1
			for end < len(format) && format[end] != '%' && (format[end] != '\\' || end == i+1) {
				end++
			}
			piece, ended := unescape(format[i:end], false)
			b.WriteString(piece)
			if ended {
				return b.String(), used, true, ""
			}
			i = end - 1
			continue
		}
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		start := i
		i++
		for i < len(format) && strings.IndexByte("-+ #0123456789.*", format[i]) >= 0 {
			i++
		}
		if i >= len(format) {
			return b.String(), used, true, "bad format"
		}
		spec := format[start:i]
		if strings.Contains(spec, "*") { // The next argument is taken only then.
			width := next()
			spec = strings.Replace(spec, "*", width, 1)
		}
		if len(spec) > 8 {
			return b.String(), used, true, "bad format"
		}
		switch c := format[i]; c {
		case '%':
			b.WriteByte('%')
		case 's':
			fmt.Fprintf(&b, spec+"s", next())
		case 'b':
			s, ended := unescape(next(), true)
			fmt.Fprintf(&b, spec+"s", s)
			if ended {
				return b.String(), used, true, ""
			}
		case 'c':
			s := next()
			fmt.Fprintf(&b, spec+"s", s[:min(1, len(s))])
		case 'd', 'i', 'u', 'x', 'X', 'o':
			arg := next()
			n, err := strconv.ParseInt(arg, 0, 64)
			if err != nil && arg != "" {
				if len(arg) > 1 && (arg[0] == '\'' || arg[0] == '"') {
					n = int64(arg[1])
				} else {
					problem = "bad number '" + arg + "'"
				}
			}
			if c == 'i' || c == 'u' {
				c = 'd'
			}
			fmt.Fprintf(&b, spec+string(c), n)
		case 'f', 'e', 'g', 'E', 'G':
			f, _ := strconv.ParseFloat(next(), 64) // no number counts as zero
			fmt.Fprintf(&b, spec+string(c), f)
		default:
			return b.String(), used, true, "bad %" + string(c)
		}
	}
	return b.String(), used, stop, problem
}
