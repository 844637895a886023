// Package restart decides whether, and after how long, what has ended is started again: a pure function of the policy and of
// what happened so far.
package restart

import (
	"fmt"
	"math"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
)

// History is what the policy remembers of a slot. Its clock counts running time only, so that back-off waits do not push
// failures out of the window.
type History struct {
	Active   time.Duration   // how long the slot has run in all
	Restarts []time.Duration // the active time at each restart inside the window
	Streak   int             // restarts since the last unbroken run of resetAfter
}

// Verdict is what follows an end that nobody asked for.
type Verdict struct {
	Again  bool
	Delay  time.Duration // before it is started again
	Reason string        // why not again
}

// After decides what follows a run of length ran that ended well (success) or badly. roll is a number in [0, 1) for the
// jitter. The same arguments always give the same verdict and the next history; h is left as it was.
func (h History) After(p config.Restart, ran time.Duration, success bool, roll float64) (History, Verdict) {
	h.Active += ran
	if p.ResetAfter > 0 && ran >= p.ResetAfter {
		h.Streak = 0
	}
	switch {
	case p.Policy == "never":
		return h, Verdict{Reason: "its restart policy is never"}
	case success && p.Policy != "always":
		return h, Verdict{Reason: "it ended by itself"}
	}
	kept := make([]time.Duration, 0, len(h.Restarts)+1)
	for _, at := range h.Restarts {
		if h.Active-at < p.Window {
			kept = append(kept, at)
		}
	}
	h.Restarts = kept
	if len(kept) >= p.MaxRestarts {
		restarts := "restarts"
		if len(kept) == 1 {
			restarts = "restart"
		}
		return h, Verdict{Reason: fmt.Sprintf("%d %s within %s did not help", len(kept), restarts, units.FormatDuration(p.Window))}
	}
	h.Streak++
	h.Restarts = append(h.Restarts, h.Active)
	return h, Verdict{Again: true, Delay: delay(p.Backoff, h.Streak, roll)}
}

// delay is the wait before the nth restart in a row, n from 1.
func delay(b config.Backoff, n int, roll float64) time.Duration {
	d := float64(b.Initial)
	switch b.Type {
	case "linear":
		d *= 1 + b.Factor*float64(n-1)
	case "exponential":
		d *= math.Pow(b.Factor, float64(n-1))
	}
	if limit := float64(b.Max); b.Max > 0 && d > limit {
		d = limit
	}
	d *= 1 + b.Jitter*(2*roll-1)
	return time.Duration(d)
}
