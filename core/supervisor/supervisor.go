// Package supervisor keeps programs running: one goroutine an app owns its state, a pure machine decides each step, and
// the keeper process does what only a parent can do. Start with machine.go; runner.go carries its decisions out.
package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Deps is what a supervisor works with.
type Deps struct {
	Log    *slog.Logger
	Keeper keeper
	State  memory
	Bus    *bus.Bus
	LogDir string // root of the apps' log files
	RunDir string // for the outputs of exec probes
	Lines  lines
	Loader loader
	Check  func(ctx context.Context, t probe.Target) probe.Result
	Now    func() time.Time
	Lost   bool // the state could not be read: what lives is adopted as desired
}

// keeper is the part of *proc.Keeper that starts programs.
type keeper interface {
	Spawn(ctx context.Context, s proc.Spec) (*proc.Process, error)
	Processes() []*proc.Process
}

// memory is the part of *store.StateFile in which intent lasts.
type memory interface {
	Put(ctx context.Context, change func(*store.State) error) error // durable when it returns
	Touch(change func(*store.State))
	View() store.State
}

// lines is what the supervisor needs of the apps' output.
type lines interface {
	Tail(ctx context.Context, slot string, since time.Time, n int) []string // the last lines that a slot printed
	Keep(app *config.App)                                                   // as much output as its definition says
	Ends(s journal.Stream) map[journal.Stream]int64                         // where both streams of an instance go on
	Await(ctx context.Context, from map[journal.Stream]int64, pattern string) error
	AwaitSince(ctx context.Context, slot, pattern string, since time.Time) error
}

// loader finds the definitions that revisions hold.
type loader interface {
	Definition(ctx context.Context, project, stack string, rev int64) (*config.Definition, error)
}

// Supervisor runs the apps of all projects.
type Supervisor struct {
	Deps
	ports ports
	calls sync.WaitGroup // goroutines of generations and runners
	quit  chan struct{}  // closed when the daemon lets go of everything
	ctx   context.Context

	mu         sync.RWMutex
	apps       map[string]*runner
	dependents map[string][]*runner
	projectDir map[string]project // by project/stack
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
	return &Supervisor{Deps: d, ports: ports{taken: map[int]bool{}}, quit: make(chan struct{}), apps: map[string]*runner{},
		dependents: map[string][]*runner{}, projectDir: map[string]project{}}
}

// Run adopts what runs, starts what should, and serves until ctx ends. It then lets go of the programs: they live on
// with the keeper. Halt, called before, stops them.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	if err := s.boot(ctx); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	close(s.quit)
	s.mu.RLock()
	for _, r := range s.apps {
		r.mail.post(r.letGo)
	}
	s.mu.RUnlock()
	s.calls.Wait()
	return nil
}

// ending reports whether everything is being stopped because the daemon ends.
func (s *Supervisor) ending() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.halting
}

// letGo ends the watchers of a runner, on its goroutine or on nobody's any more.
func (r *runner) letGo() {
	for _, u := range r.units {
		u.disarm()
		if u.gen != nil {
			u.gen.quiet()
		}
	}
}

// Apps gives the snapshots of all apps in the order of their keys.
func (s *Supervisor) Apps() []*App {
	s.mu.RLock()
	out := make([]*App, 0, len(s.apps))
	for _, r := range s.apps {
		if v := r.snapshot.Load(); v != nil {
			out = append(out, v)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *App) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// App gives the snapshot of one app, or nil.
func (s *Supervisor) App(key string) *App { return s.view(key) }

func (s *Supervisor) view(key string) *App {
	if r := s.runner(key); r != nil {
		return r.snapshot.Load()
	}
	return nil
}

// Definition gives what an app should run, or nil.
func (a *App) Definition() *config.App { return a.def }

func (s *Supervisor) runner(key string) *runner {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.apps[key]
}

// dependencies gives the keys that an app depends on.
func (s *Supervisor) dependencies(key string) []string {
	v := s.view(key)
	if v == nil {
		return nil
	}
	out := make([]string, len(v.def.DependsOn))
	for i, d := range v.def.DependsOn {
		out[i] = siblingKey(key, d.Name)
	}
	return out
}

// ProjectAt names the project whose file lies in a folder.
func (s *Supervisor) ProjectAt(dir string) (string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, p := range s.projectDir {
		if p.dir == dir {
			return projectOf(key), true
		}
	}
	return "", false
}

// add makes a runner for an app and starts its goroutine. The caller holds mu.
func (s *Supervisor) add(app *config.App, rev int64) *runner {
	r := newRunner(s, app, rev)
	s.apps[app.Key] = r
	return r
}

// launch starts a runner's goroutine once its slots are as they should be.
func (s *Supervisor) launch(r *runner) {
	r.part()
	r.snapshot.Store(r.build())
	s.calls.Go(func() { r.loop(s.ctx) })
}

// link brings the reverse edges of the dependencies up to date. The caller holds mu.
func (s *Supervisor) link() {
	s.dependents = map[string][]*runner{}
	for _, r := range s.apps {
		for _, d := range r.snapshot.Load().def.DependsOn {
			key := siblingKey(r.key, d.Name)
			s.dependents[key] = append(s.dependents[key], r)
		}
	}
}

// spread carries an app's failure to the others of its stack as the project's strategy says.
func (s *Supervisor) spread(failed *config.App) {
	stack := projectOf(failed.Key) + "/" + stackOf(failed.Key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	strategy := s.projectDir[stack].strategy
	if strategy != "one_for_all" && strategy != "rest_for_one" {
		return
	}
	for _, r := range s.apps {
		if r.key == failed.Key || projectOf(r.key)+"/"+stackOf(r.key) != stack {
			continue
		}
		if strategy == "rest_for_one" && !s.needs(r.snapshot.Load().def, failed.Key, 0) {
			continue
		}
		r.mail.post(func() {
			for _, u := range r.units {
				r.again(u)
			}
		})
	}
}

// needs reports whether app depends on key, directly or not. The caller holds mu.
func (s *Supervisor) needs(app *config.App, key string, depth int) bool {
	for _, d := range app.DependsOn {
		k := siblingKey(app.Key, d.Name)
		if k == key {
			return true
		}
		if r := s.apps[k]; r != nil && depth < 1000 && s.needs(r.snapshot.Load().def, key, depth+1) {
			return true
		}
	}
	return false
}
