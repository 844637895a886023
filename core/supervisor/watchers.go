package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
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
func (g *generation) watchReady(r *runner, u *unit) {
	if g.app.Oneshot { // it is what it does: there is nothing to wait for
		r.send(u, evReady, ended{})
		r.s.calls.Go(func() {
			if pause(r.s.ctx, steadyAfter) == nil {
				r.mail.post(func() { g.steady = true })
			}
		})
		return
	}
	ctx, cancel := context.WithCancel(r.s.ctx)
	g.stop = cancel
	ready := *g.readiness()
	r.s.calls.Go(func() {
		err := g.ready(ctx, r, u, ready)
		r.mail.post(func() {
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
				u.reason = fmt.Sprintf("was not ready within %s: %s", ready.Timeout, g.healthNote)
			default:
				u.reason = fmt.Sprintf("was not ready within %s", ready.Timeout)
			}
			r.send(u, evUnready, ended{})
		})
	})
}

// ready returns when the program is ready, or with an error when the time is up.
func (g *generation) ready(ctx context.Context, r *runner, u *unit, ready config.Ready) error {
	if ready.Kind == "alive" || ready.Kind == "delay" {
		return pause(ctx, ready.Delay)
	}
	ctx, cancel := context.WithTimeout(ctx, ready.Timeout)
	defer cancel()
	switch {
	case ready.Kind == "notify": // noticed sends the event; only the time-out is ours
		<-ctx.Done()
		return ctx.Err()
	case ready.Kind == "log" && g.from != nil:
		return r.s.Lines.Await(ctx, g.from, ready.Log)
	case ready.Kind == "log": // adopted: what it printed before counts too
		return r.s.Lines.AwaitSince(ctx, naming.Instance(r.key, u.process, u.number), ready.Log, g.at)
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
func (g *generation) poll(ctx context.Context, r *runner, p config.Probe, u *unit) error {
	for wait := readyStep; ; wait = min(2*wait, readyPause) {
		t, stop := context.WithTimeout(ctx, readyAsk)
		res := r.s.Check(t, g.target(r.s, p, u))
		stop()
		if res.Healthy {
			return nil
		}
		r.mail.post(func() {
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
func (g *generation) target(s *Supervisor, p config.Probe, u *unit) probe.Target {
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
		t.Run = s.execProbe(g, u.process, u.number)
	}
	return t
}

// watchHealth asks the health probe again and again. One probe is in flight; the runner judges the results.
func (g *generation) watchHealth(r *runner, u *unit) {
	g.quiet()
	g.steady = g.steady || !g.app.Oneshot
	h := g.live.Health
	if h == nil {
		return
	}
	ctx, cancel := context.WithCancel(r.s.ctx)
	g.stop = cancel
	r.s.calls.Go(func() {
		state := probe.State{}
		rules := probe.Rules{Interval: h.Interval, Timeout: h.Timeout, Retries: h.Retries, StartPeriod: h.StartPeriod}
		began := time.Now()
		for pause(ctx, h.Interval) == nil {
			t, stop := context.WithTimeout(ctx, h.Timeout)
			res := r.s.Check(t, g.target(r.s, h.Probe, u))
			stop()
			if ctx.Err() != nil {
				return
			}
			next, change := probe.Step(state, rules, res, time.Since(began))
			state = next
			r.mail.post(func() {
				if ctx.Err() == nil {
					r.judged(u, g, res, string(next.Health), change)
				}
			})
		}
	})
}

// judged takes the result of a health probe.
func (r *runner) judged(u *unit, g *generation, res probe.Result, health string, changed bool) {
	if u.gen != g || u.phase != running {
		return
	}
	g.health, g.healthNote = health, res.Message
	if !changed {
		return
	}
	r.s.Bus.Publish(bus.Event{At: r.s.Now(), Topic: "health", Type: health, Key: r.key, Slot: u.name(r.app.Name), Text: res.Message})
	if health == "unhealthy" {
		u.reason = "unhealthy: " + res.Message
		r.send(u, evUnhealthy, ended{})
	}
}
