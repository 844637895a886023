package supervisor

import (
	"context"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Stack is a stack of a project whose definition is followed.
type Stack struct {
	Project, Name string
	Dir           string // folder of the file
	Revision      int64
	Apps          []*view.App // by key
}

// Stacks gives the stacks that are followed and lie within the scope of the caller, by project and name.
func (s *Supervisor) Stacks(ctx context.Context) []Stack {
	byKey := map[string]*Stack{}
	s.mu.RLock()
	for key, p := range s.projectDir {
		byKey[key] = &Stack{Project: naming.Project(key), Name: naming.Stack(key), Dir: p.dir, Revision: p.rev}
	}
	s.mu.RUnlock()
	for _, v := range s.Apps() {
		key := naming.InStack(v.Key)
		if byKey[key] == nil { // it is being taken away, or nobody can read its definition
			byKey[key] = &Stack{Project: v.Project, Name: v.Stack}
		}
		byKey[key].Apps = append(byKey[key].Apps, v)
	}
	scope := op.CallerOf(ctx).Scope
	var out []Stack
	for _, st := range byKey {
		if scope.Covers(st.Project, st.Name) {
			out = append(out, *st)
		}
	}
	slices.SortFunc(out, func(a, b Stack) int { return strings.Compare(a.Project+"/"+a.Name, b.Project+"/"+b.Name) })
	return out
}

// Forget stops every app of a stack, dependents first, and knows it no more. It is durable before anything is done, and goes on when
// the caller does not wait. Faults: as of Stop.
func (s *Supervisor) Forget(ctx context.Context, project, stack string, c Command) ([]view.Result, error) {
	ctx, cancel := c.within(ctx)
	defer cancel()
	gone, err := s.dismiss(ctx, project+"/"+stack)
	if err != nil {
		return nil, err
	}
	stops := s.waiters(runner.Stop, gone, nil, c)
	s.common.Go(func() { s.byLevel(stops) })
	return s.collect(ctx, runner.Stop, stops, c.Wait)
}

// dismiss takes a stack out of what is known. It gives the apps that have to go.
func (s *Supervisor) dismiss(ctx context.Context, stack string) (gone []op.Target, err error) {
	select {
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return nil, fault.Wrap(ctx.Err(), fault.Cancelled, "another definition is being applied, and the caller gave up")
	}
	if s.ending() {
		return nil, errEnding()
	}
	err = s.State.Put(ctx, func(st *store.State) error {
		for _, key := range slices.Clone(st.Keys()) {
			if naming.InStack(key) == stack {
				st.Delete(key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.projectDir, stack)
	for key := range s.unread {
		if naming.InStack(key) == stack {
			delete(s.unread, key)
		}
	}
	for key, r := range s.apps {
		if naming.InStack(key) == stack {
			gone = append(gone, target.Of(r.View(), "", 0))
			r.Remove()
		}
	}
	slices.SortFunc(gone, func(a, b op.Target) int { return strings.Compare(a.Key, b.Key) })
	return gone, nil
}
