package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/probe"
)

// readyStep is how often readiness is asked for at first; the pause doubles up to readyPause.
const (
	readyStep  = 20 * time.Millisecond
	readyPause = time.Second
)

// watchReady waits until the program is ready, as its definition says, and tells the runner.
func (g *generation) watchReady(r *runner, u *unit) {
	ready := g.def.Ready
	if r.app.Oneshot { // it is what it does: there is nothing to wait for
		r.send(u, evReady, ended{})
		return
	}
	ctx, cancel := context.WithCancel(r.s.ctx)
	g.stop = cancel
	limit := ready.Timeout
	r.s.calls.Go(func() {
		var err error
		switch ready.Kind {
		case "alive", "delay":
			err = pause(ctx, ready.Delay)
		case "notify": // noticed sends the event; only the time-out is ours
			<-expire(ctx, limit)
			err = errTimeout
		case "log":
			within, stop := context.WithTimeout(ctx, limit)
			if g.from != nil {
				err = r.s.Lines.Await(within, g.from, ready.Log)
			} else { // adopted: what it printed before counts too
				err = r.s.Lines.AwaitSince(within, fmt.Sprintf("%s:%s#%d", r.key, u.process, u.number), ready.Log, g.at)
			}
			stop()
		default:
			err = g.poll(ctx, r, ready.Probe, u, limit)
		}
		if ctx.Err() != nil {
			return
		}
		r.mail.post(func() {
			if u.gen != g || u.phase != starting {
				return
			}
			if err == nil {
				r.send(u, evReady, ended{})
				return
			}
			u.reason = fmt.Sprintf("was not ready within %s", limit)
			if g.healthNote != "" {
				u.reason += ": " + g.healthNote
			}
			r.send(u, evUnready, ended{})
		})
	})
}

// expire gives a channel that is closed when ctx ends or the time is up.
func expire(ctx context.Context, d time.Duration) <-chan struct{} {
	within, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(within, cancel)
	return within.Done()
}

func pause(ctx context.Context, d time.Duration) error {
	<-expire(ctx, d)
	return ctx.Err()
}

// poll asks a probe until it says yes or the time is up. There is one probe in flight.
func (g *generation) poll(ctx context.Context, r *runner, p config.Probe, u *unit, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	for wait := readyStep; ; wait = min(2*wait, readyPause) {
		t, stop := context.WithTimeout(ctx, 5*time.Second)
		res := r.s.Check(t, g.target(r.s, p, u))
		stop()
		if res.Healthy {
			return nil
		}
		r.mail.post(func() { g.healthNote = res.Message })
		if pause(ctx, wait) != nil {
			return context.Cause(ctx)
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
		t.TCP, t.Port = "", n
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
	h := g.def.Health
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
			r.mail.post(func() { r.judged(u, g, res, string(next.Health), change) })
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
