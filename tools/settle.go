package tools

import (
	"context"
	"errors"
	"log/slog"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
)

// settle closes the call: its record, its place among those in flight, its session's counters. Whatever ended it becomes
// a fault with the call's id.
func (r *Registry) settle(ctx context.Context, c *call, err error) (any, error) {
	var f *fault.Error
	if err != nil {
		f, c.answer = r.fault(ctx, c, err), nil
	} else if m := r.secrets(c); m != nil {
		c.answer = clean(m, c.answer)
	}
	r.remember(ctx, c, err)
	r.leave(c)
	res := ledger.Result{Decision: c.decision, Took: r.Now().Sub(c.start)}
	if f != nil {
		res.Code, res.Reason = string(f.Code), f.Reason
	}
	r.close(c, res)
	c.session.Ended(session.Call{Failed: f != nil && !c.held, Held: c.held, Changed: f == nil && c.changes() && !c.answered})
	if r.Log.Enabled(ctx, slog.LevelDebug) {
		r.Log.Debug("call", "call", c.id, "method", c.ID(), "caller", c.caller.Principal(), "decision", c.decision, "code", res.Code, "took", res.Took)
	}
	if f != nil {
		return nil, f
	}
	return c.answer, nil
}

// close ends the record that note began, or makes the one of a call that had no effect.
func (r *Registry) close(c *call, res ledger.Result) {
	if c.record != 0 {
		r.Ledger.Settle(c.record, res)
		return
	}
	if c.caller.Channel == "" && res.Code != "" { // nobody fills the record who is not let in
		r.Ledger.Refuse(ledger.Stranger{Plane: c.caller.Plane, Address: c.address(), Code: res.Code, Reason: res.Reason})
		return
	}
	e := c.entry
	if e.Call == "" { // refused before it was described
		e = c.describe(r.Secrets.Matcher())
	}
	e.Decision, e.Code, e.Reason, e.Took, e.Changes = res.Decision, res.Code, res.Reason, res.Took, false
	e.Refused = turnedAway(fault.Code(res.Code))
	r.Ledger.Read(e)
}

// turnedAway reports whether a call ended because of who made it, not of what it asked for.
func turnedAway(code fault.Code) bool {
	return code == fault.Denied || code == fault.Unauthenticated || code == fault.Limited || code == fault.Held
}

// fault gives err as the fault that the caller sees. An error that says nothing to a caller is logged here, and only
// its call id goes out.
func (r *Registry) fault(ctx context.Context, c *call, err error) *fault.Error {
	f := r.translated(ctx, c, err)
	f.Call = c.id
	if m := r.Secrets.Matcher(); m != nil {
		cleanFault(m, f)
	}
	if f.Code == fault.Internal {
		args := []any{"call", c.id, "method", c.method, "caller", c.caller.Principal(), "err", err}
		if cause := errors.Unwrap(f); cause != nil && cause != err {
			args = append(args, "cause", cause)
		}
		if p, ok := errors.AsType[*panicked](err); ok {
			args = append(args, "stack", string(p.stack))
		}
		r.Log.Error("a call failed inside the daemon", args...)
	}
	return f
}

func (r *Registry) translated(ctx context.Context, c *call, err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		own := *f // a service may hand out the same one twice
		return &own
	}
	if bad, ok := errors.AsType[*op.InputError](err); ok {
		return fault.Wrap(err, fault.Invalid, "%s", bad).WithReason("input")
	}
	gone := ctx.Err()
	switch {
	case gone == nil || !errors.Is(err, gone):
		return fault.From(err)
	case errors.Is(gone, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Deadline, "%s took too long; what it began may go on", c.method).WithReason("deadline")
	default:
		return fault.Wrap(err, fault.Cancelled, "the caller gave up")
	}
}
