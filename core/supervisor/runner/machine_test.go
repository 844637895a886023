package runner

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

var (
	allPhases = []phase{idle, waiting, spawning, starting, running, ending, killing, stuck, backoff}
	allEvents = []event{evStart, evStop, evMet, evSpawned, evSpawnFailed, evReady, evUnready, evUnhealthy, evHeavy, evSilent, evExited, evLate, evGone, evWontDie, evOver}
	usual     = config.Restart{Policy: "on-failure", MaxRestarts: 5, Window: time.Minute, ResetAfter: time.Minute, Backoff: config.Backoff{Type: "exponential", Initial: time.Second, Max: 30 * time.Second, Factor: 2}}
	plain     = rules{restart: usual, stop: 10 * time.Second}
)

// TestTransitions prints the table of transitions and compares it with the one in the comment above the machine.
func TestTransitions(t *testing.T) {
	source, err := os.ReadFile("machine.go")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]string{}
	for _, line := range strings.Split(string(source), "\n") {
		line, ok := strings.CutPrefix(line, "//\t")
		f := strings.Fields(line)
		if !ok || len(f) < 4 || f[2] != "→" {
			continue
		}
		actions := ""
		if len(f) > 4 && !strings.HasPrefix(f[4], "(") {
			actions = f[4]
		}
		drawn[f[0]+" "+f[1]] = f[3] + " " + actions
	}
	if len(drawn) < 15 {
		t.Fatalf("only %d transitions are drawn: is the comment still there?", len(drawn))
	}
	seen := map[string]bool{}
	for _, p := range allPhases {
		for _, e := range allEvents {
			before := slot{phase: p, outcome: view.Stopped, end: ended{cause: byStop}}
			after, acts := step(before, e, ended{}, plain, 0.5)
			if e == evSpawnFailed || p == idle && e == evStop {
				after.end = before.end
			}
			changed := after.phase != before.phase || len(acts) > 0 || after.doomed != before.doomed && e == evStop
			key := string(p) + " " + string(e)
			want, isDrawn := drawn[key]
			switch {
			case changed != isDrawn:
				t.Errorf("%s: changes something: %v, drawn: %v (now %s)", key, changed, isDrawn, after.phase)
			case isDrawn:
				seen[key] = true
				words := make([]string, len(acts))
				for i, a := range acts {
					words[i] = string(a)
				}
				if got := string(after.phase) + " " + strings.Join(words, ","); got != want {
					t.Errorf("%s: drawn as %q, is %q", key, want, got)
				}
			}
		}
	}
	for key := range drawn {
		if !seen[key] {
			t.Errorf("%s is drawn but does not happen", key)
		}
	}
}

// at drives a machine through events; an exit carries end.
func at(t *testing.T, r rules, end ended, events ...event) slot {
	t.Helper()
	s := slot{phase: idle, outcome: view.Stopped}
	for _, e := range events {
		s, _ = step(s, e, end, r, 0.5)
	}
	return s
}

func TestEnds(t *testing.T) {
	never := plain
	never.restart.Policy = "never"
	always := plain
	always.restart.Policy, always.restart.MaxRestarts = "always", 0
	once := plain
	once.oneshot = true
	up := []event{evStart, evMet, evSpawned, evReady}
	for _, c := range []struct {
		name string
		r    rules
		end  ended
		tail []event
		want view.State
	}{
		{"a failure starts again", plain, ended{}, []event{evExited, evGone}, view.Backoff},
		{"success of a service stops it", plain, ended{success: true}, []event{evExited, evGone}, view.Stopped},
		{"success of a one-shot completes it", once, ended{success: true}, []event{evExited, evGone}, view.Completed},
		{"success of what should always run, when no restart is left", always, ended{success: true}, []event{evExited, evGone}, view.Crashed},
		{"success of what is never restarted", never, ended{success: true}, []event{evExited, evGone}, view.Stopped},
		{"never restarted", never, ended{}, []event{evExited, evGone}, view.Crashed},
		{"stop", plain, ended{}, []event{evStop, evExited, evGone}, view.Stopped},
		{"stop of what ignores the signal", plain, ended{}, []event{evStop, evLate, evGone}, view.Stopped},
		{"stop while its rest is being killed", plain, ended{}, []event{evExited, evStop, evGone}, view.Stopped},
		{"restart", plain, ended{}, []event{evStop, evStart, evExited, evGone}, view.Waiting},
		{"start and stop while it stops", plain, ended{}, []event{evStop, evStart, evStop, evExited, evGone}, view.Stopped},
		{"unhealthy starts again", plain, ended{success: true}, []event{evUnhealthy, evExited, evGone}, view.Backoff},
		{"silence starts again", plain, ended{success: true}, []event{evSilent, evExited, evGone}, view.Backoff},
		{"too much memory starts again, however well it ends", plain, ended{success: true}, []event{evHeavy, evExited, evGone}, view.Backoff},
		{"does not die", plain, ended{}, []event{evStop, evLate, evWontDie}, view.Stuck},
		{"dies after all", plain, ended{}, []event{evStop, evLate, evWontDie, evGone}, view.Stopped},
	} {
		if got := at(t, c.r, c.end, append(slices.Clone(up), c.tail...)...).state(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSpawnFailures(t *testing.T) {
	if got := at(t, plain, ended{permanent: true}, evStart, evMet, evSpawnFailed).state(); got != view.Crashed {
		t.Errorf("a program that is not there: %s, want crashed at once", got)
	}
	if got := at(t, plain, ended{}, evStart, evMet, evSpawnFailed).state(); got != view.Backoff {
		t.Errorf("a passing failure: %s, want another try", got)
	}
	if got := at(t, plain, ended{}, evStart, evMet, evStop, evSpawnFailed).state(); got != view.Stopped {
		t.Errorf("stopped while it was spawned: %s", got)
	}
}

// TestStopWins: whatever happened, a stop followed by the end of everything leaves the slot stopped, and no generation
// is ever started while another one may live.
func TestStopWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slot{phase: idle, outcome: view.Stopped}
		alive := 0
		apply := func(e event) {
			next, acts := step(s, e, ended{success: rapid.Bool().Draw(t, "success"), ran: time.Duration(rapid.IntRange(0, 100).Draw(t, "ran")) * time.Second}, plain, 0.5)
			s = next
			if slices.Contains(acts, actSpawn) {
				if alive++; alive > 1 {
					t.Fatalf("a second generation is started by %s", e)
				}
			}
		}
		possible := func() []event {
			switch s.phase {
			case waiting:
				return []event{evStart, evStop, evMet}
			case spawning:
				return []event{evStart, evStop, evSpawned, evSpawnFailed}
			case starting:
				return []event{evStart, evStop, evReady, evUnready, evHeavy, evExited}
			case running:
				return []event{evStart, evStop, evUnhealthy, evHeavy, evSilent, evExited}
			case ending:
				return []event{evStart, evStop, evExited, evLate}
			case killing, stuck:
				return []event{evStart, evStop, evExited, evGone, evWontDie}
			case backoff:
				return []event{evStart, evStop, evOver}
			}
			return []event{evStart, evStop}
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			e := rapid.SampledFrom(possible()).Draw(t, "event")
			if e == evGone || e == evSpawnFailed {
				alive--
			}
			apply(e)
		}
		apply(evStop)
		for range 4 {
			switch s.phase {
			case spawning:
				apply(evSpawned)
			case ending:
				apply(evLate)
			case killing, stuck:
				alive--
				apply(evGone)
			}
		}
		if s.state() != view.Stopped || alive != 0 {
			t.Fatalf("after a stop: %s with %d generations", s.state(), alive)
		}
	})
}
