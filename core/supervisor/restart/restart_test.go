package restart

import (
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
)

// usual is the policy that an app has without saying anything, without jitter.
var usual = config.Restart{Policy: "on-failure", MaxRestarts: 5, Window: time.Minute, ResetAfter: time.Minute,
	Backoff: config.Backoff{Type: "exponential", Initial: time.Second, Max: 30 * time.Second, Factor: 2}}

// starts plays a program that runs for a while and fails, Again and again, on an injected clock. It gives the times of
// its starts and whether it was given up.
func starts(p config.Restart, ran time.Duration, most int) (at []time.Duration, gaveUp bool) {
	var h History
	now := time.Duration(0)
	for len(at) < most {
		at = append(at, now)
		now += ran
		next, v := h.After(p, ran, false, 0.5)
		if !v.Again {
			return at, true
		}
		h, now = next, now+v.Delay
	}
	return at, false
}

func TestExitAtOnce(t *testing.T) {
	at, gaveUp := starts(usual, 0, 100)
	want := []time.Duration{0, 1, 3, 7, 15, 31}
	if !gaveUp || len(at) != len(want) {
		t.Fatalf("started at %v, gave up %v; want starts at %v s and then an end", at, gaveUp, want)
	}
	for i := range want {
		if at[i] != want[i]*time.Second {
			t.Errorf("start %d at %v, want %v s", i, at[i], want[i])
		}
	}
}

func TestTenSecondsEachTimeGetsThereToo(t *testing.T) {
	at, gaveUp := starts(usual, 10*time.Second, 100)
	if !gaveUp || len(at) != 6 {
		t.Errorf("%d starts, gave up %v; want 6 and an end", len(at), gaveUp)
	}
}

func TestLongRunsAreForgiven(t *testing.T) {
	at, gaveUp := starts(usual, 61*time.Second, 50)
	if gaveUp {
		t.Fatalf("gave up after %d starts of 61 s each", len(at))
	}
	for i := 1; i < len(at); i++ {
		if d := at[i] - at[i-1] - 61*time.Second; d != time.Second {
			t.Errorf("restart %d waited %v, want the first delay Again", i, d)
		}
	}
}

func TestVerdicts(t *testing.T) {
	always, never := usual, usual
	always.Policy, never.Policy = "always", "never"
	for _, c := range []struct {
		name    string
		p       config.Restart
		success bool
		again   bool
	}{
		{"on-failure, success", usual, true, false}, {"on-failure, failure", usual, false, true},
		{"always, success", always, true, true}, {"always, failure", always, false, true},
		{"never, success", never, true, false}, {"never, failure", never, false, false},
	} {
		_, v := History{}.After(c.p, time.Second, c.success, 0)
		if v.Again != c.again {
			t.Errorf("%s: Again = %v", c.name, v.Again)
		}
		if !v.Again && v.Reason == "" {
			t.Errorf("%s: no reason given", c.name)
		}
	}
}

func TestDelays(t *testing.T) {
	b := config.Backoff{Initial: time.Second, Max: 10 * time.Second, Factor: 3}
	for _, c := range []struct {
		kind string
		want []time.Duration
	}{
		{"fixed", []time.Duration{1, 1, 1, 1}}, {"linear", []time.Duration{1, 4, 7, 10, 10}}, {"exponential", []time.Duration{1, 3, 9, 10}},
	} {
		b.Type = c.kind
		for i, want := range c.want {
			if got := delay(b, i+1, 0.5); got != want*time.Second {
				t.Errorf("%s, restart %d: %v, want %v s", c.kind, i+1, got, want)
			}
		}
	}
	b = config.Backoff{Type: "fixed", Initial: time.Second, Jitter: 0.1}
	if lo, hi := delay(b, 1, 0), delay(b, 1, 0.999999); lo != 900*time.Millisecond || hi < 1099*time.Millisecond || hi > 1100*time.Millisecond {
		t.Errorf("jitter of a tenth spans %v to %v", lo, hi)
	}
}

func TestHistoryIsAValue(t *testing.T) {
	h := History{Restarts: make([]time.Duration, 0, 8)}
	a, _ := h.After(usual, time.Second, false, 0)
	b, _ := h.After(usual, 2*time.Second, false, 0)
	if a.Restarts[0] == b.Restarts[0] {
		t.Error("two histories share their restarts")
	}
}
