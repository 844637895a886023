// Package runner looks after one app: a goroutine owns its state, a pure machine decides each step, and the keeper process
// does what only a parent can do. Start with machine.go; runner.go carries its decisions out.
package runner

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Common is what the runners of a daemon share.
type Common struct {
	Log    *slog.Logger
	Keeper Keeper
	State  Memory
	Bus    *bus.Bus
	LogDir string // root of the apps' log files
	RunDir string // for the outputs of exec probes
	Lines  Lines
	Check  func(ctx context.Context, t probe.Target) probe.Result
	Now    func() time.Time
	Hide   func(text string) string // takes secrets out of what others say before it is kept
	Secret launch.Look
	Lost   bool // the state could not be read: what lives is adopted as desired
	Others Others
	Ports  ports.Pool

	calls sync.WaitGroup
	ctx   context.Context // kept because runners outlive the calls that began them
}

// Others is what a runner may know of the other apps, and what they have to be told. None of it waits for a runner.
type Others interface {
	needs.World
	Changed(key string)                 // those that depend on an app directly look again
	Stirred(key string)                 // so does everything above: who waits further up sees nothing of it in the apps between
	Failed(app *config.App)             // it is being started again because it failed, which may be the matter of its whole stack
	GaveUp(app *config.App, why string) // it is not started again by itself, which is the end of its stack if it is critical
	Gone(r *Runner)                     // nothing is left of an app that was removed
}

// Keeper is the part of *proc.Keeper that starts programs, and keeps open what they listen on.
type Keeper interface {
	sockets.Keeper
	Spawn(ctx context.Context, s proc.Spec) (*proc.Process, error)
	Processes() []*proc.Process
}

// Memory is the part of *store.StateFile in which intent lasts.
type Memory interface {
	Put(ctx context.Context, change func(*store.State) error) error // durable when it returns
	Touch(change func(*store.State))
	View() store.State
}

// Lines is what runners need of the apps' output.
type Lines interface {
	Tail(ctx context.Context, slot string, since, until time.Time, n int) []string // the last lines that a slot printed; a zero time is no bound
	Keep(app *config.App)                                                          // as much output as its definition says
	Ends(s journal.Stream) map[journal.Stream]int64                                // where both streams of an instance go on
	Await(ctx context.Context, from map[journal.Stream]int64, pattern string) error
	AwaitSince(ctx context.Context, slot, pattern string, since time.Time) error
}

// Begin says how long everything may go on; it comes before anything else.
func (c *Common) Begin(ctx context.Context) { c.ctx = ctx }

// Go starts a goroutine that Wait waits for. It has to end when Over is closed.
func (c *Common) Go(fn func()) { c.calls.Go(fn) }

// Wait waits for everything that was started.
func (c *Common) Wait() { c.calls.Wait() }

// Context ends when the daemon lets go.
func (c *Common) Context() context.Context { return c.ctx }

// Over is closed when the daemon lets go.
func (c *Common) Over() <-chan struct{} { return c.ctx.Done() }

// View is the newest snapshot.
func (r *Runner) View() *view.App { return r.snapshot.Load() }

// Declared is the newest definition; the runner may not have come to it yet.
func (r *Runner) Declared() *config.App { return r.declared.Load() }

// Declare makes a definition the newest; Follow has the runner come to it.
func (r *Runner) Declare(app *config.App) { r.declared.Store(app) }

// Launch starts the runner's goroutine, once its slots are as they should be.
func (r *Runner) Launch() {
	r.part()
	if r.app.Schedule != nil {
		r.slumber()
	}
	r.snapshot.Store(r.build())
	r.c.Go(func() { r.loop(r.c.ctx) })
}

// Post runs fn on the runner's goroutine, after what was posted before, and has it look at everything that waits. It never
// blocks, and gives false when the runner has ended: fn is not run then.
func (r *Runner) Post(fn func()) bool { return r.mail.Post(fn) }

// Wake has the runner look at everything that waits.
func (r *Runner) Wake() { r.mail.Post(r.noop) }

// Expect says that a command is on its way: until Obey has come to it, Pending is true.
func (r *Runner) Expect(k Kind) {
	r.pending.Add(1)
	if k == Renew {
		r.renewals.Add(1)
	}
}

// Pending reports whether a command that starts something is on its way, so that the state is about to change.
func (r *Runner) Pending() bool { return r.pending.Load() > 0 }

// Obey hands a command over. It gives false when the runner has ended.
func (r *Runner) Obey(w *Waiter) bool { return r.mail.Post(func() { r.obey(w) }) }

// Recollect has the runner take over what the state says of its app.
func (r *Runner) Recollect() { r.mail.Post(r.recollect) }

// Rescale is Recollect after another number of instances was said.
func (r *Runner) Rescale() {
	r.mail.Post(func() {
		r.recollect()
		r.adopt(r.app, r.rev)
		r.moved()
	})
}

// Follow has the runner take a new definition over. It gives false when the runner has ended.
func (r *Runner) Follow(app *config.App, rev int64, changed bool) bool {
	return r.mail.Post(func() { r.follow(app, rev, changed) })
}

// Remove begins the end of an app that the definition has no more; a command to stop it follows. Doom is the same before
// Launch.
func (r *Runner) Remove() { r.mail.Post(r.remove) }

// Doom is Remove before Launch.
func (r *Runner) Doom() { r.remove() }

// Halt says that the daemon ends: what is desired stays.
func (r *Runner) Halt() { r.mail.Post(func() { r.halting = true }) }

// Again restarts what runs, for another app's sake.
func (r *Runner) Again() {
	r.mail.Post(func() {
		for _, u := range r.units {
			r.again(u)
		}
	})
}

// Signal sends a signal to the main processes that a target means. The answer comes in its turn; nil: the runner has ended.
func (r *Runner) Signal(t op.Target, name string) <-chan view.Result {
	return r.perform(t, func(us []*unit) (bool, error) {
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
			return false, fault.New(fault.Conflict, "%s does not run", r.Key).WithReason("not_running")
		}
		return true, nil
	})
}

// Reset forgets restart counters; what crashed or failed becomes stopped. It answers as Signal does.
func (r *Runner) Reset(t op.Target) <-chan view.Result {
	return r.perform(t, func(us []*unit) (bool, error) {
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

// Note does nothing, and answers as Signal does, with what the caller knows to have changed.
func (r *Runner) Note(t op.Target, changed bool) <-chan view.Result {
	return r.perform(t, func([]*unit) (bool, error) { return changed, nil })
}

// perform runs fn on the runner's goroutine, with the slots that are meant.
func (r *Runner) perform(t op.Target, fn func([]*unit) (bool, error)) <-chan view.Result {
	done := make(chan view.Result, 1)
	posted := r.mail.Post(func() {
		var us []*unit
		for _, u := range r.units {
			if target.Means(t, u.process, u.number) {
				us = append(us, u)
			}
		}
		changed, err := fn(us)
		res := view.Result{Key: r.Key, State: r.build().State, OK: err == nil, Changed: changed}
		if err != nil {
			res.Reason = err.Error()
		}
		done <- res
	})
	if !posted {
		return nil
	}
	return done
}

// Weigh has every instance that uses more memory than its definition allows ended and started again; a second generation is
// weighed by itself. used gives the bytes that one was seen to use, and when.
func (r *Runner) Weigh(used func(process string, number, pid int) (int64, time.Time)) {
	if !slices.ContainsFunc(r.Declared().Processes, func(p config.Process) bool { return p.Restart.MaxMemory > 0 }) {
		return
	}
	r.mail.Post(func() {
		for _, u := range slices.Concat(r.units, r.extra) {
			g := u.gen
			if g == nil || g.over || u.phase != starting && u.phase != running {
				continue
			}
			most := g.live.Restart.MaxMemory
			if n, at := used(u.process, u.number, g.proc.Identity().PID); most > 0 && n > most && at.After(g.at) {
				g.fault = fmt.Sprintf("used %s of memory, more than its restart.maxMemory of %s", units.FormatSize(n/1e6*1e6), units.FormatSize(most))
				u.reason = g.fault
				r.send(u, evHeavy, ended{})
			}
		}
	})
}

// Due says that a run is due, which is durable by now.
func (r *Runner) Due() { r.mail.Post(r.due) }

// due begins a run, or does with the one that still goes on what the schedule says.
func (r *Runner) due() {
	r.recollect()
	switch {
	case !r.scheduled():
	case r.resting():
		r.run()
	case r.app.Schedule.Overlap == "replace":
		for _, u := range r.units {
			if r.wanted(u) {
				r.command(u, Restart)
			}
		}
		r.moved()
	case r.app.Schedule.Overlap == "queue" && !r.plan.Queued:
		r.plan.Queued = true
	default:
		r.c.Bus.Publish(bus.Event{At: r.c.Now(), Topic: "apps", Type: "schedule_skipped", Key: r.Key, Slot: r.app.Name, Text: "it was due, and the run before still goes on"})
	}
}

// run begins a run of what has a schedule.
func (r *Runner) run() {
	r.plan.Owed = true
	for _, u := range r.units {
		if r.wanted(u) && !u.parting {
			u.forgive()
			r.send(u, evStart, ended{})
		}
	}
	r.moved()
}

// scheduled reports whether the schedule of the app is in force.
func (r *Runner) scheduled() bool {
	return r.app.Schedule != nil && r.desired && !r.removed && !r.halting
}

// resting reports whether nothing of the app goes on.
func (r *Runner) resting() bool {
	return !slices.ContainsFunc(r.units, func(u *unit) bool { return u.phase != idle })
}

// slumber sees whether a run of the schedule is over, and when the next one is.
func (r *Runner) slumber() {
	on := r.scheduled()
	if !on {
		r.plan.Queued = false
	}
	rest := r.resting()
	switch {
	case !rest:
		r.began, r.plan.Owed = true, on
	case r.began:
		r.began, r.plan.Owed = false, false
		if r.plan.Queued {
			r.plan.Queued = false
			r.run()
			rest = r.resting()
		}
	}
	r.next = time.Time{}
	if times, ok := r.app.Schedule.Times(); on && ok {
		r.next = times.Next(r.plan.Until)
	}
	for _, u := range r.units {
		u.sleeps = on && rest && r.wanted(u)
	}
}

// state is what people are told of a slot: what has run waits for the next time that it is due.
func (u *unit) state() view.State {
	if u.sleeps && u.phase == idle {
		return view.Waiting
	}
	return u.slot.state()
}
