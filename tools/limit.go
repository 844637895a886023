package tools

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// vital methods use the reserve: what tells whether the daemon lives must answer when nothing else does.
func (m *Method) vital() bool { return m.Role == op.Public || m.ID() == "daemon.status" }

// limit bounds size, rate, number and time of calls.
func (r *Registry) limit(ctx context.Context, c *call) (context.Context, error) {
	if most := r.Limits.Input; most > 0 && len(c.raw) > most {
		return ctx, fault.New(fault.Limited, "the input has %d bytes, the most is %d", len(c.raw), most).WithReason("too_large")
	}
	if err := r.limiter.Enter(c.caller, c.Method.vital(), c.Effect.Changes()); err != nil {
		return ctx, err
	}
	c.admitted, c.counted = true, c.caller
	d := c.Timeout
	if d == 0 && !c.Stream {
		d = r.Limits.Deadline
	}
	if d > 0 {
		ctx, c.cancel = context.WithTimeout(ctx, d)
	}
	return ctx, nil
}

// leave gives back what limit took.
func (r *Registry) leave(c *call) {
	if c.cancel != nil {
		c.cancel()
	}
	if c.admitted {
		r.limiter.Exit(c.counted)
	}
}

// Ration sets how many calls a second, and of those changing ones, whoever is no person may make.
func (r *Registry) Ration(calls, changing float64) { r.limiter.Ration(calls, changing) }
