package userland

import (
	"fmt"
	"strings"
	"time"
)

// A job is work that an app asked Android to do again and again.
type job struct {
	pkg, service string
	id           int
	every        time.Duration
	network      bool
}

// jobs are those of the packages that are installed: most are daily, as they
// are on real phones.
func (s *System) jobs() []job {
	var list []job
	for _, j := range []job{
		{"com.google.android.gms", ".chimera.PersistentDirectBootAwareApiService", 1, 24 * time.Hour, false},
		{"com.miui.analytics", ".internal.service.UploadJobService", 12, 24 * time.Hour, true},
		{"com.miui.msa.global", "com.xiaomi.ad.internal.common.module.SystemAdJobService", 3, 24 * time.Hour, true},
		{"com.miui.daemon", ".mqsas.jobs.CloudControlSyncService", 7, 24 * time.Hour, true},
		{"com.xiaomi.xmsf", "com.xiaomi.push.service.XMJobService", 1, 10 * time.Minute, true},
		{"com.mi.globalbrowser", "com.miui.analytics.onetrack.OneTrackJobService", 101, 15 * time.Minute, true},
	} {
		if s.pkg(j.pkg) != nil {
			list = append(list, j)
		}
	}
	return list
}

// span is a time as Android's dumps print it: +1d2h3m4s5ms.
func span(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	d = d.Truncate(time.Millisecond)
	var b strings.Builder
	started := false
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		n := d / u.size
		d -= n * u.size
		if started = started || n > 0; started {
			fmt.Fprintf(&b, "%d%s", n, u.name)
		}
	}
	if !started {
		return "0"
	}
	return sign + b.String()
}

// appName is a user id as Android prints it: u0a123, or the number below the apps.
func appName(uid int) string {
	if uid < firstAppUID {
		return itoa(uid)
	}
	return fmt.Sprintf("u%da%d", uid/100000, uid%100000-firstAppUID)
}

// dumpJobs is dumpsys jobscheduler [PACKAGE].
func (s *System) dumpJobs(args []string) string {
	only := ""
	if len(args) > 0 && !strings.HasPrefix(args[len(args)-1], "-") {
		only = args[len(args)-1]
	}
	bits := func(mask uint32) string {
		if s.cfg.Identity.Ten() {
			return fmt.Sprintf(" [0x%x]", mask)
		}
		return ""
	}
	up := s.uptime()
	var b strings.Builder
	jobs := s.jobs()
	b.WriteString("Settings:\n  min_idle_count=1\n  min_charging_count=1\n\nStarted users: [0]\n")
	fmt.Fprintf(&b, "Registered %d jobs:\n", len(jobs))
	for n, j := range jobs {
		if only != "" && j.pkg != only {
			continue
		}
		uid := s.pkg(j.pkg).UID
		name, component := appName(uid), j.pkg+"/"+j.service
		fmt.Fprintf(&b, "  JOB #%s/%d: %x %s\n    %[1]s tag=*job*/%[4]s\n    Source: uid=%[1]s user=0 pkg=%[5]s\n    JobInfo:\n      Service: %[4]s\n"+
			"      PERIODIC: interval=%[6]s flex=%[6]s\n      PERSISTED\n      Requires: charging=false batteryNotLow=false deviceIdle=false\n",
			name, j.id, 0x4c5a2b1+n*0x1f3, component, j.pkg, span(j.every))
		required, satisfied := "TIMING_DELAY DEADLINE", "APP_NOT_IDLE DEVICE_NOT_DOZING"
		if s.cfg.Identity.Ten() {
			satisfied = "DEVICE_NOT_DOZING BACKGROUND_NOT_RESTRICTED WITHIN_QUOTA"
		}
		mask, met := uint32(0xc0000000), uint32(0x3400000)
		if j.network {
			required, mask = required+" CONNECTIVITY", mask|0x10000000
			satisfied, met = "CONNECTIVITY "+satisfied, met|0x10000000
			fmt.Fprintf(&b, "      Network type: NetworkRequest [ NONE id=0, [ Capabilities: INTERNET&NOT_RESTRICTED&TRUSTED&VALIDATED Uid: %d] ]\n", uid)
		}
		// Each job ran last at a moment of its own.
		age := (up + time.Duration(n)*j.every/7) % j.every
		fmt.Fprintf(&b, "      Backoff: policy=1 initial=+30s0ms\n      Has early constraint\n      Has late constraint\n"+
			"    Required constraints: %s%s\n    Satisfied constraints: %s%s\n    Unsatisfied constraints: TIMING_DELAY DEADLINE%s\n"+
			"    Standby bucket: ACTIVE\n    Base heartbeat: 0\n    Enqueue time: %s\n    Run time: earliest=%s, latest=%s\n    Last run heartbeat: 0\n"+
			"    Ready: false (job=false user=true !pending=true !active=true !backingup=true comp=true)\n\n",
			required, bits(mask), satisfied, bits(met), bits(0xc0000000), span(-age), span(j.every-age), span(2*j.every-age))
	}
	b.WriteString("ConnectivityController:\n\nPending queue:\n\nActive jobs:\n  Slot #0: inactive since +1m2s331ms, stopped because: successful finish\n")
	return b.String()
}

// cmdJobscheduler is cmd jobscheduler run [-f] PACKAGE ID.
func cmdJobscheduler(p *proc, args []string) int {
	force := false
	var rest []string
	for i := 0; i < len(args); i++ {
		switch args[i] {
		case "-f", "--force":
			force = true
		case "-u", "--user":
			i++
		default:
			rest = append(rest, args[i])
		}
	}
	if len(rest) != 3 || rest[0] != "run" {
		p.errorf("Job scheduler (jobscheduler) commands:\n  help\n  run [-f | --force] [-u | --user USER_ID] PACKAGE JOB_ID\n")
		return 255
	}
	if p.sys.pkg(rest[1]) == nil {
		p.printf("Package not found: %s\n", rest[1])
		return 255
	}
	for _, j := range p.sys.jobs() {
		if j.pkg != rest[1] || itoa(j.id) != rest[2] {
			continue
		}
		if !force {
			p.printf("Job has unsatisfied constraints\n")
			return 255
		}
		p.printf("Running job [FORCED]\n")
		p.sys.logf("D", "JobServiceContext", 1387, "executing %s/%s #%d", j.pkg, j.service, j.id)
		return 0
	}
	p.printf("Could not find job %s in package %s / user 0\n", rest[2], rest[1])
	return 255
}

// dumpAlarms is dumpsys alarm: one batch for each job's moment, and the clock's.
func (s *System) dumpAlarms() string {
	now, up := s.Now().UTC(), s.uptime()
	const form = "2006-01-02 15:04:05.000"
	var b strings.Builder
	fmt.Fprintf(&b, "Current Alarm Manager state:\n  Settings:\n    min_futurity=+5s0ms\n    min_interval=+1m0s0ms\n    allow_while_idle_short_time=+5s0ms\n\n"+
		"  nowRTC=%d=%s nowELAPSED=%d\n  mLastTimeChangeClockTime=0=1970-01-01 00:00:00\n  RuntimeStarted=%s\n\n"+
		"  Next non-wakeup alarm: +27s418ms = %s\n  Num time change events: 1\n\n", now.UnixMilli(), now.Format(form), up.Milliseconds(),
		now.Add(-up).Format(form), now.Add(27418*time.Millisecond).Format(form))
	jobs := s.jobs()
	fmt.Fprintf(&b, "  Pending alarm batches: %d\n", len(jobs)+1)
	entry := func(n int, wakes bool, in time.Duration, pkg, tag string, repeat time.Duration) {
		at, elapsed := now.Add(in), up+in
		kind, number := "RTC", 1
		when := at.UnixMilli()
		if wakes {
			kind, number, when = "ELAPSED_WAKEUP", 2, elapsed.Milliseconds()
		}
		fmt.Fprintf(&b, "Batch{%x num=1 start=%d end=%d flgs=0x8}:\n    %s #0: Alarm{%x type %d when %d %s}\n      tag=%s\n      type=%d whenElapsed=%s when=%s\n"+
			"      window=+0ms repeatInterval=%d count=0 flags=0x8\n      operation=PendingIntent{%x: PendingIntentRecord{%x %s broadcastIntent}}\n",
			0x3ea3cc0+n, elapsed.Milliseconds(), elapsed.Milliseconds(), kind, 0x51c7ed9+n, number, when, pkg, tag, number, span(in), at.Format(form),
			repeat.Milliseconds(), 0x9ac7b9e+n, 0xd14037f+n, pkg)
	}
	entry(0, false, 27418*time.Millisecond, "android", "*alarm*:android.intent.action.TIME_TICK", 0)
	for n, j := range jobs {
		age := (up + time.Duration(n)*j.every/7) % j.every
		entry(n+1, true, j.every-age, j.pkg, "*walarm*:"+j.pkg+".ALARM", j.every)
	}
	b.WriteString("\n  Past-due non-wakeup alarms: (none)\n    Number of delayed alarms: 0, total delay time: 0\n")
	return b.String()
}
