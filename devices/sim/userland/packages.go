package userland

import (
	"crypto/md5" //nolint:gosec // A folder's name, not security.
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Package is an installed app.
type Package struct {
	Name    string
	Version string
	Code    int
	UID     int
	// Path is that of base.apk; empty chooses one.
	Path        string
	System      bool
	Permissions []string
	// Runtime are the permissions that the app asks a person for.
	Runtime []string
	// Main is the class of the launcher activity, empty for none.
	Main string
	// Running is true for an app that has a process from boot on.
	Running bool
}

// systemPackages are those of the phone's maker that matter here, with more.
func systemPackages(id Identity, more []Package) []Package {
	sdk, _ := strconv.Atoi(id.SDK) // Make writes digits.
	list := []Package{
		{Name: "android", Version: id.Release, Code: sdk, UID: 1000, Path: "/system/framework/framework-res.apk", System: true},
		{Name: "com.android.settings", Version: id.Release, Code: sdk, UID: 1000, System: true, Main: "com.android.settings.MainSettings"},
		{Name: "com.android.systemui", Version: id.Release, Code: 201705290, UID: 10025, System: true, Running: true},
		{Name: "com.android.shell", Version: id.Release, Code: sdk, UID: 2000, System: true},
		{Name: "com.android.providers.settings", Version: id.Release, Code: sdk, UID: 1000, System: true},
		{Name: "com.android.providers.media", Version: id.Release, Code: 900, UID: 10005, System: true, Running: true},
		{Name: "com.android.inputmethod.latin", Version: id.Release, Code: sdk, UID: 10074, System: true, Running: true},
		{Name: "com.google.android.gms", Version: "20.12.16 (100400-302916295)", Code: 201216019, UID: 10021, System: true, Running: true},
		{Name: "com.google.android.gsf", Version: id.Release, Code: sdk, UID: 10021, System: true},
		{Name: "com.miui.analytics", Version: "3.0.3.0", Code: 303, UID: 10063, System: true, Running: true},
		{Name: "com.miui.msa.global", Version: "2020.02.21.00-GLOBAL", Code: 2020022100, UID: 10091, System: true, Running: true},
		{Name: "com.miui.daemon", Version: "2.0.16", Code: 216, UID: 1000, System: true, Running: true},
		{Name: "com.miui.home", Version: "RELEASE-4.12.6.5089-02201440", Code: 412605089, UID: 10046, System: true, Running: true, Main: "com.miui.home.launcher.Launcher"},
		{Name: "com.miui.calculator", Version: "10.2.5", Code: 10020005, UID: 10070, System: true, Main: "com.miui.calculator.cal.CalculatorActivity"},
		{Name: "com.miui.securitycenter", Version: "4.4.8-200309.0.1", Code: 40000448, UID: 1000, System: true, Running: true},
		{Name: "com.xiaomi.xmsf", Version: "4.0.17", Code: 40000017, UID: 10052, System: true, Running: true},
		{Name: "com.xiaomi.finddevice", Version: "3.8.9", Code: 380009, UID: 6110, System: true, Running: true},
	}
	for _, p := range more {
		list = slices.DeleteFunc(list, func(old Package) bool { return old.Name == p.Name })
		list = append(list, p)
	}
	for i := range list {
		p := &list[i]
		if p.Path == "" {
			p.Path = apkPath(id, *p)
		}
		if len(p.Permissions) == 0 {
			p.Permissions = []string{"android.permission.INTERNET", "android.permission.ACCESS_NETWORK_STATE"}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// apkPath is where a package's code lies. Android 10 has a partition for what
// the product adds to the system; the folder of an installed app ends in 16
// random bytes, different on every phone and after every installation.
func apkPath(id Identity, p Package) string {
	if !p.System {
		sum := md5.Sum([]byte(id.AndroidID + p.Name + p.Version)) //nolint:gosec // Noise, not secrets.
		return "/data/app/" + p.Name + "-" + base64.URLEncoding.EncodeToString(sum[:]) + "/base.apk"
	}
	short := p.Name[strings.LastIndexByte(p.Name, '.')+1:]
	name := strings.ToUpper(short[:1]) + short[1:]
	dir := "/system/app/"
	switch {
	case p.UID < firstAppUID:
		dir = "/system/priv-app/"
	case id.Ten() && strings.HasPrefix(p.Name, "com.google."):
		dir = "/system/product/priv-app/"
	case id.Ten() && strings.HasPrefix(p.Name, "com.android.inputmethod."):
		dir = "/system/product/app/"
	}
	return dir + name + "/" + name + ".apk"
}

// firstAppUID is the user id of the first app; the system's are below.
const firstAppUID = 10000

// allPackages are the installed packages, by name. The list is never changed; what
// is installed makes a new one.
func (s *System) allPackages() []Package { return *s.packageList.Load() }

func (s *System) pkg(name string) *Package {
	list := s.allPackages()
	i := slices.IndexFunc(list, func(p Package) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// A fixedProc is a process of the system or an app: it is there for ps, pidof
// and the focus lines, and does its work elsewhere.
type fixedProc struct {
	name    string
	pkg     string
	uid     int
	ppid    int
	started time.Time
}

func bootProcesses(packages []Package, now time.Time) (procs map[int]*fixedProc, adbd int) {
	procs = map[int]*fixedProc{}
	pid := 0
	add := func(p, ppid, uid int, name, pkg string) {
		procs[p] = &fixedProc{name: name, pkg: pkg, uid: uid, ppid: ppid, started: now}
	}
	add(1, 0, 0, "init", "")
	add(2, 0, 0, "kthreadd", "")
	for _, d := range []struct {
		name string
		uid  int
	}{
		{"ueventd", 0},
		{"logd", 1036},
		{"servicemanager", 1000},
		{"hwservicemanager", 1000},
		{"vold", 0},
		{"netd", 0},
		{"zygote64", 0},
		{"zygote", 0},
		{"surfaceflinger", 1000},
		{"adbd", 0},
		{"wpa_supplicant", 1010},
	} {
		pid += 37
		add(400+pid, 1, d.uid, d.name, "")
		if d.name == "adbd" {
			adbd = 400 + pid
		}
	}
	add(1387, 622, 1000, "system_server", "")
	pid = 1800
	for _, p := range packages {
		if p.Running {
			pid += 53
			add(pid, 659, p.UID, p.Name, p.Name)
		}
	}
	return procs, adbd
}

// appStarted gives an app a process when it has none, and returns its pid.
func (s *System) appStarted(pkg string) int {
	s.procMu.Lock()
	defer s.procMu.Unlock()
	for pid, p := range s.fixed {
		if p.pkg == pkg {
			return pid
		}
	}
	uid := 10000
	if info := s.pkg(pkg); info != nil {
		uid = info.UID
	}
	s.lastPID++
	for s.procs[s.lastPID] != nil || s.fixed[s.lastPID] != nil {
		s.lastPID++
	}
	s.fixed[s.lastPID] = &fixedProc{name: pkg, pkg: pkg, uid: uid, ppid: 659, started: time.Now()}
	return s.lastPID
}

// stopApp ends an app's process.
func (s *System) stopApp(pkg string) {
	s.procMu.Lock()
	for pid, p := range s.fixed {
		if p.pkg == pkg {
			delete(s.fixed, pid)
		}
	}
	s.procMu.Unlock()
	s.cfg.Screen.ForceStop(pkg)
}

// noteFront gives the app in front a process: it runs, whether it was started
// by a command or by a tap.
func (s *System) noteFront(pkg string) {
	front, _, _ := strings.Cut(s.cfg.Screen.Focus(), "/")
	if front == pkg && pkg != "" {
		s.appStarted(pkg)
	}
}

// describePackage is dumpsys package NAME.
func (s *System) describePackage(p *Package) string {
	var b strings.Builder
	first := "2020-04-02 09:14:07"
	flags := "[ HAS_CODE ALLOW_CLEAR_USER_DATA ALLOW_BACKUP ]"
	if p.System {
		first = "2009-01-01 00:00:00"
		flags = "[ SYSTEM HAS_CODE ALLOW_CLEAR_USER_DATA ]"
	}
	fmt.Fprintf(&b, "Activity Resolver Table:\n  Non-Data Actions:\n      android.intent.action.MAIN:\n")
	if p.Main != "" {
		fmt.Fprintf(&b, "        3e1c8f2 %s/%s filter 9d3ab43\n          Action: \"android.intent.action.MAIN\"\n"+
			"          Category: \"android.intent.category.LAUNCHER\"\n", p.Name, p.Main)
	}
	fmt.Fprintf(&b, "\nKey Set Manager:\n  [%s]\n      Signing KeySets: 1\n\nPackages:\n", p.Name)
	fmt.Fprintf(&b, "  Package [%s] (6a1bd5c):\n", p.Name)
	fmt.Fprintf(&b, "    userId=%d\n    pkg=Package{9b1c5d5 %s}\n", p.UID, p.Name)
	dir := path.Dir(p.Path)
	fmt.Fprintf(&b, "    codePath=%s\n    resourcePath=%s\n    legacyNativeLibraryDir=%s/lib\n", dir, dir, dir)
	fmt.Fprintf(&b, "    primaryCpuAbi=arm64-v8a\n    secondaryCpuAbi=null\n")
	fmt.Fprintf(&b, "    versionCode=%d minSdk=21 targetSdk=28\n    versionName=%s\n", p.Code, p.Version)
	fmt.Fprintf(&b, "    splits=[base]\n    apkSigningVersion=2\n    applicationInfo=ApplicationInfo{e0d6eea %s}\n", p.Name)
	fmt.Fprintf(&b, "    flags=%s\n    privateFlags=[ PRIVATE_FLAG_ACTIVITIES_RESIZE_MODE_RESIZEABLE ]\n", flags)
	fmt.Fprintf(&b, "    dataDir=/data/user/0/%s\n    supportsScreens=[small, medium, large, xlarge, resizeable, anyDensity]\n", p.Name)
	fmt.Fprintf(&b, "    timeStamp=%s\n    firstInstallTime=%s\n    lastUpdateTime=%s\n", first, first, first)
	fmt.Fprintf(&b, "    signatures=PackageSignatures{f4de8bb version:2, signatures:[1bff7afc], past signatures:[]}\n")
	fmt.Fprintf(&b, "    installPermissionsFixed=true\n    pkgFlags=%s\n    requested permissions:\n", flags)
	for _, perm := range slices.Concat(p.Permissions, p.Runtime) {
		fmt.Fprintf(&b, "      %s\n", perm)
	}
	fmt.Fprintf(&b, "    install permissions:\n")
	for _, perm := range p.Permissions {
		fmt.Fprintf(&b, "      %s: granted=true\n", perm)
	}
	fmt.Fprintf(&b, "    User 0: ceDataInode=%d installed=true hidden=false suspended=false stopped=false notLaunched=false enabled=0 instant=false virtual=false\n", 2600000+p.UID)
	fmt.Fprintf(&b, "      gids=[3003]\n      runtime permissions:\n%s\n", s.runtimeOf(p.Name))
	if slices.Contains(s.cfg.DualApps, p.Name) {
		fmt.Fprintf(&b, "    User %d: ceDataInode=%d installed=true hidden=false suspended=false stopped=true notLaunched=true enabled=0 instant=false virtual=false\n", dualUser, 2700000+p.UID)
	}
	b.WriteByte('\n')
	fmt.Fprintf(&b, "Package Changes:\n  Sequence number=4\n  User 0:\n\nDexopt state:\n  [%s]\n    path: %s\n      arm64: [status=quicken] [reason=install]\n", p.Name, p.Path)
	return b.String()
}

// dualUser is the user of MIUI's Dual apps.
const dualUser = 999

// listUsers is pm list users.
func (s *System) listUsers() string {
	text := "Users:\n\tUserInfo{0:Owner:13} running\n"
	if len(s.cfg.DualApps) > 0 {
		text += fmt.Sprintf("\tUserInfo{%d:XSpace:801010} running\n", dualUser)
	}
	return text
}

// dumpUsers is dumpsys user.
func (s *System) dumpUsers() string {
	text := "Users:\n  UserInfo{0:Owner:13} serialNo=0\n    State: RUNNING_UNLOCKED\n"
	if len(s.cfg.DualApps) > 0 {
		text += fmt.Sprintf("  UserInfo{%d:XSpace:801010} serialNo=10\n    State: RUNNING_UNLOCKED\n", dualUser)
	}
	return text
}

// usersOf are the user ids that a package has: all of them when no user is
// named, else that user's. Without --user, a package that the owner does not
// have is not listed.
func (s *System) usersOf(p *Package, user string) []string {
	dual := slices.Contains(s.cfg.DualApps, p.Name)
	clone := itoa(dualUser*100000 + p.UID)
	switch user {
	case "", "all":
		if dual {
			return []string{itoa(p.UID), clone}
		}
	case itoa(dualUser):
		if !dual {
			return nil
		}
		return []string{clone}
	}
	return []string{itoa(p.UID)}
}
