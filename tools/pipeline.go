package tools

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/tools/clean"
)

// Call is one call of a method. The caller is in the context.
type Call struct {
	Method string          // id or former id
	In     json.RawMessage // JSON object; nothing is {}
	Emit   op.Emit         // takes the items of a stream; nil for a method that has one answer
}

// Ended is the answer of a stream, after its items.
type Ended struct {
	Count   int64 `json:"count"`   // items handed over
	Dropped int64 `json:"dropped"` // items that the reader was too slow for
}

// call is a call on its way through the stages.
type call struct {
	*Method
	method string
	caller op.Caller
	id     string
	start  time.Time
	raw    json.RawMessage // as it came
	emit   op.Emit

	admitted  bool      // counted as in flight
	counted   op.Caller // as whose
	cancel    context.CancelFunc
	in        json.RawMessage // as the handler gets it
	controls  Controls
	selectors []op.Selector
	project   op.ProjectRef
	stack     op.StackRef
	targets   []op.Target
	claim     records.Claim // with an idempotency key
	claimed   bool          // it is the first of its key
	record    int64
	entry     ledger.Entry
	verdict   policy.Decision        // what the policy says
	decided   func() approval.Answer // what a person says, once the question is on record
	proposal  *op.Plan               // what a held call would change
	decision  string                 // as it is recorded
	held      bool                   // a person has been asked
	session   *session.Session
	ended     Ended
	hide      func() *redact.Matcher // what no item of the stream shows; a stream may outlive many changes of that

	answered bool // answer is final: the stages after are skipped
	answer   any
}

// stages are what every call passes, unary or stream, in this order. An error ends the way, and so does an answer; settle
// follows in any case.
var stages = [...]func(*Registry, context.Context, *call) (context.Context, error){
	(*Registry).role,
	(*Registry).limit,
	(*Registry).validate,
	(*Registry).target,
	(*Registry).repeat,
	(*Registry).judge,
	(*Registry).prove,
	(*Registry).note,
	(*Registry).decide,
	(*Registry).preview,
	(*Registry).handle,
}

// Do makes a call. The answer is the method's Out, an op.Outcome for a method that changes something, or Ended for a
// stream. The error is a *fault.Error with the id of the call.
func (r *Registry) Do(ctx context.Context, in Call) (any, error) {
	c := &call{method: in.Method, raw: in.In, emit: in.Emit, caller: op.CallerOf(ctx), start: r.Now(), decision: Refused}
	c.caller.Client = r.Secrets.String(c.caller.Client) // foreign text, and it is kept with approvals and records
	c.id = callID(c.start)
	ctx, err := r.find(op.WithCall(ctx, c.id), c)
	if err != nil {
		return nil, r.fault(ctx, c, err)
	}
	c.session = r.Sessions.Of(c.caller.Session)
	c.session.Started(c.ID())
	for _, stage := range stages {
		if ctx, err = stage(r, ctx, c); err != nil || c.answered {
			break
		}
	}
	return r.settle(ctx, c, err)
}

// finish answers the call before its handler.
func (c *call) finish(answer any) { c.answer, c.answered = answer, true }

// changes reports whether the call is about to change something.
func (c *call) changes() bool { return c.Effect.Changes() && !c.controls.DryRun }

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// callID gives a ULID: 48 bits of milliseconds and 80 of chance, sortable as text.
func callID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:]) // never fails
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := 25; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// settle closes the call: its record, its place among those in flight, its session's counters. Whatever ended it becomes
// a fault with the call's id.
func (r *Registry) settle(ctx context.Context, c *call, err error) (any, error) {
	var f *fault.Error
	if err != nil {
		f, c.answer = r.fault(ctx, c, err), nil
	} else if m := r.secrets(c); m != nil {
		c.answer = clean.Answer(m, c.answer)
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
		clean.Fault(m, f)
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

// secrets gives what to take out of the call's answers, nil for nothing.
func (r *Registry) secrets(c *call) *redact.Matcher {
	if c.Method.out.Secret() || c.Redacts {
		return nil
	}
	return r.Secrets.Matcher()
}
