// Package supervisor keeps programs running: one goroutine an app owns its state, a pure machine decides each step, and
// the keeper process does what only a parent can do. Start with machine.go; runner.go carries its decisions out.
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
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
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
	Hide   func(text string) string                          // takes secrets out of what others say before it is kept
	Secret func(project, stack, name string) (string, error) // the value that an app means by a name, without waiting for anything
	Lost   bool                                              // the state could not be read: what lives is adopted as desired
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
	Tail(ctx context.Context, slot string, since, until time.Time, n int) []string // the last lines that a slot printed; a zero time is no bound
	Keep(app *config.App)                                                          // as much output as its definition says
	Ends(s journal.Stream) map[journal.Stream]int64                                // where both streams of an instance go on
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
	ports    ports.Pool
	applying chan struct{}   // holds one: definitions are switched one after the other
	calls    sync.WaitGroup  // goroutines of runners, generations and commands
	ctx      context.Context // of Run; kept because commands and generations outlive the calls that began them

	mu         sync.RWMutex
	apps       map[string]*runner
	dependents map[string][]*runner
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
	return &Supervisor{Deps: d, applying: make(chan struct{}, 1), ctx: context.Background(),
		apps: map[string]*runner{}, dependents: map[string][]*runner{}, projectDir: map[string]project{}, unread: map[string]string{}}
}

// Run adopts what runs, starts what should, and serves until ctx ends. It then lets go of the programs: they live on
// with the keeper. Halt, called before, stops them.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	s.boot(ctx)
	ready()
	<-ctx.Done()
	s.calls.Wait()
	return nil
}

// ending reports whether everything is being stopped because the daemon ends.
func (s *Supervisor) ending() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.halting
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

func (s *Supervisor) runner(key string) *runner {
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
	for _, name := range []string{nameOf(key), stackOf(key) + "/" + nameOf(key)} {
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
		if p := projectOf(r.key); !slices.Contains(out, p) {
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
			return projectOf(key), true
		}
	}
	return "", false
}

// add makes a runner for an app; launch starts it. The caller holds mu.
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

// drop forgets a runner whose app was removed, unless another one has taken its place.
func (s *Supervisor) drop(r *runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.apps[r.key] == r {
		delete(s.apps, r.key)
		s.link()
	}
}

// link brings the reverse edges of the dependencies up to date. The caller holds mu.
func (s *Supervisor) link() {
	s.dependents = map[string][]*runner{}
	for _, r := range s.apps {
		for _, d := range r.declared.Load().DependsOn {
			key := siblingKey(r.key, d.Name)
			s.dependents[key] = append(s.dependents[key], r)
		}
	}
}

// changed tells the apps that depend on key to look again.
func (s *Supervisor) changed(key string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.dependents[key] {
		r.mail.post(r.noop)
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
			if !seen[r.key] {
				seen[r.key] = true
				r.mail.post(r.noop)
				list = append(list, r.key)
			}
		}
	}
}

func projectOf(key string) string { p, _, _ := strings.Cut(key, "/"); return p }

func stackOf(key string) string {
	_, rest, _ := strings.Cut(key, "/")
	s, _, _ := strings.Cut(rest, "/")
	return s
}

func nameOf(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// inStack is the stack that an app belongs to, project/stack.
func inStack(key string) string { return projectOf(key) + "/" + stackOf(key) }

// siblingKey is the key of another app of the same stack.
func siblingKey(key, name string) string { return inStack(key) + "/" + name }
