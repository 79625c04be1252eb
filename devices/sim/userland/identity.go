package userland

import (
	"crypto/md5" //nolint:gosec // OpenSSL's old subject hash is MD5.
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"
)

// CertificateDir is where the phone's trusted root certificates lie.
const CertificateDir = "/system/etc/security/cacerts"

// programMagic begins the file of every program.
const programMagic = "\x7fELF\x02\x01\x01\x00sim:"

func (id Identity) properties() map[string]string {
	built := time.Date(2020, time.March, 16, 14, 22, 5, 0, time.UTC)
	m := map[string]string{
		"dalvik.vm.heapgrowthlimit":       "256m",
		"dalvik.vm.heapsize":              "512m",
		"dev.bootcomplete":                "1",
		"gsm.network.type":                "Unknown",
		"gsm.operator.alpha":              "",
		"gsm.operator.iso-country":        "",
		"gsm.operator.numeric":            "",
		"gsm.sim.state":                   "ABSENT,ABSENT",
		"gsm.version.baseband":            id.Baseband,
		"init.svc.adbd":                   "running",
		"init.svc.bootanim":               "stopped",
		"init.svc.zygote":                 "running",
		"net.bt.name":                     "Android",
		"net.hostname":                    strings.ReplaceAll(id.Model, " ", "") + "-" + id.Manufacturer,
		"persist.security.adbinput":       "1",
		"persist.security.adbinstall":     "1",
		"persist.sys.country":             id.Region,
		"persist.sys.language":            id.Language(),
		"persist.sys.locale":              id.Locale,
		"persist.sys.timezone":            "GMT",
		"persist.sys.usb.config":          "adb",
		"ro.adb.secure":                   "1",
		"ro.allow.mock.location":          "0",
		"ro.baseband":                     "msm",
		"ro.board.platform":               id.Platform,
		"ro.boot.bootdevice":              "4744000.sdhci",
		"ro.boot.hardware":                "qcom",
		"ro.boot.hwc":                     "Global",
		"ro.boot.serialno":                id.Serial,
		"ro.bootimage.build.fingerprint":  id.Fingerprint,
		"ro.bootloader":                   "unknown",
		"ro.bootmode":                     "unknown",
		"ro.build.characteristics":        "nosdcard",
		"ro.build.date":                   built.Format("Mon Jan _2 15:04:05 MST 2006"),
		"ro.build.date.utc":               fmt.Sprint(built.Unix()),
		"ro.build.description":            id.Device + "-user " + id.Release + " " + id.BuildID + " " + id.Incremental + " release-keys",
		"ro.build.display.id":             id.BuildID,
		"ro.build.fingerprint":            id.Fingerprint,
		"ro.build.flavor":                 id.Device + "-user",
		"ro.build.host":                   "c3-miui-ota-bd134.bj",
		"ro.build.id":                     id.BuildID,
		"ro.build.product":                id.Device,
		"ro.build.tags":                   "release-keys",
		"ro.build.type":                   "user",
		"ro.build.user":                   "builder",
		"ro.build.version.all_codenames":  "REL",
		"ro.build.version.base_os":        "",
		"ro.build.version.codename":       "REL",
		"ro.build.version.incremental":    id.Incremental,
		"ro.build.version.release":        id.Release,
		"ro.build.version.sdk":            id.SDK,
		"ro.build.version.security_patch": id.Patch,
		"ro.carrier":                      "unknown",
		"ro.com.google.gmsversion":        id.Release + "_201908",
		"ro.crypto.state":                 "encrypted",
		"ro.crypto.type":                  "file",
		"ro.debuggable":                   "0",
		"ro.hardware":                     "qcom",
		"ro.kernel.android.checkjni":      "0",
		"ro.miui.build.region":            "global",
		"ro.miui.cust_variant":            "global",
		"ro.miui.has_gmscore":             "1",
		"ro.miui.notch":                   "1",
		"ro.miui.region":                  id.Region,
		"ro.miui.ui.version.code":         id.MIUICode,
		"ro.miui.ui.version.name":         id.MIUIName,
		"ro.miui.version.code_time":       fmt.Sprint(built.Unix()),
		"ro.opengles.version":             "196610",
		"ro.product.board":                id.Board,
		"ro.product.brand":                id.Brand,
		"ro.product.cpu.abi":              "arm64-v8a",
		"ro.product.cpu.abilist":          "arm64-v8a,armeabi-v7a,armeabi",
		"ro.product.cpu.abilist32":        "armeabi-v7a,armeabi",
		"ro.product.cpu.abilist64":        "arm64-v8a",
		"ro.product.device":               id.Device,
		"ro.product.first_api_level":      id.FirstAPI,
		"ro.product.locale":               id.Locale,
		"ro.product.manufacturer":         id.Manufacturer,
		"ro.product.mod_device":           id.ModDevice,
		"ro.product.model":                id.Model,
		"ro.product.name":                 id.Product,
		"ro.revision":                     "0",
		"ro.secure":                       "1",
		"ro.serialno":                     id.Serial,
		"ro.sf.lcd_density":               "440",
		"ro.treble.enabled":               "true",
		"ro.vendor.build.fingerprint":     id.Fingerprint,
		"ro.vendor.build.security_patch":  id.Patch,
		"ro.vndk.version":                 id.SDK,
		"ro.zygote":                       "zygote64_32",
		"selinux.reload_policy":           "1",
		"service.bootanim.exit":           "1",
		"sys.boot_completed":              "1",
		"sys.usb.config":                  "adb",
		"sys.usb.state":                   "adb",
		"wifi.interface":                  "wlan0",
	}
	if id.Ten() {
		m["ro.build.version.min_supported_target_sdk"] = "23"
		m["ro.product.build.fingerprint"] = id.Fingerprint
		m["ro.system.build.fingerprint"] = id.Fingerprint
		for _, part := range []string{"odm", "product", "system", "vendor"} {
			m["ro.product."+part+".brand"] = id.Brand
			m["ro.product."+part+".device"] = id.Device
			m["ro.product."+part+".manufacturer"] = id.Manufacturer
			m["ro.product."+part+".model"] = id.Model
			m["ro.product."+part+".name"] = id.Product
		}
	}
	return m
}

// rootProperties are those that tell how far a phone has been opened.
func rootProperties(kind Root) map[string]string {
	m := map[string]string{"ro.boot.flash.locked": "0", "ro.boot.verifiedbootstate": "orange", "service.adb.root": "0"}
	switch kind {
	case RootNone:
		m["ro.boot.flash.locked"], m["ro.boot.verifiedbootstate"] = "1", "green"
	case RootADBD:
		m["service.adb.root"] = "1"
	case RootSU:
	}
	return m
}

func isPersistent(key string) bool { return strings.HasPrefix(key, "persist.") }

func (s *System) property(key string) string {
	s.propMu.Lock()
	defer s.propMu.Unlock()
	return s.props[key]
}

func (s *System) random() int {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return s.rng.Int()
}

func (s *System) environ(uid int) []string {
	name := "root"
	if uid == shellUID {
		name = "shell"
	}
	return []string{
		"PATH=/sbin:/system/sbin:/system/bin:/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin",
		"ANDROID_BOOTLOGO=1", "ANDROID_ROOT=/system", "ANDROID_ASSETS=/system/app", "ANDROID_DATA=/data",
		"ANDROID_STORAGE=/storage", "EXTERNAL_STORAGE=/sdcard", "ASEC_MOUNTPOINT=/mnt/asec",
		"DOWNLOAD_CACHE=/data/cache", "HOME=/", "HOSTNAME=" + s.cfg.Identity.Device, "LOGNAME=" + name,
		"SHELL=/bin/sh", "TERM=dumb", "TMPDIR=/data/local/tmp", "USER=" + name,
	}
}

// populate makes the files that a phone comes with.
func (s *System) populate() error {
	f := s.fs
	for _, dir := range []string{
		"/acct", "/config", "/cust", "/mnt", "/oem", "/persist", "/sbin", "/storage",
	} {
		if err := f.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, m := range [][4]string{
		{"tmpfs", "/dev", "tmpfs", "rw,seclabel,nosuid,relatime,size=1844920k,nr_inodes=461230,mode=755"},
		{"proc", "/proc", "proc", "rw,relatime,gid=3009,hidepid=2"},
		{"sysfs", "/sys", "sysfs", "rw,seclabel,relatime"},
		{"/dev/block/dm-0", "/system", "ext4", "ro,seclabel,relatime,block_validity,discard,delalloc,barrier,user_xattr"},
		{"/dev/block/dm-1", "/vendor", "ext4", "ro,seclabel,relatime,block_validity,discard,delalloc,barrier,user_xattr"},
		{"/dev/block/mmcblk0p86", "/data", "ext4", "rw,seclabel,nosuid,nodev,noatime,discard,noauto_da_alloc,resuid=10010"},
		{"/data/media", "/storage/emulated", "sdcardfs", "rw,nosuid,nodev,noexec,noatime,fsuid=1023,fsgid=1023,gid=9997,multiuser,mask=6,derive_gid,default_normal"},
	} {
		if err := f.bootMount(m[0], m[1], m[2], m[3]); err != nil {
			return err
		}
	}
	steps := []func() error{s.makeDirs, s.makePrograms, s.makeCertificates, s.makeApps, s.makeProc}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	f.Reboot() // from here on /, /system and /vendor are read-only
	return nil
}

func (s *System) makeDirs() error {
	f := s.fs
	for dir, perm := range map[string]fs.FileMode{
		"/system/bin": 0o755, "/system/xbin": 0o755, "/system/etc/security/cacerts": 0o755, "/system/app": 0o755,
		"/system/priv-app": 0o755, "/vendor/bin": 0o755, "/data/local/tmp": 0o771, "/data/app": 0o771,
		"/data/data": 0o771, "/data/misc/user/0/cacerts-added": 0o755, "/data/tombstones": 0o771, "/data/system/users/0": 0o771,
		"/storage/emulated/0/Download": 0o771, "/storage/emulated/0/DCIM": 0o771,
		"/storage/emulated/0/Pictures": 0o771, "/storage/emulated/0/Android/data": 0o771, "/storage/self": 0o755,
		"/dev/block": 0o755, "/sys/class/net/wlan0": 0o755, "/sys/class/power_supply/battery": 0o755,
	} {
		if err := f.MkdirAll(dir, perm); err != nil {
			return err
		}
	}
	for dir, owner := range map[string]int{
		"/data": 1000, "/data/app": 1000, "/data/data": 1000, "/data/local": rootUID, "/data/local/tmp": shellUID, "/data/tombstones": 1000,
	} {
		if err := f.Chown(dir, owner, owner); err != nil {
			return err
		}
	}
	for target, name := range map[string]string{
		"/storage/self/primary": "/sdcard", "/storage/emulated/0": "/storage/self/primary",
		"/system/etc": "/etc", "/data/data": "/data/user_de", "/system/bin": "/bin", "/data/cache": "/cache",
	} {
		if err := f.Symlink(target, name); err != nil {
			return err
		}
	}
	for dir, perm := range map[string]fs.FileMode{"/data": 0o771, "/data/local": 0o751} {
		if err := f.Chmod(dir, perm); err != nil {
			return err
		}
	}
	if err := f.MkdirAll("/data/cache", 0o770); err != nil {
		return err
	}
	for _, dev := range []string{"null", "zero", "random", "urandom", "tty", "ptmx", "console"} {
		if err := f.device("/dev/" + dev); err != nil {
			return err
		}
	}
	props := s.cfg.Identity.properties()
	var lines []string
	for k, v := range props {
		if strings.HasPrefix(k, "ro.build.") || strings.HasPrefix(k, "ro.product.") {
			lines = append(lines, k+"="+v)
		}
	}
	sort.Strings(lines)
	text := "\n# begin build properties\n# autogenerated by buildinfo.sh\n" + strings.Join(lines, "\n") + "\n# end build properties\n"
	if err := f.WriteFile("/system/build.prop", []byte(text), 0o600); err != nil {
		return err
	}
	return f.WriteFile("/system/etc/hosts", []byte("127.0.0.1       localhost\n::1             ip6-localhost\n"), 0o644)
}

func (s *System) makePrograms() error {
	for name := range s.programs {
		if name == "su" && s.cfg.Root == RootNone {
			continue
		}
		dir := "/system/bin/"
		switch name {
		case "su", "tcpdump":
			dir = "/system/xbin/"
		}
		if err := s.fs.WriteFile(dir+name, []byte(programMagic+name+"\n"), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// makeCertificates stores every root certificate under its old subject hash.
func (s *System) makeCertificates() error {
	rest := s.cfg.Roots
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("root certificate: parse: %w", err)
		}
		data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})
		for i := range 10 {
			name := path.Join(CertificateDir, fmt.Sprintf("%s.%d", SubjectHashOld(cert), i))
			if _, err := s.fs.Stat(name); err == nil {
				continue
			}
			if err := s.fs.WriteFile(name, data, 0o644); err != nil {
				return err
			}
			break
		}
	}
}

// SubjectHashOld is OpenSSL's subject_hash_old of a certificate, by which
// Android names the files of its trust store.
func SubjectHashOld(cert *x509.Certificate) string {
	sum := md5.Sum(cert.RawSubject) //nolint:gosec // A file name, not security.
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:4]))
}

// makeApps stores the code of the packages.
func (s *System) makeApps() error {
	for _, p := range s.allPackages() {
		if err := s.fs.MkdirAll(path.Dir(p.Path), 0o755); err != nil {
			return err
		}
		seed := sha256.Sum256([]byte(p.Name + " " + p.Version))
		data := []byte("PK\x03\x04")
		for range 64 {
			seed = sha256.Sum256(seed[:])
			data = append(data, seed[:]...)
		}
		if err := s.fs.WriteFile(p.Path, data, 0o644); err != nil {
			return err
		}
		if err := s.fs.MkdirAll("/data/data/"+p.Name, 0o700); err != nil {
			return err
		}
	}
	return nil
}
