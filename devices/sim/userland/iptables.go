package userland

import (
	"slices"
	"strings"
	"sync"
)

// A firewall is the filter table of iptables and of ip6tables: what it knows is a
// chain of its user's own that rejects, and a jump to it from OUTPUT for a
// protocol and a port. It is gone with a reboot.
type firewall struct {
	mu sync.Mutex
	// chains are the rules of each chain, by the program's name and the chain's.
	chains map[string]map[string][]string
}

func newFirewall() *firewall {
	f := &firewall{}
	f.clear()
	return f
}

func (f *firewall) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chains = map[string]map[string][]string{}
	for _, program := range []string{"iptables", "ip6tables"} {
		f.chains[program] = map[string][]string{"INPUT": nil, "FORWARD": nil, "OUTPUT": nil}
	}
}

// rejects says whether what goes to a port leaves the phone no more.
func (f *firewall) rejects(program, proto, port string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, rule := range f.chains[program]["OUTPUT"] {
		w := strings.Fields(rule)
		if len(w) == 6 && w[1] == proto && w[3] == port && slices.Contains(f.chains[program][w[5]], "-j REJECT") {
			return true
		}
	}
	return false
}

// rules are all rules, as "iptables -A CHAIN RULE".
func (f *firewall) rules() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	for program, chains := range f.chains {
		for chain, rules := range chains {
			if !slices.Contains([]string{"INPUT", "FORWARD", "OUTPUT"}, chain) {
				out = append(out, program+" -N "+chain)
			}
			for _, r := range rules {
				out = append(out, program+" -A "+chain+" "+r)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Firewall are the rules of the packet filter and the chains that somebody made.
func (s *System) Firewall() []string { return s.firewall.rules() }

// Rejects says whether the packet filter lets nothing go to a port. proto is udp
// or tcp.
func (s *System) Rejects(proto, port string, v6 bool) bool {
	program := "iptables"
	if v6 {
		program = "ip6tables"
	}
	return s.firewall.rejects(program, proto, port)
}

// cmdIptables is iptables and ip6tables: -w, and one of -N, -X, -F, -A, -I, -D and
// -C, with a jump to a chain or REJECT.
func cmdIptables(p *proc, args []string) int {
	program := args[0][strings.LastIndexByte(args[0], '/')+1:]
	if p.uid != rootUID {
		p.errorf("%s v1.6.1: can't initialize %s table `filter': Permission denied (you must be root)\nPerhaps %s or your kernel needs to be upgraded.\n", program, program, program)
		return 3
	}
	rest := args[1:]
	if len(rest) > 0 && rest[0] == "-w" {
		rest = rest[1:]
		if len(rest) > 0 && strings.Trim(rest[0], "0123456789") == "" {
			rest = rest[1:]
		}
	}
	if len(rest) < 2 {
		p.errorf("%s v1.6.1: no command specified\nTry `%s -h' or '%s --help' for more information.\n", program, program, program)
		return 2
	}
	what, chain, rule := rest[0], rest[1], strings.Join(rest[2:], " ")
	f := p.sys.firewall
	f.mu.Lock()
	defer f.mu.Unlock()
	chains := f.chains[program]
	rules, known := chains[chain]
	if what == "-N" {
		if known {
			p.errorf("%s: Chain already exists.\n", program)
			return 1
		}
		chains[chain] = nil
		return 0
	}
	target := rule[strings.LastIndexByte(rule, ' ')+1:]
	_, chained := chains[target]
	if !known || (rule != "" && target != "REJECT" && !chained) {
		p.errorf("%s: No chain/target/match by that name.\n", program)
		return 1
	}
	at := slices.Index(rules, rule)
	switch what {
	case "-A":
		chains[chain] = append(rules, rule)
	case "-I":
		chains[chain] = append([]string{rule}, rules...)
	case "-C", "-D":
		if at < 0 {
			p.errorf("%s: Bad rule (does a matching rule exist in that chain?).\n", program)
			return 1
		}
		if what == "-D" {
			chains[chain] = slices.Delete(rules, at, at+1)
		}
	case "-F":
		chains[chain] = nil
	case "-X":
		if len(rules) > 0 {
			p.errorf("%s: Directory not empty.\n", program)
			return 1
		}
		for _, others := range chains {
			if slices.ContainsFunc(others, func(r string) bool { return strings.HasSuffix(r, "-j "+chain) }) {
				p.errorf("%s: Too many links.\n", program)
				return 1
			}
		}
		delete(chains, chain)
	default:
		p.errorf("%s v1.6.1: unknown option \"%s\"\n", program, what)
		return 2
	}
	return 0
}
