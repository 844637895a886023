package supervisor

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/restart"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// boot makes the world what the state says: the living are adopted, with the revision that they run; the dead are
// started again as their restart policy says; strangers are not touched, and neither is what runs of an app whose
// definition cannot be read. What was taken out of the definitions is stopped, dependents first. With the home marked down
// nothing is started.
func (s *Supervisor) boot(ctx context.Context) {
	stops := s.waiters(kindStop, s.takeIn(ctx), nil, Command{})
	s.calls.Go(func() { s.byLevel(stops) })
}

// takeIn makes runners of all apps and sets them going. It gives those that have to go.
func (s *Supervisor) takeIn(ctx context.Context) (gone []op.Target) {
	st := s.State.View()
	living := map[string][]*proc.Process{}
	for _, f := range errand.Leftovers(s.RunDir) {
		_ = os.Remove(f) // whoever looks at the folder sees it, and nothing else depends on it
	}
	for _, p := range s.Keeper.Processes() {
		key, _, _, _, _, ok := naming.Parse(p.ID())
		switch {
		case errand.Is(p): // of a daemon that died while it asked
			s.discard(p)
			continue
		case !ok:
			s.Log.Warn("the keeper runs something that has no name of ours; it is left alone", "generation", p.ID())
			continue
		}
		living[key] = append(living[key], p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	read := cached{s: s, got: map[string]*config.Definition{}}
	var started []*runner
	for a := range st.Apps() {
		ps := living[a.Key]
		delete(living, a.Key)
		if r := s.take(ctx, a, ps, read.app); r != nil {
			started = append(started, r)
		}
	}
	for key, ps := range living {
		if r := s.foundling(ctx, key, ps, read.app); r != nil {
			started = append(started, r)
		}
	}
	s.State.Touch(func(st *store.State) { // commands of earlier daemons are all over, whatever their numbers
		for _, key := range st.Keys() {
			st.Edit(key, func(a *store.AppState) { a.Command, a.Numbers = 0, nil })
		}
	})
	for _, r := range started {
		s.launch(r)
	}
	s.link()
	for _, r := range started {
		if s.resume(r, !st.HomeDown); r.removed {
			gone = append(gone, op.Target{Key: r.key})
		}
	}
	return gone
}

// take makes a runner of an app and gives it what lives of it, unless its definition cannot be read. The caller holds mu.
func (s *Supervisor) take(ctx context.Context, a store.AppState, ps []*proc.Process, read func(context.Context, string, int64) (*config.App, error)) *runner {
	var most map[string]int
	if s.Lost {
		most = vouch(&a, ps)
	}
	app, err := read(ctx, a.Key, a.Revision)
	if err != nil {
		s.leave(a.Key, err)
		return nil
	}
	if s.Lost {
		intent.Declare(&a, app, a.Revision, a.Enabled && app.Enabled)
		intent.Widen(&a, app, most)
		s.State.Touch(func(st *store.State) { st.Set(a) })
	}
	r := s.add(app, a.Revision)
	s.recall(r, a)
	for _, p := range ps {
		s.reattach(ctx, r, p, read)
	}
	r.unmoved(a)
	return r
}

// vouch makes what lives of an app desired, in the newest revision that lives: what the state says of it, if it knows it at
// all, is older than what was said last. It gives the highest number that lives of each process.
func vouch(a *store.AppState, ps []*proc.Process) map[string]int {
	most := map[string]int{}
	for _, p := range ps {
		select {
		case <-p.Done():
			continue
		default:
		}
		if p.Ending() != "" { // somebody has asked it to end
			continue
		}
		_, process, n, _, rev, _ := naming.Parse(p.ID())
		a.Desired, a.Revision = store.WantRunning, max(a.Revision, rev)
		for _, part := range []string{process, fmt.Sprintf("%s#%d", process, n)} {
			if _, said := a.Parts[part]; said {
				a.Parts[part] = store.WantRunning
			}
		}
		most[process] = max(most[process], n)
	}
	return most
}

// resume sets a runner going. Until it has come to that, nobody takes its app for one that nothing will start.
func (s *Supervisor) resume(r *runner, start bool) {
	r.pending.Add(1)
	r.mail.post(func() {
		r.obeyed++
		r.resume(start)
	})
}

// leave has an app be as it is, because nobody knows what it should be. The caller holds mu.
func (s *Supervisor) leave(key string, err error) {
	s.unread[key] = err.Error()
	s.Log.Error("cannot read an app's definition; it is left as it is", "app", key, "err", err)
}

// recall gives a runner what the state remembers of its app.
func (s *Supervisor) recall(r *runner, a store.AppState) {
	r.intent(a)
	r.adopt(r.app, r.rev)
	boot := bootTime()
	for _, sl := range a.Processes {
		u := r.unit(sl.Name, sl.Instance)
		if u == nil {
			continue
		}
		u.last, u.starts, u.up = sl.Generation, sl.Restarts, r.wanted(u)
		u.outcome = settledState(view.State(sl.Status))
		if left := sl.BackoffUntil.Sub(s.Now()); view.State(sl.Status) == view.Backoff && left > 0 && left < time.Hour {
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

// reattach gives a slot the generation that the keeper has of it. A generation that ended while no daemon was there
// ends now, so that its exit is told and judged like any other.
func (s *Supervisor) reattach(ctx context.Context, r *runner, p *proc.Process, read func(context.Context, string, int64) (*config.App, error)) {
	_, process, n, number, rev, _ := naming.Parse(p.ID())
	app, def := r.app, (*config.Process)(nil)
	if rev != r.rev {
		if old, err := read(ctx, r.key, rev); err == nil {
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
		s.discard(p)
		return
	case u != nil && u.gen != nil && u.gen.number > number: // the older one was on its way out
		s.discard(p)
		return
	case u != nil && u.gen != nil:
		s.ports.Free(u.gen.ports)
		s.discard(u.gen.proc)
	case u == nil: // scaled away or out of the definition: it has to go
		u = &unit{slot: slot{phase: idle, outcome: view.Stopped}, process: process, number: n, def: def, parting: true}
		r.units = append(r.units, u)
	}
	g := &generation{number: number, rev: rev, app: app, def: def, live: def, at: p.Started(), proc: p, ports: naming.Ports(p.ID()), adopted: true}
	g.lived = !over(p)
	s.ports.Keep(g.ports)
	u.last, u.gen, u.exit, u.reason = max(u.last, number), g, exitUnless(u.exit, number), ""
	u.former = app != r.app && !u.parting && config.Renews(app, r.app, process)
	if !u.former && !u.parting {
		g.live = u.def
	}
	u.slot = slot{phase: running, hist: u.hist}
	u.since, g.readyAt, g.steady = p.Started(), p.Started(), true
	switch {
	case u.ready != number && !s.Lost: // nothing tells that it was ready, unless everything that could has been lost
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

// discard ends a generation that has no place any more.
func (s *Supervisor) discard(p *proc.Process) {
	s.calls.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, killTimeout)
		defer cancel()
		if err := p.Kill(ctx); err != nil {
			s.Log.Error("cannot end a generation that has no place any more", "generation", p.ID(), "err", err)
			return
		}
		s.forget(p)
	})
}

// foundling takes in an app that runs but that the state does not know. When the state was lost it is adopted as
// desired; otherwise it was removed, and the daemon before did not live to end it: it has to go, as the definition that it
// runs says. Where nobody knows that any more it is killed. The caller holds mu.
func (s *Supervisor) foundling(ctx context.Context, key string, ps []*proc.Process, read func(context.Context, string, int64) (*config.App, error)) *runner {
	if s.Lost {
		return s.take(ctx, store.AppState{Key: key, Name: naming.App(key), Status: string(view.Stopped), Desired: store.WantStopped, Enabled: true}, ps, read)
	}
	var newest int64
	for _, p := range ps {
		_, _, _, _, rev, _ := naming.Parse(p.ID())
		newest = max(newest, rev)
	}
	s.Log.Warn("something runs that nobody wants any more; it is ended", "app", key)
	app, err := read(ctx, key, newest)
	if err != nil {
		for _, p := range ps {
			s.discard(p)
		}
		return nil
	}
	r := s.add(app, newest)
	r.remove()
	for _, p := range ps {
		s.reattach(ctx, r, p, read)
	}
	return r
}

// resume makes the slots what they should be after boot, on the runner's goroutine.
func (r *runner) resume(start bool) {
	for _, u := range r.units {
		switch {
		case u.gen != nil:
			u.gen.watch(r, u)
			r.carryOn(u, start)
		case u.phase == backoff && r.wanted(u) && start:
			r.wait(u, evOver)
		case u.phase == backoff:
			r.send(u, evStop, ended{})
		case r.wanted(u) && start && r.wants(u):
			r.send(u, evStart, ended{})
		}
	}
}

// carryOn goes on with a generation where the daemon before left off.
func (r *runner) carryOn(u *unit, start bool) {
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
	case over(u.gen.proc):
		r.exited(u, u.gen)
	case u.phase == starting:
		u.gen.watchReady(r, u)
	default:
		u.gen.watchHealth(r, u)
	}
}

// wants reports whether a slot that does not run should be started at boot: not what ended for good since the machine
// was started, and after a start of the machine not what was disabled.
func (r *runner) wants(u *unit) bool {
	x := u.exit
	byItself := x != nil && x.Reason == "exited" && x.Known && x.Code == 0 && u.def.Restart.Policy != "always" && !u.ancient
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
