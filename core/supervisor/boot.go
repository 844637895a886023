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
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
)

// boot makes the world what the state says: the living are adopted, with the revision that they run; the dead are
// started again as their restart policy says; strangers are not touched. With the home marked down nothing is started.
func (s *Supervisor) boot(ctx context.Context) error {
	st := s.State.View()
	living := map[string][]*proc.Process{}
	for _, f := range s.leftovers() {
		_ = os.Remove(f) // whoever looks at the folder sees it, and nothing else depends on it
	}
	for _, p := range s.Keeper.Processes() {
		key, _, _, _, _, ok := parseGeneration(p.ID())
		switch {
		case isProbe(p): // of a daemon that died while it asked
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
	var started []*runner
	for a := range st.Apps() {
		app, err := s.definition(ctx, a.Key, a.Revision)
		if err != nil {
			s.Log.Error("cannot read an app's definition; it is left as it is", "app", a.Key, "err", err)
			continue
		}
		r := s.add(app, a.Revision)
		s.recall(r, a)
		for _, p := range living[a.Key] {
			s.reattach(ctx, r, p)
		}
		delete(living, a.Key)
		started = append(started, r)
	}
	for key, ps := range living {
		started = append(started, s.foundling(ctx, key, ps)...)
	}
	for _, r := range started {
		s.launch(r)
	}
	s.link()
	for _, r := range started {
		r.mail.post(func() { r.resume(!st.HomeDown) })
	}
	return nil
}

// definition finds an app in the revision that holds it.
func (s *Supervisor) definition(ctx context.Context, key string, rev int64) (*config.App, error) {
	stack := projectOf(key) + "/" + stackOf(key)
	def, err := s.Loader.Definition(ctx, projectOf(key), stackOf(key), rev)
	if err != nil {
		return nil, err
	}
	if p := s.projectDir[stack]; p.rev <= rev {
		s.projectDir[stack] = project{dir: def.Dir, rev: rev, strategy: def.Supervision.Strategy}
	}
	for i := range def.Apps {
		if def.Apps[i].Key == key {
			return &def.Apps[i], nil
		}
	}
	return nil, fmt.Errorf("revision %d has no app %q", rev, key)
}

// recall gives a runner what the state remembers of its app.
func (s *Supervisor) recall(r *runner, a store.AppState) {
	r.desired, r.enabled = a.Desired == store.WantRunning, a.Enabled
	for part, want := range a.Parts {
		r.want(part, want == store.WantRunning)
	}
	for process, n := range a.Scale {
		r.scale[process] = n
	}
	r.adopt(r.app, r.rev)
	for _, sl := range a.Processes {
		u := r.unit(sl.Name, sl.Instance)
		if u == nil {
			continue
		}
		u.last, u.starts, u.seq, u.up = sl.Generation, sl.Restarts, a.Command, r.wanted(u)
		u.outcome = settledState(State(sl.Status))
		if left := sl.BackoffUntil.Sub(s.Now()); State(sl.Status) == Backoff && left > 0 && left < time.Hour {
			u.phase, u.delay = backoff, left
		}
		u.hist = history{Active: sl.Active, Streak: sl.Attempt, Restarts: sl.RestartsAt}
		if x := sl.LastExit; x != nil {
			u.exit = &Exit{At: x.At, Known: x.Known, Code: x.Code, Signal: x.Signal, Reason: x.Reason, Message: x.Message, RanMS: x.RanMS, Generation: x.Generation, PID: x.PID, Stderr: x.StderrTail}
		}
		u.reason, u.since, u.was = sl.LastError, s.Now(), State(sl.Status)
		if !sl.ReadyAt.IsZero() {
			u.ready = sl.Generation
		}
		if u.exit != nil && u.exit.At.Before(bootTime()) && u.outcome != Completed { // what happened before the machine was started does not count
			u.outcome, u.reason, u.hist, u.starts = Stopped, "", history{}, 0
		}
	}
}

// settledState is what a slot that does not run now should be shown as.
func settledState(was State) State {
	switch was {
	case Completed, Failed, Crashed:
		return was
	}
	return Stopped
}

// reattach gives a slot the generation that the keeper has of it. A generation that ended while no daemon was there
// ends now, so that its exit is told and judged like any other.
func (s *Supervisor) reattach(ctx context.Context, r *runner, p *proc.Process) {
	_, process, n, number, rev, _ := parseGeneration(p.ID())
	app, def := r.app, (*config.Process)(nil)
	if rev != r.rev {
		if old, err := s.definition(ctx, r.key, rev); err == nil {
			app = old
		}
	}
	for i := range app.Processes {
		if app.Processes[i].Name == process {
			def = &app.Processes[i]
		}
	}
	u := r.unit(process, n)
	if def == nil || u != nil && u.gen != nil && u.last > number {
		s.discard(p)
		return
	}
	if u != nil && u.gen == nil && u.judged(p, number) {
		s.discard(p)
		return
	}
	if u == nil { // scaled away or out of the definition: it has to go
		u = &unit{slot: slot{phase: idle, outcome: Stopped}, process: process, number: n, def: def, parting: true}
		r.units = append(r.units, u)
	}
	if u.gen != nil {
		s.discard(u.gen.proc)
	}
	g := &generation{number: number, rev: rev, app: app, def: def, at: p.Started(), proc: p, ports: portsOf(p.ID())}
	s.ports.keep(g.ports)
	u.last, u.gen, u.exit, u.reason = max(u.last, number), g, exitUnless(u.exit, number), ""
	u.slot = slot{phase: running, hist: u.hist}
	u.since, g.readyAt = p.Started(), p.Started()
	if u.was != "" && u.ready != number {
		u.phase, g.readyAt = starting, time.Time{}
	}
}

// judged reports whether the end of a generation was seen to by the daemon before, which only did not live to forget it:
// nothing of it is left, and it must not count twice.
func (u *unit) judged(p *proc.Process, number uint64) bool {
	select {
	case <-p.Done():
	default:
		return false
	}
	return number < u.last || u.exit != nil && u.exit.Generation == number && u.was != Stopping && u.was != Stuck
}

// exitUnless drops the memory of an exit that the keeper will report again.
func exitUnless(x *Exit, number uint64) *Exit {
	if x != nil && x.Generation == number {
		return nil
	}
	return x
}

// discard ends a generation that has no place any more.
func (s *Supervisor) discard(p *proc.Process) {
	s.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), killTimeout)
		defer cancel()
		if err := p.Kill(ctx); err != nil {
			s.Log.Error("cannot end a generation that has no place any more", "generation", p.ID(), "err", err)
			return
		}
		if err := p.Forget(ctx); err != nil {
			s.Log.Warn("cannot forget a generation", "generation", p.ID(), "err", err)
		}
	})
}

// foundling takes in an app that runs but that the state does not know. When the state was lost it is adopted as
// desired; otherwise it was removed while no daemon was there, and it ends.
func (s *Supervisor) foundling(ctx context.Context, key string, ps []*proc.Process) []*runner {
	_, _, _, _, rev, _ := parseGeneration(ps[0].ID())
	app, err := s.definition(ctx, key, rev)
	if !s.Lost || err != nil {
		for _, p := range ps {
			s.Log.Warn("something runs that nobody wants any more; it is ended", "generation", p.ID())
			s.discard(p)
		}
		return nil
	}
	r := s.add(app, rev)
	r.desired = true
	for _, p := range ps {
		s.reattach(ctx, r, p)
	}
	s.State.Touch(func(st *store.State) {
		st.Edit(key, func(a *store.AppState) {
			a.Name, a.Desired, a.Enabled, a.Revision, a.Hash = app.Name, store.WantRunning, app.Enabled, rev, app.Hash
		})
	})
	return []*runner{r}
}

// resume sets a runner going after boot, on its own goroutine.
func (r *runner) resume(start bool) {
	for _, u := range r.units {
		switch {
		case u.gen != nil:
			u.gen.watch(r, u)
			if u.parting || !r.wanted(u) || !start {
				r.send(u, evStop, ended{})
				continue
			}
			switch why := u.gen.proc.Ending(); {
			case why == protocol.DaemonDied || why == protocol.BothDied || why == string(byStop): // it ends because it was asked to, and is wanted
				hist := u.hist
				r.send(u, evStop, ended{})
				r.send(u, evStart, ended{})
				u.hist = hist
			case why == string(byUnready):
				u.phase = starting
				r.send(u, evUnready, ended{})
			case why == string(byUnhealthy):
				u.phase = running
				r.send(u, evUnhealthy, ended{})
			case !u.gen.alive(): // the watcher brings the news
			case u.phase == starting:
				u.gen.watchReady(r, u)
			default:
				u.gen.watchHealth(r, u)
			}
		case u.phase == backoff && r.wanted(u) && start:
			r.wait(u, evOver)
		case r.wanted(u) && start && r.wants(u):
			hist := u.hist
			r.send(u, evStart, ended{})
			u.hist = hist
		case u.phase == backoff:
			r.send(u, evStop, ended{})
		}
	}
}

// wants reports whether a slot that does not run should be started at boot: not what ended for good since the machine
// was started.
func (r *runner) wants(u *unit) bool {
	x := u.exit
	byItself := x != nil && x.Reason == "exited" && x.Known && x.Code == 0 && u.def.Restart.Policy != "always" && x.At.After(bootTime())
	return !u.parting && u.phase == idle && u.outcome == Stopped && !byItself
}

// alive reports whether the main process has not ended yet.
func (g *generation) alive() bool {
	select {
	case <-g.proc.Done():
		return false
	default:
		return true
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
