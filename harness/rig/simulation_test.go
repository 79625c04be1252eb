package rig_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/rig"
)

func TestNotationOfSimulatedPhones(t *testing.T) {
	t.Parallel()
	phones, err := rig.SimulatedPhones("honest, deaf:mi-10,honest:redmi-k20:fr-FR,silent::ru-RU")
	want := []sim.PhoneConfig{
		{Personality: "honest"},
		{Personality: "deaf", Model: "mi-10"},
		{Personality: "honest", Model: "redmi-k20", Locale: "fr-FR"},
		{Personality: "silent", Locale: "ru-RU"},
	}
	same := func(a, b sim.PhoneConfig) bool {
		return a.Personality == b.Personality && a.Model == b.Model && a.Locale == b.Locale
	}
	if err != nil || !slices.EqualFunc(phones, want, same) {
		t.Errorf("%+v, %v", phones, err)
	}
	for text, says := range map[string]string{
		"":                     `no personality is named ""; known are honest, deaf`,
		"hnoest":               `no personality is named "hnoest"; known are honest, deaf`,
		"honest:mi10":          `no model is named "mi10"; known are redmi-note-8, mi-10, redmi-k20, mi-mix-3`,
		"honest:mi-10:de-DE":   `no locale is named "de-DE"; known are en-GB, fr-FR, ru-RU`,
		"honest:mi-10:en-GB:x": "PERSONALITY[:MODEL[:LOCALE]]",
		"honest,":              `no personality is named ""`,
	} {
		if _, err := rig.SimulatedPhones(text); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v; wanted one line with %q", text, err, says)
		}
	}
}
