package machine

import (
	"slices"
	"testing"
)

// TestUnitNames has the names of drop-ins as systemd.unit(5) says them.
func TestUnitNames(t *testing.T) {
	for name, want := range map[string][]string{
		"a.service":         {"a.service", "service"},
		"a-b-c.socket":      {"a-b-c.socket", "a-b-.socket", "a-.socket", "socket"},
		"a-b@x-y.service":   {"a-b@x-y.service", "a-b@.service", "a-.service", "service"},
		"a@.timer":          {"a@.timer", "timer"},
		"foo-bar-.service":  {"foo-bar-.service", "foo-.service", "service"},
		"odd.name.service":  {"odd.name.service", "service"},
		"-lead-ing.service": {"-lead-ing.service", "-lead-.service", "-.service", "service"},
	} {
		if got := unitNames(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
