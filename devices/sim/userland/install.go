package userland

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/shogo82148/androidbinary/apk"
)

// maxAPK bounds what may be installed, in bytes.
const maxAPK = 256 << 20

// pmInstall is pm install of a file, or of a standard input with -S BYTES.
func pmInstall(p *proc, args []string) int {
	size, file, again := -1, "", false
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-S" && i+1 < len(args):
			i++
			n, err := strconv.Atoi(args[i])
			if err != nil || n < 0 || n > maxAPK {
				return p.cannotInstall("INSTALL_FAILED_INVALID_APK", "a size of "+args[i])
			}
			size = n
		case a == "-r":
			again = true
		case a == "--user" && i+1 < len(args):
			i++
		case strings.HasPrefix(a, "-") && a != "-":
		default:
			file = a
		}
	}
	var content []byte
	var err error
	switch {
	case size >= 0:
		content = make([]byte, size)
		_, err = io.ReadFull(p.in(), content)
	case file != "":
		content, err = p.fs().ReadFile(p.abs(file))
	default:
		p.errorf("Error: must either specify a package size or an APK file\n")
		return 1
	}
	if err != nil {
		return p.cannotInstall("INSTALL_FAILED_INVALID_APK", "the file ends early")
	}
	if p.sys.property("persist.security.adbinstall") != "1" {
		return p.cannotInstall("INSTALL_FAILED_USER_RESTRICTED", "Install canceled by user")
	}
	info, err := apkInfo(content)
	if err != nil {
		return p.cannotInstall("INSTALL_PARSE_FAILED_NOT_APK", "Failed to parse "+file)
	}
	return p.install(info, content, again)
}

func (p *proc) cannotInstall(code, why string) int {
	p.printf("Failure [%s: %s]\n", code, why)
	return 1
}

// apkInfo reads what an APK says of itself.
func apkInfo(content []byte) (Package, error) {
	file, err := apk.OpenZipReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return Package{}, fmt.Errorf("apk: %w", err)
	}
	manifest := file.Manifest()
	info := Package{Name: file.PackageName()}
	info.Version, _ = manifest.VersionName.String() // Without one it stays empty.
	if code, err := manifest.VersionCode.Int32(); err == nil {
		info.Code = int(code)
	}
	for _, perm := range manifest.UsesPermissions {
		if name, err := perm.Name.String(); err == nil {
			info.Permissions = append(info.Permissions, name)
		}
	}
	return info, nil
}

func (p *proc) install(info Package, content []byte, again bool) int {
	s := p.sys
	s.packageMu.Lock()
	defer s.packageMu.Unlock()
	list := slices.Clone(s.allPackages())
	for _, old := range list {
		if old.Name == info.Name && !again {
			return p.cannotInstall("INSTALL_FAILED_ALREADY_EXISTS", "Attempt to re-install "+info.Name+" without first uninstalling.")
		}
		info.UID = max(info.UID, old.UID+1)
	}
	info.UID = max(info.UID, firstAppUID+100)
	info.Path = apkPath(s.cfg.Identity, info)
	if err := s.fs.MkdirAll(path.Dir(info.Path), 0o755); err != nil {
		return p.cannotInstall("INSTALL_FAILED_INSUFFICIENT_STORAGE", strerror(err))
	}
	if err := s.fs.WriteFile(info.Path, content, 0o644); err != nil {
		return p.cannotInstall("INSTALL_FAILED_INSUFFICIENT_STORAGE", strerror(err))
	}
	list = slices.DeleteFunc(list, func(old Package) bool { return old.Name == info.Name })
	list = append(list, info)
	slices.SortFunc(list, func(a, b Package) int { return strings.Compare(a.Name, b.Name) })
	s.packageList.Store(&list)
	s.grants.add(info)
	p.printf("Success\n")
	return 0
}

// pmUninstall is pm uninstall.
func pmUninstall(p *proc, name string) int {
	s := p.sys
	s.packageMu.Lock()
	defer s.packageMu.Unlock()
	info := s.pkg(name)
	switch {
	case info == nil:
		p.printf("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
		return 1
	case info.System:
		p.printf("Failure [-1000]\n")
		return 1
	}
	s.stopApp(name)
	list := slices.DeleteFunc(slices.Clone(s.allPackages()), func(old Package) bool { return old.Name == name })
	s.packageList.Store(&list)
	s.grants.remove(name)
	if err := s.fs.RemoveAll(path.Dir(info.Path)); err != nil {
		p.printf("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
		return 1
	}
	p.printf("Success\n")
	return 0
}

// Apps are the installed packages that the system did not come with.
func (s *System) Apps() []string {
	out := []string{}
	for _, p := range s.allPackages() {
		if !p.System {
			out = append(out, p.Name+" "+p.Version)
		}
	}
	return out
}
