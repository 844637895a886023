package tools

import (
	"context"
	"encoding/json"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/store/records"
)

// repeat gives a call with a known idempotency key the answer that the first one got.
func (r *Registry) repeat(ctx context.Context, c *call) (context.Context, error) {
	if c.controls.IdempotencyKey == "" || c.controls.DryRun {
		return ctx, nil
	}
	if c.caller.Channel == "" { // answers are remembered for somebody, and not for strangers together
		return ctx, fault.New(fault.Invalid, "idempotency_key is for callers who have signed in").WithReason("no_principal").WithHint("leave it out")
	}
	digest, err := policy.Digest(c.in)
	if err != nil {
		return ctx, err
	}
	c.claim = records.Claim{Principal: c.caller.Principal(), Method: c.ID(), Key: c.controls.IdempotencyKey, Digest: digest}
	answer, found, err := r.Keys.Take(ctx, c.claim)
	if err != nil {
		return ctx, err
	}
	if c.claimed = !found; c.claimed {
		return ctx, nil
	}
	if c.Method.out.Secret() {
		return ctx, fault.New(fault.Conflict, "the call of %s with this idempotency_key was made before, and its answer, which holds a secret, is shown once and not kept", c.ID()).
			WithReason("shown_once").WithHint("call again with a new key if the answer was lost")
	}
	var was remembered
	if err := json.Unmarshal(answer, &was); err != nil {
		return ctx, err
	}
	if was.Outcome.Result = nil; was.Result != nil {
		was.Outcome.Result = was.Result
	}
	c.decision = Repeated
	c.finish(was.Outcome)
	return ctx, nil
}

// kept is what is remembered of an answer: that it was given, when it holds a secret.
func (c *call) kept(o op.Outcome) op.Outcome {
	if c.Method.out.Secret() {
		return op.Outcome{Status: o.Status}
	}
	return o
}

// remembered is an op.Outcome whose result stays as it was written.
type remembered struct {
	op.Outcome
	Result json.RawMessage `json:"result,omitempty"`
}

// remember keeps the answer of a call that had its effect, and frees the key of one that had none. The caller need not be
// there any more.
func (r *Registry) remember(ctx context.Context, c *call, failed error) {
	if !c.claimed {
		return
	}
	ctx = context.WithoutCancel(ctx)
	out, ok := c.answer.(op.Outcome)
	var err error
	if failed != nil || !ok || out.Status != op.Done && out.Status != op.Running {
		err = r.Keys.Release(ctx, c.claim)
	} else if answer, bad := json.Marshal(c.kept(out)); bad != nil {
		err = bad
	} else {
		err = r.Keys.Finish(ctx, c.claim, answer)
	}
	if err != nil {
		r.Log.Error("cannot remember the answer to an idempotency key", "call", c.id, "method", c.ID(), "err", err)
	}
}
