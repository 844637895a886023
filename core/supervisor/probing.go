package supervisor

import (
	"context"
	"sync"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// probesAtOnce is how many probes one call asks at a time.
const probesAtOnce = 16

// Probe asks the instances of targets how they are, now: by their health probe, else by the probe of their readiness,
// whose answer is a note only: their health is unknown, here as everywhere. It gives one entry an instance, in the order of the targets; when ctx ends first, those that were not asked are unknown.
func (s *Supervisor) Probe(ctx context.Context, targets []op.Target) []view.Probed {
	var list []*runner.Question
	for _, t := range targets {
		if r := s.runner(t.Key); r != nil {
			list = append(list, r.Questions(ctx, t)...)
		}
	}
	var all sync.WaitGroup
	room := make(chan struct{}, probesAtOnce)
	for _, q := range list {
		if !q.Open() {
			continue
		}
		all.Go(func() {
			select {
			case <-ctx.Done():
				return
			case room <- struct{}{}:
			}
			defer func() { <-room }()
			q.Ask(ctx)
		})
	}
	all.Wait()
	out := make([]view.Probed, len(list))
	for i := range list {
		out[i] = list[i].Probed
	}
	return out
}
