package tools

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// preview answers a dry run with the plan; the handler is not called.
func (r *Registry) preview(ctx context.Context, c *call) (context.Context, error) {
	if !c.controls.DryRun {
		return ctx, nil
	}
	plan, err := c.plan(ctx)
	if err != nil {
		return ctx, err
	}
	if plan == nil {
		return ctx, fault.New(fault.Invalid, "%s cannot say beforehand what it would change", c.ID()).WithReason("no_plan")
	}
	c.decision = Previewed
	c.finish(op.Outcome{Status: op.Done, Plan: plan})
	return ctx, nil
}

// plan gives what the call would change, or nil for a method that has no plan.
func (c *call) plan(ctx context.Context) (p *op.Plan, err error) {
	if c.handler.Plan == nil {
		return nil, nil
	}
	defer rescue(&err)
	if p, err = c.handler.Plan(ctx, c.in); err != nil {
		return nil, err
	}
	if p == nil {
		p = &op.Plan{}
	}
	made := op.Plan{Items: p.Items, Digest: p.Digest} // what the handler shares stays as it is
	if made.Items == nil {
		made.Items = []op.Item{}
	}
	if made.Digest == "" {
		made.Digest = fingerprint(&made, c.targets)
	}
	return &made, nil
}
