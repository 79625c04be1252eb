package userland

import (
	"context"
	"fmt"
	"strings"
)

func biGetopts(_ context.Context, sh *shell, args []string) int {
	if len(args) < 3 {
		return sh.fail(1, "getopts: usage: getopts optstring name [arg ...]")
	}
	list := sh.params
	if len(args) > 3 {
		list = args[3:]
	}
	at, _ := atoi(sh.get("OPTIND"))
	if at < 1 {
		at = 1
	}
	end := func() int {
		sh.getopt = 0
		sh.set(args[2], "?")
		return 1
	}
	if at > len(list) {
		return end()
	}
	word := list[at-1]
	if sh.getopt == 0 {
		if len(word) < 2 || word[0] != '-' {
			return end()
		}
		if word == "--" {
			sh.set("OPTIND", fmt.Sprint(at+1))
			return end()
		}
		sh.getopt = 1
	}
	if sh.getopt >= len(word) {
		return end()
	}
	opt := word[sh.getopt]
	sh.getopt++
	next := func() {
		if sh.getopt >= len(word) {
			sh.getopt = 0
			at++
			sh.set("OPTIND", fmt.Sprint(at))
		}
	}
	spec := strings.TrimPrefix(args[1], ":")
	i := strings.IndexByte(spec, opt)
	if i < 0 || opt == ':' {
		next()
		sh.set(args[2], "?")
		if spec == args[1] {
			sh.p.errorf("%s: -%c: unknown option\n", sh.name, opt)
		} else {
			sh.set("OPTARG", string(opt))
		}
		return 0
	}
	if i+1 < len(spec) && spec[i+1] == ':' {
		value := word[sh.getopt:]
		sh.getopt = 0
		at++
		if value == "" {
			if at > len(list) {
				sh.set("OPTIND", fmt.Sprint(at))
				sh.set(args[2], "?")
				sh.p.errorf("%s: -%c: requires an argument\n", sh.name, opt)
				return 0
			}
			value = list[at-1]
			at++
		}
		sh.set("OPTIND", fmt.Sprint(at))
		sh.set("OPTARG", value)
	} else {
		next()
	}
	sh.set(args[2], string(opt))
	return 0
}

func biUlimit(_ context.Context, sh *shell, args []string) int {
	if len(args) < 3 {
		sh.p.printf("unlimited\n")
	}
	return 0
}

func biTimes(_ context.Context, sh *shell, _ []string) int {
	sh.p.printf("0m0.00s 0m0.00s\n0m0.00s 0m0.00s\n")
	return 0
}

func biLet(ctx context.Context, sh *shell, args []string) int {
	code := 1
	for _, arg := range args[1:] {
		file, err := parse("((" + arg + "))")
		if err != nil || len(file.Stmts) != 1 {
			return sh.fail(1, "let: %s: bad expression", arg)
		}
		sh.stmt(ctx, file.Stmts[0])
		code = sh.last
	}
	return code
}

// biTest is test and [.
func biTest(_ context.Context, sh *shell, args []string) int {
	return test(sh.p, args)
}

func test(p *proc, args []string) int {
	list := args[1:]
	if args[0] == "[" {
		if len(list) == 0 || list[len(list)-1] != "]" {
			p.errorf("%s: [: missing ]\n", shellPath)
			return 2
		}
		list = list[:len(list)-1]
	}
	t := tester{p: p, args: list}
	ok := t.or()
	if t.err == "" && len(t.args) > 0 {
		t.err = "unexpected operator/operand"
	}
	if t.err != "" {
		p.errorf("%s: %s: %s\n", shellPath, args[0], t.err)
		return 2
	}
	return oneIf(!ok)
}
