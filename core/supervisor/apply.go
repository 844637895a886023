package supervisor

import (
	"context"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Change is what applying a definition means for one app.
type Change struct {
	Key  string
	What string // added | changed | removed | unchanged
	Runs bool   // whether something of it runs now
}

// Compare says what applying def would change, in the order of the keys.
func (s *Supervisor) Compare(def *config.Definition) []Change {
	var out []Change
	seen := map[string]bool{}
	for i := range def.Apps {
		app := &def.Apps[i]
		seen[app.Key] = true
		c := Change{Key: app.Key, What: "added"}
		if v := s.view(app.Key); v != nil {
			c.What, c.Runs = "unchanged", v.alive()
			if v.def.Hash != app.Hash {
				c.What = "changed"
			}
		}
		out = append(out, c)
	}
	for _, v := range s.Apps() {
		if v.Project == def.Project && v.Stack == def.Stack && !seen[v.Key] {
			out = append(out, Change{Key: v.Key, What: "removed", Runs: v.alive()})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		if a.Key < b.Key {
			return -1
		}
		return 1
	})
	return out
}

// Apply makes the daemon follow a definition that is kept as revision rev: new apps are known (not started), changed ones
// that run are restarted, removed ones are stopped and forgotten. The wish is durable before anything is done. Faults:
// internal (state_not_durable), and those of Start and Stop.
func (s *Supervisor) Apply(ctx context.Context, def *config.Definition, rev int64, c Command) ([]Result, error) {
	changes := s.Compare(def)
	byKey := map[string]*config.App{}
	for i := range def.Apps {
		byKey[def.Apps[i].Key] = &def.Apps[i]
	}
	var gone []op.Target
	for _, ch := range changes {
		if ch.What == "removed" {
			gone = append(gone, target(s.view(ch.Key), "", 0))
		}
	}
	err := s.State.Put(ctx, func(st *store.State) error {
		for key, app := range byKey {
			st.Edit(key, func(a *store.AppState) {
				if a.Name == "" {
					a.Name, a.Desired, a.Enabled, a.Status = app.Name, store.WantStopped, app.Enabled, string(Stopped)
				}
				a.Revision, a.Hash = rev, app.Hash
				for _, p := range app.Processes { // scale holds until the file's number changes
					if base, ok := a.ScaleBase[p.Name]; ok && base != p.Instances {
						delete(a.Scale, p.Name)
						delete(a.ScaleBase, p.Name)
					}
				}
			})
		}
		for _, t := range gone {
			st.Edit(t.Key, func(a *store.AppState) { a.Desired = store.WantStopped })
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	stack := def.Project + "/" + def.Stack
	s.projectDir[stack] = project{dir: def.Dir, rev: rev, strategy: def.Supervision.Strategy}
	st := s.State.View()
	var fresh []*runner
	var restart []op.Target
	for _, ch := range changes {
		app := byKey[ch.Key]
		switch ch.What {
		case "added":
			r := s.add(app, rev)
			s.launch(r)
			fresh = append(fresh, r)
		case "changed", "unchanged":
			r := s.apps[ch.Key]
			a, _ := st.App(ch.Key)
			r.mail.post(func() { r.follow(app, rev, a.Scale, ch.What == "changed") })
			if ch.What == "changed" && ch.Runs {
				restart = append(restart, target(r.snapshot.Load(), "", 0))
			}
		}
	}
	s.link()
	s.mu.Unlock()
	for _, r := range fresh {
		r.mail.post(r.noop)
	}
	results, err := s.forgetApps(ctx, gone, c)
	if err != nil || len(restart) == 0 {
		return results, err
	}
	c.Targets = restart
	more, err := s.command(ctx, kindRestart, c)
	return append(results, more...), err
}

// follow takes a new definition over; what runs keeps its own until it is started again.
func (r *runner) follow(app *config.App, rev int64, scale map[string]int, changed bool) {
	r.scale = map[string]int{}
	for k, n := range scale {
		r.scale[k] = n
	}
	if changed {
		r.epoch++
	}
	r.adopt(app, rev)
	r.s.mu.Lock()
	r.snapshot.Store(r.build())
	r.s.link()
	r.s.mu.Unlock()
}

// forgetApps stops apps that the definition has no more, and forgets them.
func (s *Supervisor) forgetApps(ctx context.Context, gone []op.Target, c Command) ([]Result, error) {
	if len(gone) == 0 {
		return nil, nil
	}
	c.Targets = gone
	results, err := s.command(ctx, kindStop, c)
	if err != nil {
		return results, err
	}
	for _, t := range gone {
		r := s.runner(t.Key)
		if r == nil {
			continue
		}
		r.mail.post(func() {
			r.removed = true
			for _, u := range r.units {
				u.parting = true
				r.send(u, evStop, ended{})
			}
		})
		select {
		case <-r.done:
		case <-ctx.Done():
			return results, s.gaveUp(ctx, results, nil)
		}
		s.mu.Lock()
		delete(s.apps, t.Key)
		s.link()
		s.mu.Unlock()
	}
	return results, s.State.Put(ctx, func(st *store.State) error {
		for _, t := range gone {
			st.Delete(t.Key)
		}
		return nil
	})
}

// Halt stops everything that runs, in order, because the daemon ends; what is desired stays. It names the apps that
// would not stop. down also marks the home: until up or start a daemon starts nothing.
func (s *Supervisor) Halt(ctx context.Context, down bool) ([]Result, error) {
	if down {
		if err := s.State.Put(ctx, func(st *store.State) error { st.HomeDown = true; return nil }); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.halting = true
	s.mu.Unlock()
	var targets []op.Target
	for _, v := range s.Apps() {
		targets = append(targets, target(v, "", 0))
	}
	waits := make([]*waiter, len(targets))
	results := make([]Result, len(targets))
	for i, t := range targets {
		waits[i] = &waiter{kind: kindStop, target: t, began: s.Now(), patient: true, result: make(chan Result, 1)}
		r := s.runner(t.Key)
		r.pending.Add(1)
		r.mail.post(func() { r.halting = true })
	}
	if err := s.stopByLevel(ctx, targets, waits, results); err != nil {
		return results, s.gaveUp(ctx, results, waits)
	}
	return results, s.verdict(results, kindStop)
}
