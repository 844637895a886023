package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Command is what all commands on targets have in common.
type Command struct {
	Targets []op.Target
	Seq     int64         // number of the call's record: the order of commands is the order of their records
	Wait    bool          // until ready, or until nothing is left
	Timeout time.Duration // of the wait; 0: as long as it takes
}

type kind int

const (
	kindStart kind = iota
	kindStop
	kindRestart
)

func (k kind) up() bool { return k != kindStop }

// Start makes the targets, and what they depend on, desired and starts what does not run. Faults: failed with one Result
// a target, deadline, internal (state_not_durable).
func (s *Supervisor) Start(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindStart, c)
}

// Stop makes the targets undesired and ends everything that they ever started, dependents first. Faults as of Start.
func (s *Supervisor) Stop(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindStop, c)
}

// Restart ends the targets and starts them again. Faults as of Start.
func (s *Supervisor) Restart(ctx context.Context, c Command) ([]Result, error) {
	return s.command(ctx, kindRestart, c)
}

func (s *Supervisor) command(ctx context.Context, k kind, c Command) ([]Result, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
		defer cancel()
	}
	if s.ending() && k.up() {
		return nil, fault.New(fault.Unavailable, "the daemon is ending: nothing is started any more").WithReason("shutting_down").WithHint("omnitron up")
	}
	targets := c.Targets
	if k == kindStart {
		targets = s.withDependencies(targets)
	}
	began := s.Now()
	over, err := s.intend(ctx, k, targets, c.Seq)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(targets))
	waits := make([]*waiter, len(targets))
	for i, t := range targets {
		r := s.runner(t.Key)
		switch {
		case over[t.Key]:
			results[i] = superseded(t.Key, s.view(t.Key))
		case r == nil:
			results[i] = unknownNow(t.Key)
		default:
			w := &waiter{kind: k, target: t, seq: c.Seq, began: began, patient: c.Wait || k == kindStop, result: make(chan Result, 1)}
			waits[i] = w
			r.pending.Add(1)
		}
	}
	if k == kindStop { // dependents first: a level is asked to stop when the one before has ended
		err = s.stopByLevel(ctx, targets, waits, results)
	} else {
		for i, t := range targets {
			if waits[i] != nil {
				s.tell(s.runner(t.Key), waits[i])
			}
		}
		err = collect(ctx, waits, results)
	}
	if err != nil {
		return results, s.gaveUp(ctx, results, waits)
	}
	return results, s.verdict(results, k)
}

// tell hands a command to the runner that owns the app.
func (s *Supervisor) tell(r *runner, w *waiter) {
	if r == nil || !r.mail.post(func() { r.obey(w) }) {
		w.result <- unknownNow(w.target.Key)
	}
}

// unknownNow is the result of a command on an app that was removed meanwhile.
func unknownNow(key string) Result {
	return Result{Key: key, State: Stopped, Reason: "it is not known any more", code: "not_found"}
}

// collect waits for the answers.
func collect(ctx context.Context, waits []*waiter, results []Result) error {
	for i, w := range waits {
		if w == nil {
			continue
		}
		select {
		case results[i] = <-w.result:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *Supervisor) stopByLevel(ctx context.Context, targets []op.Target, waits []*waiter, results []Result) error {
	keys := make([]string, len(targets))
	for i, t := range targets {
		keys[i] = t.Key
	}
	order := levels(keys, s.dependencies)
	slices.Reverse(order)
	for _, level := range order {
		var now []*waiter
		var at []int
		for i, t := range targets {
			if waits[i] != nil && slices.Contains(level, t.Key) {
				s.tell(s.runner(t.Key), waits[i])
				now, at = append(now, waits[i]), append(at, i)
			}
		}
		got := make([]Result, len(now))
		if err := collect(ctx, now, got); err != nil {
			return err
		}
		for j, i := range at {
			results[i] = got[j]
		}
	}
	return nil
}

// withDependencies adds the apps that the targets need and that do not run.
func (s *Supervisor) withDependencies(targets []op.Target) []op.Target {
	keys := make([]string, len(targets))
	byKey := map[string]op.Target{}
	for i, t := range targets {
		keys[i], byKey[t.Key] = t.Key, t
	}
	var out []op.Target
	for _, key := range closure(keys, s.dependencies) {
		if _, asked := byKey[key]; asked {
			continue
		}
		if v := s.view(key); v != nil && !(v.Desired == "running" && (v.State.up() || !v.State.settled())) {
			out = append(out, target(v, "", 0))
		}
	}
	return append(out, targets...)
}

// verdict turns results into the call's fault, if any target failed.
func (s *Supervisor) verdict(results []Result, k kind) error {
	bad := 0
	var first Result
	for _, r := range results {
		if !r.OK {
			if bad == 0 {
				first = r
			}
			bad++
		}
	}
	if bad == 0 {
		return nil
	}
	word := [...]string{"start", "stop", "restart"}[k]
	if len(results) == 1 && first.code == "superseded" {
		return fault.New(fault.Conflict, "%s of %s was overtaken by a later command", word, first.Key).WithReason("superseded").
			WithHint("omnitron ls").WithItems(results)
	}
	e := fault.New(fault.Failed, "cannot %s %s: %s", word, first.Key, first.Reason)
	if bad > 1 {
		e.Message = fmt.Sprintf("cannot %s %d of %d apps; first %s: %s", word, bad, len(results), first.Key, first.Reason)
	}
	return e.WithReason(cmp.Or(first.code, word+"_failed")).WithHint("omnitron why %s", nameOf(first.Key)).WithItems(results)
}

// gaveUp is the fault of a wait that ended before the command did: the work goes on.
func (s *Supervisor) gaveUp(ctx context.Context, results []Result, waits []*waiter) error {
	var open string
	for i, w := range waits {
		if results[i].Key != "" {
			continue
		}
		v := s.view(w.target.Key)
		results[i] = Result{Key: w.target.Key, Reason: "gone"}
		if v != nil {
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
			WithHint("omnitron ls -w").WithItems(results)
	}
	return fault.New(fault.Cancelled, "the caller gave up while %s; the work goes on", open).WithItems(results)
}

func superseded(key string, v *App) Result {
	r := Result{Key: key, Reason: "a later command was there first", code: "superseded"}
	if v != nil {
		r.State = v.State
	}
	return r
}
