package main

import (
	"strings"
	"testing"
)

func TestLabAskedWrongly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "--ipv4, --ipv6 or both"},
		{[]string{"--ipv4", "lab.example"}, "is no such address"},
		{[]string{"--ipv4", "2001:db8::1"}, "is no such address"},
		{[]string{"--ipv6", "192.0.2.1"}, "is no such address"},
		{[]string{"--ipv4", "0.0.0.0"}, "is no such address"},
		{[]string{"--ipv4", "192.0.2.1"}, "is it an address of this machine"},
	} {
		status, out, errs := offproof(t, "", append([]string{"lab"}, c.args...)...)
		if status != statusFailed || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.says) {
			t.Errorf("%v: status %d, %q, %q; wanted %q", c.args, status, out, errs, c.says)
		}
	}
}
