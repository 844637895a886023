package runner

import (
	"context"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// publish makes a new snapshot for readers, tells the apps that depend on this one, and marks the state for the disk.
func (r *Runner) publish() {
	old, v := r.snapshot.Load(), r.build()
	if old.State == v.State {
		v.Since = old.Since
	}
	r.snapshot.Store(v)
	if view.Same(old, v) {
		return
	}
	if v.State != old.State && v.State.Settled() && !v.State.Up() { // the end of a chain, for whoever waits further up
		r.c.Others.Stirred(r.Key)
	} else {
		r.c.Others.Changed(r.Key)
	}
	r.remember()
}

func (r *Runner) build() *view.App {
	a := &view.App{Key: r.Key, Name: r.app.Name, Project: naming.Project(r.Key), Stack: naming.Stack(r.Key), Desired: desiredWord(r.desired), Enabled: r.enabled,
		Oneshot: r.app.Oneshot, Revision: r.rev, Health: "unknown", Epoch: r.epoch, Definition: r.app}
	for _, d := range r.app.DependsOn {
		a.DependsOn = append(a.DependsOn, d.Name)
	}
	if !r.next.IsZero() && r.scheduled() {
		next := r.next
		a.NextRun = &next
	}
	states := make([]view.State, len(r.units))
	healths := map[string]int{}
	for i, u := range r.units {
		in := r.instance(u)
		states[i] = in.State
		healths[in.Health]++
		a.Restarts += u.starts
		a.Instances = append(a.Instances, in)
	}
	a.State = view.Derive(states)
	for _, in := range a.Instances { // it is so since the last one became so
		if in.State == a.State && in.Since.After(a.Since) {
			a.Since = in.Since
		}
	}
	switch {
	case healths["unhealthy"] > 0:
		a.Health = "unhealthy"
	case healths["healthy"] > 0 && healths["unknown"] == 0:
		a.Health = "healthy"
	}
	for _, in := range a.Instances {
		if in.State == a.State && in.Reason != "" {
			a.Reason = in.Reason
			if len(a.Instances) > 1 {
				a.Reason = in.Slot + ": " + in.Reason
			}
			break
		}
	}
	return a
}

func (r *Runner) instance(u *unit) view.Instance {
	in := view.Instance{Slot: u.name(r.app.Name), Process: u.process, Number: u.number, State: u.state(), Reason: u.reason, Desired: desiredWord(r.wanted(u)), Health: "unknown",
		Generation: u.last, Since: u.since, Restarts: u.starts, LastExit: u.exit, Former: u.former, Rests: !r.wants(u)}
	if u.sleeps && u.phase == idle {
		if in.Reason = "next run " + r.next.Format("2006-01-02 15:04 MST"); u.outcome == view.Failed || u.outcome == view.Crashed {
			in.Reason = "the last run failed: " + u.reason + "; " + in.Reason
		}
	}
	if !u.nextTry.IsZero() {
		t := u.nextTry
		in.NextTry = &t
	}
	if g := u.gen; g != nil {
		at := g.at
		in.PID, in.StartedAt, in.Ports, in.Status, in.Revision = g.proc.Identity().PID, &at, g.ports, g.status, g.rev
		if in.Warnings = g.proc.Skipped(); len(in.Warnings) > 0 && in.Reason == "" {
			in.Reason = in.Warnings[0]
		}
		if g.over {
			in.PID = 0
		}
		if g.health != "" {
			in.Health, in.HealthNote = g.health, g.healthNote
		} else if in.State == view.Starting { // what the probe of its readiness says
			in.HealthNote = g.healthNote
		}
		if !g.readyAt.IsZero() {
			t := g.readyAt
			in.ReadyAt = &t
		}
	}
	return in
}

func desiredWord(running bool) string {
	if running {
		return "running"
	}
	return "stopped"
}

// tail gives the last lines that a slot printed in its last run, those of stderr if there are any.
func (c *Common) tail(key string, u *unit) []string {
	ctx, cancel := context.WithTimeout(c.ctx, 2*time.Second)
	defer cancel()
	return c.Lines.Tail(ctx, naming.Instance(key, u.process, u.number), began(u.exit), time.Time{}, 20)
}

// remember marks what is kept on disk of the app; the state file takes it along with its next write.
func (r *Runner) remember() {
	v := r.snapshot.Load()
	slots := make([]store.Slot, len(r.units))
	for i, u := range r.units {
		slots[i] = r.slotState(u, &v.Instances[i])
	}
	left := r.unreloaded()
	owed, queued := r.plan.Owed, r.plan.Queued
	r.c.State.Touch(func(st *store.State) {
		if _, known := st.App(r.Key); !known { // removed meanwhile
			return
		}
		st.Edit(r.Key, func(a *store.AppState) {
			a.Status, a.Restarts, a.Generation, a.LastError = string(v.State), v.Restarts, v.Epoch, v.Reason
			a.Processes, a.Reloading = slots, left
			a.Schedule.Owed, a.Schedule.Queued = owed, queued
			a.PID, a.StartTime, a.BootID, a.LastExit = 0, 0, "", nil
			for _, s := range slots {
				if s.LastExit != nil && (a.LastExit == nil || s.LastExit.At.After(a.LastExit.At)) {
					a.LastExit = s.LastExit
				}
				if a.PID == 0 && s.PID != 0 {
					a.PID, a.StartTime, a.BootID, a.StartedAt = s.PID, s.StartTime, s.BootID, s.StartedAt
				}
			}
		})
	})
}

func (r *Runner) slotState(u *unit, in *view.Instance) store.Slot {
	s := store.Slot{Name: u.process, Instance: u.number, Status: string(u.slot.state()), Health: in.Health, Generation: u.last, Restarts: u.starts,
		Active: u.hist.Active, RestartsAt: u.hist.Restarts, Attempt: u.hist.Streak, BackoffUntil: u.nextTry, LastError: u.reason}
	if x := u.exit; x != nil {
		s.LastExit = &store.Exit{Known: x.Known, Code: x.Code, Signal: x.Signal, At: x.At, Reason: x.Reason, Message: x.Message, RanMS: x.RanMS,
			Generation: x.Generation, PID: x.PID, StderrTail: x.Stderr}
	}
	if g := u.gen; g != nil {
		s.Greeting = g.greeting
		id := g.proc.Identity()
		s.Revision, s.PID, s.StartTime, s.BootID, s.PIDNS = g.rev, id.PID, id.Start, id.Boot, id.NS
		s.Group, s.KeeperID, s.StartedAt, s.ReadyAt = naming.Group(r.Key, u.process, u.number, g.number), g.proc.ID(), g.at, g.readyAt
		for _, p := range g.def.Ports {
			if n, ok := g.ports[p.Name]; ok {
				s.Ports = append(s.Ports, store.PortState{Name: p.Name, Port: n})
			}
		}
	}
	return s
}
