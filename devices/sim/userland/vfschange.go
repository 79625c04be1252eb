package userland

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

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
	case !f.may(at.parent, mayWrite|maySearch):
		return pathErr("unlink", name, syscall.EACCES)
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
	case dst.parent != nil && !f.may(dst.parent, mayWrite|maySearch) || !f.may(src.parent, mayWrite|maySearch):
		return pathErr("rename", to, syscall.EACCES)
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
	if f.uid != rootUID {
		return pathErr("mount", target, syscall.EPERM)
	}
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
	if f.uid != rootUID {
		return pathErr("mount", target, syscall.EPERM)
	}
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
	if f.uid != rootUID {
		return pathErr("umount", target, syscall.EPERM)
	}
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
