package toolstest

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/tools"
)

// World is everything around a registry of toys, for tests to look at and to break.
type World struct {
	*Box
	Ledger   *Ledger
	Policy   *Policy
	Tokens   *Tokens
	Held     *Approvals
	Keys     *Keys
	Sessions *session.Sessions
	Registry *tools.Registry
}

// New gives a registry of toys. The changes are made to its Deps first.
func New(t testing.TB, changes ...func(*tools.Deps)) *World {
	t.Helper()
	w := &World{Box: NewBox(), Ledger: &Ledger{}, Policy: &Policy{}, Tokens: &Tokens{minted: map[string]string{}}, Held: &Approvals{}, Keys: &Keys{calls: map[records.Claim]json.RawMessage{}}, Sessions: session.New(time.Now)}
	d := tools.Deps{
		Log: slog.New(slog.DiscardHandler), Ledger: w.Ledger, Policy: w.Policy, Tokens: w.Tokens, Approvals: w.Held,
		Resolver: w.Box, Keys: w.Keys, Gate: w.Sessions, Sessions: w.Sessions,
	}
	for _, change := range changes {
		change(&d)
	}
	r, err := tools.New(Toys.Bind(w.Box), d)
	if err != nil {
		t.Fatal(err)
	}
	w.Registry = r
	return w
}

// Owner is the person who owns the home, on the unix socket.
func Owner() op.Caller {
	return op.Caller{User: "alice", UID: 1000, Channel: op.Person, Session: "s-owner", Client: "test", Plane: "unix", Ceiling: op.Admin, Role: op.Admin}
}

// Agent is an agent of the owner's: it acts as operator within the owner's rights.
func Agent() op.Caller {
	return op.Caller{User: "alice", UID: 1000, Channel: op.Agent, Session: "s-agent", Client: "test", Plane: "stdio", Ceiling: op.Admin, Role: op.Operator}
}

// Do makes a call of who.
func (w *World) Do(ctx context.Context, who op.Caller, method, in string) (any, error) {
	return w.Registry.Do(op.WithCaller(ctx, who), tools.Call{Method: method, In: json.RawMessage(in)})
}

// Ledger keeps records in memory.
type Ledger struct {
	mu      sync.Mutex
	entries []ledger.Entry
	last    int64
	Err     error // what Begin fails with
}

// Begin implements tools.Ledger. There is no transaction: the functions get none.
func (l *Ledger) Begin(ctx context.Context, e ledger.Entry, with ...func(*sql.Tx) error) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.Err != nil {
		return 0, fault.Wrap(l.Err, fault.Internal, "the call was not made, because it cannot be recorded").WithReason(ledger.Unrecorded)
	}
	for _, fn := range with {
		if err := fn(nil); err != nil {
			return 0, err
		}
	}
	l.last++
	e.Seq, e.Open = l.last, true
	l.entries = append(l.entries, e)
	return l.last, nil
}

// Settle implements tools.Ledger.
func (l *Ledger) Settle(seq int64, r ledger.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.entries {
		if e := &l.entries[i]; e.Seq == seq {
			e.Decision, e.Code, e.Reason, e.Took, e.Open = r.Decision, r.Code, r.Reason, r.Took, false
		}
	}
}

// Read implements tools.Ledger. Only the last thousand are kept.
func (l *Ledger) Read(e ledger.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) >= 1000 {
		l.entries = l.entries[:0]
	}
	l.entries = append(l.entries, e)
}

// Refuse implements tools.Ledger.
func (l *Ledger) Refuse(s ledger.Stranger) {
	l.Read(ledger.Entry{User: s.Address, Plane: s.Plane, Method: "(connect)", Code: s.Code, Reason: s.Reason, Count: 1, Refused: true})
}

// Entries gives what is on record. Seq is 0 for a call that was recorded behind.
func (l *Ledger) Entries() []ledger.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]ledger.Entry(nil), l.entries...)
}

// Policy is the default policy of the product, but for the methods that have a verdict of their own.
type Policy struct {
	Verdicts map[string]policy.Verdict // by method id
	Spent    bool                      // the budgets are used up
	Budgets  []policy.Budget           // what each decision draws on
	Taken    atomic.Int64              // how many calls were taken off them
}

// Decide implements tools.Policy.
func (p *Policy) Decide(r policy.Request) policy.Decision {
	if v, ok := p.Verdicts[r.Spec.ID()]; ok {
		return policy.Decision{Verdict: v, Rule: "test", Why: "the test says so"}.Bound(r)
	}
	d := policy.Default().Decide(r)
	d.Budgets = p.Budgets
	return d
}

// Spend implements tools.Policy.
func (p *Policy) Spend(_ context.Context, d policy.Decision) (policy.Decision, error) {
	p.Taken.Add(1)
	if p.Spent {
		d = policy.Decision{Verdict: policy.Hold, Rule: "test", Why: "the budget is used up"}
	}
	return d, nil
}

// Tokens mints tokens that are good once.
type Tokens struct {
	mu     sync.Mutex
	minted map[string]string // what it is good for; "" when it was used
}

// Mint implements tools.Tokens.
func (t *Tokens) Mint(b policy.Binding) (string, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := "tok-" + strconv.Itoa(len(t.minted)+1)
	t.minted[token] = string(b.Identity()) + string(b.World())
	return token, time.Now().Add(policy.TokenLife)
}

// Check implements tools.Tokens.
func (t *Tokens) Check(_ context.Context, token string, b policy.Binding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.check(token, b)
}

// Redeem implements tools.Tokens.
func (t *Tokens) Redeem(_ context.Context, token string, b policy.Binding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(token, b); err != nil {
		return err
	}
	t.minted[token] = ""
	return nil
}

func (t *Tokens) check(token string, b policy.Binding) error {
	if t.minted[token] != string(b.Identity())+string(b.World()) {
		return fault.New(fault.Conflict, "the token is not good for this call").WithReason("confirm_stale")
	}
	return nil
}

// Approvals holds calls until a test has said yes or no.
type Approvals struct {
	Say   approval.Answer // what every call is told; zero: that it waits
	mu    sync.Mutex
	asked []policy.Binding
}

// Present implements tools.Approvals.
func (a *Approvals) Present(b policy.Binding, _ string) (func(*sql.Tx) error, func() approval.Answer, error) {
	in := func(*sql.Tx) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked = append(a.asked, b)
		return nil
	}
	return in, func() approval.Answer {
		a.mu.Lock()
		defer a.mu.Unlock()
		said := a.Say
		said.Ref = op.ApprovalRef{ID: "ap-" + strconv.Itoa(len(a.asked)), ExpiresAt: time.Now().Add(30 * time.Minute), Rule: b.Rule, Why: b.Why}
		return said
	}, nil
}

// Asked gives the calls that were held.
func (a *Approvals) Asked() []policy.Binding {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]policy.Binding(nil), a.asked...)
}

// Keys remembers answers until the test ends.
type Keys struct {
	mu    sync.Mutex
	calls map[records.Claim]json.RawMessage
}

// Take implements tools.Keys.
func (k *Keys) Take(_ context.Context, c records.Claim) (json.RawMessage, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for other, answer := range k.calls {
		switch digest := other.Digest; {
		case other.Principal != c.Principal || other.Method != c.Method || other.Key != c.Key:
		case digest != c.Digest:
			return nil, true, fault.New(fault.Conflict, "the key was used with another input").WithReason("key_reused")
		case answer == nil:
			return nil, true, fault.New(fault.Conflict, "the call is still running").WithReason("in_progress").WithRetryAfter(1)
		default:
			return answer, true, nil
		}
	}
	k.calls[c] = nil
	return nil, false, nil
}

// Finish implements tools.Keys.
func (k *Keys) Finish(_ context.Context, c records.Claim, answer json.RawMessage) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls[c] = answer
	return nil
}

// Release implements tools.Keys.
func (k *Keys) Release(_ context.Context, c records.Claim) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.calls, c)
	return nil
}
