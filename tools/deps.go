package tools

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Deps are what the pipeline needs of the daemon. Gate, Sessions and Secrets may be nil; Now is time.Now when nil; zero Limits
// are DefaultLimits.
type Deps struct {
	Log       *slog.Logger
	Ledger    Ledger
	Policy    Policy
	Tokens    Tokens
	Approvals Approvals
	Resolver  Resolver
	Keys      Keys
	Gate      Gate
	Sessions  *session.Sessions
	Secrets   *redact.Live // what no answer and no record shows
	Limits    Limits
	Now       func() time.Time
}

func (d *Deps) complete() error {
	if d.Log == nil || d.Ledger == nil || d.Policy == nil || d.Tokens == nil || d.Approvals == nil || d.Resolver == nil || d.Keys == nil {
		return errors.New("a registry needs a log, a ledger, a policy, tokens, approvals, a resolver and keys")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Limits == (Limits{}) {
		d.Limits = DefaultLimits()
	}
	return nil
}

// Ledger is the record of calls; *ledger.Ledger is one.
type Ledger interface {
	// Begin records a call before its effect; it is durable when Begin returns, together with what the functions did in its
	// transaction. The numbers grow in the order of the records.
	Begin(ctx context.Context, e ledger.Entry, with ...func(*sql.Tx) error) (int64, error)
	// Settle closes a record that Begin opened; it never waits.
	Settle(seq int64, r ledger.Result)
	// Read records a call that is over and had no effect, in batches; it never waits.
	Read(e ledger.Entry)
	// Refuse counts a call of somebody who has not signed in; it never waits.
	Refuse(s ledger.Stranger)
}

// The decisions that are on record beside those of the policy.
const (
	Confirmed = "confirmed" // allowed by a confirm token
	Approved  = "approved"  // allowed by a person
	Refused   = "refused"   // by a stage before the policy
	Repeated  = "repeated"  // answered from memory: the idempotency key was known
	Previewed = "dry_run"
)

// Policy says what a principal may do at once; *policy.Engine is one.
type Policy interface {
	Decide(policy.Request) policy.Decision
	// Spend takes a call that a decision lets through off the budgets of its rules; one that is used up makes it a hold.
	Spend(ctx context.Context, d policy.Decision) (policy.Decision, error)
}

// Tokens mints and redeems confirm tokens, each good once; *policy.Tokens is one.
type Tokens interface {
	Mint(b policy.Binding) (token string, expires time.Time)
	// Check has the faults of Redeem and uses nothing up.
	Check(ctx context.Context, token string, b policy.Binding) error
	// Redeem fails with a fault: unknown, expired or used tokens, and those of another binding.
	Redeem(ctx context.Context, token string, b policy.Binding) error
}

// Approvals holds calls until a person has decided; *approval.Approvals is one.
type Approvals interface {
	// Present asks for a decision or uses one up: in within the transaction of the call's record, answer after it.
	Present(b policy.Binding, call string) (in func(*sql.Tx) error, answer func() approval.Answer, err error)
}

// Resolver turns what an input names into targets with their generations. Faults: not_found, invalid (ambiguous), each
// with candidates.
type Resolver interface {
	Resolve(ctx context.Context, names []op.Selector, project op.ProjectRef, stack op.StackRef) ([]op.Target, error)
}

// Keys remembers the answers to calls with an idempotency key; *store.Keys is one.
type Keys interface {
	// Take takes a call on, unless it was made before: then found is true and answer is what it was told. Faults: conflict.
	Take(ctx context.Context, c store.Claim) (answer json.RawMessage, found bool, err error)
	// Finish keeps the answer of a call that was taken on.
	Finish(ctx context.Context, c store.Claim, answer json.RawMessage) error
	// Release forgets a call that was taken on and had no effect.
	Release(ctx context.Context, c store.Claim) error
}

// Gate is asked before a changing call of whoever is no person: it may be paused.
type Gate interface {
	Admit(caller op.Caller, spec op.Spec) error
}
