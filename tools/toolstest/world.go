package toolstest

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/tools"
)

// World is everything around a registry of toys, for tests to look at and to break.
type World struct {
	*Box
	Ledger   *Ledger
	Policy   *Policy
	Tokens   *Tokens
	Held     *Approvals
	Sessions *session.Sessions
	Registry *tools.Registry
}

// New gives a registry of toys. The changes are made to its Deps first.
func New(t testing.TB, changes ...func(*tools.Deps)) *World {
	t.Helper()
	w := &World{Box: NewBox(), Ledger: &Ledger{}, Policy: &Policy{}, Tokens: &Tokens{minted: map[string]tools.Binding{}}, Held: &Approvals{}, Sessions: session.New(time.Now)}
	d := tools.Deps{
		Log: slog.New(slog.DiscardHandler), Ledger: w.Ledger, Policy: w.Policy, Tokens: w.Tokens, Approvals: w.Held,
		Resolver: w.Box, Gate: w.Sessions, Sessions: w.Sessions,
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

// Record is one record of a Ledger.
type Record struct {
	ID int64 // 0 for a call that was recorded behind
	tools.Entry
	tools.Result
	Open bool
}

// Ledger keeps records in memory.
type Ledger struct {
	mu      sync.Mutex
	records []Record
	last    int64
	Err     error // what Begin fails with
}

// Begin implements tools.Ledger.
func (l *Ledger) Begin(ctx context.Context, e tools.Entry) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if l.Err != nil {
		return 0, l.Err
	}
	l.last++
	l.records = append(l.records, Record{ID: l.last, Entry: e, Open: true})
	return l.last, nil
}

// Settle implements tools.Ledger.
func (l *Ledger) Settle(ctx context.Context, id int64, r tools.Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range l.records {
		if l.records[i].ID == id {
			l.records[i].Result, l.records[i].Open = r, false
			return nil
		}
	}
	return fault.New(fault.NotFound, "no record %d", id)
}

// Read implements tools.Ledger. Only the last thousand are kept.
func (l *Ledger) Read(e tools.Entry, r tools.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) >= 1000 {
		l.records = l.records[:0]
	}
	l.records = append(l.records, Record{Entry: e, Result: r})
}

// Records gives what is on record.
func (l *Ledger) Records() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Record(nil), l.records...)
}

// Policy allows persons everything and treats agents as the product's defaults do, by effect alone. Rulings go first.
type Policy struct {
	Rulings map[string]tools.Ruling // by method id
}

// Decide implements tools.Policy.
func (p *Policy) Decide(q tools.Question) tools.Ruling {
	if r, ok := p.Rulings[q.Spec.ID()]; ok {
		return r
	}
	if q.Caller.Channel == op.Person {
		return tools.Ruling{Verdict: tools.Allow}
	}
	switch q.Spec.Effect {
	case op.Interrupts:
		return tools.Ruling{Verdict: tools.Confirm, Why: "it interrupts"}
	case op.Destroys:
		return tools.Ruling{Verdict: tools.Hold, Why: "it destroys"}
	}
	return tools.Ruling{Verdict: tools.Allow}
}

// Tokens mints tokens that are good once.
type Tokens struct {
	mu     sync.Mutex
	minted map[string]tools.Binding
}

// Mint implements tools.Tokens.
func (t *Tokens) Mint(b tools.Binding) (string, time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := "tok-" + strconv.Itoa(len(t.minted)+1)
	t.minted[token] = b
	return token, time.Now().Add(5 * time.Minute), nil
}

// Redeem implements tools.Tokens.
func (t *Tokens) Redeem(_ context.Context, token string, b tools.Binding) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	was, ok := t.minted[token]
	a, _ := json.Marshal(was)
	now, _ := json.Marshal(b)
	if !ok || string(a) != string(now) {
		return fault.New(fault.Conflict, "the token is not good for this call").WithReason("confirm_stale")
	}
	t.minted[token] = tools.Binding{}
	return nil
}

// Approvals holds calls for ever.
type Approvals struct {
	mu    sync.Mutex
	Asked []tools.Binding
}

// Hold implements tools.Approvals.
func (a *Approvals) Hold(_ context.Context, _ op.Caller, b tools.Binding, _ json.RawMessage, _ *op.Plan) (op.ApprovalRef, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Asked = append(a.Asked, b)
	return op.ApprovalRef{ID: "ap-" + strconv.Itoa(len(a.Asked)), ExpiresAt: time.Now().Add(30 * time.Minute)}, nil
}
