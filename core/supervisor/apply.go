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

// Current gives what holds now of a stack as one definition: its apps as they are declared, and what holds for all of them as the
// revision says that was applied last. Nil where the stack has no apps.
func (s *Supervisor) Current(ctx context.Context, project, stack string) *config.Definition {
	s.mu.RLock()
	rev := s.projectDir[project+"/"+stack].rev
	s.mu.RUnlock()
	now := &config.Definition{Project: project, Stack: stack}
	for _, v := range s.Apps() {
		if r := s.runner(v.Key); r != nil && v.Project == project && v.Stack == stack {
			now.Apps = append(now.Apps, *r.Declared())
		}
	}
	if len(now.Apps) == 0 {
		return nil
	}
	if kept, err := s.Loader.Definition(ctx, project, stack, rev); err == nil { // else only the apps can be told of
		kept.Apps = now.Apps
		return kept
	}
	return now
}

// Applied gives the number of the definition of a stack that is in force; 0 when none is. A newer one may have been kept that never
// came to be.
func (s *Supervisor) Applied(project, stack string) int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.projectDir[project+"/"+stack].rev
}

// Revised is a definition with the number of the revision that keeps it.
type Revised struct {
	Def *config.Definition
	Rev int64
}

// Apply is ApplyAll of one definition.
func (s *Supervisor) Apply(ctx context.Context, def *config.Definition, rev int64, c Command) ([]view.Result, error) {
	return s.ApplyAll(ctx, []Revised{{def, rev}}, c)
}

// ApplyAll makes the daemon follow definitions that are kept as revisions, all of them or none: new apps are known (not started), of
// changed ones that are wanted to run the instances of another program are started anew, the missing started and the surplus
// stopped, removed ones are stopped and forgotten. All of it is durable in one write before anything is done: a daemon that dies
// before that leaves everything as it was, and after one that dies later the next goes on. It goes on, too, when the caller does
// not wait. Faults: conflict (superseded: a later revision, which says something else, was there first;
// port_in_use: something would be started anew on a port that another has), unavailable (shutting_down), internal
// (state_not_durable), and those of Claim, Start and Stop.
func (s *Supervisor) ApplyAll(ctx context.Context, all []Revised, c Command) ([]view.Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	kept, gone, renew, err := s.follow(ctx, all)
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

// following is a definition on its way to be followed.
type following struct {
	def     *config.Definition
	rev     int64
	changes []plan.Change
	former  []string
	byKey   map[string]*config.App
}

// follow makes the state and the runners follow definitions. It gives the apps that they have, those that have to go and
// those that have to start anew.
func (s *Supervisor) follow(ctx context.Context, all []Revised) (kept, gone, renew []op.Target, err error) {
	select {
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return nil, nil, nil, fault.Wrap(ctx.Err(), fault.Cancelled, "another definition is being applied, and the caller gave up")
	}
	list := make([]following, len(all))
	for i, r := range all {
		if list[i], err = s.judge(ctx, r); err != nil {
			return nil, nil, nil, err
		}
	}
	if st := s.State.View(); !st.HomeDown {
		if err := s.renewable(ctx, list, st); err != nil {
			return nil, nil, nil, err
		}
	}
	down := false // then nothing is started
	err = s.State.Put(ctx, func(st *store.State) error {
		down = st.HomeDown
		for _, f := range list {
			for _, ch := range f.changes {
				if ch.What == "removed" {
					st.Delete(ch.Key)
					continue
				}
				st.Edit(ch.Key, func(a *store.AppState) { intent.Declare(a, f.byKey[ch.Key], f.rev, ch.Enabled) })
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range list {
		k, g, r := s.pursue(ctx, f, down)
		kept, gone, renew = append(kept, k...), append(gone, g...), append(renew, r...)
	}
	s.link()
	s.kick()
	return kept, gone, renew, nil
}

// judge says whether a definition may be followed, and what that would change.
func (s *Supervisor) judge(ctx context.Context, r Revised) (following, error) {
	f := following{def: r.Def, rev: r.Rev, byKey: map[string]*config.App{}}
	stack := f.def.Project + "/" + f.def.Stack
	s.mu.RLock()
	newest, ending := s.projectDir[stack].rev, s.halting
	s.mu.RUnlock()
	if ending {
		return f, errEnding()
	}
	if newest > f.rev && s.same(ctx, f.def, newest) {
		f.rev = newest // what overtook it says the same
	}
	if newest > f.rev {
		return f, fault.New(fault.Conflict, "revision %d of %s was overtaken by revision %d", f.rev, stack, newest).WithReason("superseded").WithHint("%s", fault.Do("apps.list"))
	}
	if err := s.Claim(f.def); err != nil {
		return f, err
	}
	f.changes, f.former = s.Compare(f.def), s.former(f.def)
	for i := range f.def.Apps {
		f.byKey[f.def.Apps[i].Key] = &f.def.Apps[i]
	}
	return f, nil
}

// pursue has the runners follow a definition that the state has. The caller holds mu.
func (s *Supervisor) pursue(ctx context.Context, f following, down bool) (kept, gone, renew []op.Target) {
	s.projectDir[f.def.Project+"/"+f.def.Stack] = project{dir: f.def.Dir, rev: f.rev, strategy: f.def.Supervision.Strategy}
	for _, name := range f.former {
		delete(s.projectDir, name)
	}
	for _, ch := range f.changes {
		r, app := s.apps[ch.Key], f.byKey[ch.Key]
		switch {
		case ch.What == "removed" && r == nil: // an earlier one has just been done with
			continue
		case ch.What == "removed":
			gone = append(gone, target.Of(r.View(), "", 0))
			r.Remove()
			continue
		}
		kept = append(kept, op.Target{Key: ch.Key})
		if r == nil || !r.Follow(app, f.rev, ch.What == "changed") { // the second: it has just gone
			s.admit(ctx, app, f.rev)
			continue
		}
		r.Declare(app)
		if ch.Anew+ch.Starts+ch.Stops > 0 && !down {
			renew = append(renew, target.Of(r.View(), "", 0))
		}
	}
	return kept, gone, renew
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
