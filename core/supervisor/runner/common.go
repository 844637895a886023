// Package runner looks after one app: a goroutine owns its state, a pure machine decides each step, and the keeper process
// does what only a parent can do. Start with machine.go; runner.go carries its decisions out.
package runner

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
)

// Common is what the runners of a daemon share.
type Common struct {
	Log    *slog.Logger
	Keeper Keeper
	State  Memory
	Bus    *bus.Bus
	LogDir string // root of the apps' log files
	RunDir string // for the outputs of exec probes
	Lines  Lines
	Check  func(ctx context.Context, t probe.Target) probe.Result
	Now    func() time.Time
	Hide   func(text string) string // takes secrets out of what others say before it is kept
	Secret launch.Look
	Lost   bool // the state could not be read: what lives is adopted as desired
	Others Others
	Ports  ports.Pool

	calls sync.WaitGroup
	ctx   context.Context // kept because runners outlive the calls that began them
}

// Others is what a runner may know of the other apps, and what they have to be told. None of it waits for a runner.
type Others interface {
	needs.World
	Changed(key string)                 // those that depend on an app directly look again
	Stirred(key string)                 // so does everything above: who waits further up sees nothing of it in the apps between
	Failed(app *config.App)             // it is being started again because it failed, which may be the matter of its whole stack
	GaveUp(app *config.App, why string) // it is not started again by itself, which is the end of its stack if it is critical
	Gone(r *Runner)                     // nothing is left of an app that was removed
}

// Keeper is the part of *proc.Keeper that starts programs.
type Keeper interface {
	Spawn(ctx context.Context, s proc.Spec) (*proc.Process, error)
	Processes() []*proc.Process
}

// Memory is the part of *store.StateFile in which intent lasts.
type Memory interface {
	Put(ctx context.Context, change func(*store.State) error) error // durable when it returns
	Touch(change func(*store.State))
	View() store.State
}

// Lines is what runners need of the apps' output.
type Lines interface {
	Tail(ctx context.Context, slot string, since, until time.Time, n int) []string // the last lines that a slot printed; a zero time is no bound
	Keep(app *config.App)                                                          // as much output as its definition says
	Ends(s journal.Stream) map[journal.Stream]int64                                // where both streams of an instance go on
	Await(ctx context.Context, from map[journal.Stream]int64, pattern string) error
	AwaitSince(ctx context.Context, slot, pattern string, since time.Time) error
}

// Begin says how long everything may go on; it comes before anything else.
func (c *Common) Begin(ctx context.Context) { c.ctx = ctx }

// Go starts a goroutine that Wait waits for. It has to end when Over is closed.
func (c *Common) Go(fn func()) { c.calls.Go(fn) }

// Wait waits for everything that was started.
func (c *Common) Wait() { c.calls.Wait() }

// Context ends when the daemon lets go.
func (c *Common) Context() context.Context { return c.ctx }

// Over is closed when the daemon lets go.
func (c *Common) Over() <-chan struct{} { return c.ctx.Done() }
