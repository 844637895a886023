package tools

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
)

// Deps are what the pipeline needs of the daemon. Gate and Sessions may be nil; Now is time.Now when nil; zero Limits
// are DefaultLimits.
type Deps struct {
	Log       *slog.Logger
	Ledger    Ledger
	Policy    Policy
	Tokens    Tokens
	Approvals Approvals
	Resolver  Resolver
	Gate      Gate
	Sessions  *session.Sessions
	Limits    Limits
	Now       func() time.Time
}

func (d *Deps) complete() error {
	if d.Log == nil || d.Ledger == nil || d.Policy == nil || d.Tokens == nil || d.Approvals == nil || d.Resolver == nil {
		return errors.New("a registry needs a log, a ledger, a policy, tokens, approvals and a resolver")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Limits == (Limits{}) {
		d.Limits = DefaultLimits()
	}
	return nil
}

// Ledger is the record of calls.
type Ledger interface {
	// Begin records a changing call; it is durable when Begin returns. The numbers grow in the order of the records.
	Begin(ctx context.Context, e Entry) (int64, error)
	// Settle closes a record that Begin opened.
	Settle(ctx context.Context, id int64, r Result) error
	// Read records a call that had no effect, behind the call and in batches; it never waits.
	Read(e Entry, r Result)
}

// Entry is a call as it is recorded.
type Entry struct {
	At      time.Time
	Call    string
	Caller  op.Caller
	Method  string
	Effect  op.Effect
	Targets []string        // keys, app:process#n where only part of an app is meant
	Args    json.RawMessage // redacted, bounded; nil when the input was refused unread
}

// Result is how a call ended.
type Result struct {
	Decision Decision
	Code     string // fault code, or "" for success
	Reason   string
	Duration time.Duration
}

// Decision is what became of a call in the pipeline.
type Decision string

// The decisions.
const (
	Allowed   Decision = "allow"
	Confirmed Decision = "confirmed" // allowed by a confirm token
	Asked     Decision = "confirm"   // the token was handed out
	Held      Decision = "hold"
	Denied    Decision = "deny"
	Refused   Decision = "refused"  // by a stage before the policy
	Repeated  Decision = "repeated" // answered from memory: the idempotency key was known
	Previewed Decision = "dry_run"
)

// Policy says what a principal may do at once.
type Policy interface {
	Decide(Question) Ruling
}

// Question is what a policy decides on.
type Question struct {
	Caller  op.Caller
	Spec    op.Spec
	Targets []op.Target
}

// Ruling is the answer to a Question.
type Ruling struct {
	Verdict Verdict
	Why     string // for people, one clause
}

// Verdict is what happens to a call.
type Verdict uint8

// The verdicts; the zero value denies.
const (
	Deny Verdict = iota
	Allow
	Confirm
	Hold
)

// Binding is what a confirmation or an approval is good for: this call by this principal, in the world as it was.
type Binding struct {
	Principal string
	Session   string
	Method    string
	Args      [32]byte // digest of the canonical input, controls left out
	Targets   []op.Target
	Plan      string // digest of the plan that was shown
}

// Tokens mints and redeems confirm tokens, each good once.
type Tokens interface {
	Mint(Binding) (token string, expires time.Time, err error)
	// Redeem fails with a fault: unknown, expired or used tokens, and those of another binding.
	Redeem(ctx context.Context, token string, b Binding) error
}

// Approvals holds calls until a person has decided.
type Approvals interface {
	// Hold asks for a decision; a call that is already waiting gets the same reference.
	Hold(ctx context.Context, caller op.Caller, b Binding, args json.RawMessage, p *op.Plan) (op.ApprovalRef, error)
}

// Resolver turns what an input names into targets with their generations. Faults: not_found, invalid (ambiguous), each
// with candidates.
type Resolver interface {
	Resolve(ctx context.Context, names []op.Selector, project op.ProjectRef, stack op.StackRef) ([]op.Target, error)
}

// Gate is asked before a changing call of whoever is no person: it may be paused.
type Gate interface {
	Admit(caller op.Caller, spec op.Spec) error
}
