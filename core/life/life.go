// Package life starts the parts of a program in order, waits until each is ready, and stops them in reverse, each with
// a deadline; it names the ones that would not stop.
package life

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of a Component.
const (
	StartTimeout = 30 * time.Second
	StopTimeout  = 10 * time.Second
)

// Component is one part of a program.
type Component struct {
	Name string
	// Run does the work until ctx ends, and has stopped when it returns. Returning nil earlier means that the work is
	// done; an error, or a panic, stops the whole group.
	Run func(ctx context.Context) error
	// Ready, if set, is closed by the component once those after it may start; without it that is at once.
	Ready        <-chan struct{}
	StartTimeout time.Duration // for Ready; 0: 30 s
	StopTimeout  time.Duration // from the end of ctx to the return of Run; 0: 10 s
}

// State is how a component stands.
type State string

// The states of a component.
const (
	Pending  State = "pending"
	Starting State = "starting"
	Running  State = "running"
	Stopping State = "stopping"
	Stopped  State = "stopped"
	Failed   State = "failed"
	Stuck    State = "stuck" // did not stop in time
)

// Status is a component as a person sees it.
type Status struct {
	Name  string    `json:"name" table:"1" jsonschema:"name of the component"`
	State State     `json:"state" table:"2" jsonschema:"pending, starting, running, stopping, stopped, failed or stuck"`
	Since time.Time `json:"since,omitzero" table:"3" unit:"time" jsonschema:"since when"`
	Error string    `json:"error,omitempty" table:"4" jsonschema:"why it failed"`
}

// StuckError names the components that did not stop in time. Their goroutines still run.
type StuckError struct{ Names []string }

func (e *StuckError) Error() string { return "did not stop in time: " + strings.Join(e.Names, ", ") }

// Group is a list of components. It is used once: Add, then Run.
type Group struct {
	log   *slog.Logger
	parts []*part

	mu      sync.Mutex
	ended   chan *part // buffered for all parts
	running bool
}

type part struct {
	Component
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
	status Status
}

// New makes an empty group.
func New(log *slog.Logger) *Group { return &Group{log: log} }

// Add puts a component behind those that are there. After Run has begun it panics: the order is no matter of chance.
func (g *Group) Add(c Component) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running {
		panic("life: " + c.Name + " was added to a group that runs")
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = StartTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = StopTimeout
	}
	g.parts = append(g.parts, &part{Component: c, done: make(chan struct{}), status: Status{Name: c.Name, State: Pending}})
}

// Status lists the components in the order of their start.
func (g *Group) Status() []Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Status, len(g.parts))
	for i, p := range g.parts {
		all[i] = p.status
	}
	return all
}

// Run starts the components one after the other, calls up once the last one is ready (nil: nothing), and waits. When ctx
// ends or a component fails it stops those that were started, the last one first. It returns nil after a stop that was
// asked for, else the first failure, joined with a *StuckError if somebody would not stop.
func (g *Group) Run(ctx context.Context, up func()) error {
	g.mu.Lock()
	g.running, g.ended = true, make(chan *part, len(g.parts))
	g.mu.Unlock()
	started, err := g.start(ctx)
	if err == nil && ctx.Err() == nil {
		if up != nil {
			up()
		}
		err = g.wait(ctx)
	}
	return errors.Join(err, g.stop(started))
}

func (g *Group) start(ctx context.Context) (started []*part, err error) {
	for _, p := range g.parts {
		if ctx.Err() != nil {
			return started, nil
		}
		// Each component has a context of its own, which ends when its turn comes, not when ctx does.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		p.cancel = cancel
		g.set(p, Starting, nil)
		started = append(started, p)
		go g.run(own, p)
		if err := g.ready(ctx, p); err != nil {
			return started, err
		}
	}
	return started, nil
}

func (g *Group) run(ctx context.Context, p *part) {
	defer func() {
		if r := recover(); r != nil {
			p.err = fmt.Errorf("%s panicked: %v", p.Name, r)
			g.log.Error("a component panicked", "component", p.Name, "err", r, "stack", string(debug.Stack()))
		}
		if p.err != nil {
			g.set(p, Failed, p.err)
		} else {
			g.set(p, Stopped, nil)
		}
		close(p.done)
		g.ended <- p
	}()
	if err := p.Run(ctx); err != nil && !(ctx.Err() != nil && errors.Is(err, ctx.Err())) {
		p.err = fmt.Errorf("%s: %w", p.Name, err)
	}
}

// ready waits for p, and for failures of those before it.
func (g *Group) ready(ctx context.Context, p *part) error {
	if p.Ready == nil {
		g.settle(p)
		return nil
	}
	deadline := time.NewTimer(p.StartTimeout)
	defer deadline.Stop()
	for {
		select {
		case <-p.Ready:
			g.settle(p)
			return nil
		case q := <-g.ended:
			if q.err != nil {
				return q.err
			}
			if q == p {
				return nil // it was done before it could say so
			}
		case <-deadline.C:
			return fmt.Errorf("%s was not ready within %s", p.Name, p.StartTimeout)
		case <-ctx.Done():
			return nil
		}
	}
}

// settle marks p as running, unless it has ended already.
func (g *Group) settle(p *part) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.status.State == Starting {
		p.status.State, p.status.Since = Running, time.Now()
	}
}

func (g *Group) wait(ctx context.Context) error {
	for {
		select {
		case p := <-g.ended:
			if p.err != nil {
				return p.err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// stop ends the parts in reverse. Failures while stopping are reported too; those that started the stop were already.
func (g *Group) stop(started []*part) error {
	var stuck StuckError
	var errs []error
	for _, p := range slices.Backward(started) {
		before := p.ended()
		if !before {
			g.set(p, Stopping, nil)
		}
		p.cancel()
		deadline := time.NewTimer(p.StopTimeout)
		select {
		case <-p.done:
			if !before && p.err != nil {
				errs = append(errs, p.err)
			}
		case <-deadline.C:
			g.set(p, Stuck, nil)
			g.log.Error("a component did not stop in time", "component", p.Name, "timeout", p.StopTimeout)
			stuck.Names = append(stuck.Names, p.Name)
		}
		deadline.Stop()
	}
	if len(stuck.Names) > 0 {
		errs = append(errs, &stuck)
	}
	return errors.Join(errs...)
}

func (p *part) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (g *Group) set(p *part, s State, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.status.State, p.status.Since = s, time.Now()
	if err != nil {
		p.status.Error = err.Error()
	}
}
