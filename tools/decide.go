package tools

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// judge asks the policy: go on, ask for a confirmation, hold for a person, or deny. What goes through is taken off the
// budget of the rule that lets it; what its token does not let through is not.
func (r *Registry) judge(ctx context.Context, c *call) (context.Context, error) {
	c.verdict = r.Policy.Decide(policy.Request{Caller: c.caller, Spec: c.Spec, Targets: c.targets})
	through := c.verdict.Verdict == policy.Allow || c.verdict.Verdict == policy.Confirm && c.controls.Confirm != ""
	if !through || c.controls.DryRun {
		return ctx, nil
	}
	if c.verdict.Verdict == policy.Confirm && len(c.verdict.Budgets) > 0 {
		b, err := c.binding()
		if err == nil {
			err = r.Tokens.Check(ctx, c.controls.Confirm, b)
		}
		if err != nil {
			return ctx, err
		}
	}
	var err error
	c.verdict, err = r.Policy.Spend(ctx, c.verdict)
	return ctx, err
}

// decide acts on the verdict. A preview has no effect and can only be denied.
func (r *Registry) decide(ctx context.Context, c *call) (context.Context, error) {
	c.decision = string(c.verdict.Verdict)
	switch c.verdict.Verdict {
	case policy.Allow:
		return ctx, nil
	case policy.Confirm:
		if c.controls.DryRun {
			return ctx, nil
		}
		return ctx, r.confirm(ctx, c)
	case policy.Hold:
		if c.controls.DryRun {
			return ctx, nil
		}
		return ctx, r.hold(c)
	}
	c.decision = string(policy.Deny)
	return ctx, fault.New(fault.Denied, "not allowed: %s", c.verdict.Why).WithReason("policy")
}

// binding is what a token or an approval is good for: this call by this principal, in the world as it is.
func (c *call) binding() (policy.Binding, error) {
	digest, err := policy.Digest(c.in)
	return policy.Binding{Caller: c.caller, Method: c.ID(), Input: c.in, Digest: digest, Targets: c.targets, Plan: c.proposal, Args: c.entry.Args,
		Rule: c.verdict.Rule, Why: c.verdict.Why}, err
}

// confirm lets the call through if it carries the token of an identical one, and else answers with plan and token.
func (r *Registry) confirm(ctx context.Context, c *call) error {
	b, err := c.binding()
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

// present prepares the question to a person, with the plan that he decides on.
func (r *Registry) present(ctx context.Context, c *call) (in func(*sql.Tx) error, answer func() approval.Answer, err error) {
	if c.proposal, err = c.plan(ctx); err != nil {
		return nil, nil, err
	}
	b, err := c.binding()
	if err != nil {
		return nil, nil, err
	}
	return r.Approvals.Present(b, c.id)
}

// hold lets the call through if a person has agreed to it, and else says that one has to. A change answers with an
// envelope; a read has none, so its answer is a fault.
func (r *Registry) hold(c *call) error {
	a := c.decided()
	if a.Through {
		c.decision = Approved
		return nil
	}
	if c.held = true; a.Refused != nil {
		return a.Refused
	}
	if !c.Controlled() {
		return fault.New(fault.Held, "waits for a person: %s", c.verdict.Why).WithReason("awaiting_approval").WithApproval(a.Ref).
			WithHint("a person decides with: omnitron approve %s\nwait until it is decided: %s\nthen make the identical call again", a.Ref.ID, fault.Do("approvals.wait", "id", a.Ref.ID))
	}
	c.finish(op.Outcome{Status: op.Waiting, Plan: c.proposal, Approval: &a.Ref, Next: r.wait(a.Ref)})
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
