package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// decide asks the policy: go on, ask for a confirmation, hold for a person, or deny. A preview has no effect and can
// only be denied.
func (r *Registry) decide(ctx context.Context, c *call) (context.Context, error) {
	if c.Role == op.Public && (c.caller.Channel == "" || !c.Effect.Changes()) {
		c.decision = string(policy.Allow) // and signing in comes before there is somebody to have a policy for
		return ctx, nil
	}
	d := r.Policy.Decide(policy.Request{Caller: c.caller, Spec: c.Spec, Targets: c.targets})
	if d.Verdict == policy.Allow && c.above || d.Verdict == policy.Confirm && (c.above || !c.Controlled()) {
		d.Verdict = policy.Hold // a stream has no envelope that could carry a token
	}
	c.decision = string(d.Verdict)
	switch d.Verdict {
	case policy.Allow:
		return ctx, nil
	case policy.Confirm, policy.Hold:
		if c.controls.DryRun {
			return ctx, nil
		}
		b, err := c.binding(d.Why)
		if err != nil {
			return ctx, err
		}
		if d.Verdict == policy.Confirm {
			return ctx, r.confirm(ctx, c, b)
		}
		return ctx, r.hold(ctx, c, b)
	}
	c.decision = string(policy.Deny)
	return ctx, fault.New(fault.Denied, "not allowed: %s", d.Why).WithReason("policy")
}

// binding is what a token or an approval is good for: this call by this principal, in the world as it is.
func (c *call) binding(why string) (policy.Binding, error) {
	digest, err := policy.Digest(c.in)
	return policy.Binding{Caller: c.caller, Method: c.ID(), Digest: digest, Targets: c.targets, Args: c.entry.Args, Why: why}, err
}

// confirm lets the call through if it carries the token of an identical one, and else answers with plan and token.
func (r *Registry) confirm(ctx context.Context, c *call, b policy.Binding) error {
	if c.controls.Confirm != "" {
		if err := r.Tokens.Redeem(ctx, c.controls.Confirm, b); err != nil {
			return err
		}
		c.decision = Confirmed
		return nil
	}
	plan, err := c.plan(ctx)
	if err != nil {
		return err
	}
	token, expires := r.Tokens.Mint(b)
	c.finish(op.Outcome{
		Status: op.Confirm, Plan: plan, Confirm: &op.ConfirmRef{Token: token, ExpiresAt: expires}, Next: c.again(token),
	})
	return nil
}

// hold asks a person. A change answers with an envelope; a read has none, so its answer is a fault.
func (r *Registry) hold(ctx context.Context, c *call, b policy.Binding) error {
	plan, err := c.plan(ctx)
	if err != nil {
		return err
	}
	ref, err := r.Approvals.Hold(ctx, b, plan)
	if err != nil {
		return err
	}
	if c.held = true; !c.Controlled() {
		return fault.New(fault.Held, "waits for a person: %s", b.Why).WithReason("awaiting_approval").WithApproval(ref)
	}
	c.finish(op.Outcome{Status: op.Waiting, Plan: plan, Approval: &ref, Next: r.wait(ref)})
	return nil
}

// again is the identical call with its token, where it is small and holds no secret.
func (c *call) again(token string) []op.Next {
	n := op.Next{Method: c.ID()}
	if len(c.in) <= 2<<10 && !c.Method.in.Secret() && json.Unmarshal(c.in, &n.Input) == nil {
		n.Input["confirm"] = token
	}
	return []op.Next{n}
}

// wait names the method that follows a held call, when there is one.
func (r *Registry) wait(ref op.ApprovalRef) []op.Next {
	if _, ok := r.Find("approvals.wait"); !ok {
		return nil
	}
	return []op.Next{{Method: "approvals.wait", Input: map[string]any{"id": ref.ID}}}
}

// fingerprint makes the digest of a plan: its items, and the targets with the generations that they had.
func fingerprint(p *op.Plan, targets []op.Target) string {
	h := sha256.New()
	for _, i := range p.Items {
		for _, s := range [...]string{i.Target, i.From, i.To} {
			h.Write(strconv.AppendQuote(nil, s)) // quoted, so that no two lists have one text
		}
	}
	for _, t := range targets {
		h.Write(strconv.AppendQuote(nil, t.Key))
		for _, s := range t.Slots {
			h.Write(strconv.AppendQuote(nil, s))
		}
		h.Write(strconv.AppendUint([]byte{'@'}, t.Generation, 10))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
