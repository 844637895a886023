package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestDiffHooksAndSchedule: what changes of them is told key by key, as the file has it, and is taken up without a restart.
func TestDiffHooksAndSchedule(t *testing.T) {
	load := func(rest string) *Definition {
		def, _, err := Load(Source{Files: []File{{Path: "/srv/omnitron.yaml", Text: "project: shop\napps:\n  - {name: job, command: [job], oneshot: true" + rest + "}\n"}}})
		if err != nil {
			t.Fatal(err)
		}
		return def
	}
	var got []string
	for _, c := range Diff(load(`, hooks: {preStart: [a]}, schedule: "0 3 * * *"`), load(`, hooks: {preStart: {command: [b], timeout: 2m}}, schedule: {cron: "0 4 * * *", timezone: UTC}`)) {
		got = append(got, fmt.Sprintf("%s: %s → %s (%s)", c.Path, c.Old, c.New, c.Takes))
	}
	want := "hooks.preStart.command: [\"a\"] → [\"b\"] (live)\nhooks.preStart.timeout: 30s → 2m (live)\n" +
		"schedule.cron: 0 3 * * * → 0 4 * * * (live)\nschedule.timezone:  → UTC (live)"
	if all := strings.Join(got, "\n"); all != want {
		t.Errorf("%s\nnot\n%s", all, want)
	}
}
