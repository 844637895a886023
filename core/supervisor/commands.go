package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Command is what all commands on targets have in common.
type Command struct {
	Targets []op.Target
	Seq     int64         // number of the call's record: the order of commands is the order of their records
	Wait    bool          // until ready, or until nothing is left
	Timeout time.Duration // of the wait; 0: as long as it takes
}

// within bounds a wait for the command.
func (c Command) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
}

type kind int

const (
	kindStart kind = iota
	kindStop
	kindRestart
	kindRenew // what another definition asks for: a restart of other programs, a start of what is missing, the end of what is too much
	kindScale // a start of what is wanted to run, and the end of what is too much
	kindNote  // nothing is done: answered when readers see what came before
)

var kindWords = [...]string{"start", "stop", "restart", "restart", "scale", "apply"}

func (k kind) up() bool { return k != kindStop && k != kindNote }

// Start makes the targets, and what they depend on, desired and starts what does not run. Faults: failed with one Result
// a target, conflict (superseded), deadline, cancelled, unavailable (shutting_down), internal (state_not_durable).
func (s *Supervisor) Start(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindStart, c)
}

// Stop makes the targets undesired and ends everything that they ever started, dependents first. When the caller does not
// wait as long as that takes, it goes on without him. Faults as of Start.
func (s *Supervisor) Stop(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindStop, c)
}

// Restart ends the targets and starts them again. Faults as of Start.
func (s *Supervisor) Restart(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindRestart, c)
}

func (s *Supervisor) command(ctx context.Context, k kind, c Command) ([]Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	if k == kindStart {
		c.Targets = s.withDependencies(c.Targets)
	}
	over, err := s.intend(ctx, k, c.Targets, c.Seq)
	if err != nil {
		return nil, err
	}
	return s.carry(ctx, k, s.waiters(k, c.Targets, over, c), c.Wait)
}

// waiters makes a waiter of each target. Those that are overtaken, or whose app is not known, have their answer already.
func (s *Supervisor) waiters(k kind, targets []op.Target, over []bool, c Command) []*waiter {
	out := make([]*waiter, len(targets))
	for i, t := range targets {
		w := &waiter{kind: k, target: t, seq: c.Seq, began: s.Now(), patient: c.Wait || k == kindStop, done: make(chan struct{})}
		out[i] = w
		r := s.runner(t.Key)
		switch {
		case over != nil && over[i]:
			w.finish(superseded(t.Key, s.view(t.Key)))
		case r == nil:
			w.finish(unknownNow(k, t.Key))
		case k.up():
			r.pending.Add(1)
			if k == kindRenew {
				r.renewals.Add(1)
			}
		}
	}
	return out
}

// carry carries a command out. The work goes on when the caller does not wait for its end.
func (s *Supervisor) carry(ctx context.Context, k kind, waits []*waiter, wait bool) ([]Result, error) {
	if k == kindStop || k == kindRestart && len(waits) > 1 {
		s.calls.Go(func() { s.byLevel(waits) })
		return s.collect(ctx, k, waits, wait)
	}
	for _, w := range waits {
		s.tell(w)
	}
	return s.collect(ctx, k, waits, wait || k.up())
}

// tell hands a command to the runner that owns the app.
func (s *Supervisor) tell(w *waiter) {
	if w.answered() {
		return
	}
	r := s.runner(w.target.Key)
	if r == nil || !r.mail.post(func() { r.obey(w) }) {
		w.finish(unknownNow(w.kind, w.target.Key))
	}
}

// byLevel hands out commands that end something, dependents first: a level's turn comes when nothing is left of what the one
// before ends. What starts again waits for what it depends on: a command is on its way to that until its turn has come. It
// returns when everything has ended, or the daemon lets go.
func (s *Supervisor) byLevel(waits []*waiter) {
	keys := make([]string, len(waits))
	byKey := map[string][]*waiter{}
	below := map[string][]string{}
	for i, w := range waits {
		key := w.target.Key
		keys[i], byKey[key] = key, append(byKey[key], w)
		below[key] = closure([]string{key}, s.dependencies)
		if w.kind != kindStop {
			w.down = make(chan struct{})
		}
	}
	order := levels(keys, func(key string) []string { return below[key] })
	for i := len(order) - 1; i >= 0; i-- {
		for _, key := range order[i] {
			for _, w := range byKey[key] {
				s.tell(w)
			}
		}
		for _, key := range order[i] {
			for _, w := range byKey[key] {
				select {
				case <-w.done:
				case <-w.down:
				case <-s.ctx.Done():
					return
				}
			}
		}
	}
}

// collect waits for the answers, and makes the fault of the call if some of them are bad. A caller who does not wait is
// told what is being done.
func (s *Supervisor) collect(ctx context.Context, k kind, waits []*waiter, wait bool) ([]Result, error) {
	results := make([]Result, len(waits))
	for i, w := range waits {
		if !wait && !w.answered() {
			v := s.view(w.target.Key)
			results[i] = Result{Key: w.target.Key, State: Stopped, OK: true, Changed: w.kind.up()}
			if v != nil && v.State != Stopped {
				results[i].State, results[i].Changed = Stopping, true
			}
			continue
		}
		select {
		case <-w.done:
			results[i] = w.result
		case <-ctx.Done():
			return results, s.gaveUp(ctx, results, waits)
		}
	}
	return results, s.faultOf(ctx, results, k)
}

// faultOf turns results into the call's fault, if any target failed: a conflict when nothing but later commands came in
// the way.
func (s *Supervisor) faultOf(ctx context.Context, results []Result, k kind) error {
	bad, overtaken := 0, 0
	var first Result
	for _, r := range results {
		if r.OK {
			continue
		}
		if bad++; r.code == "superseded" {
			overtaken++
		} else if bad-overtaken == 1 {
			first = r
		}
	}
	word := kindWords[k]
	switch {
	case bad == 0:
		return nil
	case bad == overtaken:
		i := slices.IndexFunc(results, func(r Result) bool { return !r.OK })
		return fault.New(fault.Conflict, "%s of %s was overtaken by a later command", word, results[i].Key).WithReason("superseded").
			WithHint("%s", fault.Do("apps.list")).WithItems(results)
	}
	e := fault.New(fault.Failed, "cannot %s %s: %s", word, first.Key, first.Reason)
	if bad > 1 {
		e.Message = fmt.Sprintf("cannot %s %d of %d apps; first %s: %s", word, bad, len(results), first.Key, first.Reason)
	}
	return e.WithReason(cmp.Or(first.code, word+"_failed")).WithHint("%s", fault.Do("apps.explain", "name", s.Called(ctx, first.Key))).WithItems(results)
}

// gaveUp is the fault of a wait that ended before the command did: the work goes on.
func (s *Supervisor) gaveUp(ctx context.Context, results []Result, waits []*waiter) error {
	var open string
	for i, w := range waits {
		if w.answered() {
			results[i] = w.result
			continue
		}
		w.abandoned.Store(true)
		results[i] = Result{Key: w.target.Key, Reason: "gone"}
		if v := s.view(w.target.Key); v != nil {
			results[i].State, results[i].Reason = v.State, cmp.Or(v.Reason, string(v.State))
		}
		if open == "" {
			open = fmt.Sprintf("%s is %s", w.target.Key, results[i].State)
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

// unknownNow is the result of a command on an app that was removed meanwhile: for a stop that is as good.
func unknownNow(k kind, key string) Result {
	if !k.up() {
		return Result{Key: key, State: Stopped, OK: true}
	}
	return Result{Key: key, State: Stopped, Reason: "it is not known any more", code: "not_found"}
}

func superseded(key string, v *App) Result {
	r := Result{Key: key, State: Stopped, Reason: "a later command was there first", code: "superseded"}
	if v != nil {
		r.State = v.State
	}
	return r
}

// Halt stops everything that runs, dependents first, because the daemon ends; what is desired stays. down also marks the
// home: until up or start a daemon starts nothing. It gives one result an app, and the fault failed names those that would
// not stop. then is called with the same once all have come to their end, and also when the caller does not wait for
// that. Faults besides: internal (state_not_durable; nothing is stopped then), deadline, cancelled.
func (s *Supervisor) Halt(ctx context.Context, down bool, then func([]Result, error)) ([]Result, error) {
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
		targets = append(targets, target(v, "", 0))
		if r := s.runner(v.Key); r != nil {
			r.mail.post(func() { r.halting = true })
		}
	}
	waits := s.waiters(kindStop, targets, nil, Command{Wait: true})
	s.calls.Go(func() {
		s.byLevel(waits)
		results := make([]Result, len(waits))
		for i, w := range waits {
			if results[i] = (Result{Key: w.target.Key, State: Stopping, Reason: "the daemon ended first"}); w.answered() {
				results[i] = w.result
			}
		}
		then(results, s.faultOf(ctx, results, kindStop))
	})
	return s.collect(ctx, kindStop, waits, true)
}

// scalable is the process that a call for more or fewer instances means.
func (a *App) scalable(process string) (config.Process, error) {
	if process == "" && len(a.def.Processes) == 1 {
		return a.def.Processes[0], nil
	}
	names := make([]string, len(a.def.Processes))
	for i, p := range a.def.Processes {
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
