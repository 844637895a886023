// Package op is the vocabulary in which a service describes its methods. A row names the method, its role, its effect
// and its function; tool, command, RPC method, HTTP route, documentation and access table are made from it.
package op

import (
	"context"
	"encoding/json"
	"iter"
	"reflect"
	"time"
)

// Role is what a principal may do at most. The rungs include each other; Node is its own kind and on no rung.
type Role uint8

// The roles.
const (
	Public Role = iota + 1
	Viewer
	Operator
	Admin
	Node
)

var roleNames = [...]string{"", "public", "viewer", "operator", "admin", "node"}

func (r Role) String() string { return roleNames[r] }

// ParseRole gives the role of a name, or 0.
func ParseRole(name string) Role {
	for i, n := range roleNames {
		if i > 0 && n == name {
			return Role(i)
		}
	}
	return 0
}

// Covers reports whether a principal of role r may call a method of role need.
func (r Role) Covers(need Role) bool {
	switch {
	case need == Public:
		return true
	case need == Node || r == Node:
		return r == need
	default:
		return r >= need
	}
}

// Effect is what a call does to the world. It is an argument, not an option: a method that says nothing about its
// effect does not compile.
type Effect uint8

// The effects, from harmless to final.
const (
	Reads      Effect = iota + 1 // changes nothing
	Adds                         // each call makes something new
	Sets                         // a second same call changes nothing more
	Interrupts                   // takes service away until another call brings it back
	Destroys                     // takes away what cannot be brought back
)

var effectNames = [...]string{"", "reads", "adds", "sets", "interrupts", "destroys"}

func (e Effect) String() string { return effectNames[e] }

// Changes reports whether a call of this effect leaves the world different.
func (e Effect) Changes() bool { return e != Reads }

// Spec is everything known of a method without a running service.
type Spec struct {
	Service, Verb, Doc string
	Role               Role
	Effect             Effect
	In, Out            reflect.Type // Out is the item of a stream
	Stream             bool

	Resource  string        // MCP resource template, such as omnitron://apps/{name}
	Topics    []string      // bus topics that make the resource stale
	Timeout   time.Duration // 0: the plane's default
	Aliases   []string      // former ids
	Local     bool          // unix socket only, no tool
	Job       bool          // answers with a job id
	Top       string        // short form on the command line
	Core      bool          // in the core profile of MCP
	Keywords  string        // words people use for it, for search only
	Undo      string        // the method that takes it back
	Examples  []Example
	Plannable bool // has a plan
	Redacts   bool // takes the known secrets out of its answers itself
	Global    bool // without targets on purpose: speaks of the whole daemon
	AnyScope  bool // without targets, and yet for tokens that are limited to some projects
}

// Example is an input that help shows and the parity test runs on every plane.
type Example struct {
	Doc   string
	In    string // JSON
	Fails string // the fault code that it must end with, or "" for success
}

// ID is the method's name on the wire, service.verb.
func (s Spec) ID() string { return s.Service + "." + s.Verb }

// Tool is the method's name as an MCP tool, service_verb.
func (s Spec) Tool() string { return s.Service + "_" + s.Verb }

// Emit hands one item of a stream to the plane. It blocks while the reader is slow and fails when it is gone.
type Emit func(item any) error

// Method is a Spec with its functions, types erased. The input has passed the schema.
type Method struct {
	Spec
	Handle func(ctx context.Context, in json.RawMessage, emit Emit) (any, error)
	Plan   func(ctx context.Context, in json.RawMessage) (*Plan, error)  // nil without a plan
	Check  func(in json.RawMessage) error                                // In.Validate; nil when In has none
	Prove  func(ctx context.Context, in json.RawMessage) (Caller, error) // who the input proves the caller to be; nil for the one that is known
}

// MethodOf is a method of S that has no S yet.
type MethodOf[S any] struct {
	spec Spec
	bind func(S) Method
}

// Option says more of a method.
type Option func(*options)

type options struct {
	*Spec
	plan  any // func(S, context.Context, In) (*Plan, error), checked when the row is made
	proof any // func(S, context.Context, In) (Caller, error), checked too
}

// Lossy is an item of a stream that stands for items which the reader did not get.
type Lossy interface{ Lost() int64 }

// Validator is an input that checks more than its schema can say.
type Validator interface{ Validate() error }

// Unary declares a method with one answer.
func Unary[S, In, Out any](verb string, role Role, effect Effect, fn func(S, context.Context, In) (Out, error), doc string, opts ...Option) MethodOf[S] {
	m, fns := declare[S, In, Out](verb, role, effect, doc, opts)
	m.bind = func(s S) Method {
		return erased(s, m.spec, fns, func(ctx context.Context, in In, _ Emit) (any, error) { return fn(s, ctx, in) })
	}
	return m
}

// Stream declares a method that answers with items until it or its caller ends.
func Stream[S, In, Item any](verb string, role Role, effect Effect, fn func(S, context.Context, In) iter.Seq2[Item, error], doc string, opts ...Option) MethodOf[S] {
	m, fns := declare[S, In, Item](verb, role, effect, doc, opts)
	m.spec.Stream = true
	m.bind = func(s S) Method {
		return erased(s, m.spec, fns, func(ctx context.Context, in In, emit Emit) (any, error) {
			for item, err := range fn(s, ctx, in) {
				if err != nil {
					return nil, err
				}
				if err := emit(item); err != nil {
					return nil, err
				}
			}
			return nil, ctx.Err()
		})
	}
	return m
}

// beside are the functions of a method beside its handler; each may be nil.
type beside[S, In any] struct {
	plan  func(S, context.Context, In) (*Plan, error)
	proof func(S, context.Context, In) (Caller, error)
}

func declare[S, In, Out any](verb string, role Role, effect Effect, doc string, opts []Option) (MethodOf[S], beside[S, In]) {
	m := MethodOf[S]{spec: Spec{Verb: verb, Role: role, Effect: effect, Doc: doc, In: reflect.TypeFor[In](), Out: reflect.TypeFor[Out]()}}
	o := options{Spec: &m.spec}
	for _, opt := range opts {
		opt(&o)
	}
	var fns beside[S, In]
	var ok bool
	if fns.plan, ok = o.plan.(func(S, context.Context, In) (*Plan, error)); o.plan != nil && !ok {
		panic("op: the plan of " + verb + " does not take the input of its method")
	}
	if fns.proof, ok = o.proof.(func(S, context.Context, In) (Caller, error)); o.proof != nil && !ok {
		panic("op: the proof of " + verb + " does not take the input of its method")
	}
	return m, fns
}

func erased[S, In any](s S, spec Spec, fns beside[S, In], call func(context.Context, In, Emit) (any, error)) Method {
	m := Method{Spec: spec}
	m.Handle = func(ctx context.Context, raw json.RawMessage, emit Emit) (any, error) {
		in, err := decode[In](raw)
		if err != nil {
			return nil, err
		}
		return call(ctx, in, emit)
	}
	if _, ok := any(*new(In)).(Validator); ok { // without it the input would be decoded twice for nothing
		m.Check = func(raw json.RawMessage) error {
			in, err := decode[In](raw)
			if err != nil {
				return err
			}
			return any(in).(Validator).Validate()
		}
	}
	if fns.proof != nil {
		m.Prove = func(ctx context.Context, raw json.RawMessage) (Caller, error) {
			in, err := decode[In](raw)
			if err != nil {
				return Caller{}, err
			}
			return fns.proof(s, ctx, in)
		}
	}
	if fns.plan != nil {
		m.Plan = func(ctx context.Context, raw json.RawMessage) (*Plan, error) {
			in, err := decode[In](raw)
			if err != nil {
				return nil, err
			}
			return fns.plan(s, ctx, in)
		}
	}
	return m
}

// InputError is an input that its schema let through and that its type refuses: the text of a type that parses itself.
type InputError struct{ Err error }

func (e *InputError) Error() string { return e.Err.Error() }

func (e *InputError) Unwrap() error { return e.Err }

func decode[In any](raw json.RawMessage) (in In, err error) {
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &in); err != nil {
			return in, &InputError{err}
		}
	}
	return in, nil
}

// Table is the method table of services of type S.
type Table[S any] struct {
	Name, Doc string
	methods   []MethodOf[S]
}

// Of gathers the rows of a service.
func Of[S any](name, doc string, ms ...MethodOf[S]) Table[S] {
	t := Table[S]{name, doc, ms}
	for i := range t.methods {
		t.methods[i].spec.Service = name
	}
	return t
}

// Specs describes the methods; no service is needed.
func (t Table[S]) Specs() []Spec {
	specs := make([]Spec, len(t.methods))
	for i, m := range t.methods {
		specs[i] = m.spec
	}
	return specs
}

// Bind gives the methods of s.
func (t Table[S]) Bind(s S) []Method {
	ms := make([]Method, len(t.methods))
	for i, m := range t.methods {
		ms[i] = m.bind(s)
		ms[i].Spec = m.spec
	}
	return ms
}
