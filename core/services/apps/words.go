package apps

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// summary is the one sentence that answers why.
func summary(v *view.App) string {
	why := v.Reason
	switch v.State {
	case view.Running:
		s := fmt.Sprintf("%s runs since %s", v.Name, v.Since.Format(time.DateTime))
		if v.Restarts > 0 {
			s += fmt.Sprintf(" after %d restarts", v.Restarts)
		}
		if v.Health == "unhealthy" {
			s += ", but it is unhealthy"
		}
		return s
	case view.Stopped:
		if v.Desired == "stopped" {
			return v.Name + " is stopped because somebody asked for it, or nobody has started it yet"
		}
		if why == "" {
			why = "it has not been started"
		}
	case view.Completed:
		return v.Name + " ran to its end with success"
	}
	if why == "" {
		why = "no reason is known"
	}
	return fmt.Sprintf("%s is %s: %s", v.Name, v.State, why)
}

// readiness says what a starting app waits for, how that answers, and how much of its time is gone.
func readiness(v *view.App, now time.Time) string {
	for _, i := range v.Instances {
		ps := v.Definition.Processes
		k := slices.IndexFunc(ps, func(p config.Process) bool { return p.Name == i.Process })
		if i.State != view.Starting || k < 0 || ps[k].Ready.Kind == "" {
			continue
		}
		r := ps[k].Ready
		what, limit := "for the "+r.Kind+" probe of its readiness", r.Timeout
		switch r.Kind {
		case "alive", "delay":
			what, limit = "until it has run a while", r.Delay
		case "notify":
			what = "until it says by sd_notify that it is ready"
		case "log":
			what = "until it prints what ready.log looks for"
		}
		s := fmt.Sprintf("%s is starting: it waits %s, %s of %s", v.Name, what, now.Sub(i.Since).Round(time.Second), limit)
		if i.HealthNote != "" {
			s += ": " + i.HealthNote
		}
		return s
	}
	return summary(v)
}

// causes are the calls that explain what an app waits for.
func (s *Service) causes(ctx context.Context, v *view.App) []fault.Hint {
	var next []fault.Hint
	for _, d := range v.DependsOn {
		key := v.Project + "/" + v.Stack + "/" + d
		if on := s.sup.App(key); on != nil && on.State != view.Running && on.State != view.Completed && len(next) < 3 {
			next = append(next, fault.Hint(fault.Do("apps.explain", "name", s.sup.Called(ctx, key)).String()))
		}
	}
	return next
}

// advice names calls that make sense in the app's state.
func advice(v *view.App, name string) []fault.Hint {
	names := []string{name}
	var calls []fault.Call
	switch v.State {
	case view.Crashed, view.Failed, view.Backoff:
		calls = []fault.Call{fault.Do("logs.query", "names", names, "limit", 100), fault.Do("apps.inspect", "name", name), fault.Do("apps.restart", "names", names)}
	case view.Stopped, view.Completed:
		calls = []fault.Call{fault.Do("apps.start", "names", names)}
		if v.State == view.Stopped && v.Desired == "running" { // it ended by itself, and would again
			calls = []fault.Call{fault.Do("logs.query", "names", names, "limit", 100), fault.Do("apps.inspect", "name", name), calls[0]}
		}
	case view.Waiting:
		calls = []fault.Call{fault.Do("apps.graph"), fault.Do("apps.list")}
		if v.Sleeps() {
			calls = []fault.Call{fault.Do("logs.query", "names", names, "limit", 100), fault.Do("apps.start", "names", names)}
		}
	case view.Stuck:
		calls = []fault.Call{fault.Do("apps.inspect", "name", name), fault.Do("daemon.doctor")}
	default:
		calls = []fault.Call{fault.Do("logs.follow", "names", names)}
	}
	hints := make([]fault.Hint, len(calls))
	for i, c := range calls {
		hints[i] = fault.Hint(c.String())
	}
	return hints
}
