// Package tools is the one list of methods and the one way to call them. Every plane (command line, sockets, MCP, HTTP)
// hands its calls to Registry.Do, which finds, checks, records, decides, runs and settles them; a plane only renders.
package tools

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/schema"
)

// Method is a method as planes see it.
type Method struct {
	op.Spec
	InSchema    json.RawMessage // what callers send, the controls of a changing method included
	OutSchema   json.RawMessage // what they get: the outcome envelope of a changing method, one item of a stream
	ItemsSchema json.RawMessage // of a stream: op.List of its items, for planes that have to bound it; else nil
	Targets     bool            // the input names apps

	in, out *schema.Schema
	handler op.Method // nothing but its Spec in a description
}

// Controlled reports whether the input takes dry_run, confirm and idempotency_key, and the answer is an op.Outcome.
func (m *Method) Controlled() bool { return m.Effect.Changes() && !m.Stream }

// Problems gives everything that is wrong with an input; nil for one that would pass.
func (m *Method) Problems(in []byte) []fault.Problem {
	_, problems := m.in.Check(in)
	return problems
}

// Fits gives what of an answer, encoded, does not fit the method's OutSchema.
func (m *Method) Fits(answer []byte) []fault.Problem { return m.out.Fits(answer) }

// Controls are the fields that every changing method takes beside its own.
type Controls struct {
	DryRun         bool   `json:"dry_run,omitempty" jsonschema:"only show the plan, change nothing"`
	Confirm        string `json:"confirm,omitempty" max:"512" jsonschema:"token of an answer with status confirm"`
	IdempotencyKey string `json:"idempotency_key,omitempty" min:"1" max:"128" jsonschema:"the same key and input within 24 hours have one effect"`
}

var controls = func() *schema.Schema {
	s, err := schema.For(reflect.TypeFor[Controls]())
	if err != nil {
		panic(err) // the type stands above
	}
	return s
}()

// Describe makes the methods of specs, without handlers: for the command line, documentation and tests. It fails on
// a type that cannot be described and on a name that is there twice, in any spelling.
func Describe(specs []op.Spec) ([]*Method, error) {
	methods := make([]*Method, len(specs))
	var errs []error
	for i, s := range specs {
		m, err := describe(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.ID(), err))
		}
		methods[i] = m
	}
	_, _, err := index(methods)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	return methods, nil
}

func describe(s op.Spec) (*Method, error) {
	m := &Method{Spec: s}
	in, err := schema.For(s.In)
	if err != nil {
		return m, err
	}
	out, err := schema.For(s.Out)
	if err != nil {
		return m, err
	}
	if s.Stream {
		m.ItemsSchema = out.List().JSON()
	}
	if m.Controlled() {
		if in, err = in.Extend(controls); err != nil {
			return m, err
		}
		if s.Job {
			if s.Out != reflect.TypeFor[op.JobRef]() {
				return m, fmt.Errorf("a job answers op.JobRef, not %s", s.Out)
			}
		}
		out = out.Outcome()
	}
	m.in, m.out, m.InSchema, m.OutSchema, m.Targets = in, out, in.JSON(), out.JSON(), in.Targets()
	return m, nil
}

// index maps ids and aliases to methods, and refuses names that would collide on some plane.
func index(methods []*Method) (ids, tools map[string]*Method, err error) {
	ids, tools = map[string]*Method{}, map[string]*Method{}
	tops := map[string]string{}
	var errs []error
	add := func(to map[string]*Method, kind, name string, m *Method) {
		if other, ok := to[name]; ok {
			errs = append(errs, fmt.Errorf("%s %s names %s and %s", kind, name, other.ID(), m.ID()))
			return
		}
		to[name] = m
	}
	for _, m := range methods {
		add(ids, "id", m.ID(), m)
		add(tools, "tool", m.Tool(), m)
		for _, a := range m.Aliases {
			add(ids, "alias", a, m)
			add(tools, "tool", toolName(a), m)
		}
		if m.Top != "" {
			if other, ok := tops[m.Top]; ok {
				errs = append(errs, fmt.Errorf("short form %s names %s and %s", m.Top, other, m.ID()))
			}
			tops[m.Top] = m.ID()
		}
	}
	for _, m := range methods { // omnitron logs … is the service, unless the short form is one of its own methods
		if service, ok := tops[m.Service]; ok && ids[service].Service != m.Service {
			errs = append(errs, fmt.Errorf("short form %s of %s is the name of a service", m.Service, service))
		}
	}
	return ids, tools, errors.Join(errs...)
}

// Registry holds the methods of a running daemon.
type Registry struct {
	Deps
	methods []*Method
	ids     map[string]*Method
	tools   map[string]*Method
	limiter *limit.Limiter
}

// New gives the registry of methods. It starts nothing.
func New(methods []op.Method, d Deps) (*Registry, error) {
	if err := d.complete(); err != nil {
		return nil, err
	}
	specs := make([]op.Spec, len(methods))
	for i, m := range methods {
		specs[i] = m.Spec
	}
	described, err := Describe(specs)
	if err != nil {
		return nil, err
	}
	r := &Registry{Deps: d, methods: described, limiter: limit.New(d.Limits, d.Now)}
	for i, m := range described {
		m.handler = methods[i]
	}
	r.ids, r.tools, err = index(described)
	return r, err
}

// Methods gives every method in the order of the catalog.
func (r *Registry) Methods() []*Method { return r.methods }

// Find gives the method of an id, service.verb, or of a former id.
func (r *Registry) Find(id string) (*Method, bool) {
	m, ok := r.ids[id]
	return m, ok
}

// Tool gives the method of a tool's name, service_verb, present or former.
func (r *Registry) Tool(name string) (*Method, bool) {
	m, ok := r.tools[name]
	return m, ok
}

// find looks the method up. What stays on the unix socket does not exist elsewhere, nor for agents.
func (r *Registry) find(ctx context.Context, c *call) (context.Context, error) {
	m, ok := r.ids[c.method]
	if !ok || !m.reaches(c.caller) {
		return ctx, r.unknown(c.method, c.caller)
	}
	c.Method = m
	return ctx, nil
}

// unknown is the fault of a method that does not exist, or not for this caller: it suggests only what he can see. The
// name is quoted, so that its bytes stay data, and cut.
func (r *Registry) unknown(name string, who op.Caller) error {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	f := fault.New(fault.NotFound, "there is no method %q", name).WithReason("unknown_method")
	if near := r.near(strings.ToLower(strings.ReplaceAll(name, "_", ".")), who); near != "" {
		f = f.WithCandidates(near).WithHint("did you mean %s?", near)
	}
	return f
}

// near gives the id that was probably meant: the same in another spelling, a similar one, or the only one with that verb
// in another service.
func (r *Registry) near(id string, who op.Caller) string {
	_, verb, _ := strings.Cut(id, ".")
	var names, sameVerb []string
	for _, m := range r.methods {
		if !m.Visible(who) {
			continue
		}
		if names = append(names, m.ID()); m.Verb == verb {
			sameVerb = append(sameVerb, m.ID())
		}
	}
	if slices.Contains(names, id) {
		return id
	}
	if near := fault.Near(id, names); near != "" || len(sameVerb) != 1 {
		return near
	}
	return sameVerb[0]
}

// toolName is an id as the name of a tool.
func toolName(id string) string { return strings.ReplaceAll(id, ".", "_") }

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
	Limits    limit.Limits
	Now       func() time.Time
}

func (d *Deps) complete() error {
	if d.Log == nil || d.Ledger == nil || d.Policy == nil || d.Tokens == nil || d.Approvals == nil || d.Resolver == nil || d.Keys == nil {
		return errors.New("a registry needs a log, a ledger, a policy, tokens, approvals, a resolver and keys")
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Limits == (limit.Limits{}) {
		d.Limits = limit.Default()
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

// Keys remembers the answers to calls with an idempotency key; *records.Keys is one.
type Keys interface {
	// Take takes a call on, unless it was made before: then found is true and answer is what it was told. Faults: conflict.
	Take(ctx context.Context, c records.Claim) (answer json.RawMessage, found bool, err error)
	// Finish keeps the answer of a call that was taken on.
	Finish(ctx context.Context, c records.Claim, answer json.RawMessage) error
	// Release forgets a call that was taken on and had no effect.
	Release(ctx context.Context, c records.Claim) error
}

// Gate is asked before a changing call of whoever is no person: it may be paused.
type Gate interface {
	Admit(caller op.Caller, spec op.Spec) error
}
