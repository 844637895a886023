package supervisor

import (
	"context"
	"fmt"
	"maps"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
)

// intend makes a command's wish durable before anything is done. It gives the keys whose youngest command wants
// something else: those are overtaken.
func (s *Supervisor) intend(ctx context.Context, k kind, targets []op.Target, seq int64) (map[string]bool, error) {
	over := map[string]bool{}
	want := store.WantStopped
	if k.up() {
		want = store.WantRunning
	}
	quiet := true // nothing to write: all is as it should be
	st := s.State.View()
	for _, t := range targets {
		a, ok := st.App(t.Key)
		quiet = quiet && ok && a.Desired == want && len(a.Parts) == 0 && t.Process == "" && (seq == 0 || seq <= a.Command) && !(k.up() && st.HomeDown)
	}
	if quiet {
		return over, nil
	}
	err := s.State.Put(ctx, func(st *store.State) error {
		clear(over)
		for _, t := range targets {
			a, ok := st.App(t.Key)
			if !ok {
				continue
			}
			part := partOf(t)
			if seq != 0 && seq < a.Command {
				have, isPart := a.Parts[part]
				if !isPart {
					have = a.Desired
				}
				over[t.Key] = have != want
				continue
			}
			if part == "" {
				a.Desired, a.Parts = want, nil
			} else { // a part of an app does not change what is wanted of the rest
				if a.Parts == nil {
					a.Parts = map[string]store.Desired{}
				}
				a.Parts[part] = want
			}
			a.Command = max(a.Command, seq)
			st.Set(a)
		}
		if k.up() {
			st.HomeDown = false
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range targets {
		if r := s.runner(t.Key); r != nil && !over[t.Key] {
			r.mail.post(func() { r.want(partOf(t), k.up()) })
		}
	}
	return over, nil
}

// partOf names the part of an app that a target means: a process, process#n, or "" for the whole.
func partOf(t op.Target) string {
	switch {
	case t.Process == "":
		return ""
	case t.Instance == 0:
		return t.Process
	}
	return fmt.Sprintf("%s#%d", t.Process, t.Instance)
}

// want notes what is wanted of a part, or of the whole.
func (r *runner) want(part string, up bool) {
	if part == "" {
		r.desired, r.parts = up, nil
		return
	}
	r.parts = maps.Clone(r.parts)
	if r.parts == nil {
		r.parts = map[string]bool{}
	}
	r.parts[part] = up
}

// wanted reports whether a slot should run: what was said of it, else of its process, else of the app.
func (r *runner) wanted(u *unit) bool {
	if up, ok := r.parts[fmt.Sprintf("%s#%d", u.process, u.number)]; ok {
		return up
	}
	if up, ok := r.parts[u.process]; ok {
		return up
	}
	return r.desired
}

// Enable lets up and boot start apps, or not; disabling also stops them.
func (s *Supervisor) Enable(ctx context.Context, c Command, on bool) ([]Result, error) {
	err := s.State.Put(ctx, func(st *store.State) error {
		for _, t := range c.Targets {
			if a, ok := st.App(t.Key); ok {
				a.Enabled = on
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
			r.mail.post(func() { r.enabled = on })
		}
	}
	if !on {
		return s.Stop(ctx, c)
	}
	return s.ask(ctx, c.Targets, func(*runner, []*unit) (bool, error) { return true, nil })
}

// Scale sets how many instances of a process run. The number is durable before it is acted upon, and it holds until the
// number in the file changes. Faults: invalid, not_found, internal (state_not_durable), and those of Start.
func (s *Supervisor) Scale(ctx context.Context, c Command, instances int) ([]Result, error) {
	t := c.Targets[0]
	v := s.view(t.Key)
	if v == nil {
		return nil, fault.New(fault.NotFound, "there is no app %q", t.Key)
	}
	process := t.Process
	if process == "" {
		if len(v.def.Processes) > 1 {
			names := make([]string, len(v.def.Processes))
			for i, p := range v.def.Processes {
				names[i] = v.Name + ":" + p.Name
			}
			return nil, fault.New(fault.Invalid, "%s has several processes: say which one to scale", v.Key).WithReason("ambiguous").WithCandidates(names...)
		}
		process = v.def.Processes[0].Name
	}
	base := 0
	for _, p := range v.def.Processes {
		if p.Name == process {
			base = p.Instances
		}
	}
	err := s.State.Put(ctx, func(st *store.State) error {
		st.Edit(t.Key, func(a *store.AppState) {
			if a.Scale == nil {
				a.Scale, a.ScaleBase = map[string]int{}, map[string]int{}
			}
			a.Scale[process], a.ScaleBase[process] = instances, base
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := s.runner(t.Key)
	w := &waiter{kind: kindStart, target: op.Target{Key: t.Key, Process: process}, seq: c.Seq, began: s.Now(), patient: c.Wait, result: make(chan Result, 1)}
	r.pending.Add(1)
	r.mail.post(func() {
		r.scale = maps.Clone(r.scale)
		r.scale[process] = instances
		r.adopt(r.app, r.rev)
		r.epoch++
		if r.desired {
			r.obey(w)
			return
		}
		r.obeyed++
		r.reply(w, Result{OK: true, State: r.build().State})
	})
	results := make([]Result, 1)
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	if err := collect(ctx, []*waiter{w}, results); err != nil {
		return results, s.gaveUp(ctx, results, []*waiter{w})
	}
	return results, s.verdict(results, kindStart)
}

// Signal sends a signal to the main processes of the targets.
func (s *Supervisor) Signal(ctx context.Context, targets []op.Target, name string) ([]Result, error) {
	results, err := s.ask(ctx, targets, func(r *runner, us []*unit) (bool, error) {
		sent := false
		for _, u := range us {
			if u.gen == nil || u.gen.over {
				continue
			}
			if err := u.gen.proc.Signal(signalNamed(name)); err != nil {
				return sent, err
			}
			sent = true
		}
		if !sent {
			return false, fault.New(fault.Conflict, "%s does not run", r.key).WithReason("not_running")
		}
		return true, nil
	})
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
func (s *Supervisor) Reset(ctx context.Context, targets []op.Target) ([]Result, error) {
	return s.ask(ctx, targets, func(r *runner, us []*unit) (bool, error) {
		changed := false
		for _, u := range us {
			changed = changed || len(u.hist.Restarts) > 0 || u.starts > 0 || u.phase == idle && u.outcome != Stopped
			r.forgive(u)
			if u.phase == idle {
				u.slot = u.rest(Stopped, "")
			}
		}
		return changed, nil
	})
}

// ask runs fn on the goroutine of each target's runner, with the slots that are meant.
func (s *Supervisor) ask(ctx context.Context, targets []op.Target, fn func(*runner, []*unit) (bool, error)) ([]Result, error) {
	results := make([]Result, len(targets))
	for i, t := range targets {
		r := s.runner(t.Key)
		if r == nil {
			results[i] = Result{Key: t.Key, State: Stopped, Reason: "it is not known any more"}
			continue
		}
		done := make(chan Result, 1)
		r.mail.post(func() {
			var us []*unit
			for _, u := range r.units {
				if (t.Process == "" || u.process == t.Process) && (t.Instance == 0 || u.number == t.Instance) {
					us = append(us, u)
				}
			}
			changed, err := fn(r, us)
			res := Result{Key: r.key, State: r.build().State, OK: err == nil, Changed: changed}
			if err != nil {
				res.Reason = err.Error()
			}
			done <- res
		})
		select {
		case results[i] = <-done:
		case <-ctx.Done():
			return results, ctx.Err()
		}
	}
	return results, nil
}
