package supervisor

import (
	"context"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// probesAtOnce is how many probes one call asks at a time.
const probesAtOnce = 16

// asked is one instance that is asked how it is.
type asked struct {
	view.Probed
	probe config.Probe
	limit time.Duration
	ready bool // it has no health probe: that of its readiness is asked, which says nothing of its health
	g     *generation
	u     *unit
}

// Probe asks the instances of targets how they are, now: by their health probe, else by the probe of their readiness,
// whose answer is a note only: their health is unknown, here as everywhere. It gives one entry an instance, in the order of the targets; when ctx ends first, those that were not asked are unknown.
func (s *Supervisor) Probe(ctx context.Context, targets []op.Target) []view.Probed {
	var list []asked
	for _, t := range targets {
		list = append(list, s.questions(ctx, t)...)
	}
	var all sync.WaitGroup
	room := make(chan struct{}, probesAtOnce)
	for i := range list {
		q := &list[i]
		if q.Probed.Probe = q.probe.Kind(); q.Probed.Probe == "" || q.g == nil {
			continue
		}
		all.Go(func() {
			select {
			case <-ctx.Done():
				return
			case room <- struct{}{}:
			}
			defer func() { <-room }()
			within, cancel := context.WithTimeout(ctx, q.limit)
			defer cancel()
			began := s.Now()
			res := s.Check(within, q.g.target(s, q.probe, q.u))
			q.Note, q.TookMS = res.Message, s.Now().Sub(began).Milliseconds()
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
		})
	}
	all.Wait()
	out := make([]view.Probed, len(list))
	for i := range list {
		out[i] = list[i].Probed
	}
	return out
}

// questions gives the instances that a target means, with what they are to be asked.
func (s *Supervisor) questions(ctx context.Context, t op.Target) []asked {
	r := s.runner(t.Key)
	if r == nil {
		return nil
	}
	got := make(chan []asked, 1)
	posted := r.mail.post(func() {
		var list []asked
		for _, u := range r.units {
			if !target.Means(t, u.process, u.number) {
				continue
			}
			q := asked{Probed: view.Probed{Slot: u.name(r.app.Name), Key: r.key, State: u.state(), Health: "unknown"}, g: u.gen, u: u, limit: readyAsk}
			d := u.def
			if u.gen != nil {
				d = u.gen.live
			}
			if q.probe, q.ready = d.Ready.Probe, d.Health == nil; !q.ready {
				q.probe, q.limit = d.Health.Probe, d.Health.Timeout
			}
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

// execProbe gives the function that runs a command beside an instance.
func (s *Supervisor) execProbe(g *generation, process string, n int) func(ctx context.Context, argv []string) (int, []byte, error) {
	return func(ctx context.Context, argv []string) (int, []byte, error) {
		who, err := account.Of(g.def)
		if err != nil {
			return 0, nil, err
		}
		program := g.program(process, n)
		if program.Secrets == nil { // adopted: another value may be in force by now, but that is all that is known
			if program.Secrets, err = launch.Values(s.Secret, g.app.Key, g.def); err != nil {
				return 0, nil, err
			}
		}
		return errand.Errands{Keeper: s.Keeper, Dir: s.RunDir, Log: s.Log}.Run(ctx, program, who, argv)
	}
}
