package supervisor

import (
	"context"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Probed is what an instance's probe answered when it was asked.
type Probed struct {
	Slot   string `json:"slot" table:"1" jsonschema:"app:process#n"`
	Key    string `json:"key" table:"3" jsonschema:"project/stack/app"`
	State  State  `json:"state" table:"1" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"state of the instance"`
	Health string `json:"health" table:"1" enum:"healthy,unhealthy,unknown" jsonschema:"what the probe says; unknown without one"`
	Probe  string `json:"probe,omitempty" table:"2" jsonschema:"how it was asked: http, tcp or exec"`
	Note   string `json:"note,omitempty" table:"1" jsonschema:"what it answered: foreign text"`
	TookMS int64  `json:"took_ms" table:"2" unit:"ms" jsonschema:"how long the answer took, in milliseconds"`
}

// Probe asks the instances of a target how they are, now: by their health probe, else by the probe of their readiness.
func (s *Supervisor) Probe(ctx context.Context, t op.Target) []Probed {
	r := s.runner(t.Key)
	if r == nil {
		return nil
	}
	type job struct {
		p     Probed
		probe config.Probe
		g     *generation
		u     *unit
		limit time.Duration
	}
	jobs := make(chan []job, 1)
	r.mail.post(func() {
		var list []job
		for _, u := range r.units {
			if (t.Process != "" && u.process != t.Process) || (t.Instance != 0 && u.number != t.Instance) {
				continue
			}
			j := job{p: Probed{Slot: u.name(r.app.Name), Key: r.key, State: u.state(), Health: "unknown"}, g: u.gen, u: u, limit: 5 * time.Second}
			if d := u.def; d.Health != nil {
				j.probe, j.limit = d.Health.Probe, d.Health.Timeout
			} else {
				j.probe = d.Ready.Probe
			}
			list = append(list, j)
		}
		jobs <- list
	})
	var out []Probed
	select {
	case <-ctx.Done():
		return nil
	case list := <-jobs:
		for _, j := range list {
			j.p.Probe = j.probe.Kind()
			if j.p.Probe != "" && j.g != nil {
				within, cancel := context.WithTimeout(ctx, j.limit)
				began := s.Now()
				res := s.Check(within, j.g.target(s, j.probe, j.u))
				cancel()
				j.p.Health, j.p.Note, j.p.TookMS = "unhealthy", res.Message, s.Now().Sub(began).Milliseconds()
				if res.Healthy {
					j.p.Health = "healthy"
				}
			}
			out = append(out, j.p)
		}
	}
	return out
}
