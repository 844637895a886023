package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// decide asks the policy: go on, ask for a confirmation, hold for a person, or deny. A preview has no effect and can
// only be denied.
func (r *Registry) decide(ctx context.Context, c *call) (context.Context, error) {
	ruling := r.Policy.Decide(Question{Caller: c.caller, Spec: c.Spec, Targets: c.targets})
	if c.above && ruling.Verdict != Deny {
		ruling.Verdict = Hold
	}
	if ruling.Verdict == Confirm && !c.Controlled() {
		ruling.Verdict = Hold // no envelope that could carry a token
	}
	switch {
	case ruling.Verdict == Deny:
		c.decision = Denied
		return ctx, fault.New(fault.Denied, "%s is not allowed here: %s", c.ID(), ruling.Why).WithReason("policy")
	case ruling.Verdict == Allow || c.controls.DryRun:
		c.decision = Allowed
		return ctx, nil
	case ruling.Verdict == Confirm:
		return ctx, r.confirm(ctx, c)
	default:
		return ctx, r.hold(ctx, c, ruling.Why)
	}
}

// confirm lets the call through if it carries the token of an identical one, and else answers with plan and token.
func (r *Registry) confirm(ctx context.Context, c *call) error {
	plan, b, err := r.bound(ctx, c)
	if err != nil {
		return err
	}
	if c.controls.Confirm != "" {
		if err := r.Tokens.Redeem(ctx, c.controls.Confirm, b); err != nil {
			return err
		}
		c.decision = Confirmed
		return nil
	}
	token, expires, err := r.Tokens.Mint(b)
	if err != nil {
		return err
	}
	c.finish(Asked, op.Outcome{
		Status: op.Confirm, Plan: plan, Confirm: &op.ConfirmRef{Token: token, ExpiresAt: expires}, Next: c.again(token),
	})
	return nil
}

// hold asks a person. A change answers with an envelope; a read has none, so its answer is a fault.
func (r *Registry) hold(ctx context.Context, c *call, why string) error {
	plan, b, err := r.bound(ctx, c)
	if err != nil {
		return err
	}
	ref, err := r.Approvals.Hold(ctx, c.caller, b, c.args(), plan)
	if err != nil {
		return err
	}
	c.decision = Held
	if !c.Controlled() {
		return fault.New(fault.Held, "%s waits for a person: %s", c.ID(), why).WithReason("awaiting_approval").WithApproval(ref)
	}
	c.finish(Held, op.Outcome{Status: op.Waiting, Plan: plan, Approval: &ref, Next: r.wait(ref)})
	return nil
}

// bound makes the plan, if the method has one, and what a token or an approval is bound to.
func (r *Registry) bound(ctx context.Context, c *call) (*op.Plan, Binding, error) {
	if err := c.bind(); err != nil {
		return nil, Binding{}, err
	}
	plan, err := c.plan(ctx)
	if err != nil {
		return nil, Binding{}, err
	}
	b := Binding{Principal: c.caller.Principal(), Session: c.caller.Session, Method: c.ID(), Args: c.digest, Targets: c.targets}
	if plan != nil {
		b.Plan = plan.Digest
	}
	return plan, b, nil
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
