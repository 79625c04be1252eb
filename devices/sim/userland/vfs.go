package userland

import (
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

// FS is a phone's file system as one user sees it: one tree of nodes in memory
// with mounts over it. Nothing in it touches the host's files. It is safe for
// concurrent use.
type FS struct {
	*tree
	uid int
}

// A tree is what all users of a file system share.
type tree struct {
	mu      sync.RWMutex
	root    *node
	mounts  []*mount
	used    int64
	nodes   int
	nextIno uint64
	change  uint64 // grows with every change, so that readers can cache
	full    bool   // nothing more can be written to /data
	now     func() time.Time
}

// NewFS returns an empty file system with a root directory. now is the clock
// that dates its files.
func NewFS(now func() time.Time) *FS {
	f := &FS{tree: &tree{now: now, nextIno: 2}}
	f.root = f.newNode(fs.ModeDir | 0o755)
	f.mounts = []*mount{{source: "rootfs", target: "/", kind: "rootfs", options: "ro,seclabel", root: f.root, boot: true, asBooted: "ro,seclabel"}}
	return f
}

// As is the same file system with the rights of another user.
func (f *FS) As(uid int) *FS { return &FS{tree: f.tree, uid: uid} }

// The bits of a permission.
const (
	mayRead   fs.FileMode = 4
	mayWrite  fs.FileMode = 2
	maySearch fs.FileMode = 1
)

// may says whether the user has all of these permissions. Root has every one.
func (f *FS) may(n *node, want fs.FileMode) bool {
	perm := n.mode.Perm()
	switch {
	case f.uid == rootUID:
		return true
	case n.uid == f.uid:
		perm >>= 6
	case n.gid == f.uid || f.uid == shellUID && slices.Contains(shellGroups, n.gid):
		perm >>= 3
	}
	return perm&want == want
}

// owns says whether the user may change what describes a node.
func (f *FS) owns(n *node) bool { return f.uid == rootUID || f.uid == n.uid }

// adopt gives a new node in a directory what it gets there: the directory's
// label, and on shared storage one owner for all, as sdcardfs does.
func (f *FS) adopt(n *node, at place) {
	n.label = at.parent.label
	if at.mnt.kind != "sdcardfs" {
		return
	}
	n.uid, n.gid = rootUID, sdcardGroup
	n.mode = n.mode&^fs.ModePerm | 0o660
	if n.mode.IsDir() {
		n.mode |= 0o111
	}
}

// sdcardGroup owns shared storage.
const sdcardGroup = 1015

func (f *FS) newNode(mode fs.FileMode) *node {
	f.nextIno++
	f.nodes++
	n := &node{mode: mode, uid: f.uid, gid: f.uid, mtime: f.now(), ino: f.nextIno, label: "u:object_r:rootfs:s0"}
	if mode.IsDir() {
		n.children = map[string]*node{}
	}
	return n
}

// SetFull makes the storage full, so that nothing more can be written to it, or
// empties it again.
func (f *FS) SetFull(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

// fills says whether what lies in the mount is on the phone's storage.
func (m *mount) fills() bool { return m.target == "/data" || m.kind == "sdcardfs" }

func (f *FS) noRoom(at place) bool { return f.full && at.mnt.fills() }

func pathErr(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// cover returns the root of the uppermost mount over n, or n.
func (f *FS) cover(n *node) (*node, *mount) {
	var over *mount
	// A mount's root may be mounted over by later ones only, so that a directory
	// bound over itself does not lead in a circle.
	for first := 0; ; {
		i := len(f.mounts) - 1
		for i >= first && (f.mounts[i].at != n || n == nil) {
			i--
		}
		if i < first {
			return n, over
		}
		over = f.mounts[i]
		n, first = over.root, i+1
	}
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
		if !f.may(at.n, maySearch) {
			return place{}, syscall.EACCES
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
	if !f.may(at.n, mayRead) {
		return nil, pathErr("open", name, syscall.EACCES)
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
	full     bool // it lies where nothing fits when the storage is full
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
	case at.n == nil && !f.may(at.parent, mayWrite|maySearch):
		err = syscall.EACCES
	case at.n == nil && (f.nodes >= maxNodes || f.noRoom(at)):
		err = syscall.ENOSPC
	case at.n == nil:
		at.n = f.newNode(perm.Perm())
		f.adopt(at.n, at)
		at.parent.children[at.name] = at.n
		at.parent.mtime = f.now()
		f.change++
	case flags&syscall.O_EXCL != 0 && flags&syscall.O_CREAT != 0:
		err = syscall.EEXIST
	case at.n.mode.IsDir():
		err = syscall.EISDIR
	case write && at.mnt.readOnly && at.n.mode&fs.ModeDevice == 0:
		err = syscall.EROFS
	case write && !f.may(at.n, mayWrite), flags&syscall.O_WRONLY == 0 && !f.may(at.n, mayRead):
		err = syscall.EACCES
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
	h := &Handle{fs: f, n: at.n, name: name, flags: flags, random: at.n.ino, full: at.mnt.fills()}
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
		if end > maxFile || h.fs.used+grow > maxFileSystem || h.full && h.fs.full {
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

// alter applies do to the node of a path that must be writable.
func (f *FS) alter(op, name string, do func(at place) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, err := f.find(op, name, true)
	if err != nil {
		return err
	}
	if at.mnt.readOnly {
		return pathErr(op, name, syscall.EROFS)
	}
	if !f.owns(at.n) {
		return pathErr(op, name, syscall.EPERM)
	}
	if err := do(at); err != nil {
		return pathErr(op, name, err)
	}
	f.change++
	return nil
}

// Chmod sets the permissions.
func (f *FS) Chmod(name string, perm fs.FileMode) error {
	return f.alter("chmod", name, func(at place) error {
		at.n.mode = at.n.mode&^fs.ModePerm | perm.Perm()
		return nil
	})
}

// Chown sets the owner; a negative number leaves it.
func (f *FS) Chown(name string, uid, gid int) error {
	return f.alter("chown", name, func(at place) error {
		if f.uid != rootUID && (uid >= 0 && uid != at.n.uid || gid >= 0 && gid != at.n.gid) {
			return syscall.EPERM
		}
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
	return f.alter("chcon", name, func(at place) error {
		at.n.label = label
		return nil
	})
}

// Chtimes sets the time of the last change.
func (f *FS) Chtimes(name string, mtime time.Time) error {
	return f.alter("utimes", name, func(at place) error {
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
	case !f.may(at.parent, mayWrite|maySearch):
		return pathErr(op, name, syscall.EACCES)
	case f.nodes >= maxNodes || f.noRoom(at):
		return pathErr(op, name, syscall.ENOSPC)
	}
	made := n()
	f.adopt(made, at)
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
