package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
)

// Resample measures at once when something runs that was not measured yet: a list right after a start then tells the
// truth, and an idle daemon measures no more often.
func (s *Supervisor) Resample(to *sample.Sampler) {
	for _, v := range s.Apps() {
		for _, i := range v.Instances {
			if _, ok := to.Latest(naming.Instance(v.Key, i.Process, i.Number)); !ok && i.PID != 0 {
				s.Sample(to)
				return
			}
		}
	}
}

// Sample measures everything that runs, once for all readers.
func (s *Supervisor) Sample(to *sample.Sampler) {
	var targets []sample.Target
	for _, p := range s.Keeper.Processes() {
		key, process, n, _, _, ok := naming.Parse(p.ID())
		if !ok {
			continue
		}
		id := p.Identity()
		targets = append(targets, sample.Target{Key: naming.Instance(key, process, n), PID: id.PID, Start: id.Start, Cgroup: p.Cgroup()})
	}
	to.Tick(s.Now(), targets)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, r := range s.apps {
		r.Weigh(func(process string, n int) (int64, time.Time) {
			u, _ := to.Latest(naming.Instance(key, process, n))
			return u.RSS, u.At
		})
	}
}

// Trees gives the living processes of an app's instances by slot.
func (s *Supervisor) Trees(ctx context.Context, key string) map[string][]int {
	out := map[string][]int{}
	for _, p := range s.Keeper.Processes() {
		k, process, n, _, _, ok := naming.Parse(p.ID())
		if !ok || k != key {
			continue
		}
		if pids, err := p.Tree(ctx); err == nil && len(pids) > 0 {
			slot := fmt.Sprintf("%s:%s#%d", naming.App(key), process, n)
			out[slot] = append(out[slot], pids...)
		}
	}
	return out
}
