// Package approval keeps the calls that wait for a person. Holding one does nothing else, and neither does a yes: it lets
// the identical call, made again by who asked, through once. What was decided is used up in the transaction that records
// the call, so that it is used at most once whatever dies in between.
package approval

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

const (
	// Patience is how long a call waits; silence is no. So long a no holds, too.
	Patience = 30 * time.Minute
	// Use is how long a yes is good.
	Use = 10 * time.Minute
	// MaxOpen is how many calls of one principal may wait at a time.
	MaxOpen = 50

	memory  = 7 * 24 * time.Hour // how long one is kept
	keyName = "approvals.key"
)

// The states of an approval.
const (
	Pending  = "pending"
	Approved = "approved" // and not used yet
	Denied   = "denied"
	Expired  = "expired" // nobody answered, or the yes was not used in time
	Used     = "used"
)

// Topic is that of the events: created, approved, denied, expired, used.
const Topic = "approvals"

// database is what approvals need of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Approval is a call that waits or has waited.
type Approval struct {
	ID        string          `json:"id" table:"1" jsonschema:"approval id"`
	Status    string          `json:"status" table:"2" enum:"pending,approved,denied,expired,used" jsonschema:"pending, approved (and not used yet), denied, expired (nobody answered, or it was not used in time) or used"`
	Who       string          `json:"who" table:"1" jsonschema:"user or account that called"`
	Kind      string          `json:"kind" table:"4" enum:"socket,account" jsonschema:"socket: a user of the daemon's own socket; account: an account that signed in, who may be called the same and is somebody else"`
	Channel   string          `json:"channel" table:"4" jsonschema:"person, agent, app or node"`
	Client    string          `json:"client,omitempty" table:"3" jsonschema:"what the client calls itself: foreign text"`
	Session   string          `json:"session,omitempty" jsonschema:"connection that the call came over"`
	Plane     string          `json:"plane,omitempty" jsonschema:"unix, stdio, tcp or http"`
	Method    string          `json:"method" table:"1" jsonschema:"method that was called"`
	Args      json.RawMessage `json:"args,omitempty" schema:"any" table:"3" jsonschema:"its input, with what is secret taken out"`
	Targets   []string        `json:"targets,omitempty" table:"2" jsonschema:"apps that it is about"`
	Plan      []op.Item       `json:"plan" table:"2" jsonschema:"what it would change; empty: nothing, or it cannot say"`
	Rule      string          `json:"rule" table:"4" jsonschema:"rule of the policy that held it"`
	Why       string          `json:"why" table:"3" jsonschema:"why it waits"`
	Created   time.Time       `json:"created" table:"2" unit:"time" jsonschema:"when it was first called"`
	Expires   time.Time       `json:"expires_at" table:"1" unit:"time" jsonschema:"when silence becomes no"`
	DecidedBy string          `json:"decided_by,omitempty" table:"4" jsonschema:"who decided"`
	DecidedAt time.Time       `json:"decided_at,omitzero" unit:"time" jsonschema:"when it was decided"`
	Note      string          `json:"note,omitempty" table:"4" jsonschema:"what the person said: foreign text"`
	UseBy     time.Time       `json:"use_by,omitzero" unit:"time" jsonschema:"until when the identical call goes through, once"`
	UsedAt    time.Time       `json:"used_at,omitzero" unit:"time" jsonschema:"when it went through"`
	Call      string          `json:"call,omitempty" jsonschema:"id of the call that went through"`
}

// Approvals is the repository of held calls. It is safe for concurrent use.
type Approvals struct {
	db      database
	bus     *bus.Bus
	now     func() time.Time
	keys    policy.Keys
	console atomic.Bool // only who signed in with a password may decide
}

// New gives the repository in db; keys, the vault, has the key that seals held calls, and is not asked before one is held;
// now is the clock.
func New(db database, keys policy.Keys, b *bus.Bus, now func() time.Time) *Approvals {
	return &Approvals{db: db, bus: b, now: now, keys: keys}
}

// Take takes up who may decide.
func (a *Approvals) Take(p setting.Policy) { a.console.Store(p.Approvers == setting.ApproversConsole) }

// Answer is what became of a call that the policy holds.
type Answer struct {
	Through bool           // a person has agreed, and that is used up now
	Refused *fault.Error   // a person said no
	Ref     op.ApprovalRef // else: the decision that is waited for
}

// Present brings a call that the policy holds before a person, or uses up what was decided. in is to be run in the
// transaction that records the call, and may run again if that is rolled back; answer, called after it is durable, says
// what became of it and tells the world. Faults: unavailable (vault_sealed, vault_damaged): without its key nobody can tell
// what was agreed to, so nothing goes through.
func (a *Approvals) Present(b policy.Binding, call string) (in func(*sql.Tx) error, answer func() Answer, err error) {
	key, err := a.keys.Key(keyName)
	if err != nil {
		return nil, nil, err
	}
	seal, err := b.Seal(key)
	if err != nil {
		return nil, nil, err
	}
	p := presentation{a: a, b: b, call: call, seal: seal}
	return p.in, p.answer, nil
}

type presentation struct {
	a    *Approvals
	b    policy.Binding
	call string
	seal string

	event string // what is news; "" for a call that waits already
	of    Approval
}

func (p *presentation) in(tx *sql.Tx) error {
	p.event, p.of = "", Approval{}
	now := p.a.now()
	last, err := one(tx, "WHERE seal = ? ORDER BY rowid DESC LIMIT 1", p.seal)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("cannot look for the approval of a call: %w", err)
	case err == nil && last.open(now):
		p.of = last
		if last.Status != Approved {
			return nil
		}
		p.event, p.of.Status, p.of.UsedAt, p.of.Call = Used, Used, now, p.call
		_, err = tx.Exec("UPDATE approvals SET status = ?, used = ?, call = ? WHERE id = ?", Used, now.UnixNano(), p.call, last.ID)
	default:
		p.event = "created"
		p.of, err = p.hold(tx, now)
	}
	return err
}

// open reports whether an approval still means something for the call that it was asked for.
func (a Approval) open(now time.Time) bool {
	switch a.Status {
	case Pending:
		return now.Before(a.Expires)
	case Approved:
		return now.Before(a.UseBy)
	case Denied:
		return now.Before(a.DecidedAt.Add(Patience))
	}
	return false
}

func (p *presentation) hold(tx *sql.Tx, now time.Time) (h Approval, err error) {
	var waiting int
	if err := tx.QueryRow("SELECT count(*) FROM approvals WHERE principal = ? AND status = ? AND expires > ?", p.b.Caller.Full(), Pending, now.UnixNano()).Scan(&waiting); err != nil {
		return h, fmt.Errorf("cannot hold a call: %w", err)
	}
	if waiting >= MaxOpen {
		return h, fault.New(fault.Limited, "%d calls of this %s wait for a person, and no more are taken", waiting, p.b.Caller.Channel).
			WithReason("too_many_held").WithHint("wait until some are decided: %s", fault.Do("approvals.list"))
	}
	if _, err := tx.Exec("DELETE FROM approvals WHERE created <= ?", now.Add(-memory).UnixNano()); err != nil {
		return h, fmt.Errorf("cannot hold a call: %w", err)
	}
	c := p.b.Caller
	h = Approval{ID: newID(), Status: Pending, Who: c.User, Kind: c.Kind(), Channel: string(c.Channel), Client: c.Client, Session: c.Session, Plane: c.Plane, Method: p.b.Method, Args: p.b.Args,
		Targets: []string{}, Plan: []op.Item{}, Rule: p.b.Rule, Why: p.b.Why, Created: now.Round(0), Expires: now.Add(Patience).Round(0)}
	for _, t := range p.b.Targets {
		h.Targets = append(h.Targets, t.String())
	}
	if p.b.Plan != nil {
		h.Plan = append(h.Plan, p.b.Plan.Items...)
	}
	caller, err1 := json.Marshal(who{h.Who, h.Kind, h.Channel, h.Client, h.Session, h.Plane})
	targets, err2 := json.Marshal(h.Targets)
	plan, err3 := json.Marshal(h.Plan)
	if err := errors.Join(err1, err2, err3); err != nil {
		return h, fmt.Errorf("cannot hold a call: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO approvals (id, seal, principal, caller, method, args, targets, plan, rule, why, created, expires, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		h.ID, p.seal, c.Full(), string(caller), h.Method, string(h.Args), string(targets), string(plan), h.Rule, h.Why, h.Created.UnixNano(), h.Expires.UnixNano(), h.Status)
	if err != nil {
		return h, fmt.Errorf("cannot hold a call: %w", err)
	}
	return h, nil
}

func (p *presentation) answer() Answer {
	h := p.of
	if p.event != "" {
		p.a.tell(p.event, h)
	}
	switch h.Status {
	case Used:
		return Answer{Through: true}
	case Denied:
		return Answer{Refused: refusal(h)}
	}
	return Answer{Ref: op.ApprovalRef{ID: h.ID, ExpiresAt: h.Expires, Rule: h.Rule, Why: h.Why}}
}

// refusal is the fault of a call that a person said no to.
func refusal(h Approval) *fault.Error {
	text := h.DecidedBy + " said no to it"
	if h.Note != "" {
		text += ": " + h.Note
	}
	return fault.New(fault.Held, "%s", text).WithReason("denied_by_person").
		WithHint("do not try again; ask the person, or do something else. The same call is refused until %s", h.DecidedAt.Add(Patience).UTC().Format(time.RFC3339)).
		WithApproval(op.ApprovalRef{ID: h.ID, ExpiresAt: h.Expires, Rule: h.Rule, Why: h.Why})
}

// tell publishes what happened. It never waits for anybody.
func (a *Approvals) tell(what string, h Approval) {
	asker := h.Who + "/" + h.Channel
	text := map[string]string{
		"created": asker + " asks for " + h.Method,
		Approved:  h.DecidedBy + " approved " + h.Method + " of " + asker,
		Denied:    h.DecidedBy + " denied " + h.Method + " to " + asker,
		Expired:   h.Method + " of " + asker + " was not decided, or not used, in time",
		Used:      h.Method + " of " + asker + " went through, as " + h.DecidedBy + " approved",
	}[what]
	data := map[string]any{"id": h.ID, "method": h.Method, "by": asker, "kind": h.Kind, "targets": h.Targets, "rule": h.Rule, "expires_at": h.Expires}
	if h.DecidedBy != "" {
		data["decided_by"] = h.DecidedBy
	}
	if h.Call != "" {
		data["call"] = h.Call
	}
	a.bus.Publish(bus.Event{Topic: Topic, Type: what, Text: text, Data: data})
}

// newID is short enough to be typed: 50 random bits, for who may not see an approval cannot tell it from one that is not
// there, and a person alone decides.
func newID() string { return "ap-" + strings.ToLower(rand.Text()[:10]) }
