package supervisor

import (
	"context"
	"fmt"
	"os"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// boot makes the world what the state says: the living are adopted, with the revision that they run; the dead are
// started again as their restart policy says; strangers are not touched, and neither is what runs of an app whose
// definition cannot be read. What was taken out of the definitions is stopped, dependents first. With the home marked down
// nothing is started.
func (s *Supervisor) boot(ctx context.Context) {
	stops := s.waiters(runner.Stop, s.takeIn(ctx), nil, Command{})
	s.common.Go(func() { s.byLevel(stops) })
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
			s.common.Discard(p)
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
	var started []*runner.Runner
	doomed := map[string]bool{}
	for a := range st.Apps() {
		ps := living[a.Key]
		delete(living, a.Key)
		if r := s.take(ctx, a, ps, read.app); r != nil {
			started = append(started, r)
		}
	}
	for key, ps := range living {
		if r := s.foundling(ctx, key, ps, read.app); r != nil {
			doomed[key] = !s.Lost
			started = append(started, r)
		}
	}
	s.State.Touch(func(st *store.State) { // commands of earlier daemons are all over, whatever their numbers
		for _, key := range st.Keys() {
			st.Edit(key, func(a *store.AppState) { a.Command, a.Numbers = 0, nil })
		}
	})
	s.reclaim()
	for _, r := range started {
		r.Launch()
	}
	s.link()
	for _, r := range started {
		if r.Resume(!st.HomeDown); doomed[r.Key] {
			gone = append(gone, op.Target{Key: r.Key})
		}
	}
	return gone
}

// take makes a runner of an app and gives it what lives of it, unless its definition cannot be read. The caller holds mu.
func (s *Supervisor) take(ctx context.Context, a store.AppState, ps []*proc.Process, read runner.Read) *runner.Runner {
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
	r.Recall(a)
	for _, p := range ps {
		r.Reattach(ctx, p, read)
	}
	r.Unmoved(a)
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

// leave has an app be as it is, because nobody knows what it should be. The caller holds mu.
func (s *Supervisor) leave(key string, err error) {
	s.unread[key] = err.Error()
	s.Log.Error("cannot read an app's definition; it is left as it is", "app", key, "err", err)
}

// foundling takes in an app that runs but that the state does not know. When the state was lost it is adopted as
// desired; otherwise it was removed, and the daemon before did not live to end it: it has to go, as the definition that it
// runs says. Where nobody knows that any more it is killed. The caller holds mu.
func (s *Supervisor) foundling(ctx context.Context, key string, ps []*proc.Process, read runner.Read) *runner.Runner {
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
			s.common.Discard(p)
		}
		return nil
	}
	r := s.add(app, newest)
	r.Doom()
	for _, p := range ps {
		r.Reattach(ctx, p, read)
	}
	return r
}
