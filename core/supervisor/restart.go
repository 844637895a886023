package supervisor

import (
	"fmt"
	"math"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
)

// history is what the restart policy remembers of a slot. Its clock counts running time only, so that back-off waits do
// not push failures out of the window.
type history struct {
	Active   time.Duration   `json:"active"`             // how long the slot has run in all
	Restarts []time.Duration `json:"restarts,omitempty"` // the active time at each restart inside the window
	Streak   int             `json:"streak"`             // restarts since the last unbroken run of resetAfter
}

// verdict is what follows an end that nobody asked for.
type verdict struct {
	again  bool
	delay  time.Duration
	reason string // why not again
}

// after decides what follows a run of length ran that ended well (success) or badly. roll is a number in [0, 1) for the
// jitter. It is pure: the same arguments always give the same verdict and the next history.
func (h history) after(p config.Restart, ran time.Duration, success bool, roll float64) (history, verdict) {
	h.Active += ran
	if p.ResetAfter > 0 && ran >= p.ResetAfter {
		h.Streak = 0
	}
	switch {
	case p.Policy == "never":
		return h, verdict{reason: "its restart policy is never"}
	case success && p.Policy != "always":
		return h, verdict{reason: "it ended by itself"}
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
		return h, verdict{reason: fmt.Sprintf("%d %s within %s did not help", len(kept), restarts, units.FormatDuration(p.Window))}
	}
	h.Streak++
	h.Restarts = append(h.Restarts, h.Active)
	return h, verdict{again: true, delay: delay(p.Backoff, h.Streak, roll)}
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
