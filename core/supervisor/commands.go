package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Command is what all commands on targets have in common.
type Command struct {
	Targets []op.Target
	Seq     int64         // number of the call's record: the order of commands is the order of their records
	Wait    bool          // until ready, or until nothing is left
	Timeout time.Duration // of the wait; 0: as long as it takes
	Arm     bool          // of a start: what has a schedule is left to its times
}

// within bounds a wait for the command.
func (c Command) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
}

var errTimeout = errors.New("the time that the caller gave is up")

// Start makes the targets, and what they depend on, desired and starts what does not run. Faults: failed with one Result
// a target, conflict (superseded; port_in_use: nothing is started then), deadline, cancelled, unavailable (shutting_down),
// internal (state_not_durable).
func (s *Supervisor) Start(ctx context.Context, c Command) ([]view.Result, error) {
	return s.command(ctx, runner.Start, c)
}

// Stop makes the targets undesired and ends everything that they ever started, dependents first. When the caller does not
// wait as long as that takes, it goes on without him. Faults as of Start.
func (s *Supervisor) Stop(ctx context.Context, c Command) ([]view.Result, error) {
	return s.command(ctx, runner.Stop, c)
}

// Restart ends the targets and starts them again. Faults as of Start.
func (s *Supervisor) Restart(ctx context.Context, c Command) ([]view.Result, error) {
	return s.command(ctx, runner.Restart, c)
}

// Reload has the targets take up what has changed, each as its definition says: by a signal, by a command, or by a new generation
// that is ready before the old one ends. What does not run is started. Faults as of Start.
func (s *Supervisor) Reload(ctx context.Context, c Command) ([]view.Result, error) {
	return s.command(ctx, runner.Reload, c)
}

func (s *Supervisor) command(ctx context.Context, k runner.Kind, c Command) ([]view.Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	if k == runner.Start {
		c.Targets = s.withDependencies(c.Targets)
	}
	if k == runner.Start || k == runner.Restart {
		if err := s.startable(ctx, c.Targets); err != nil {
			return nil, err
		}
	}
	over, err := s.intend(ctx, k, c)
	if err != nil {
		return nil, err
	}
	return s.carry(ctx, k, s.waiters(k, c.Targets, over, c), c.Wait)
}

// waiters makes a waiter of each target. Those that are overtaken, or whose app is not known, have their answer already.
func (s *Supervisor) waiters(k runner.Kind, targets []op.Target, over []bool, c Command) []*runner.Waiter {
	out := make([]*runner.Waiter, len(targets))
	for i, t := range targets {
		k := k
		if k == runner.Start && c.Arm && s.plan(t.Key) != nil {
			k = runner.Arm
		}
		w := &runner.Waiter{Kind: k, Target: t, Seq: c.Seq, Began: s.Now(), Patient: c.Wait || k == runner.Stop, Done: make(chan struct{})}
		out[i] = w
		r := s.runner(t.Key)
		switch {
		case over != nil && over[i]:
			w.Finish(runner.Superseded(t.Key, s.view(t.Key)))
		case r == nil:
			w.Finish(runner.Unknown(k, t.Key))
		case k.Up():
			r.Expect(k)
		}
	}
	return out
}

// carry carries a command out. The work goes on when the caller does not wait for its end.
func (s *Supervisor) carry(ctx context.Context, k runner.Kind, waits []*runner.Waiter, wait bool) ([]view.Result, error) {
	if k == runner.Stop || k == runner.Restart && len(waits) > 1 {
		s.common.Go(func() { s.byLevel(waits) })
		return s.collect(ctx, k, waits, wait)
	}
	for _, w := range waits {
		s.tell(w)
	}
	return s.collect(ctx, k, waits, wait || k.Up())
}

// tell hands a command to the runner that owns the app.
func (s *Supervisor) tell(w *runner.Waiter) {
	if w.Answered() {
		return
	}
	r := s.runner(w.Target.Key)
	if r == nil || !r.Obey(w) {
		w.Finish(runner.Unknown(w.Kind, w.Target.Key))
	}
}

// byLevel hands out commands that end something, dependents first: a level's turn comes when nothing is left of what the one
// before ends. What starts again waits for what it depends on: a command is on its way to that until its turn has come. It
// returns when everything has ended, or the daemon lets go.
func (s *Supervisor) byLevel(waits []*runner.Waiter) {
	keys := make([]string, len(waits))
	byKey := map[string][]*runner.Waiter{}
	below := map[string][]string{}
	for i, w := range waits {
		key := w.Target.Key
		keys[i], byKey[key] = key, append(byKey[key], w)
		below[key] = needs.Closure([]string{key}, s.dependencies)
		if w.Kind != runner.Stop {
			w.Down = make(chan struct{})
		}
	}
	order := needs.Levels(keys, func(key string) []string { return below[key] })
	for i := len(order) - 1; i >= 0; i-- {
		for _, key := range order[i] {
			for _, w := range byKey[key] {
				s.tell(w)
			}
		}
		for _, key := range order[i] {
			for _, w := range byKey[key] {
				select {
				case <-w.Done:
				case <-w.Down:
				case <-s.common.Over():
					return
				}
			}
		}
	}
}

// collect waits for the answers, and makes the fault of the call if some of them are bad. A caller who does not wait is
// told what is being done.
func (s *Supervisor) collect(ctx context.Context, k runner.Kind, waits []*runner.Waiter, wait bool) ([]view.Result, error) {
	results := make([]view.Result, len(waits))
	for i, w := range waits {
		if !wait && !w.Answered() {
			v := s.view(w.Target.Key)
			results[i] = view.Result{Key: w.Target.Key, State: view.Stopped, OK: true, Changed: w.Kind.Up()}
			if v != nil && v.State != view.Stopped {
				results[i].State, results[i].Changed = view.Stopping, true
			}
			continue
		}
		select {
		case <-w.Done:
			results[i] = w.Result
		case <-ctx.Done():
			return results, s.gaveUp(ctx, results, waits)
		}
	}
	return results, s.faultOf(ctx, results, k)
}

// faultOf turns results into the call's fault, if any target failed: a conflict when nothing but later commands came in
// the way.
func (s *Supervisor) faultOf(ctx context.Context, results []view.Result, k runner.Kind) error {
	bad, overtaken := 0, 0
	var first view.Result
	for _, r := range results {
		if r.OK {
			continue
		}
		if bad++; r.Code == "superseded" {
			overtaken++
		} else if bad-overtaken == 1 {
			first = r
		}
	}
	word := k.String()
	switch {
	case bad == 0:
		return nil
	case bad == overtaken:
		i := slices.IndexFunc(results, func(r view.Result) bool { return !r.OK })
		return fault.New(fault.Conflict, "%s of %s was overtaken by a later command", word, results[i].Key).WithReason("superseded").
			WithHint("%s", fault.Do("apps.list")).WithItems(results)
	}
	e := fault.New(fault.Failed, "cannot %s %s: %s", word, first.Key, first.Reason)
	if bad > 1 {
		e.Message = fmt.Sprintf("cannot %s %d of %d apps; first %s: %s", word, bad, len(results), first.Key, first.Reason)
	}
	return e.WithReason(cmp.Or(first.Code, word+"_failed")).WithHint("%s", fault.Do("apps.explain", "name", s.Called(ctx, first.Key))).WithItems(results)
}

// gaveUp is the fault of a wait that ended before the command did: the work goes on.
func (s *Supervisor) gaveUp(ctx context.Context, results []view.Result, waits []*runner.Waiter) error {
	var open string
	for i, w := range waits {
		if w.Answered() {
			results[i] = w.Result
			continue
		}
		w.Abandoned.Store(true)
		results[i] = view.Result{Key: w.Target.Key, Reason: "gone"}
		if v := s.view(w.Target.Key); v != nil {
			results[i].State, results[i].Reason = v.State, cmp.Or(v.Reason, string(v.State))
		}
		if open == "" {
			open = fmt.Sprintf("%s is %s", w.Target.Key, results[i].State)
			if results[i].Reason != string(results[i].State) {
				open += " (" + results[i].Reason + ")"
			}
		}
	}
	if context.Cause(ctx) == errTimeout || context.Cause(ctx) == context.DeadlineExceeded {
		return fault.New(fault.Deadline, "the time is up while %s; the work goes on", open).WithReason("still_working").
			WithHint("%s", fault.Do("apps.list")).WithItems(results)
	}
	return fault.New(fault.Cancelled, "the caller gave up while %s; the work goes on", open).WithItems(results)
}

// Halt stops everything that runs, dependents first, because the daemon ends; what is desired stays. down also marks the
// home: until up or start a daemon starts nothing. It gives one result an app, and the fault failed names those that would
// not stop. then is called with the same once all have come to their end, and also when the caller does not wait for
// that. Faults besides: internal (state_not_durable; nothing is stopped then), deadline, cancelled.
func (s *Supervisor) Halt(ctx context.Context, down bool, then func([]view.Result, error)) ([]view.Result, error) {
	s.mu.Lock()
	was := s.halting
	s.halting = true
	s.mu.Unlock()
	if down {
		if err := s.State.Put(ctx, func(st *store.State) error { st.HomeDown = true; return nil }); err != nil {
			s.mu.Lock()
			s.halting = was
			s.mu.Unlock()
			return nil, err
		}
	}
	var targets []op.Target
	for _, v := range s.Apps() {
		targets = append(targets, target.Of(v, "", 0))
		if r := s.runner(v.Key); r != nil {
			r.Halt()
		}
	}
	waits := s.waiters(runner.Stop, targets, nil, Command{Wait: true})
	s.common.Go(func() {
		s.byLevel(waits)
		results := make([]view.Result, len(waits))
		for i, w := range waits {
			if results[i] = (view.Result{Key: w.Target.Key, State: view.Stopping, Reason: "the daemon ended first"}); w.Answered() {
				results[i] = w.Result
			}
		}
		then(results, s.faultOf(ctx, results, runner.Stop))
	})
	return s.collect(ctx, runner.Stop, waits, true)
}

// scalable is the process that a call for more or fewer instances means.
func scalable(a *view.App, process string) (config.Process, error) {
	if process == "" && len(a.Definition.Processes) == 1 {
		return a.Definition.Processes[0], nil
	}
	names := make([]string, len(a.Definition.Processes))
	for i, p := range a.Definition.Processes {
		if p.Name == process {
			return p, nil
		}
		names[i] = a.Name + ":" + p.Name
	}
	if process == "" {
		return config.Process{}, fault.New(fault.Invalid, "%s has several processes: say which one to scale", a.Key).WithReason("ambiguous").WithCandidates(names...)
	}
	return config.Process{}, fault.New(fault.NotFound, "%s has no process %q", a.Key, process).WithReason("slot_unknown").WithCandidates(names...)
}
