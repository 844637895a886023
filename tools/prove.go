package tools

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// prove finds out who a caller is who signs in with this very call. It comes after the policy, so that whoever may not
// sign in guesses nothing, and before the record, so that only who is known has one.
func (r *Registry) prove(ctx context.Context, c *call) (context.Context, error) {
	if c.handler.Prove == nil || c.verdict.Verdict == policy.Deny || c.controls.DryRun {
		return ctx, nil
	}
	who, err := c.proof(ctx)
	if err != nil {
		return ctx, err
	}
	if c.caller.Channel == "" {
		c.caller.UID = -1
	}
	c.caller.User, c.caller.Channel = who.User, who.Channel
	return op.WithCaller(ctx, c.caller), nil
}

func (c *call) proof(ctx context.Context) (who op.Caller, err error) {
	defer rescue(&err)
	return c.handler.Prove(ctx, c.in)
}

// address is where a stranger came from.
func (c *call) address() string {
	if c.caller.From.IsValid() {
		return c.caller.From.Unmap().String()
	}
	return "unknown"
}
