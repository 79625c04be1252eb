package userland_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestShell compares the shell with what mksh of a phone answers.
func TestShell(t *testing.T) {
	p := newPhone(t)
	for _, c := range []struct {
		name, script, out, errs string
		code                    int
	}{
		{name: "status", script: "echo a; echo b >&2; exit 7", out: "a\n", errs: "b\n", code: 7},
		{name: "backslashes", script: `echo "a\tb"; printf '%s-%03d\n' x 7`, out: "a\tb\nx-007\n"},
		{name: "quoting", script: `x='a  b'; echo $x; echo "$x"`, out: "a b\na  b\n"},
		{name: "not found", script: "nosuchthing", errs: "/system/bin/sh: nosuchthing: not found\n", code: 127},
		{name: "syntax", script: "echo (", errs: "/system/bin/sh: syntax error:", code: 1},
		{name: "and or", script: "false || echo 1 && echo 2; ! true; echo $?", out: "1\n2\n1\n"},
		{name: "if", script: "if [ 3 -gt 2 ]; then echo y; elif true; then echo z; else echo n; fi", out: "y\n"},
		{name: "else", script: "if false; then echo y; elif false; then echo z; else echo n; fi; echo $?", out: "n\n0\n"},
		{name: "loops", script: "for i in 1 2 3 4; do [ $i = 2 ] && continue; [ $i = 4 ] && break; echo $i; done; i=0; while [ $i -lt 2 ]; do i=$((i+1)); done; until [ $i -ge 5 ]; do i=$((i+1)); done; echo $i", out: "1\n3\n5\n"},
		{name: "case", script: `case abc in x) echo no;; a*|b) echo yes;; *) echo other;; esac`, out: "yes\n"},
		{name: "functions", script: "x=1; f() { local x=2; echo $x $1 $#; return 4; }; f a b; echo $? $x", out: "2 a 2\n4 1\n"},
		{name: "substitution", script: "echo $(echo in; exit 3) $?; x=$(false); echo $?", out: "in 3\n1\n"},
		{name: "pipeline", script: "printf 'b\\na\\nc\\n' | sort | head -n 2 | tr a-z A-Z", out: "A\nB\n"},
		{name: "pipeline subshell", script: "echo v | read x; echo [$x]", out: "[]\n"},
		{name: "read loop", script: "printf 'a b\\nc d\\n' | while read x y; do echo $y$x; done", out: "ba\ndc\n"},
		{name: "heredoc", script: "x=1; cat <<E\n$x\nE\ncat <<'E'\n$x\nE", out: "1\n$x\n"},
		{name: "redirect", script: "cd /data/local/tmp; echo a > f; echo b >> f; cat < f; { echo o; echo e >&2; } > g 2>&1; cat g; wc -l < f", out: "a\nb\no\ne\n2\n"},
		{name: "redirect fails", script: "echo a > /nodir/f; echo $?", out: "1\n", errs: "/system/bin/sh: can't create /nodir/f: No such file or directory\n"},
		{name: "descriptors", script: "exec 3>/data/local/tmp/h; echo three >&3; exec 3>&-; cat /data/local/tmp/h; echo x >&9", out: "three\n", errs: "/system/bin/sh: 9: bad file descriptor\n", code: 1},
		{name: "cd", script: "cd /data/local; pwd; cd tmp; pwd; cd ..; pwd; cd -; cd /nope; echo $?", out: "/data/local\n/data/local/tmp\n/data/local\n/data/local/tmp\n2\n", errs: "cd: /nope: No such file or directory"},
		{name: "glob", script: "cd /data/local/tmp; touch g1.txt g2.txt .gh.txt; echo g*.txt; echo q*.txt; echo /data/local/t*p", out: "g1.txt g2.txt\nq*.txt\n/data/local/tmp\n"},
		{name: "parameters", script: `set -- a "b c" d; echo $# "$2" $*; shift; echo $1; echo ${x:-def} ${1%c} ${#1}`, out: "3 b c a b c d\nb c\ndef b 3\n"},
		{name: "errexit", script: "set -e; false || true; if false; then :; fi; false; echo never", code: 1},
		{name: "nounset", script: "set -u; echo $undefined; echo never", errs: "undefined: unbound variable", code: 1},
		{name: "exit trap", script: "trap 'echo bye' EXIT; exit 3", out: "bye\n", code: 3},
		{name: "subshell", script: "x=1; (x=2; cd /data; exit 5); echo $? $x $PWD", out: "5 1 /\n"},
		{name: "arithmetic", script: "echo $((7/2)) $((2**3)) $((1<2)); ((3>4)); echo $?", out: "3 8 1\n1\n"},
		{name: "division by zero", script: "echo $((1/0)); echo never", errs: "division by zero", code: 1},
		{name: "test", script: "[ -d /data ] && [ ! -e /nope ] && test -x /system/bin/sh -a abc = abc && [[ abc == a* ]] && echo ok; [ 1 -eq x ]; echo $?", out: "ok\n2\n", errs: "bad number"},
		{name: "exec replaces", script: "exec echo hi; echo never", out: "hi\n"},
		{name: "exec keeps the pid", script: "echo $$; exec sh -c 'echo $$'", out: "SAME"},
		{name: "background", script: "sleep 100 & p=$!; kill $p; wait $p; echo $?", out: "143\n"},
		{name: "background pid is the program's", script: "sleep 100 & sleep 0.1; cat /proc/$!/cmdline | tr '\\000' ' '; kill $!", out: "sleep 100 "},
		{name: "trap of a signal", script: "trap 'echo got; exit 9' TERM; kill $$; sleep 5; echo never", out: "got\n", code: 9},
		{name: "killed child", script: "sh -c 'kill -9 $$'; echo $?", out: "137\n", errs: "Killed \n"},
		{name: "closed pipe", script: "yes | head -n 1", out: "y\n"},
		{name: "getopts", script: "set -- -a -b val rest; while getopts ab: o; do echo $o $OPTARG; done; echo $OPTIND", out: "a\nb val\n4\n"},
		{name: "command -v", script: "command -v tcpdump; command -v cd; command -v nope; echo $?", out: "/system/xbin/tcpdump\ncd\n1\n"},
		{name: "script file", script: "cd /data/local/tmp; printf '#!/system/bin/sh\\necho $0 $1\\n' > s.sh; ./s.sh; echo $?; chmod 755 s.sh; ./s.sh x; sh s.sh y", out: "126\n./s.sh x\ns.sh y\n", errs: "./s.sh: can't execute: Permission denied"},
		{name: "environment", script: "A=1 sh -c 'echo $A'; echo [$A]; export B=2; sh -c 'echo $B'; C=3; sh -c 'echo [$C]'", out: "1\n[]\n2\n[]\n"},
		{name: "braces", script: "echo a{b,c}d; echo {1..3}", errs: "argument list too long", out: "abd acd\n", code: 1},
		{name: "xargs", script: "printf '1\\n2\\n3\\n' | xargs -n 2 echo x", out: "x 1 2\nx 3\n"},
		{name: "timeout", script: "timeout 0.05 sleep 10; echo $?", out: "124\n"},
		{name: "no host", script: "cat /etc/passwd; ls /home; echo ~root", out: "~root\n", errs: "No such file or directory"},
		{name: "nested quotes", script: `echo "$(echo "a $(echo 'b c')")"`, out: "a b c\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := p.run(t, c.script)
			if c.out == "SAME" {
				if f := strings.Fields(out); len(f) != 2 || f[0] != f[1] {
					t.Errorf("stdout %q: two equal pids wanted", out)
				}
				return
			}
			if out != c.out || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" || code != c.code {
				t.Errorf("stdout %q, stderr %q, status %d; wanted %q, %q, %d", out, errs, code, c.out, c.errs, c.code)
			}
		})
	}
}

// TestShellIsBounded runs scripts that would exhaust a host that let them.
func TestShellIsBounded(t *testing.T) {
	p := newPhone(t)
	for name, script := range map[string]string{
		"recursion":        "f() { f; }; f",
		"eval":             `e='eval "$e"'; eval "$e"`,
		"sourcing":         "echo '. /data/local/tmp/r' > /data/local/tmp/r; . /data/local/tmp/r",
		"substitutions":    "f() { echo $(f) || exit; }; f; exit 1",
		"braces":           "echo {a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}",
		"brackets":         strings.Repeat("(", 5000),
		"long":             "echo " + strings.Repeat("x", 200<<10),
		"a big variable":   "x=xxxxxxxxxxxxxxxx; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do x=$x$x; done; exit 1",
		"a negative shift": "echo $((1 << -1)); exit 1",
		"forks":            "i=0; while [ $i -lt 600 ]; do sleep 50 >/dev/null 2>&1 & i=$((i+1)); done; exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			if out, errs, code := p.run(t, script); code == 0 {
				t.Errorf("ended well: %.200q %.200q", out, errs)
			}
			if _, _, code := p.run(t, "pkill sleep; true"); code != 0 {
				t.Error("the phone runs nothing more")
			}
			for range 100 {
				if out, _, _ := p.run(t, "pgrep sleep"); out == "" {
					return
				}
			}
			t.Error("sleeps are left")
		})
	}
}

func TestProcessesEndWithThePhone(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPhone(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done := make(chan int, 3)
	for _, script := range []string{"sleep 1000", "while :; do :; done", "trap '' INT TERM HUP; sleep 1000"} {
		go func() {
			_, _, code, _ := p.Run(ctx, script, "")
			done <- code
		}()
	}
	for len(p.SessionProcesses()) < 5 {
		runtime.Gosched()
	}
	p.Shutdown()
	for range 3 {
		if code := <-done; code != 137 && code != 0 {
			t.Errorf("status %d, 137 wanted", code)
		}
	}
	for range 60_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{
		"echo a | tr a b", "x=$((1<<-1))", "for i in a b; do echo ${i%a}; done", "case x in [a-z]) ;; esac", "f() { f; }; f",
		"cat <<E\n$(echo)\nE", "[[ a =~ b ]]", "a[9999999999]=1", "echo ${!x} ${x/y/z} ${x:1:2} ${x@Q}", "printf %1000000000d 1",
		"printf '%*d' 99999999 1", "sed 's/a/b/;$!d'", "grep '[' x", "exec 300>&1", "trap x 99", "typeset -i x=1", "let x=1/0",
		"kill -0 1; kill -9 -1", "seq 1 10", "head -c 10 /dev/urandom | base64", "dd if=/dev/zero bs=10 count=2 | xxd",
		"{ echo a; } 2>&1 >&2 | cat", "date +%s%3N%", "ls -lR /data", "find / -name '*.0'", "stat -c %s /", "printf '\\x'", "echo '\\",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		p := newPhone(t)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _, _, _ = p.Run(ctx, script, "input\n") // any answer will do; a crash of the test's process will not
	})
}
