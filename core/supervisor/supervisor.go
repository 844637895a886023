// Package supervisor keeps the programs of all projects running: it knows the apps and their definitions, makes durable what is
// wanted of them, and gives each command to the runners of the apps that it is about, in the order of their dependencies.
package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Deps is what a supervisor works with.
type Deps struct {
	Log    *slog.Logger
	Keeper runner.Keeper
	State  runner.Memory
	Bus    *bus.Bus
	LogDir string // root of the apps' log files
	RunDir string // for the outputs of exec probes
	Lines  runner.Lines
	Loader loader
	Check  func(ctx context.Context, t probe.Target) probe.Result
	Now    func() time.Time
	Hide   func(text string) string                          // takes secrets out of what others say before it is kept
	Secret func(project, stack, name string) (string, error) // the value that an app means by a name, without waiting for anything
	Lost   bool                                              // the state could not be read: what lives is adopted as desired
}

// loader finds the definitions that revisions hold.
type loader interface {
	Definition(ctx context.Context, project, stack string, rev int64) (*config.Definition, error)
}

// Supervisor runs the apps of all projects.
type Supervisor struct {
	Deps
	target.Resolver
	common   *runner.Common
	kicked   chan struct{} // holds one: the times of schedules are to be looked at
	applying chan struct{} // holds one: definitions are switched one after the other

	mu         sync.RWMutex
	apps       map[string]*runner.Runner
	dependents map[string][]*runner.Runner
	projectDir map[string]project // by project/stack
	unread     map[string]string  // apps whose definition cannot be read, and why; they are left as they are
	halting    bool
}

// project is what is known of a project's stack besides its apps.
type project struct {
	dir      string
	rev      int64
	strategy string
}

// New makes a supervisor; Run starts it.
func New(d Deps) *Supervisor {
	s := &Supervisor{Deps: d, kicked: make(chan struct{}, 1), applying: make(chan struct{}, 1),
		apps: map[string]*runner.Runner{}, dependents: map[string][]*runner.Runner{}, projectDir: map[string]project{}, unread: map[string]string{}}
	s.Resolver = target.Resolver{Known: s}
	s.common = &runner.Common{Log: d.Log, Keeper: d.Keeper, State: d.State, Bus: d.Bus, LogDir: d.LogDir, RunDir: d.RunDir, Lines: d.Lines,
		Check: d.Check, Now: d.Now, Hide: d.Hide, Secret: d.Secret, Lost: d.Lost, Others: others{s}}
	s.common.Begin(context.Background())
	return s
}

// Run adopts what runs, starts what should, and serves until ctx ends. It then lets go of the programs: they live on
// with the keeper. Halt, called before, stops them.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	s.mu.Lock()
	s.common.Begin(ctx)
	s.mu.Unlock()
	s.boot(ctx)
	s.common.Go(func() { s.calendar(ctx) })
	ready()
	<-ctx.Done()
	s.common.Wait()
	return nil
}

// ending reports whether everything is being stopped because the daemon ends.
func (s *Supervisor) ending() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.halting
}

// Apps gives the snapshots of all apps in the order of their keys.
func (s *Supervisor) Apps() []*view.App {
	s.mu.RLock()
	out := make([]*view.App, 0, len(s.apps))
	for _, r := range s.apps {
		if v := r.View(); v != nil {
			out = append(out, v)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *view.App) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// App gives the snapshot of one app, or nil.
func (s *Supervisor) App(key string) *view.App { return s.view(key) }

func (s *Supervisor) view(key string) *view.App {
	if r := s.runner(key); r != nil {
		return r.View()
	}
	return nil
}

func (s *Supervisor) runner(key string) *runner.Runner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.apps[key]
}

// Warnings says what is wrong with what should be supervised.
func (s *Supervisor) Warnings() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]string, 0, len(s.unread))
	for key, why := range s.unread {
		out = append(out, fmt.Sprintf("%s is not looked after until its file is applied again (omnitron up): %s", key, why))
	}
	slices.Sort(out)
	return out
}

// Called is the shortest name by which the caller can tell an app from all others: those that are not there for him do not count,
// or a longer name would say that they are.
func (s *Supervisor) Called(ctx context.Context, key string) string {
	scope := op.CallerOf(ctx).Scope
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, name := range []string{naming.App(key), naming.Stack(key) + "/" + naming.App(key)} {
		same := 0
		for other := range s.apps {
			if scope.CoversKey(other) && strings.HasSuffix("/"+other, "/"+name) {
				same++
			}
		}
		if same < 2 {
			return name
		}
	}
	return key
}

// Projects names the projects that have apps.
func (s *Supervisor) Projects() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []string
	for _, r := range s.apps {
		if p := naming.Project(r.Key); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// ProjectAt names the project whose file lies in a folder.
func (s *Supervisor) ProjectAt(dir string) (string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, p := range s.projectDir {
		if p.dir == dir {
			return naming.Project(key), true
		}
	}
	return "", false
}

// add makes a runner for an app; launch starts it. The caller holds mu.
func (s *Supervisor) add(app *config.App, rev int64) *runner.Runner {
	r := runner.New(s.common, app, rev)
	s.apps[app.Key] = r
	return r
}

// drop forgets a runner whose app was removed, unless another one has taken its place.
func (s *Supervisor) drop(r *runner.Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps[r.Key] == r {
		delete(s.apps, r.Key)
		s.link()
	}
}

// link brings the reverse edges of the dependencies up to date. The caller holds mu.
func (s *Supervisor) link() {
	s.dependents = map[string][]*runner.Runner{}
	for _, r := range s.apps {
		for _, d := range r.Declared().DependsOn {
			key := naming.Sibling(r.Key, d.Name)
			s.dependents[key] = append(s.dependents[key], r)
		}
	}
}

// changed tells the apps that depend on key to look again.
func (s *Supervisor) changed(key string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.dependents[key] {
		r.Wake()
	}
}

// stirred tells everything above key to look again: who waits further up, for the end of a chain, sees nothing of it in
// the apps between.
func (s *Supervisor) stirred(key string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := map[string]bool{key: true}
	for list := []string{key}; len(list) > 0; list = list[1:] {
		for _, r := range s.dependents[list[0]] {
			if !seen[r.Key] {
				seen[r.Key] = true
				r.Wake()
				list = append(list, r.Key)
			}
		}
	}
}

// others is what an app may know of the others.
type others struct{ s *Supervisor }

func (o others) View(key string) *view.App { return o.s.view(key) }

func (o others) Pending(key string) bool { return o.s.pending(key) }

func (o others) Withheld(key string, p *config.Process) (why, reason string) {
	return launch.Withheld(o.s.Secret, key, p)
}

func (o others) Changed(key string) { o.s.changed(key) }

func (o others) Stirred(key string) { o.s.stirred(key) }

func (o others) Failed(app *config.App) { o.s.spread(app) }

func (o others) GaveUp(app *config.App, why string) { o.s.collapse(app, why) }

func (o others) Gone(r *runner.Runner) { o.s.drop(r) }
