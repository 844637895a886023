package supervisor

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// intend makes a command's wish durable before anything is done. It says of each target whether a younger command wants
// something else of it: those are overtaken.
func (s *Supervisor) intend(ctx context.Context, k runner.Kind, c Command) ([]bool, error) {
	targets, seq := c.Targets, c.Seq
	over := make([]bool, len(targets))
	var left []string
	want := store.WantStopped
	if k.Up() {
		want = store.WantRunning
	}
	planned := map[string]bool{}
	for _, t := range targets {
		planned[t.Key] = s.plan(t.Key) != nil
	}
	err := s.State.Put(ctx, func(st *store.State) error {
		left = nil
		if k.Up() && s.ending() { // here, so that it cannot come between the mark of the home and the end
			return errEnding()
		}
		lifted := k.Up() && st.HomeDown
		if lifted {
			st.HomeDown, left = false, intent.PutDown(st, targets)
		}
		for i, t := range targets {
			a, ok := st.App(t.Key)
			if !ok {
				over[i] = false
				continue
			}
			was := a.Desired
			if over[i] = intent.Wish(&a, intent.PartOf(t), want, seq); over[i] {
				continue
			}
			if planned[t.Key] {
				intent.Schedule(&a, s.Now(), lifted || was != store.WantRunning, k.Up() && !c.Arm)
			}
			st.Set(a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		left = append(left, t.Key)
	}
	for _, key := range left {
		if r := s.runner(key); r != nil {
			r.Recollect()
		}
	}
	s.kick()
	return over, nil
}

func errEnding() error {
	return fault.New(fault.Unavailable, "the daemon is ending: nothing is started any more").WithReason("shutting_down").WithHint("omnitron up")
}

// Enable lets up and boot start apps, or not; disabling also stops them. Faults: as of Stop.
func (s *Supervisor) Enable(ctx context.Context, c Command, on bool) ([]view.Result, error) {
	was := map[string]bool{}
	err := s.State.Put(ctx, func(st *store.State) error {
		for _, t := range c.Targets {
			if a, ok := st.App(t.Key); ok {
				was[t.Key] = a.Enabled
				a.Enabled, a.Generation = on, 0
				st.Set(a)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range c.Targets {
		if r := s.runner(t.Key); r != nil {
			r.Recollect()
		}
	}
	if !on {
		return s.Stop(ctx, c)
	}
	return s.ask(ctx, c.Targets, func(r *runner.Runner, t op.Target) <-chan view.Result { return r.Note(t, was[t.Key] != on) })
}

// Scale sets how many instances of a process run. The number is durable before it is acted upon, and it holds until the
// number in the file changes. Faults: invalid (ambiguous, no_such_port), not_found, conflict (superseded), internal
// (state_not_durable), and those of Start.
func (s *Supervisor) Scale(ctx context.Context, c Command, instances int) ([]view.Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	t := c.Targets[0]
	v := s.view(t.Key)
	if v == nil {
		return nil, fault.New(fault.NotFound, "there is no app %q", t.Key).WithReason("app_unknown")
	}
	p, err := scalable(v, t.Process)
	if err != nil {
		return nil, err
	}
	for _, port := range p.Ports {
		if highest := port.Base + instances - 1; !port.Auto && highest > ports.Highest {
			return nil, fault.New(fault.Invalid, "%d instances of %s would need port %d for %q, but %d is the highest there is", instances, p.Name, highest, port.Name, ports.Highest).
				WithReason("no_such_port").WithHint("fewer instances, a lower base, or auto")
		}
	}
	late := false
	err = s.State.Put(ctx, func(st *store.State) error {
		if s.ending() {
			return errEnding()
		}
		a, ok := st.App(t.Key)
		if !ok {
			return nil
		}
		if late = intent.Scale(&a, &p, instances, c.Seq); late {
			return nil
		}
		st.Set(a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	waits := s.waiters(runner.Scale, []op.Target{{Key: t.Key, Process: p.Name}}, []bool{late}, c)
	if r := s.runner(t.Key); r != nil {
		r.Rescale()
	}
	return s.carry(ctx, runner.Scale, waits, c.Wait)
}

// Signal sends a signal to the main processes of the targets. Faults: failed (signal_failed), with one result a target.
func (s *Supervisor) Signal(ctx context.Context, targets []op.Target, name string) ([]view.Result, error) {
	results, err := s.ask(ctx, targets, func(r *runner.Runner, t op.Target) <-chan view.Result { return r.Signal(t, name) })
	if err != nil {
		return nil, err
	}
	for _, res := range results {
		if !res.OK {
			return results, fault.New(fault.Failed, "cannot signal %s: %s", res.Key, res.Reason).WithReason("signal_failed").WithItems(results)
		}
	}
	return results, nil
}

// Reset forgets restart counters; what crashed or failed becomes stopped.
func (s *Supervisor) Reset(ctx context.Context, targets []op.Target) ([]view.Result, error) {
	return s.ask(ctx, targets, (*runner.Runner).Reset)
}

// ask asks the runner of each target, one after the other.
func (s *Supervisor) ask(ctx context.Context, targets []op.Target, fn func(*runner.Runner, op.Target) <-chan view.Result) ([]view.Result, error) {
	results := make([]view.Result, len(targets))
	for i, t := range targets {
		var done <-chan view.Result
		if r := s.runner(t.Key); r != nil {
			done = fn(r, t)
		}
		if done == nil {
			results[i] = runner.Unknown(runner.Start, t.Key)
			continue
		}
		select {
		case results[i] = <-done:
		case <-ctx.Done():
			return results, fault.Wrap(ctx.Err(), fault.Cancelled, "the caller gave up")
		}
	}
	return results, nil
}
