package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
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
		name := naming.Instance(key, process, n)
		if s.beside(key, process, n, id.PID) {
			name = second(name, id.PID)
		}
		targets = append(targets, sample.Target{Key: name, PID: id.PID, Start: id.Start, Cgroup: p.Cgroup()})
	}
	to.Tick(s.Now(), targets)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for key, r := range s.apps {
		r.Weigh(func(process string, n, pid int) (int64, time.Time) {
			name := naming.Instance(key, process, n)
			for _, k := range []string{name, second(name, pid)} {
				if u, _ := to.Latest(k); u.PID == pid {
					return u.RSS, u.At
				}
			}
			return 0, time.Time{}
		})
	}
}

// beside reports whether a process runs beside the one that readers see of its slot, as in a reload.
func (s *Supervisor) beside(key, process string, n, pid int) bool {
	v := s.App(key)
	return v != nil && slices.ContainsFunc(v.Instances, func(i view.Instance) bool {
		return i.Process == process && i.Number == n && i.PID != 0 && i.PID != pid
	})
}

// second is the sampler's name of a process beside the one that has the slot's.
func second(name string, pid int) string { return name + "@" + strconv.Itoa(pid) }

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
