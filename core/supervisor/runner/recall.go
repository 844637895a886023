package runner

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/restart"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Unmoved keeps the mark of the daemon before where nothing has happened to the app since: what a person has agreed to, or is
// asked, is still about the same thing.
func (r *Runner) Unmoved(a store.AppState) {
	if r.c.Lost || a.Generation == 0 || len(a.Processes) != len(r.units) {
		return
	}
	for _, sl := range a.Processes {
		u := r.unit(sl.Name, sl.Instance)
		if u == nil || u.last != sl.Generation || u.parting || u.former || (u.gen != nil) != (sl.PID != 0) || u.gen != nil && over(u.gen.proc) {
			return
		}
	}
	r.epoch = a.Generation
}

// Recall gives a runner, before Launch, what the state remembers of its app.
func (r *Runner) Recall(a store.AppState) {
	r.intent(a)
	r.plan = a.Schedule
	r.adopt(r.app, r.rev)
	r.unfinished = a.Reloading
	boot := bootTime()
	for _, sl := range a.Processes {
		u := r.unit(sl.Name, sl.Instance)
		if u == nil {
			continue
		}
		u.last, u.starts, u.up = sl.Generation, sl.Restarts, r.wanted(u)
		u.outcome = settledState(view.State(sl.Status))
		if left := sl.BackoffUntil.Sub(r.c.Now()); view.State(sl.Status) == view.Backoff && left > 0 && left < time.Hour {
			u.phase, u.delay = backoff, left
		}
		u.hist = restart.History{Active: sl.Active, Streak: sl.Attempt, Restarts: sl.RestartsAt}
		if x := sl.LastExit; x != nil {
			u.exit = &view.Exit{At: x.At, Known: x.Known, Code: x.Code, Signal: x.Signal, Reason: x.Reason, Message: x.Message, RanMS: x.RanMS, Generation: x.Generation, PID: x.PID, Stderr: x.StderrTail}
			if u.outcome != view.Stopped {
				u.since = x.At
			}
		}
		if u.was = view.State(sl.Status); u.was == u.outcome || u.phase == backoff {
			u.reason = sl.LastError
		}
		if !sl.ReadyAt.IsZero() {
			u.ready, u.readyAt = sl.Generation, sl.ReadyAt
		}
		if sl.Greeting {
			u.owes = sl.Generation
		}
		u.ancient = !sl.StartedAt.IsZero() && sl.StartedAt.Before(boot)
		if u.exit != nil && u.exit.At.Before(boot) {
			u.ancient = true
			if u.outcome != view.Completed { // what happened before the machine was started does not count
				u.outcome, u.reason, u.hist, u.starts = view.Stopped, "", restart.History{}, 0
			}
		}
	}
}

// settledState is what a slot that does not run now should be shown as.
func settledState(was view.State) view.State {
	switch was {
	case view.Completed, view.Failed, view.Crashed:
		return was
	}
	return view.Stopped
}

// Read finds an app in the revision of its definition.
type Read func(ctx context.Context, key string, rev int64) (*config.App, error)

// Reattach gives a slot, before Launch, the generation that the keeper has of it. A generation that ended while no daemon was there
// ends now, so that its exit is told and judged like any other.
func (r *Runner) Reattach(ctx context.Context, p *proc.Process, read Read) {
	_, process, n, number, rev, _ := naming.Parse(p.ID())
	app, def := r.app, (*config.Process)(nil)
	if rev != r.rev {
		if old, err := read(ctx, r.Key, rev); err == nil {
			app = old
		}
	}
	for i := range app.Processes {
		if app.Processes[i].Name == process {
			def = &app.Processes[i]
		}
	}
	u := r.unit(process, n)
	switch {
	case def == nil, (u == nil || u.parting) && over(p), u != nil && u.gen == nil && u.judged(p, number):
		r.c.Discard(p)
		return
	case u != nil && u.gen != nil && u.gen.number > number && over(p): // the older one was on its way out
		r.c.Discard(p)
		return
	case u != nil && u.gen != nil && u.gen.number < number && over(u.gen.proc):
		r.c.Ports.Free(u.gen.ports)
		r.c.Discard(u.gen.proc)
	case u != nil && u.gen != nil:
		r.both(u, p, app, def, number, rev)
		return
	case u == nil: // scaled away or out of the definition: it has to go
		u = &unit{slot: slot{phase: idle, outcome: view.Stopped}, process: process, number: n, def: def, parting: true}
		r.units = append(r.units, u)
	}
	g := &generation{number: number, rev: rev, app: app, def: def, live: def, at: p.Started(), proc: p, ports: naming.Ports(p.ID()), adopted: true}
	g.lived = !over(p)
	r.c.Ports.Keep(g.ports)
	u.last, u.gen, u.exit, u.reason = max(u.last, number), g, exitUnless(u.exit, number), ""
	u.former = app != r.app && !u.parting && config.Renews(app, r.app, process)
	if !u.former && !u.parting {
		g.live = u.def
	}
	u.slot = slot{phase: running, hist: u.hist}
	u.since, g.readyAt, g.steady = p.Started(), p.Started(), true
	switch {
	case u.ready != number && !r.c.Lost: // nothing tells that it was ready, unless everything that could has been lost
		u.phase, g.readyAt, g.steady = starting, time.Time{}, false
	case u.ready == number:
		u.since, g.readyAt = u.readyAt, u.readyAt
	}
}

// judged reports whether the end of a generation was seen to by the daemon before, which only did not live to forget it:
// nothing of it is left, and it must not count twice.
func (u *unit) judged(p *proc.Process, number uint64) bool {
	if !over(p) {
		return false
	}
	return number < u.last || u.exit != nil && u.exit.Generation == number && u.was != view.Stopping && u.was != view.Stuck
}

// exitUnless drops the memory of an exit that the keeper will report again.
func exitUnless(x *view.Exit, number uint64) *view.Exit {
	if x != nil && x.Generation == number {
		return nil
	}
	return x
}

// Discard ends a generation that has no place any more.
func (c *Common) Discard(p *proc.Process) {
	c.Go(func() {
		ctx, cancel := context.WithTimeout(c.ctx, killTimeout)
		defer cancel()
		if err := p.Kill(ctx); err != nil {
			c.Log.Error("cannot end a generation that has no place any more", "generation", p.ID(), "err", err)
			return
		}
		c.forget(p)
	})
}

// Resume makes the slots what they should be after boot; start: nothing is started without it. Until the runner has come
// to that, nobody takes its app for one that nothing will start.
func (r *Runner) Resume(start bool) {
	r.pending.Add(1)
	r.mail.Post(func() {
		r.obeyed++
		r.resume(start)
	})
}

// resume is Resume, on the runner's goroutine.
func (r *Runner) resume(start bool) {
	for _, u := range r.extra {
		u.gen.watch(r, u)
		r.carryOnExtra(u, start)
	}
	for _, u := range r.units {
		switch {
		case u.gen != nil:
			u.gen.watch(r, u)
			r.carryOn(u, start)
		case u.phase == backoff && r.wanted(u) && start:
			r.wait(u, evOver)
		case u.phase == backoff:
			r.send(u, evStop, ended{})
		case r.app.Schedule != nil && !r.plan.Owed:
		case r.wanted(u) && start && r.wants(u):
			r.send(u, evStart, ended{})
		}
	}
	if start && r.scheduled() && r.plan.Owed && r.resting() { // the daemon before did not live to begin it
		r.run()
	}
	if start {
		r.rejoin()
	}
}

// rejoin goes on with a reload that the daemon before did not live to finish.
func (r *Runner) rejoin() {
	for _, u := range r.units {
		if slices.Contains(r.unfinished, u.instance()) && u.phase == running && r.wanted(u) && (r.roll == nil || r.roll.now != u) {
			if r.roll == nil {
				r.roll = &roll{}
			}
			r.roll.queue = append(r.roll.queue, u)
		}
	}
	r.unfinished = nil
}

// carryOn goes on with a generation where the daemon before left off.
func (r *Runner) carryOn(u *unit, start bool) {
	why := u.gen.proc.Ending()
	switch {
	case r.removed: // the stop comes in its turn
	case u.parting || !r.wanted(u) || !start:
		r.send(u, evStop, ended{})
	case why == protocol.DaemonDied || why == protocol.BothDied || why == string(byStop), // it ends because it was asked to, and is wanted
		u.former: // another definition was being applied
		r.send(u, evStop, ended{})
		r.send(u, evStart, ended{})
	case why == string(byUnready):
		u.phase = starting
		r.send(u, evUnready, ended{})
	case why == string(byUnhealthy):
		u.phase = running
		r.send(u, evUnhealthy, ended{})
	case why == string(byWatchdog):
		u.phase = running
		r.send(u, evSilent, ended{})
	case why == string(byMemory):
		u.phase = running
		r.send(u, evHeavy, ended{})
	case over(u.gen.proc):
		r.exited(u, u.gen)
	case u.phase == starting:
		u.gen.watchReady(r, u)
	default:
		u.gen.watchHealth(r, u)
		u.gen.beat = time.Now() // while no daemon was there nobody was listening in time
		r.watchDog(u, u.gen.def.Watchdog)
		if u.owes == u.gen.number {
			r.greet(u)
		}
	}
}

// wants reports whether a slot that does not run should be started at boot: not what ended for good since the machine
// was started, and after a start of the machine not what was disabled.
func (r *Runner) wants(u *unit) bool {
	x := u.exit
	byItself := x != nil && (x.Reason == "exited" || x.Reason == "signal") && x.Known && u.def.Succeeds(x.Code) && u.def.Restart.Policy != "always" && !u.ancient
	return !u.parting && u.phase == idle && u.outcome == view.Stopped && !byItself && (r.enabled || !u.ancient)
}

// over reports whether the main process of a generation has ended.
func over(p *proc.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// bootTime is when the machine was started.
func bootTime() time.Time {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}
	}
	for _, line := range strings.Split(string(data), "\n") {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err == nil {
				return time.Unix(n, 0)
			}
		}
	}
	return time.Time{}
}
