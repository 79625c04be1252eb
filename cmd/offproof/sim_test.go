package main

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/rig"
)

func TestFaultsOfTheSimulatedFarm(t *testing.T) {
	t.Parallel()
	phones, err := rig.SimulatedPhones("honest,deaf:mi-10")
	if err != nil {
		t.Fatal(err)
	}
	if err := breakPhones(phones, []string{"2:unplug=5s@20s", "2:low-battery=3", "1:reboot"}); err != nil {
		t.Fatal(err)
	}
	if len(phones[0].Faults) != 1 || len(phones[1].Faults) != 2 || phones[1].Faults[0].Arg != "5s" {
		t.Errorf("%+v", phones)
	}
	for text, says := range map[string]string{
		"unplug": "1 to 2", "0:unplug": "1 to 2", "3:unplug": "1 to 2", "1:nonsense": "known are", "1:unplug=x": "not \"x\"",
	} {
		if err := breakPhones(phones, []string{text}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; wanted %q", text, err, says)
		}
	}
}
