package userland

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxFileSystem = 512 << 20 // bytes that all files of a phone may hold
	maxFile       = 256 << 20 // bytes that one file may hold
	maxLinks      = 40        // symbolic links followed in one path, as in Linux
	maxPath       = 4096      // bytes of a path, as in Linux
	maxNodes      = 1 << 16   // files and directories of a phone
)

// A node is an inode: a file, a directory, a link, a device, or a file whose
// content is made when it is opened.
type node struct {
	mode     fs.FileMode
	uid, gid int
	mtime    time.Time
	label    string // SELinux context
	ino      uint64
	data     []byte
	children map[string]*node
	link     string
	generate func() []byte
	lookup   func(name string) *node // further children, made when asked for
	listing  func() []string         // and their names
}

// A mount shows another tree in place of a directory.
type mount struct {
	source, target, kind, options string
	readOnly                      bool
	at                            *node // nil for the root
	root                          *node
	boot                          bool   // made by init, so it is there after a reboot
	asBooted                      string // its options then
}

// FS is a phone's file system: one tree of nodes in memory with mounts over
// it. Nothing in it touches the host's files. It is safe for concurrent use.
type FS struct {
	mu      sync.RWMutex
	root    *node
	mounts  []*mount
	used    int64
	nodes   int
	nextIno uint64
	change  uint64 // grows with every change, so that readers can cache
	now     func() time.Time
}

// NewFS returns an empty file system with a root directory. now is the clock
// that dates its files.
func NewFS(now func() time.Time) *FS {
	f := &FS{now: now, nextIno: 2}
	f.root = f.newNode(fs.ModeDir | 0o755)
	f.mounts = []*mount{{source: "rootfs", target: "/", kind: "rootfs", options: "ro,seclabel", root: f.root, boot: true, asBooted: "ro,seclabel"}}
	return f
}

func (f *FS) newNode(mode fs.FileMode) *node {
	f.nextIno++
	f.nodes++
	n := &node{mode: mode, mtime: f.now(), ino: f.nextIno, label: "u:object_r:rootfs:s0"}
	if mode.IsDir() {
		n.children = map[string]*node{}
	}
	return n
}

func pathErr(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// cover returns the root of the uppermost mount over n, or n.
func (f *FS) cover(n *node) (*node, *mount) {
	for i := len(f.mounts) - 1; i >= 0; i-- {
		if m := f.mounts[i]; m.at == n && m.at != nil {
			r, deeper := f.cover(m.root)
			if deeper != nil {
				return r, deeper
			}
			return r, m
		}
	}
	return n, nil
}

// A place is where a path led: the node, its parent and name there, and the
// mount that it lies in.
type place struct {
	n      *node // nil when only the parent exists
	parent *node
	name   string
	mnt    *mount
	raw    *node // the node before mounts over it
	path   string
}

func (f *FS) walk(name string, follow bool) (place, error) {
	if len(name) > maxPath {
		return place{}, syscall.ENAMETOOLONG
	}
	if name == "" {
		return place{}, syscall.ENOENT
	}
	links := 0
	return f.walkFrom(path.Join("/", name), follow, &links)
}

func (f *FS) walkFrom(name string, follow bool, links *int) (place, error) {
	n, m := f.cover(f.root)
	if m == nil {
		m = f.mounts[0]
	}
	at := place{n: n, parent: nil, name: "/", mnt: m, raw: f.root, path: "/"}
	parts := strings.Split(strings.Trim(name, "/"), "/")
	if len(parts) == 1 && parts[0] == "" {
		return at, nil
	}
	for i, part := range parts {
		if at.n == nil {
			return place{}, syscall.ENOENT
		}
		if !at.n.mode.IsDir() {
			return place{}, syscall.ENOTDIR
		}
		parent, dir := at.n, at.path
		child := parent.child(part)
		last := i == len(parts)-1
		if child == nil {
			if !last {
				return place{}, syscall.ENOENT
			}
			return place{parent: parent, name: part, mnt: at.mnt, path: path.Join(dir, part)}, nil
		}
		if child.mode&fs.ModeSymlink != 0 && (!last || follow) {
			if *links++; *links > maxLinks {
				return place{}, syscall.ELOOP
			}
			target := child.link
			if !path.IsAbs(target) {
				target = path.Join(dir, target)
			}
			return f.walkFrom(path.Join(target, path.Join(parts[i+1:]...)), follow, links)
		}
		covered, over := f.cover(child)
		mnt := at.mnt
		if over != nil {
			mnt = over
		}
		at = place{n: covered, parent: parent, name: part, mnt: mnt, raw: child, path: path.Join(dir, part)}
	}
	return at, nil
}

func (n *node) child(name string) *node {
	c := n.children[name]
	if c == nil && n.lookup != nil {
		c = n.lookup(name)
	}
	return c
}

func (f *FS) find(op, name string, follow bool) (place, error) {
	at, err := f.walk(name, follow)
	if err == nil && at.n == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return place{}, pathErr(op, name, err)
	}
	return at, nil
}

// A FileInfo describes a file; it is what the sync service and ls show.
type FileInfo struct {
	name     string
	size     int64
	mode     fs.FileMode
	mtime    time.Time
	UID, GID int
	Ino      uint64
	Label    string
	Link     string
}

// Name is the base name.
func (i *FileInfo) Name() string { return i.name }

// Size is the length in bytes.
func (i *FileInfo) Size() int64 { return i.size }

// Mode is the type and the permissions.
func (i *FileInfo) Mode() fs.FileMode { return i.mode }

// ModTime is the time of the last change.
func (i *FileInfo) ModTime() time.Time { return i.mtime }

// IsDir is true for a directory.
func (i *FileInfo) IsDir() bool { return i.mode.IsDir() }

// Sys is nil: there is no host file behind it.
func (i *FileInfo) Sys() any { return nil }

var _ fs.FileInfo = (*FileInfo)(nil)

func (n *node) info(name string) *FileInfo {
	size := int64(len(n.data))
	switch {
	case n.mode.IsDir():
		size = 4096
	case n.mode&fs.ModeSymlink != 0:
		size = int64(len(n.link))
	}
	return &FileInfo{
		name: name, size: size, mode: n.mode, mtime: n.mtime, UID: n.uid, GID: n.gid,
		Ino: n.ino, Label: n.label, Link: n.link,
	}
}

// Stat describes the file, after links.
func (f *FS) Stat(name string) (*FileInfo, error) { return f.stat("stat", name, true) }

// Lstat describes the file or the link itself.
func (f *FS) Lstat(name string) (*FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (*FileInfo, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	at, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return at.n.info(at.name), nil
}

// ReadDir lists a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]*FileInfo, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	at, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	if !at.n.mode.IsDir() {
		return nil, pathErr("open", name, syscall.ENOTDIR)
	}
	list := make([]*FileInfo, 0, len(at.n.children))
	for base, child := range at.n.children {
		covered, _ := f.cover(child)
		list = append(list, covered.info(base))
	}
	if at.n.listing != nil {
		for _, base := range at.n.listing() {
			if child := at.n.lookup(base); child != nil {
				list = append(list, child.info(base))
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list, nil
}

// ReadFile returns a copy of the file's content.
func (f *FS) ReadFile(name string) ([]byte, error) {
	h, err := f.OpenFile(name, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = h.Close() }()
	if h.n.mode&fs.ModeDevice != 0 {
		return nil, nil
	}
	return io.ReadAll(h)
}

// WriteFile replaces the file's content, and makes the file where there is none.
func (f *FS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	h, err := f.OpenFile(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = h.Write(data)
	return errors.Join(err, h.Close())
}

// A Handle is an open file.
type Handle struct {
	fs       *FS
	n        *node
	name     string
	off      int64
	flags    int
	snapshot []byte // content of a generated file
	random   uint64
}

// OpenFile opens a file with the flags of open(2).
func (f *FS) OpenFile(name string, flags int, perm fs.FileMode) (*Handle, error) {
	f.mu.Lock()
	at, err := f.walk(name, true)
	if err != nil {
		f.mu.Unlock()
		return nil, pathErr("open", name, err)
	}
	write := flags&(syscall.O_WRONLY|syscall.O_RDWR) != 0
	switch {
	case strings.HasSuffix(name, "/") && (at.n == nil || !at.n.mode.IsDir()):
		err = syscall.ENOTDIR
	case at.n == nil && flags&syscall.O_CREAT == 0:
		err = syscall.ENOENT
	case at.n == nil && at.mnt.readOnly:
		err = syscall.EROFS
	case at.n == nil && f.nodes >= maxNodes:
		err = syscall.ENOSPC
	case at.n == nil:
		at.n = f.newNode(perm.Perm())
		at.n.label = at.parent.label
		at.parent.children[at.name] = at.n
		at.parent.mtime = f.now()
		f.change++
	case flags&syscall.O_EXCL != 0 && flags&syscall.O_CREAT != 0:
		err = syscall.EEXIST
	case at.n.mode.IsDir():
		err = syscall.EISDIR
	case write && at.mnt.readOnly && at.n.mode&fs.ModeDevice == 0:
		err = syscall.EROFS
	case write && at.n.generate != nil:
		err = syscall.EACCES
	case flags&syscall.O_TRUNC != 0 && at.n.mode.IsRegular():
		f.used -= int64(len(at.n.data))
		at.n.data = nil
		at.n.mtime = f.now()
		f.change++
	}
	f.mu.Unlock()
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	h := &Handle{fs: f, n: at.n, name: name, flags: flags, random: at.n.ino}
	if at.n.generate != nil {
		h.snapshot = at.n.generate()
	}
	return h, nil
}

// Read reads from the handle's place.
func (h *Handle) Read(b []byte) (int, error) {
	if h.n.mode&fs.ModeDevice != 0 {
		return h.readDevice(b)
	}
	h.fs.mu.RLock()
	defer h.fs.mu.RUnlock()
	data := h.n.data
	if h.n.generate != nil {
		data = h.snapshot
	}
	if h.off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(b, data[h.off:])
	h.off += int64(n)
	return n, nil
}

func (h *Handle) readDevice(b []byte) (int, error) {
	switch path.Base(h.name) {
	case "zero":
		clear(b)
		return len(b), nil
	case "urandom", "random":
		for i := range b {
			h.random = h.random*6364136223846793005 + 1442695040888963407
			b[i] = byte(h.random >> 56)
		}
		return len(b), nil
	default:
		return 0, io.EOF
	}
}

// Write writes at the handle's place, or at the end in append mode.
func (h *Handle) Write(b []byte) (int, error) {
	if h.flags&(syscall.O_WRONLY|syscall.O_RDWR) == 0 {
		return 0, pathErr("write", h.name, syscall.EBADF)
	}
	if h.n.mode&fs.ModeDevice != 0 {
		return len(b), nil
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.flags&syscall.O_APPEND != 0 {
		h.off = int64(len(h.n.data))
	}
	end := h.off + int64(len(b))
	grow := end - int64(len(h.n.data))
	if grow > 0 {
		if end > maxFile || h.fs.used+grow > maxFileSystem {
			return 0, pathErr("write", h.name, syscall.ENOSPC)
		}
		h.n.data = slices.Grow(h.n.data, int(grow))[:end]
		h.fs.used += grow
	}
	copy(h.n.data[h.off:], b)
	h.off = end
	h.n.mtime = h.fs.now()
	h.fs.change++
	return len(b), nil
}

// Close ends the handle.
func (h *Handle) Close() error { return nil }

// change applies f to the node of a path that must be writable.
func (f *FS) alter(op, name string, follow bool, do func(at place) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.find(op, name, follow)
	if err != nil {
		return err
	}
	if at.mnt.readOnly {
		return pathErr(op, name, syscall.EROFS)
	}
	if err := do(at); err != nil {
		return pathErr(op, name, err)
	}
	f.change++
	return nil
}

// Chmod sets the permissions.
func (f *FS) Chmod(name string, perm fs.FileMode) error {
	return f.alter("chmod", name, true, func(at place) error {
		at.n.mode = at.n.mode&^fs.ModePerm | perm.Perm()
		return nil
	})
}

// Chown sets the owner; a negative number leaves it.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.alter("chown", name, true, func(at place) error {
		if uid >= 0 {
			at.n.uid = uid
		}
		if gid >= 0 {
			at.n.gid = gid
		}
		return nil
	})
}

// Label sets the SELinux context.
func (f *FS) Label(name, label string) error {
	return f.alter("chcon", name, true, func(at place) error {
		at.n.label = label
		return nil
	})
}

// Chtimes sets the time of the last change.
func (f *FS) Chtimes(name string, mtime time.Time) error {
	return f.alter("utimes", name, true, func(at place) error {
		at.n.mtime = mtime
		return nil
	})
}

func (f *FS) make(op, name string, n func() *node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.walk(name, false)
	switch {
	case err != nil:
		return pathErr(op, name, err)
	case at.n != nil:
		return pathErr(op, name, syscall.EEXIST)
	case at.mnt.readOnly:
		return pathErr(op, name, syscall.EROFS)
	case f.nodes >= maxNodes:
		return pathErr(op, name, syscall.ENOSPC)
	}
	made := n()
	made.label = at.parent.label
	at.parent.children[at.name] = made
	at.parent.mtime = f.now()
	f.change++
	return nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	return f.make("mkdir", name, func() *node { return f.newNode(fs.ModeDir | perm.Perm()) })
}

// MkdirAll makes a directory and its parents.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	full := path.Join("/", name)
	for i := 1; i <= len(full); i++ {
		if i < len(full) && full[i] != '/' {
			continue
		}
		err := f.Mkdir(full[:i], perm)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	info, err := f.Stat(full)
	if err == nil && !info.IsDir() {
		return pathErr("mkdir", name, syscall.ENOTDIR)
	}
	return err
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(target, name string) error {
	return f.make("symlink", name, func() *node {
		n := f.newNode(fs.ModeSymlink | 0o777)
		n.link = target
		return n
	})
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error { return f.remove(name, false) }

// RemoveAll removes a tree; mounts in it are busy.
func (f *FS) RemoveAll(name string) error { return f.remove(name, true) }

func (f *FS) remove(name string, all bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.find("unlink", name, false)
	switch {
	case err != nil:
		return err
	case at.parent == nil || f.mountedBelow(at.raw):
		return pathErr("unlink", name, syscall.EBUSY)
	case at.mnt.readOnly:
		return pathErr("unlink", name, syscall.EROFS)
	case at.n.mode.IsDir() && len(at.n.children) > 0 && !all:
		return pathErr("rmdir", name, syscall.ENOTEMPTY)
	}
	f.free(at.n)
	delete(at.parent.children, at.name)
	at.parent.mtime = f.now()
	f.change++
	return nil
}

func (f *FS) mountedBelow(n *node) bool {
	for _, m := range f.mounts {
		if m.at == n && n != nil {
			return true
		}
	}
	for _, child := range n.children {
		if f.mountedBelow(child) {
			return true
		}
	}
	return false
}

func (f *FS) free(n *node) {
	f.used -= int64(len(n.data))
	f.nodes--
	for _, child := range n.children {
		f.free(child)
	}
}

// Rename moves a file or directory within one mount.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	src, err := f.find("rename", from, false)
	if err != nil {
		return err
	}
	dst, err := f.walk(to, false)
	switch {
	case err != nil:
		return pathErr("rename", to, err)
	case src.parent == nil || f.mountedBelow(src.raw):
		return pathErr("rename", from, syscall.EBUSY)
	case dst.mnt != src.mnt:
		return pathErr("rename", to, syscall.EXDEV)
	case src.mnt.readOnly:
		return pathErr("rename", from, syscall.EROFS)
	case dst.n == src.n:
		return nil
	case dst.parent == nil || strings.HasPrefix(dst.path+"/", src.path+"/"):
		return pathErr("rename", to, syscall.EINVAL)
	case dst.n != nil && dst.n.mode.IsDir() && !src.n.mode.IsDir():
		return pathErr("rename", to, syscall.EISDIR)
	case dst.n != nil && dst.n.mode.IsDir() && len(dst.n.children) > 0:
		return pathErr("rename", to, syscall.ENOTEMPTY)
	}
	if dst.n != nil {
		f.free(dst.n)
	}
	delete(src.parent.children, src.name)
	dst.parent.children[dst.name] = src.n
	f.change++
	return nil
}

// Mount shows a new empty tree (kind tmpfs) or, with bind, another directory
// over target.
func (f *FS) Mount(source, target, kind, options string, bind bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.find("mount", target, true)
	if err != nil {
		return err
	}
	if len(f.mounts) > 256 {
		return pathErr("mount", target, syscall.ENOSPC)
	}
	m := &mount{source: source, target: at.path, kind: kind, options: options, at: at.n}
	switch {
	case bind:
		src, err := f.find("mount", source, true)
		if err != nil {
			return err
		}
		if src.n.mode.IsDir() != at.n.mode.IsDir() {
			return pathErr("mount", target, syscall.ENOTDIR)
		}
		m.root, m.source, m.kind = src.n, src.mnt.source, src.mnt.kind
		m.readOnly = src.mnt.readOnly
		if m.options == "" {
			m.options = src.mnt.options
		}
	case kind == "tmpfs":
		if !at.n.mode.IsDir() {
			return pathErr("mount", target, syscall.ENOTDIR)
		}
		m.root = f.newNode(fs.ModeDir | 0o755)
		m.root.label = "u:object_r:tmpfs:s0"
	default:
		return pathErr("mount", target, syscall.ENODEV)
	}
	f.mounts = append(f.mounts, m)
	f.change++
	return nil
}

// Remount makes the uppermost mount at target read-only or writable.
func (f *FS) Remount(target string, readOnly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := path.Join("/", target)
	for i := len(f.mounts) - 1; i >= 0; i-- {
		if m := f.mounts[i]; m.target == full {
			m.readOnly = readOnly
			word := "rw"
			if readOnly {
				word = "ro"
			}
			_, rest, _ := strings.Cut(m.options, ",")
			m.options = strings.TrimSuffix(word+","+rest, ",")
			f.change++
			return nil
		}
	}
	return pathErr("mount", target, syscall.EINVAL)
}

// Unmount takes away the uppermost mount at target.
func (f *FS) Unmount(target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	full := path.Join("/", target)
	for i := len(f.mounts) - 1; i > 0; i-- {
		if f.mounts[i].target == full {
			f.mounts = slices.Delete(f.mounts, i, i+1)
			f.change++
			return nil
		}
	}
	return pathErr("umount", target, syscall.EINVAL)
}

// MountTable is the text of /proc/mounts; made only lists the mounts that were
// made since boot.
func (f *FS) MountTable(made bool) []string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var lines []string
	for _, m := range f.mounts {
		if made && m.boot {
			continue
		}
		lines = append(lines, m.source+" "+m.target+" "+m.kind+" "+m.options+" 0 0")
	}
	return lines
}

// Reboot takes away every mount made since boot, and makes the others as init
// does.
func (f *FS) Reboot() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mounts = slices.DeleteFunc(f.mounts, func(m *mount) bool { return !m.boot })
	for _, m := range f.mounts {
		m.options = m.asBooted
		m.readOnly = strings.HasPrefix(m.options, "ro,")
	}
	f.change++
}

// Changes grows with every change, so that a reader may keep what it read.
func (f *FS) Changes() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.change
}

// bootMount makes a directory a mount of its own, as init does at boot.
func (f *FS) bootMount(source, target, kind, options string) error {
	if err := f.MkdirAll(target, 0o755); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.find("mount", target, true)
	if err != nil {
		return err
	}
	root := f.newNode(fs.ModeDir | 0o755)
	root.label = at.n.label
	f.mounts = append(f.mounts, &mount{
		source: source, target: target, kind: kind, options: options, at: at.n, root: root, boot: true, asBooted: options,
	})
	return nil
}

// device makes a character device; dynamic a file that is made when opened.
func (f *FS) device(name string) error {
	return f.make("mknod", name, func() *node { return f.newNode(fs.ModeDevice | fs.ModeCharDevice | 0o666) })
}

func (f *FS) dynamic(name string, generate func() []byte) error {
	if err := f.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return f.make("mknod", name, func() *node {
		n := f.newNode(0o444)
		n.generate = generate
		n.label = "u:object_r:proc:s0"
		return n
	})
}

// Put stores a file whole, for the sync service: the file is made anew, with
// its parents.
func (f *FS) Put(name string, r io.Reader, perm fs.FileMode) error {
	if err := f.MkdirAll(path.Dir(path.Join("/", name)), 0o771); err != nil {
		return err
	}
	h, err := f.OpenFile(name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(h, r); err != nil {
		return errors.Join(err, h.Close())
	}
	if err := h.Close(); err != nil {
		return err
	}
	return f.Chmod(name, perm)
}

// Get copies a file to w, for the sync service.
func (f *FS) Get(name string, w io.Writer) error {
	h, err := f.OpenFile(name, syscall.O_RDONLY, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, h)
	return errors.Join(err, h.Close())
}

// strerror is the C library's text for an error of the file system.
func strerror(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		var p *fs.PathError
		if errors.As(err, &p) {
			return p.Err.Error()
		}
		return err.Error()
	}
	switch errno {
	case syscall.ENOTEMPTY:
		return "Directory not empty"
	case syscall.EROFS:
		return "Read-only file system"
	case syscall.EXDEV:
		return "Cross-device link"
	case syscall.EISDIR:
		return "Is a directory"
	case syscall.ELOOP:
		return "Too many symbolic links encountered"
	}
	text := []byte(errno.Error())
	if len(text) > 0 {
		text[0] = bytes.ToUpper(text[:1])[0]
	}
	return string(text)
}
