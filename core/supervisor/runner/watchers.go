package runner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// readyStep is how often readiness is asked for at first; the pause doubles up to readyPause. One question may take
// readyAsk.
const (
	readyStep  = 20 * time.Millisecond
	readyPause = time.Second
	readyAsk   = 5 * time.Second
)

// steadyAfter is how long a one-shot has to run before a start of it has succeeded, as for a program without readiness.
const steadyAfter = time.Second

// watchReady waits until the program is ready, as its definition says, and tells the runner.
func (g *generation) watchReady(r *Runner, u *unit) {
	if g.app.Oneshot { // it is what it does: there is nothing to wait for
		r.send(u, evReady, ended{})
		r.c.Go(func() {
			if pause(r.c.ctx, steadyAfter) == nil {
				r.mail.Post(func() { g.steady = true })
			}
		})
		return
	}
	ctx, cancel := context.WithCancel(r.c.ctx)
	g.stop = cancel
	ready := *g.readiness()
	if g.deadline.IsZero() {
		g.deadline = time.Now().Add(ready.Timeout)
	}
	until := g.deadline
	r.c.Go(func() {
		err := g.ready(ctx, r, u, ready, until)
		r.mail.Post(func() {
			if ctx.Err() != nil || u.gen != g || u.phase != starting {
				return
			}
			if err == nil {
				r.send(u, evReady, ended{})
				return
			}
			switch {
			case !errors.Is(err, context.DeadlineExceeded):
				u.reason = fmt.Sprintf("cannot see whether it is ready: %v", err)
			case g.healthNote != "":
				u.reason = fmt.Sprintf("was not ready within %s: %s", g.allowed(), g.healthNote)
			default:
				u.reason = "was not ready within " + g.allowed()
			}
			r.send(u, evUnready, ended{})
		})
	})
}

// ready returns when the program is ready, or with an error when the time is up.
func (g *generation) ready(ctx context.Context, r *Runner, u *unit, ready config.Ready, until time.Time) error {
	if ready.Kind == "alive" || ready.Kind == "delay" {
		return pause(ctx, ready.Delay)
	}
	if ready.Kind == "notify" { // noticed sends the event; only the time-out is ours, and the program may move it
		ctx, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, ready.Timeout)
	defer cancel()
	switch {
	case ready.Kind == "log" && g.from != nil:
		return r.c.Lines.Await(ctx, g.from, ready.Log)
	case ready.Kind == "log": // adopted: what it printed before counts too
		return r.c.Lines.AwaitSince(ctx, naming.Instance(r.Key, u.process, u.number), ready.Log, g.at)
	}
	return g.poll(ctx, r, ready.Probe, u)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// poll asks a probe until it says yes or the time is up. There is one probe in flight.
func (g *generation) poll(ctx context.Context, r *Runner, p config.Probe, u *unit) error {
	for wait := readyStep; ; wait = min(2*wait, readyPause) {
		t, stop := context.WithTimeout(ctx, readyAsk)
		res := r.c.Check(t, g.target(r.c, p, u))
		stop()
		if res.Healthy {
			return nil
		}
		r.mail.Post(func() {
			if g.healthNote != res.Message {
				g.healthNote = res.Message
				r.publish()
			}
		})
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// target fills a probe with what only this generation knows: its ports, its user, its environment.
func (g *generation) target(c *Common, p config.Probe, u *unit) probe.Target {
	t := probe.Target{HTTP: p.HTTP, TCP: p.TCP, Exec: p.Exec}
	port := p.Port
	if port == "" && len(g.def.Ports) == 1 {
		port = g.def.Ports[0].Name
	}
	t.Port = g.ports[port]
	if n, ok := g.ports[p.TCP]; ok {
		t.TCP = fmt.Sprintf("127.0.0.1:%d", n)
	}
	if len(p.Exec) > 0 {
		t.Run = c.execProbe(g, u.process, u.number)
	}
	return t
}

// watchHealth asks the health probe again and again. One probe is in flight; the runner judges the results.
func (g *generation) watchHealth(r *Runner, u *unit) {
	g.quiet()
	g.steady = g.steady || !g.app.Oneshot
	h := g.live.Health
	if h == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.c.ctx)
	g.stop = cancel
	r.c.Go(func() {
		state := probe.State{}
		rules := probe.Rules{Interval: h.Interval, Timeout: h.Timeout, Retries: h.Retries, StartPeriod: h.StartPeriod}
		began := time.Now()
		for pause(ctx, h.Interval) == nil {
			t, stop := context.WithTimeout(ctx, h.Timeout)
			res := r.c.Check(t, g.target(r.c, h.Probe, u))
			stop()
			if ctx.Err() != nil {
				return
			}
			next, change := probe.Step(state, rules, res, time.Since(began))
			state = next
			r.mail.Post(func() {
				if ctx.Err() == nil {
					r.judged(u, g, res, string(next.Health), change)
				}
			})
		}
	})
}

// judged takes the result of a health probe.
func (r *Runner) judged(u *unit, g *generation, res probe.Result, health string, changed bool) {
	if u.gen != g || u.phase != running {
		return
	}
	g.health, g.healthNote = health, res.Message
	if !changed {
		return
	}
	r.c.Bus.Publish(bus.Event{At: r.c.Now(), Topic: "health", Type: health, Key: r.Key, Slot: u.name(r.app.Name), Text: res.Message})
	if health == "unhealthy" {
		u.reason = "unhealthy: " + res.Message
		r.send(u, evUnhealthy, ended{})
	}
}

// execProbe gives the function that runs a command beside an instance.
func (c *Common) execProbe(g *generation, process string, n int) func(ctx context.Context, argv []string) (int, []byte, error) {
	return func(ctx context.Context, argv []string) (int, []byte, error) {
		who, program, err := c.beside(g, process, n)
		if err != nil {
			return 0, nil, err
		}
		return errand.Errands{Keeper: c.Keeper, Dir: c.RunDir, Log: c.Log}.Run(ctx, program, who, argv)
	}
}

// beside is whose, and with what environment, something runs beside a generation.
func (c *Common) beside(g *generation, process string, n int) (account.Account, launch.Program, error) {
	who, err := account.Of(g.def)
	if err != nil {
		return who, launch.Program{}, err
	}
	program := g.program(process, n)
	if program.Secrets == nil { // adopted: another value may be in force by now, but that is all that is known
		program.Secrets, err = launch.Values(c.Secret, g.app.Key, g.def)
	}
	return who, program, err
}

// Question is one instance that is asked how it is, by its health probe, else by the probe of its readiness.
type Question struct {
	view.Probed
	probe config.Probe
	limit time.Duration
	ready bool // it has no health probe: that of its readiness is asked, which says nothing of its health
	c     *Common
	g     *generation
	u     *unit
}

// Questions gives the instances that a target means, with what they are to be asked; nothing when ctx ends first.
func (r *Runner) Questions(ctx context.Context, t op.Target) []*Question {
	got := make(chan []*Question, 1)
	posted := r.mail.Post(func() {
		var list []*Question
		for _, u := range r.units {
			if !target.Means(t, u.process, u.number) {
				continue
			}
			q := &Question{Probed: view.Probed{Slot: u.name(r.app.Name), Key: r.Key, State: u.state(), Health: "unknown"}, c: r.c, g: u.gen, u: u, limit: readyAsk}
			d := u.def
			if u.gen != nil {
				d = u.gen.live
			}
			if q.probe, q.ready = d.Ready.Probe, d.Health == nil; !q.ready {
				q.probe, q.limit = d.Health.Probe, d.Health.Timeout
			}
			q.Probe = q.probe.Kind()
			list = append(list, q)
		}
		got <- list
	})
	if !posted {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case list := <-got:
		return list
	}
}

// Open reports whether there is something to ask, and somebody.
func (q *Question) Open() bool { return q.Probe != "" && q.g != nil }

// Ask asks, and puts the answer into Probed.
func (q *Question) Ask(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, q.limit)
	defer cancel()
	began := q.c.Now()
	res := q.c.Check(within, q.g.target(q.c, q.probe, q.u))
	q.Note, q.TookMS = res.Message, q.c.Now().Sub(began).Milliseconds()
	switch {
	case q.ready && res.Healthy:
		q.Note = "ready; " + q.Note
	case q.ready:
		q.Note = "not ready; " + q.Note
	case res.Healthy:
		q.Health = "healthy"
	default:
		q.Health = "unhealthy"
	}
}
