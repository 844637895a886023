package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/plan"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Compare says what applying def would change, in the order of the keys.
func (s *Supervisor) Compare(def *config.Definition) []plan.Change {
	return plan.Compare(def, plan.Now{Former: s.former(def), State: s.State.View(), Apps: s.Apps, App: func(key string) (*config.App, *view.App) {
		r := s.runner(key)
		if r == nil {
			return nil, nil
		}
		return r.Declared(), r.View()
	}})
}

// Apply makes the daemon follow a definition that is kept as revision rev: new apps are known (not started), of changed ones
// that are wanted to run the instances of another program are started anew, the missing started and the surplus stopped,
// removed ones are stopped and forgotten. All of it is durable before anything is done, and it goes on when the caller does
// not wait. Faults: conflict (superseded: a later revision, which says something else, was there first),
// unavailable (shutting_down), internal (state_not_durable), and those of Claim, Start and Stop.
func (s *Supervisor) Apply(ctx context.Context, def *config.Definition, rev int64, c Command) ([]view.Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	kept, gone, renew, err := s.follow(ctx, def, rev)
	if err != nil {
		return nil, err
	}
	notes := s.waiters(runner.Note, kept, nil, Command{})
	stops := s.waiters(runner.Stop, gone, nil, c)
	starts := s.waiters(runner.Renew, renew, nil, c)
	for _, w := range notes {
		s.tell(w)
	}
	s.common.Go(func() { // what takes the place of something comes after it has gone
		s.byLevel(stops)
		s.byLevel(starts)
	})
	for _, w := range notes { // whoever looks now sees the new definition
		select {
		case <-w.Done:
		case <-ctx.Done():
		}
	}
	return s.collect(ctx, runner.Restart, append(stops, starts...), c.Wait)
}

// follow makes the state and the runners follow a definition. It gives the apps that it has, those that have to go and
// those that have to start anew.
func (s *Supervisor) follow(ctx context.Context, def *config.Definition, rev int64) (kept, gone, renew []op.Target, err error) {
	select {
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return nil, nil, nil, fault.Wrap(ctx.Err(), fault.Cancelled, "another definition is being applied, and the caller gave up")
	}
	stack := def.Project + "/" + def.Stack
	s.mu.RLock()
	newest, ending := s.projectDir[stack].rev, s.halting
	s.mu.RUnlock()
	if ending {
		return nil, nil, nil, errEnding()
	}
	if newest > rev && s.same(ctx, def, newest) {
		rev = newest // what overtook it says the same
	}
	if newest > rev {
		return nil, nil, nil, fault.New(fault.Conflict, "revision %d of %s was overtaken by revision %d", rev, stack, newest).WithReason("superseded").WithHint("%s", fault.Do("apps.list"))
	}
	if err := s.Claim(def); err != nil {
		return nil, nil, nil, err
	}
	changes, former := s.Compare(def), s.former(def)
	byKey := map[string]*config.App{}
	for i := range def.Apps {
		byKey[def.Apps[i].Key] = &def.Apps[i]
	}
	down := false // then nothing is started
	err = s.State.Put(ctx, func(st *store.State) error {
		down = st.HomeDown
		for _, ch := range changes {
			if ch.What == "removed" {
				st.Delete(ch.Key)
				continue
			}
			st.Edit(ch.Key, func(a *store.AppState) { intent.Declare(a, byKey[ch.Key], rev, ch.Enabled) })
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.projectDir[stack] = project{dir: def.Dir, rev: rev, strategy: def.Supervision.Strategy}
	for _, name := range former {
		delete(s.projectDir, name)
	}
	for _, ch := range changes {
		r, app := s.apps[ch.Key], byKey[ch.Key]
		switch {
		case ch.What == "removed" && r == nil: // an earlier one has just been done with
			continue
		case ch.What == "removed":
			gone = append(gone, target.Of(r.View(), "", 0))
			r.Remove()
			continue
		}
		kept = append(kept, op.Target{Key: ch.Key})
		if r == nil || !r.Follow(app, rev, ch.What == "changed") { // the second: it has just gone
			s.admit(ctx, app, rev)
			continue
		}
		r.Declare(app)
		if ch.Anew+ch.Starts+ch.Stops > 0 && !down {
			renew = append(renew, target.Of(r.View(), "", 0))
		}
	}
	s.link()
	s.kick()
	return kept, gone, renew, nil
}

// same reports whether a revision holds just this definition.
func (s *Supervisor) same(ctx context.Context, def *config.Definition, rev int64) bool {
	kept, err := s.Loader.Definition(ctx, def.Project, def.Stack, rev)
	if err != nil {
		return false
	}
	mine, err := json.Marshal(def)
	if err != nil {
		return false
	}
	theirs, err := json.Marshal(kept)
	return err == nil && bytes.Equal(mine, theirs)
}

// admit makes a runner of an app that is new to us. The state may know it all the same, and something of it may run: when
// its definition could not be read at boot, it was left as it was. The caller holds mu.
func (s *Supervisor) admit(ctx context.Context, app *config.App, rev int64) {
	st := s.State.View()
	r := s.add(app, rev)
	if a, ok := st.App(app.Key); ok {
		r.Recall(a)
	}
	if _, left := s.unread[app.Key]; left {
		delete(s.unread, app.Key)
		for _, p := range s.Keeper.Processes() {
			if key, _, _, _, _, ok := naming.Parse(p.ID()); ok && key == app.Key {
				r.Reattach(ctx, p, cached{s: s, got: map[string]*config.Definition{}}.app)
			}
		}
	}
	r.Launch()
	r.Resume(!st.HomeDown)
}

// RevisionsInUse gives the numbers of the definitions that the apps of a stack run or should run.
func (s *Supervisor) RevisionsInUse(project, stack string) []int64 {
	var out []int64
	for _, v := range s.Apps() {
		if v.Project != project || v.Stack != stack {
			continue
		}
		out = append(out, v.Revision)
		for _, i := range v.Instances {
			if i.Revision != 0 {
				out = append(out, i.Revision)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// cached reads definitions, each revision once.
type cached struct {
	s   *Supervisor
	got map[string]*config.Definition
}

// app finds an app in the revision that holds it.
func (c cached) app(ctx context.Context, key string, rev int64) (*config.App, error) {
	stack := naming.InStack(key)
	name := fmt.Sprintf("%s@%d", stack, rev)
	def := c.got[name]
	if def == nil {
		var err error
		if def, err = c.s.Loader.Definition(ctx, naming.Project(key), naming.Stack(key), rev); err != nil {
			return nil, err
		}
		c.got[name] = def
	}
	if p := c.s.projectDir[stack]; p.rev <= rev {
		c.s.projectDir[stack] = project{dir: def.Dir, rev: rev, strategy: def.Supervision.Strategy}
	}
	for i := range def.Apps {
		if def.Apps[i].Key == key {
			return &def.Apps[i], nil
		}
	}
	return nil, fmt.Errorf("revision %d has no app %q", rev, key)
}
