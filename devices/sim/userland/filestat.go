package userland

import (
	"crypto/md5"  //nolint:gosec // md5sum is a command of the phone.
	"crypto/sha1" //nolint:gosec // sha1sum is a command of the phone.
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func cmdStat(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "fLt", "c")
	if !ok {
		return 1
	}
	code := 0
	for _, arg := range rest {
		stat := p.fs().Lstat
		if flags['L'] != "" {
			stat = p.fs().Stat
		}
		info, err := stat(p.abs(arg))
		if err != nil {
			p.errorf("stat: '%s': %s\n", arg, strerror(err))
			code = 1
			continue
		}
		format := flags['c']
		if format == "" {
			kind := "regular file"
			if info.IsDir() {
				kind = "directory"
			}
			p.printf("  File: %s\n  Size: %d\t Blocks: %d\t IO Blocks: 512\t%s\nDevice: fd00h/64768d\t Inode: %d\t Links: 1\n"+
				"Access: (%04o/%s)\tUid: (%5d/%8s)\tGid: (%5d/%8s)\n", arg, info.Size(), (info.Size()+511)/512, kind, info.Ino,
				info.Mode().Perm(), modeString(info.Mode()), info.UID, ownerName(info.UID), info.GID, ownerName(info.GID))
			stamp := info.ModTime().UTC().Format("2006-01-02 15:04:05.000000000")
			p.printf("Access: %s\nModify: %s\nChange: %s\n", stamp, stamp, stamp)
			continue
		}
		r := strings.NewReplacer("%n", arg, "%s", fmt.Sprint(info.Size()), "%a", fmt.Sprintf("%o", info.Mode().Perm()),
			"%A", modeString(info.Mode()), "%u", fmt.Sprint(info.UID), "%g", fmt.Sprint(info.GID), "%U", ownerName(info.UID),
			"%G", ownerName(info.GID), "%Y", fmt.Sprint(info.ModTime().Unix()), "%i", fmt.Sprint(info.Ino), "%C", info.Label,
			"%F", map[bool]string{true: "directory", false: "regular file"}[info.IsDir()], "%%", "%")
		p.printf("%s\n", r.Replace(format))
	}
	return code
}

func cmdSum(p *proc, args []string) int {
	name := path.Base(args[0])
	flags, files, ok := options(p, args, "b", "")
	if !ok {
		return 1
	}
	return inputs(p, name, files, func(file string, r io.Reader) error {
		var h hash.Hash
		switch name {
		case "md5sum":
			h = md5.New() //nolint:gosec // The command's own algorithm.
		case "sha1sum":
			h = sha1.New() //nolint:gosec // The command's own algorithm.
		default:
			h = sha256.New()
		}
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		sum := hex.EncodeToString(h.Sum(nil))
		if flags['b'] != "" {
			p.printf("%s\n", sum)
		} else {
			p.printf("%s  %s\n", sum, file)
		}
		return nil
	})
}

func cmdFind(p *proc, args []string) int {
	var roots []string
	i := 1
	for ; i < len(args) && !strings.HasPrefix(args[i], "-"); i++ {
		roots = append(roots, args[i])
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	name, kind, deepest := "", "", maxNesting
	for ; i < len(args); i++ {
		value := ""
		if i+1 < len(args) {
			value = args[i+1]
		}
		switch args[i] {
		case "-name":
			name = value
			i++
		case "-type":
			kind = value
			i++
		case "-maxdepth":
			deepest, _ = atoi(value)
			i++
		case "-print":
		default:
			p.errorf("find: bad arg '%s'\n", args[i])
			return 1
		}
	}
	code := 0
	var visit func(shown string, depth int)
	visit = func(shown string, depth int) {
		info, err := p.fs().Lstat(p.abs(shown))
		if err != nil {
			p.errorf("find: '%s': %s\n", shown, strerror(err))
			code = 1
			return
		}
		if (name == "" || matchPattern(name, path.Base(shown))) &&
			(kind == "" || kind == "d" == info.IsDir() && (kind != "f" || info.Mode().IsRegular())) {
			p.printf("%s\n", shown)
		}
		if !info.IsDir() || depth >= deepest || p.dead() {
			return
		}
		list, err := p.fs().ReadDir(p.abs(shown))
		if err != nil {
			return
		}
		for _, child := range list {
			visit(strings.TrimSuffix(shown, "/")+"/"+child.Name(), depth+1)
		}
	}
	for _, root := range roots {
		visit(root, 0)
	}
	return code
}

func cmdDu(p *proc, args []string) int {
	_, rest, ok := options(p, args, "ahklsx", "d")
	if !ok {
		return 1
	}
	for _, arg := range rest {
		total := int64(0)
		code := eachPath(p, "du", []string{arg}, true, func(full string) error {
			info, err := p.fs().Lstat(full)
			if err == nil {
				total += info.Size()
			}
			return err
		})
		if code != 0 {
			return code
		}
		p.printf("%d\t%s\n", (total+1023)/1024, arg)
	}
	return 0
}

// The size of /data and what is on it at first, in kilobytes.
const (
	dataSize = 52 << 20
	dataUsed = 11 << 20
)

// cmdDf is df [-h|-k] [FILE...].
func cmdDf(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "HhkPia", "t")
	if !ok {
		return 1
	}
	p.sys.fs.mu.RLock()
	used, full := dataUsed+p.sys.fs.used/1024, p.sys.fs.full
	p.sys.fs.mu.RUnlock()
	if full {
		used = dataSize - 40
	}
	word := func(kb int64) string { return strconv.FormatInt(kb, 10) }
	if flags['h'] != "" {
		word = func(kb int64) string {
			if kb < 1<<20 {
				return fmt.Sprintf("%dM", kb>>10)
			}
			return fmt.Sprintf("%dG", kb>>20)
		}
		p.printf("%-20s %9s %8s %9s %s %s\n", "Filesystem", "Size", "Used", "Avail", "Use%", "Mounted on")
	} else {
		p.printf("%-20s %9s %8s %9s %s %s\n", "Filesystem", "1K-blocks", "Used", "Available", "Use%", "Mounted on")
	}
	row := func(device string, size, used int64, at string) {
		p.printf("%-20s %9s %8s %9s %3d%% %s\n", device, word(size), word(used), word(size-used), (used*100+size-1)/size, at)
	}
	if len(rest) == 0 {
		row("/dev/block/dm-0", 3<<20, 2900<<10, "/system")
		rest = []string{"/data"}
	}
	code := 0
	for _, name := range rest {
		if _, err := p.fs().Stat(p.abs(name)); err != nil {
			p.errorf("df: %s: %s\n", name, strerror(err))
			code = 1
			continue
		}
		switch full := p.abs(name); {
		case strings.HasPrefix(full, "/sdcard"), strings.HasPrefix(full, "/storage"):
			row("/data/media", dataSize, used, "/storage/emulated")
		case strings.HasPrefix(full, "/system"):
			row("/dev/block/dm-0", 3<<20, 2900<<10, "/system")
		default:
			row("/dev/block/mmcblk0p86", dataSize, used, "/data")
		}
	}
	return code
}

func cmdDd(p *proc, args []string) int {
	in, out, bs, count := "", "", 512, -1
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "if":
			in = v
		case "of":
			out = v
		case "bs":
			mult := 1
			switch {
			case strings.HasSuffix(strings.ToLower(v), "k"):
				mult, v = 1024, v[:len(v)-1]
			case strings.HasSuffix(strings.ToLower(v), "m"):
				mult, v = 1<<20, v[:len(v)-1]
			}
			n, ok := atoi(v)
			if !ok || n <= 0 || n > 1<<20 {
				p.errorf("dd: bad bs\n")
				return 1
			}
			bs = n * mult
		case "count":
			count, _ = atoi(v)
		case "conv", "status", "skip", "seek":
		default:
			p.errorf("dd: bad arg %s\n", a)
			return 1
		}
	}
	r := p.in()
	if in != "" {
		h, err := p.fs().OpenFile(p.abs(in), syscall.O_RDONLY, 0)
		if err != nil {
			p.errorf("dd: %s: %s\n", in, strerror(err))
			return 1
		}
		r = h
	}
	w := p.out()
	if out != "" {
		h, err := p.fs().OpenFile(p.abs(out), syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
		if err != nil {
			p.errorf("dd: %s: %s\n", out, strerror(err))
			return 1
		}
		w = h
	}
	began := time.Now()
	limit := int64(maxFile)
	if count >= 0 {
		limit = min(limit, int64(count)*int64(bs))
	}
	n, err := io.Copy(w, io.LimitReader(r, limit))
	if err != nil {
		p.errorf("dd: %s\n", strerror(err))
		return 1
	}
	blocks := n / int64(bs)
	p.errorf("%d+%d records in\n%d+%d records out\n%d bytes copied, %.3f s\n", blocks, oneIf(n%int64(bs) != 0), blocks,
		oneIf(n%int64(bs) != 0), n, time.Since(began).Seconds())
	return 0
}

func cmdMount(p *proc, args []string) int {
	var kind, opts string
	var rest []string
	for i := 1; i < len(args); i++ {
		switch {
		case (args[i] == "-t" || args[i] == "-o") && i+1 < len(args):
			if args[i] == "-t" {
				kind = args[i+1]
			} else {
				opts = args[i+1]
			}
			i++
		case args[i] == "--bind" || args[i] == "-B":
			opts = strings.TrimPrefix(opts+",bind", ",")
		case strings.HasPrefix(args[i], "-"):
		default:
			rest = append(rest, args[i])
		}
	}
	if len(rest) == 0 {
		for _, line := range p.fs().MountTable(false) {
			f := strings.Fields(line)
			p.printf("%s on %s type %s (%s)\n", f[0], f[1], f[2], f[3])
		}
		return 0
	}
	list := strings.Split(opts, ",")
	target := rest[len(rest)-1]
	source := target
	if len(rest) > 1 {
		source = rest[0]
	}
	var err error
	switch {
	case slices.Contains(list, "remount"):
		err = p.fs().Remount(p.abs(target), slices.Contains(list, "ro"))
	case slices.Contains(list, "bind"):
		err = p.fs().Mount(p.abs(source), p.abs(target), "", "", true)
	default:
		err = p.fs().Mount(source, p.abs(target), kind, "rw,seclabel,relatime", false)
	}
	if err != nil {
		p.errorf("mount: '%s'->'%s': %s\n", source, target, strerror(err))
		return 1
	}
	return 0
}

func cmdUmount(p *proc, args []string) int {
	flags, rest, ok := options(p, args, "aDflnrv", "t")
	if !ok || len(rest) == 0 && flags['a'] == "" {
		p.errorf("umount: Needs 1 argument (see \"umount --help\")\n")
		return 1
	}
	code := 0
	for _, arg := range rest {
		if err := p.fs().Unmount(p.abs(arg)); err != nil {
			p.errorf("umount: %s: %s\n", arg, strerror(err))
			code = 1
		}
	}
	return code
}
