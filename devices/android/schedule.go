package android

import "strings"

// A Job is one that JobScheduler keeps for an app.
type Job struct {
	// Owner is the user id in Android's words, such as u0a123 or 1000.
	Owner string `json:"owner"`
	ID    int    `json:"id"`
	// Namespace sets jobs of one number apart, since Android 14.
	Namespace string `json:"namespace,omitempty"`
	// Service is the component in full form; Package the app for which it is done,
	// which may be another one, empty when not said.
	Service string `json:"service"`
	Package string `json:"package,omitempty"`
	// Every is the period in the phone's words, such as +1h0m0s0ms; empty for a job
	// that does not repeat, or where it is not said.
	Every string `json:"every,omitempty"`
	// Network is true when the job asks for one, Ready when it could run now; nil is
	// "not said".
	Network *bool `json:"network,omitempty"`
	Ready   *bool `json:"ready,omitempty"`
}

// ParseJobs reads the registered jobs in `dumpsys jobscheduler`. ok is false when
// the dump has no list of them.
func ParseJobs(text string) (jobs []Job, ok bool) {
	inside := false
	var job *Job
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "Registered ") && strings.HasSuffix(line, " jobs:"), line == "Registered Jobs:":
			inside, ok, job = true, true, nil
			continue
		case raw[0] != ' ' && raw[0] != '\t':
			inside, job = false, nil
			continue
		case !inside:
			continue
		}
		if rest, is := strings.CutPrefix(line, "JOB "); is {
			job = nil
			if j, ok := jobHead(rest); ok && len(jobs) < maxEntries {
				jobs = append(jobs, j)
				job = &jobs[len(jobs)-1]
			}
			continue
		}
		if job != nil {
			job.read(line)
		}
	}
	return jobs, ok
}

// jobHead reads "#u0a123/4: 1a2b3c com.x/.Job", and "name:u0a123/4: ..." and
// "#<name>u0a123/4: ..." of Android 14 and later.
func jobHead(rest string) (j Job, ok bool) {
	head, tail, ok := strings.Cut(rest, ": ")
	fields := strings.Fields(tail)
	if !ok || len(fields) < 2 {
		return j, false
	}
	head = strings.TrimPrefix(head, "#")
	if name, more, is := strings.Cut(strings.TrimPrefix(head, "<"), ">"); is && strings.HasPrefix(head, "<") {
		j.Namespace, head = name, more
	} else if name, more, is := cutLast(head, ":"); is {
		j.Namespace, head = name, more
	}
	owner, id, ok := cutLast(head, "/")
	n := number[int](id)
	if !ok || n == nil || owner == "" {
		return j, false
	}
	j.Owner, j.ID = owner, *n
	service := fields[1]
	if i := strings.LastIndexByte(service, '@'); i >= 0 {
		service = service[i+1:] // The namespace again.
	}
	j.Service = Component(service)
	return j, strings.Contains(service, "/")
}

func (j *Job) read(line string) {
	switch key, value, _ := strings.Cut(line, ": "); key {
	case "Source":
		for _, f := range strings.Fields(value) {
			if pkg, ok := strings.CutPrefix(f, "pkg="); ok {
				j.Package = pkg
			}
		}
	case "PERIODIC":
		for _, f := range strings.Fields(value) {
			if every, ok := strings.CutPrefix(f, "interval="); ok {
				j.Every = every
			}
		}
	case "Required constraints":
		wants := strings.Contains(" "+value+" ", " CONNECTIVITY ")
		j.Network = &wants
	case "Network type":
		wants := true
		j.Network = &wants
	case "Ready":
		if ready := before(value, " "); ready == "true" || ready == "false" {
			is := ready == "true"
			j.Ready = &is
		}
	}
}

// An Alarm is one that AlarmManager keeps.
type Alarm struct {
	// Type is RTC, RTC_WAKEUP, ELAPSED or ELAPSED_WAKEUP.
	Type    string `json:"type"`
	Package string `json:"package"`
	// Tag says what for, such as *walarm*:com.x/.Receiver; empty when not said.
	Tag string `json:"tag,omitempty"`
	// When is in the phone's words, absolute or from now; empty when not said.
	When string `json:"when,omitempty"`
	// Every is the period in milliseconds, nil when not said; 0 is one that does not
	// repeat.
	Every *int64 `json:"every_ms,omitempty"`
}

// ParseAlarms reads the pending alarms in `dumpsys alarm` of Android 5 and later.
// ok is false when the dump is not one of that service. An alarm that the dump
// repeats elsewhere, such as the next one that wakes the phone, counts once.
func ParseAlarms(text string) (alarms []Alarm, ok bool) {
	seen := map[string]bool{}
	var alarm *Alarm
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		if strings.HasPrefix(line, "Current Alarm Manager state:") {
			ok = true
			continue
		}
		if !ok || line == "" {
			continue
		}
		head, inner, is := strings.Cut(line, ": Alarm{")
		if is {
			alarm = nil
			kind, place, numbered := strings.Cut(head, " #")
			id, _, closed := strings.Cut(inner, "}")
			fields := strings.Fields(id)
			if !closed || len(fields) < 4 || fields[1] != "type" || seen[fields[0]] || len(alarms) >= maxEntries {
				continue
			}
			// A line without a place restates an alarm, and one without a package
			// is one that cannot be read.
			if !numbered || number[int](place) == nil || !known(kind) {
				continue
			}
			seen[fields[0]] = true
			alarms = append(alarms, Alarm{Type: kind, Package: fields[len(fields)-1]})
			alarm = &alarms[len(alarms)-1]
			continue
		}
		switch {
		case raw[0] != ' ' && raw[0] != '\t', strings.HasSuffix(line, ":"):
			alarm = nil
		case alarm != nil:
			alarm.read(line)
		}
	}
	return alarms, ok
}

func known(kind string) bool {
	switch kind {
	case "RTC", "RTC_WAKEUP", "ELAPSED", "ELAPSED_WAKEUP", "ELAPSED_REALTIME", "ELAPSED_REALTIME_WAKEUP":
		return true
	}
	return false
}

func (a *Alarm) read(line string) {
	if tag, ok := strings.CutPrefix(line, "tag="); ok {
		a.Tag = tag
		return
	}
	if a.When == "" {
		if _, when, ok := strings.Cut(" "+line, " whenElapsed="); ok {
			a.When = before(when, " ")
		} else if _, when, ok := strings.Cut(" "+line, " when="); ok {
			a.When = strings.TrimSpace(before(before(when, " window="), " repeatInterval="))
		}
	}
	if _, every, ok := strings.Cut(" "+line, " repeatInterval="); ok {
		a.Every = number[int64](before(every, " "))
	}
}
