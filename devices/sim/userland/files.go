package userland

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func cmdCat(p *proc, args []string) int {
	_, files, ok := options(p, args, "uetv", "")
	if !ok {
		return 1
	}
	return inputs(p, "cat", files, func(_ string, r io.Reader) error {
		_, err := io.Copy(p.out(), r)
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EINTR) {
			return nil
		}
		return err
	})
}

var owners = map[string]int{
	"root": 0, "system": 1000, "radio": 1001, "wifi": 1010, "media": 1013, "sdcard_rw": 1015, "shell": 2000,
	"everybody": 9997, "inet": 3003, "cache": 2001, "media_rw": 1023, "input": 1004, "log": 1007, "adb": 1011, "sdcard_r": 1028,
	"net_bt_admin": 3001, "net_bt": 3002, "net_bw_stats": 3006, "readproc": 3009, "uhid": 3011,
}

func ownerName(id int) string {
	for name, n := range owners {
		if n == id {
			return name
		}
	}
	if id >= 10000 && id < 20000 {
		return fmt.Sprintf("u0_a%d", id-10000)
	}
	return strconv.Itoa(id)
}

func ownerID(name string) (int, bool) {
	if n, ok := atoi(name); ok {
		return n, true
	}
	n, ok := owners[name]
	if !ok && strings.HasPrefix(name, "u0_a") {
		n, ok = atoi(name[4:])
		n += 10000
	}
	return n, ok
}

func cmdChown(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "RHLPfhv", "")
	if !ok {
		return 1
	}
	name := path.Base(args[0])
	if len(rest) < 2 {
		p.errorf("%s: Needs 2 arguments (see \"%s --help\")\n", name, name)
		return 1
	}
	user, group, both := strings.Cut(strings.Replace(rest[0], ".", ":", 1), ":")
	if name == "chgrp" {
		user, group, both = "", rest[0], true
	}
	uid, gid := -1, -1
	if user != "" {
		if uid, ok = ownerID(user); !ok {
			p.errorf("%s: no user '%s'\n", name, user)
			return 1
		}
	}
	if both && group != "" {
		if gid, ok = ownerID(group); !ok {
			p.errorf("%s: no group '%s'\n", name, group)
			return 1
		}
	}
	return eachPath(p, name, rest[1:], flags['R'] != "", func(full string) error { return p.fs().Chown(full, uid, gid) })
}

// eachPath calls f for each path, and with deep for everything below it.
func eachPath(p *proc, name string, paths []string, deep bool, f func(full string) error) int {
	code := 0
	var visit func(full string, depth int)
	visit = func(full string, depth int) {
		if err := f(full); err != nil {
			p.errorf("%s: '%s': %s\n", name, full, strerror(err))
			code = 1
			return
		}
		if !deep || depth > maxNesting || p.dead() {
			return
		}
		if info, err := p.fs().Lstat(full); err != nil || !info.IsDir() {
			return
		}
		list, err := p.fs().ReadDir(full)
		if err != nil {
			return
		}
		for _, info := range list {
			visit(path.Join(full, info.Name()), depth+1)
		}
	}
	for _, arg := range paths {
		visit(p.abs(arg), 0)
	}
	return code
}

func parseMode(word string, old fs.FileMode) (fs.FileMode, bool) {
	if n, err := strconv.ParseUint(word, 8, 12); err == nil {
		return fs.FileMode(n) & fs.ModePerm, true
	}
	mode := old.Perm()
	for clause := range strings.SplitSeq(word, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 {
			return 0, false
		}
		var who fs.FileMode
		for _, c := range clause[:i] {
			switch c {
			case 'u':
				who |= 0o700
			case 'g':
				who |= 0o070
			case 'o':
				who |= 0o007
			case 'a':
				who |= 0o777
			default:
				return 0, false
			}
		}
		if who == 0 {
			who = 0o777
		}
		var bits fs.FileMode
		for _, c := range clause[i+1:] {
			switch c {
			case 'r':
				bits |= 0o444
			case 'w':
				bits |= 0o222
			case 'x', 'X':
				bits |= 0o111
			case 's', 't':
			default:
				return 0, false
			}
		}
		switch clause[i] {
		case '+':
			mode |= bits & who
		case '-':
			mode &^= bits & who
		case '=':
			mode = mode&^who | bits&who
		}
	}
	return mode, true
}

func cmdChmod(p *proc, args []string) int {
	deep := false
	var rest []string
	for _, a := range args[1:] {
		if a == "-R" || a == "-v" || a == "-f" {
			deep = deep || a == "-R"
			continue
		}
		rest = append(rest, a)
	}
	if len(rest) < 2 {
		p.errorf("chmod: Needs 2 arguments (see \"chmod --help\")\n")
		return 1
	}
	if _, ok := parseMode(rest[0], 0); !ok {
		p.errorf("chmod: bad mode '%s'\n", rest[0])
		return 1
	}
	return eachPath(p, "chmod", rest[1:], deep, func(full string) error {
		info, err := p.fs().Stat(full)
		if err != nil {
			return err
		}
		mode, _ := parseMode(rest[0], info.Mode())
		return p.fs().Chmod(full, mode)
	})
}

func cmdChcon(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "hvR", "")
	if !ok {
		return 1
	}
	if len(rest) < 2 {
		p.errorf("chcon: Needs 2 arguments (see \"chcon --help\")\n")
		return 1
	}
	return eachPath(p, "chcon", rest[1:], flags['R'] != "", func(full string) error { return p.fs().Label(full, rest[0]) })
}

func cmdRestorecon(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "DFRnrv", "")
	if !ok {
		return 1
	}
	return eachPath(p, "restorecon", rest, flags['R'] != "" || flags['r'] != "", func(full string) error {
		label := "u:object_r:system_data_file:s0"
		switch {
		case strings.HasPrefix(full, "/system"):
			label = "u:object_r:system_file:s0"
		case strings.HasPrefix(full, "/data/local/tmp"):
			label = "u:object_r:shell_data_file:s0"
		}
		return p.fs().Label(full, label)
	})
}

// into is the path of a source's copy: below a directory, or the target itself.
func into(f *FS, target, source string) string {
	if info, err := f.Stat(target); err == nil && info.IsDir() {
		return path.Join(target, path.Base(source))
	}
	return target
}

func copyTree(p *proc, from, to string, deep, keep bool, depth int) error {
	f := p.fs()
	info, err := f.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if !deep || depth > maxNesting {
			return pathErr("cp", from, errors.New("Is a directory (not copied)")) //nolint:staticcheck // toybox's text.
		}
		if err := f.Mkdir(to, info.Mode()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		list, err := f.ReadDir(from)
		if err != nil {
			return err
		}
		for _, child := range list {
			if err := copyTree(p, path.Join(from, child.Name()), path.Join(to, child.Name()), deep, keep, depth+1); err != nil {
				return err
			}
		}
	} else {
		data, err := f.ReadFile(from)
		if err != nil {
			return err
		}
		if err := f.WriteFile(to, data, info.Mode()&^fs.FileMode(p.umask)); err != nil {
			return err
		}
	}
	if !keep {
		return nil
	}
	return errors.Join(f.Chmod(to, info.Mode()), f.Chown(to, info.UID, info.GID), f.Chtimes(to, info.ModTime()))
}

func cmdCp(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "RrafpdLHPinsvuTlF", "")
	if !ok {
		return 1
	}
	if len(rest) < 2 {
		p.errorf("cp: Needs 2 arguments (see \"cp --help\")\n")
		return 1
	}
	target := p.abs(rest[len(rest)-1])
	deep := flags['R'] != "" || flags['r'] != "" || flags['a'] != ""
	keep := flags['p'] != "" || flags['a'] != ""
	if info, err := p.fs().Stat(target); len(rest) > 2 && (err != nil || !info.IsDir()) {
		p.errorf("cp: '%s' not directory\n", rest[len(rest)-1])
		return 1
	}
	code := 0
	for _, source := range rest[:len(rest)-1] {
		if err := copyTree(p, p.abs(source), into(p.fs(), target, source), deep, keep, 0); err != nil {
			p.errorf("cp: bad '%s': %s\n", source, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdMv(p *proc, args []string) int {
	_, rest, ok := options(p, args, "fivnT", "")
	if !ok {
		return 1
	}
	if len(rest) < 2 {
		p.errorf("mv: Needs 2 arguments (see \"mv --help\")\n")
		return 1
	}
	target := p.abs(rest[len(rest)-1])
	if info, err := p.fs().Stat(target); len(rest) > 2 && (err != nil || !info.IsDir()) {
		p.errorf("mv: '%s' not directory\n", rest[len(rest)-1])
		return 1
	}
	code := 0
	for _, source := range rest[:len(rest)-1] {
		from, to := p.abs(source), into(p.fs(), target, source)
		err := p.fs().Rename(from, to)
		if errors.Is(err, syscall.EXDEV) {
			if err = copyTree(p, from, to, true, true, 0); err == nil {
				err = p.fs().RemoveAll(from)
			}
		}
		if err != nil {
			p.errorf("mv: bad '%s': %s\n", source, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdRm(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "rRfiv", "")
	if !ok {
		return 1
	}
	force := flags['f'] != ""
	if len(rest) == 0 && !force {
		p.errorf("rm: Needs 1 argument (see \"rm --help\")\n")
		return 1
	}
	deep := flags['r'] != "" || flags['R'] != ""
	code := 0
	for _, arg := range rest {
		full := p.abs(arg)
		info, err := p.fs().Lstat(full)
		switch {
		case err == nil && info.IsDir() && !deep:
			err = pathErr("rm", arg, syscall.EISDIR)
		case err == nil:
			err = p.fs().RemoveAll(full)
		}
		if err != nil && (!force || !errors.Is(err, fs.ErrNotExist)) {
			p.errorf("rm: %s: %s\n", arg, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdRmdir(p *proc, args []string) int {
	code := 0
	for _, arg := range args[1:] {
		info, err := p.fs().Lstat(p.abs(arg))
		if err == nil && !info.IsDir() {
			err = pathErr("rmdir", arg, syscall.ENOTDIR)
		}
		if err == nil {
			err = p.fs().Remove(p.abs(arg))
		}
		if err != nil {
			p.errorf("rmdir: '%s': %s\n", arg, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdMkdir(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "pv", "m")
	if !ok {
		return 1
	}
	mode := fs.FileMode(0o777 &^ p.umask)
	if flags['m'] != "" {
		if mode, ok = parseMode(flags['m'], 0o777); !ok {
			p.errorf("mkdir: bad mode '%s'\n", flags['m'])
			return 1
		}
	}
	code := 0
	for _, arg := range rest {
		make := p.fs().Mkdir
		if flags['p'] != "" {
			make = p.fs().MkdirAll
		}
		if err := make(p.abs(arg), mode); err != nil {
			p.errorf("mkdir: '%s': %s\n", arg, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdMktemp(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "dqu", "p")
	if !ok {
		return 1
	}
	dir := p.getenv("TMPDIR")
	if flags['p'] != "" {
		dir = flags['p']
	}
	name := path.Join(dir, "tmp.XXXXXXXXXX")
	if len(rest) > 0 {
		name = rest[0]
	}
	base := strings.TrimRight(name, "X")
	full := fmt.Sprintf("%s%010d", base, p.sys.random()%1e10)
	var err error
	if flags['d'] != "" {
		err = p.fs().Mkdir(p.abs(full), 0o700)
	} else {
		err = p.fs().WriteFile(p.abs(full), nil, 0o600)
	}
	if err != nil {
		p.errorf("mktemp: %s: %s\n", full, strerror(err))
		return 1
	}
	p.printf("%s\n", full)
	return 0
}

func cmdTouch(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "acmf", "dtr")
	if !ok {
		return 1
	}
	code := 0
	for _, arg := range rest {
		full := p.abs(arg)
		_, err := p.fs().Stat(full)
		switch {
		case err == nil:
			err = p.fs().Chtimes(full, p.sys.Now())
		case flags['c'] != "":
			err = nil
		default:
			err = p.fs().WriteFile(full, nil, fs.FileMode(0o666&^p.umask))
		}
		if err != nil {
			p.errorf("touch: '%s': %s\n", arg, strerror(err))
			code = 1
		}
	}
	return code
}

func cmdTruncate(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "c", "s")
	n, isNumber := atoi(flags['s'])
	if !ok || !isNumber {
		return 1
	}
	for _, arg := range rest {
		data, err := p.fs().ReadFile(p.abs(arg))
		if err != nil && !errors.Is(err, fs.ErrNotExist) || n > maxFile {
			p.errorf("truncate: '%s': Invalid argument\n", arg)
			return 1
		}
		if err := p.fs().WriteFile(p.abs(arg), append(data, make([]byte, max(n-len(data), 0))...)[:n], 0o644); err != nil {
			p.errorf("truncate: '%s': %s\n", arg, strerror(err))
			return 1
		}
	}
	return 0
}

func cmdLn(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "sfnvrT", "")
	if !ok || len(rest) < 2 || flags['s'] == "" {
		p.errorf("ln: only ln -s TARGET NAME is supported\n")
		return 1
	}
	name := into(p.fs(), p.abs(rest[1]), rest[0])
	if flags['f'] != "" {
		_ = p.fs().Remove(name) // it need not be there
	}
	if err := p.fs().Symlink(rest[0], name); err != nil {
		p.errorf("ln: cannot create symbolic link from '%s' to '%s': %s\n", rest[0], rest[1], strerror(err))
		return 1
	}
	return 0
}

func cmdReadlink(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "fenqm", "")
	if !ok || len(rest) == 0 {
		return 1
	}
	full := flags['f'] != "" || path.Base(args[0]) == "realpath"
	for _, arg := range rest {
		if full {
			p.sys.fs.mu.RLock()
			at, err := p.fs().walk(p.abs(arg), true)
			p.sys.fs.mu.RUnlock()
			if err != nil {
				return 1
			}
			p.printf("%s\n", at.path)
			continue
		}
		info, err := p.fs().Lstat(p.abs(arg))
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return 1
		}
		p.printf("%s\n", info.Link)
	}
	return 0
}

func modeString(m fs.FileMode) string {
	kind := "-"
	switch {
	case m.IsDir():
		kind = "d"
	case m&fs.ModeSymlink != 0:
		kind = "l"
	case m&fs.ModeCharDevice != 0:
		kind = "c"
	}
	return kind + m.Perm().String()[1:]
}

func cmdLs(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "1AaCcdFfghikLlmnopqRrSstuxZ", "")
	if !ok {
		return 1
	}
	if len(rest) == 0 {
		rest = []string{"."}
	}
	code := 0
	show := func(info *FileInfo, name string) {
		if flags['i'] != "" {
			p.printf("%d ", info.Ino)
		}
		switch {
		case flags['l'] != "" || flags['n'] != "":
			arrow := ""
			if info.Link != "" {
				arrow = " -> " + info.Link
			}
			owner, group := ownerName(info.UID), ownerName(info.GID)
			if flags['n'] != "" {
				owner, group = strconv.Itoa(info.UID), strconv.Itoa(info.GID)
			}
			label := ""
			if flags['Z'] != "" {
				label = info.Label + " "
			}
			p.printf("%s %d %s %s %s%*d %s %s%s\n", modeString(info.Mode()), 1, owner, group, label, 7, info.Size(),
				info.ModTime().UTC().Format("2006-01-02 15:04"), name, arrow)
		case flags['Z'] != "":
			p.printf("%s %s\n", info.Label, name)
		default:
			p.printf("%s\n", name)
		}
	}
	var dir func(full, title string, depth int)
	dir = func(full, title string, depth int) {
		list, err := p.fs().ReadDir(full)
		if err != nil {
			p.errorf("ls: %s: %s\n", title, strerror(err))
			code = 1
			return
		}
		if len(rest) > 1 || flags['R'] != "" {
			p.printf("%s:\n", title)
		}
		if flags['t'] != "" {
			slices.SortStableFunc(list, func(a, b *FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
		}
		if flags['S'] != "" {
			slices.SortStableFunc(list, func(a, b *FileInfo) int { return int(b.Size() - a.Size()) })
		}
		if flags['r'] != "" {
			slices.Reverse(list)
		}
		if flags['l'] != "" {
			p.printf("total %d\n", len(list)*4)
		}
		if flags['a'] != "" {
			for _, dot := range []string{".", ".."} {
				if info, err := p.fs().Stat(path.Join(full, dot)); err == nil {
					show(info, dot)
				}
			}
		}
		for _, info := range list {
			if strings.HasPrefix(info.Name(), ".") && flags['a'] == "" && flags['A'] == "" {
				continue
			}
			show(info, info.Name())
		}
		if flags['R'] == "" || depth > maxNesting {
			return
		}
		for _, info := range list {
			if info.IsDir() {
				p.printf("\n")
				dir(path.Join(full, info.Name()), path.Join(title, info.Name()), depth+1)
			}
		}
	}
	for _, arg := range rest {
		info, err := p.fs().Lstat(p.abs(arg))
		if err == nil && info.Mode()&fs.ModeSymlink != 0 && flags['l'] == "" && flags['d'] == "" || strings.HasSuffix(arg, "/") {
			info, err = p.fs().Stat(p.abs(arg))
		}
		switch {
		case err != nil:
			p.errorf("ls: %s: %s\n", arg, strerror(err))
			code = 1
		case info.IsDir() && flags['d'] == "":
			dir(p.abs(arg), arg, 0)
		default:
			show(info, arg)
		}
	}
	return code
}
