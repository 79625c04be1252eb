package devices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

// A State is what an ADB server says of a phone, in the server's word.
type State string

// The states of a phone. Only StateDevice can be used.
const (
	StateUnknown       State = ""
	StateDevice        State = "device"
	StateOffline       State = "offline"
	StateUnauthorized  State = "unauthorized"
	StateAuthorizing   State = "authorizing"
	StateConnecting    State = "connecting"
	StateNoPermissions State = "no permissions"
	StateRecovery      State = "recovery"
	StateSideload      State = "sideload"
	StateRescue        State = "rescue"
	StateBootloader    State = "bootloader"
	StateHost          State = "host"
	StateDetached      State = "detached"
	// StateAbsent is ours: the server does not list the phone at all.
	StateAbsent State = "absent"
)

// Usable reports whether commands can be run on a phone in this state.
func (s State) Usable() bool { return s == StateDevice }

// Advice says what a person does about the state, empty when nothing is to be
// done.
func (s State) Advice() string {
	switch s {
	case StateDevice:
		return ""
	case StateOffline:
		return "the phone does not answer: wait a few seconds, then plug it in again, or restart it"
	case StateUnauthorized:
		return `unlock the phone and accept "Allow USB debugging?" with "Always allow" ticked; if nothing is asked, revoke USB debugging authorisations in Developer options and plug it in again`
	case StateAuthorizing, StateConnecting:
		return "the connection is being made: wait a few seconds; if it stays so, unlock the phone and look for a question on its screen"
	case StateNoPermissions:
		return "this user may not open the USB device: add a udev rule or join the group plugdev, then plug the phone in again"
	case StateRecovery, StateSideload, StateRescue:
		return "the phone has not started Android: choose \"Reboot system now\" on it"
	case StateBootloader:
		return "the phone is in its bootloader: run `fastboot reboot`, or hold the power button"
	case StateHost:
		return "this entry is not a phone in its usual role: leave it out of farm.yaml"
	case StateDetached:
		return "the server has let go of the phone: run `adb attach` for it, or plug it in again"
	case StateAbsent:
		return "the server does not list the phone: check cable, power and the serial in farm.yaml (`adb devices -l`)"
	case StateUnknown:
		return "the server gave no state: restart it with `adb kill-server` and look again"
	}
	return fmt.Sprintf("the state %q is not one that can be used: look at the phone's screen, then plug it in again", string(s))
}

// An Entry is one phone that a server lists.
type Entry struct {
	Server string
	Serial string
	State  State
	// Props are the server's key:value pairs: usb, product, model, device,
	// transport_id.
	Props map[string]string
}

// Advice says what to do about the phone's state, empty when it can be used.
func (e Entry) Advice() string { return e.State.Advice() }

// Model is the phone's model as the server knows it, empty when it does not.
func (e Entry) Model() string { return e.Props["model"] }

// Device names the entry's phone.
func (e Entry) Device() *Device { return Open(e.Server, e.Serial) }

// serverLimit bounds the question for the phones of one server.
const serverLimit = 15 * time.Second

// Inventory lists every phone of the servers, in every state. No servers means
// the default one. The servers are asked at once, each within a limit, so that a
// dead one hides no phone of the others: the error joins what went wrong with
// single servers, and the entries of the others are returned all the same.
func Inventory(ctx context.Context, servers []string) ([]Entry, error) {
	if len(servers) == 0 {
		servers = []string{adb.DefaultAddr}
	}
	type answer struct {
		entries []Entry
		err     error
	}
	answers := make([]answer, len(servers))
	var asking sync.WaitGroup
	for i, server := range servers {
		asking.Go(func() {
			ask, cancel := context.WithTimeout(ctx, serverLimit)
			defer cancel()
			entries, err := inventory(ask, server)
			if err != nil {
				err = fmt.Errorf("devices: list phones of %s: %w", server, err)
			}
			answers[i] = answer{entries, err}
		})
	}
	asking.Wait()
	var (
		all    []Entry
		failed []error
	)
	for _, a := range answers {
		all, failed = append(all, a.entries...), append(failed, a.err)
	}
	return all, errors.Join(failed...)
}

// inventory reads one server's table by the wire client and compares the
// serials with gadb's list. A phone may come or go between the two, so a
// difference counts only when it stays.
func inventory(ctx context.Context, server string) ([]Entry, error) {
	client := &adb.Client{Addr: server}
	const attempts = 3
	var differ error
	for range attempts {
		table, err := client.Devices(ctx)
		if err != nil {
			return nil, err
		}
		entries := make([]Entry, 0, len(table))
		serials := make([]string, 0, len(table))
		for _, e := range table {
			entries = append(entries, Entry{Server: server, Serial: e.Serial, State: State(e.State), Props: e.Props})
			serials = append(serials, e.Serial)
		}
		second, err := serialList(ctx, server)
		if err != nil {
			return entries, err
		}
		slices.Sort(serials)
		slices.Sort(second)
		if slices.Equal(serials, second) {
			return entries, nil
		}
		differ = fmt.Errorf("two lists of the same server differ: %v and %v", serials, second)
		if len(entries) == 0 && len(second) == 0 {
			return entries, nil
		}
		if err := pause(ctx, retryPause); err != nil {
			return entries, err
		}
	}
	return nil, differ
}
