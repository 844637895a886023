package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// publish makes a new snapshot for readers, tells the apps that depend on this one, and marks the state for the disk.
func (r *runner) publish() {
	old := r.snapshot.Load()
	v := r.build()
	if old != nil && old.State == v.State && old.Health == v.Health && !old.Since.IsZero() {
		v.Since = old.Since
	}
	r.snapshot.Store(v)
	if old != nil && same(old, v) {
		return
	}
	r.s.changed(r.key)
	r.remember()
}

// same reports whether two snapshots tell the same of what others act upon and of what is kept on disk.
func same(a, b *App) bool {
	if a.State != b.State || a.Reason != b.Reason || a.Health != b.Health || a.Epoch != b.Epoch || a.Desired != b.Desired || a.Enabled != b.Enabled ||
		a.Revision != b.Revision || len(a.Instances) != len(b.Instances) || a.Restarts != b.Restarts {
		return false
	}
	for i := range a.Instances {
		x, y := &a.Instances[i], &b.Instances[i]
		if x.State != y.State || x.PID != y.PID || x.Generation != y.Generation || x.Reason != y.Reason || x.LastExit != y.LastExit || x.Status != y.Status || x.Health != y.Health {
			return false
		}
	}
	return true
}

func (r *runner) build() *App {
	a := &App{Key: r.key, Name: r.app.Name, Project: projectOf(r.key), Stack: stackOf(r.key), Desired: desiredWord(r.desired), Enabled: r.enabled,
		Oneshot: r.app.Oneshot, Revision: r.rev, Since: r.s.Now(), Health: "unknown", Epoch: r.epoch, def: r.app}
	for _, d := range r.app.DependsOn {
		a.DependsOn = append(a.DependsOn, d.Name)
	}
	states := make([]State, len(r.units))
	healths := map[string]int{}
	for i, u := range r.units {
		in := r.instance(u)
		states[i] = in.State
		healths[in.Health]++
		a.Restarts += u.starts
		a.Instances = append(a.Instances, in)
	}
	a.State = derive(states)
	if len(states) == 0 {
		a.State = Stopped
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

func (r *runner) instance(u *unit) Instance {
	in := Instance{Slot: u.name(r.app.Name), Process: u.process, Number: u.number, State: u.state(), Reason: u.reason, Health: "unknown",
		Generation: u.last, Since: u.since, Restarts: u.starts, LastExit: u.exit}
	if !u.nextTry.IsZero() {
		t := u.nextTry
		in.NextTry = &t
	}
	if g := u.gen; g != nil {
		at := g.at
		in.PID, in.StartedAt, in.Ports, in.Status, in.Revision = g.proc.Identity().PID, &at, g.ports, g.status, g.rev
		if g.over {
			in.PID = 0
		}
		if g.health != "" {
			in.Health, in.HealthNote = g.health, g.healthNote
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

func nameOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// tail gives the last lines that a slot printed in its last run, those of stderr if there are any.
func (s *Supervisor) tail(key string, u *unit) []string {
	since := time.Time{}
	if u.exit != nil {
		since = u.exit.At.Add(-time.Duration(u.exit.RanMS) * time.Millisecond).Add(-100 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return s.Lines.Tail(ctx, fmt.Sprintf("%s:%s#%d", key, u.process, u.number), since, 20)
}

// changed tells the apps that depend on key to look again.
func (s *Supervisor) changed(key string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.dependents[key] {
		r.mail.post(r.noop)
	}
}

// noop wakes a runner: its settle looks at everything that waits.
func (r *runner) noop() {}

// Projects names the projects that have apps.
func (s *Supervisor) Projects() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []string
	for _, r := range s.apps {
		if p := projectOf(r.key); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}
