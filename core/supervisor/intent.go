package supervisor

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// intend makes a command's wish durable before anything is done. It says of each target whether a younger command wants
// something else of it: those are overtaken.
func (s *Supervisor) intend(ctx context.Context, k kind, targets []op.Target, seq int64) ([]bool, error) {
	over := make([]bool, len(targets))
	var left []string
	want := store.WantStopped
	if k.Up() {
		want = store.WantRunning
	}
	err := s.State.Put(ctx, func(st *store.State) error {
		left = nil
		if k.Up() && s.ending() { // here, so that it cannot come between the mark of the home and the end
			return errEnding()
		}
		if k.Up() && st.HomeDown {
			st.HomeDown, left = false, putDown(st, targets)
		}
		for i, t := range targets {
			a, ok := st.App(t.Key)
			if !ok {
				over[i] = false
				continue
			}
			if over[i] = wish(&a, partOf(t), want, seq); !over[i] {
				st.Set(a)
			}
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
			r.mail.post(r.recollect)
		}
	}
	return over, nil
}

// putDown makes what a start lifts the mark of the home for all that comes back: the rest was stopped by whoever marked the
// home, and would be started with the next daemon, when nobody expects it. It gives the apps that are not wanted any more.
func putDown(st *store.State, but []op.Target) (left []string) {
	for _, key := range st.Keys() {
		if !slices.ContainsFunc(but, func(t op.Target) bool { return t.Key == key && t.Process == "" }) {
			st.Edit(key, func(a *store.AppState) { a.Desired, a.Parts = store.WantStopped, nil })
			left = append(left, key)
		}
	}
	return left
}

func errEnding() error {
	return fault.New(fault.Unavailable, "the daemon is ending: nothing is started any more").WithReason("shutting_down").WithHint("omnitron up")
}

// wish notes what a command wants of a part of an app; the rest of the app is not its business. One that comes after a
// younger command on the same part, or on what the part belongs to, changes nothing any more, and is overtaken if that
// wants something else. A command without a number is the youngest.
func wish(a *store.AppState, part string, want store.Desired, seq int64) (overtaken bool) {
	process, _, _ := strings.Cut(part, "#")
	if seq != 0 && (seq < a.Command || part != "" && (seq < a.Numbers[process] || seq < a.Numbers[part])) {
		return wants(a, part) != want
	}
	if part == "" {
		a.Desired, a.Command = want, max(a.Command, seq)
	}
	for p := range a.Parts { // what was said of its parts before is no more
		below := part == "" || strings.HasPrefix(p, part+"#")
		if below && (seq == 0 || a.Numbers[p] < seq) {
			delete(a.Parts, p)
			delete(a.Numbers, p)
		}
	}
	if part != "" {
		if a.Parts == nil {
			a.Parts = map[string]store.Desired{}
		}
		a.Parts[part] = want
		number(a, part, seq)
	}
	return false
}

func number(a *store.AppState, what string, seq int64) {
	if a.Numbers == nil {
		a.Numbers = map[string]int64{}
	}
	a.Numbers[what] = max(a.Numbers[what], seq)
}

// wants gives what was said of a part last: of itself, of its process, of the app.
func wants(a *store.AppState, part string) store.Desired {
	process, _, _ := strings.Cut(part, "#")
	for _, p := range []string{part, process} {
		if want, ok := a.Parts[p]; ok && p != "" {
			return want
		}
	}
	return a.Desired
}

// partOf names the part of an app that a target means: a process, process#n, or "" for the whole.
func partOf(t op.Target) string {
	if t.Process == "" || t.Instance == 0 {
		return t.Process
	}
	return t.Process + "#" + strconv.Itoa(t.Instance)
}

// means reports whether a target means a slot.
func means(t op.Target, u *unit) bool {
	return (t.Process == "" || u.process == t.Process) && (t.Instance == 0 || u.number == t.Instance)
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
			r.mail.post(r.recollect)
		}
	}
	if !on {
		return s.Stop(ctx, c)
	}
	return s.ask(ctx, c.Targets, func(r *runner, _ []*unit) (bool, error) { return was[r.key] != on, nil })
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
		said := p.Name + "*"
		if late = c.Seq != 0 && c.Seq < a.Numbers[said] && a.Scale[p.Name] != instances; late {
			return nil
		}
		if a.Scale == nil {
			a.Scale, a.ScaleBase = map[string]int{}, map[string]int{}
		}
		a.Scale[p.Name], a.ScaleBase[p.Name] = instances, p.Instances
		number(&a, said, c.Seq)
		st.Set(a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	waits := s.waiters(kindScale, []op.Target{{Key: t.Key, Process: p.Name}}, []bool{late}, c)
	if r := s.runner(t.Key); r != nil {
		r.mail.post(func() {
			r.recollect()
			r.adopt(r.app, r.rev)
			r.moved()
		})
	}
	return s.carry(ctx, kindScale, waits, c.Wait)
}

// Signal sends a signal to the main processes of the targets. Faults: failed (signal_failed), with one result a target.
func (s *Supervisor) Signal(ctx context.Context, targets []op.Target, name string) ([]view.Result, error) {
	results, err := s.ask(ctx, targets, func(r *runner, us []*unit) (bool, error) {
		sent := false
		for _, u := range us {
			if u.gen == nil || u.gen.over {
				continue
			}
			if err := u.gen.proc.Signal(launch.Signal(name)); err != nil {
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
func (s *Supervisor) Reset(ctx context.Context, targets []op.Target) ([]view.Result, error) {
	return s.ask(ctx, targets, func(r *runner, us []*unit) (bool, error) {
		changed := false
		for _, u := range us {
			gaveUp := u.phase == idle && (u.outcome == view.Crashed || u.outcome == view.Failed)
			changed = changed || len(u.hist.Restarts) > 0 || u.starts > 0 || gaveUp
			u.forgive()
			if gaveUp {
				r.send(u, evStop, ended{})
			}
		}
		return changed, nil
	})
}

// ask runs fn on the goroutine of each target's runner, with the slots that are meant.
func (s *Supervisor) ask(ctx context.Context, targets []op.Target, fn func(*runner, []*unit) (bool, error)) ([]view.Result, error) {
	results := make([]view.Result, len(targets))
	for i, t := range targets {
		done := make(chan view.Result, 1)
		r := s.runner(t.Key)
		posted := r != nil && r.mail.post(func() {
			var us []*unit
			for _, u := range r.units {
				if means(t, u) {
					us = append(us, u)
				}
			}
			changed, err := fn(r, us)
			res := view.Result{Key: r.key, State: r.build().State, OK: err == nil, Changed: changed}
			if err != nil {
				res.Reason = err.Error()
			}
			done <- res
		})
		if !posted {
			results[i] = unknownNow(kindStart, t.Key)
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
