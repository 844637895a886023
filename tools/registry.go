// Package tools is the one list of methods and the one way to call them. Every plane (command line, sockets, MCP, HTTP)
// hands its calls to Registry.Do, which finds, checks, records, decides, runs and settles them; a plane only renders.
package tools

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
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
	limiter *limiter
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
	r := &Registry{Deps: d, methods: described, limiter: newLimiter(d.Limits, d.Now)}
	for i, m := range described {
		m.handler = methods[i]
	}
	r.ids, r.tools, err = index(described)
	return r, err
}

// Methods gives every method in the order of the catalog.
func (r *Registry) Methods() []*Method { return r.methods }
