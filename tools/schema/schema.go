// Package schema makes a JSON Schema (2020-12) out of a Go type and checks raw JSON against it in one pass.
//
// The schemas are for programs that read few dialects: objects are closed, there is no $ref and no union of types, and
// every property has a description. What cannot be said that way is an error when the registry is built, never an empty
// schema. The engine is our own because the check is on the path of every call: it never builds a tree of values, finds
// all problems at once, and mends what is unambiguous ("5" for 5); jsonschema-go judges it in the tests.
package schema

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Schema describes the values of one Go type. It is immutable and safe for concurrent use.
type Schema struct {
	root    *node
	json    json.RawMessage
	secrets bool // some field is redacted in records
	targets bool // some field is an op.Selector
}

// For makes the schema of t. The error names the field that cannot be described, and why.
func For(t reflect.Type) (*Schema, error) {
	b := builder{}
	root, err := b.object(t, "")
	if err != nil {
		return nil, fmt.Errorf("cannot describe %s: %w", t, err)
	}
	return finish(root), nil
}

// Extend gives a copy of s with the fields of controls, which Check takes out of the input again and hands over beside
// it. A name that both have is an error.
func (s *Schema) Extend(controls *Schema) (*Schema, error) {
	root := *s.root
	root.fields = append([]field(nil), s.root.fields...)
	for _, f := range controls.root.fields {
		if root.find(f.name) >= 0 {
			return nil, fmt.Errorf("the field %q is added to every changing method and cannot be declared", f.name)
		}
		f.control = true
		root.fields = append(root.fields, f)
	}
	if len(root.fields) > maxFields {
		return nil, fmt.Errorf("%d fields are more than %d", len(root.fields), maxFields)
	}
	return finish(&root), nil
}

// Outcome is the schema of op.Outcome with s as its result.
func (s *Schema) Outcome() *Schema { return s.inside(outcomes, "result") }

// List is the schema of op.List with s as its items.
func (s *Schema) List() *Schema {
	items := *lists.root.fields[lists.root.find("items")].node
	items.elem = s.root
	return (&Schema{root: &items}).inside(lists, "items")
}

// inside gives a copy of outer in which the field of that name is described by s.
func (s *Schema) inside(outer *Schema, name string) *Schema {
	root := *outer.root
	root.fields = append([]field(nil), outer.root.fields...)
	i := root.find(name)
	n := *s.root
	n.doc = root.fields[i].node.doc
	root.fields[i].node = &n
	return finish(&root)
}

var (
	outcomes = must(For(reflect.TypeFor[op.Outcome]()))
	lists    = must(For(reflect.TypeFor[op.List[op.Item]]()))
)

// must is for the types of core/op, which the tests describe too.
func must(s *Schema, err error) *Schema {
	if err != nil {
		panic(err)
	}
	return s
}

func finish(root *node) *Schema {
	s := &Schema{root: root}
	root.each(func(n *node) {
		s.targets = s.targets || n.names == selector
		for _, f := range n.fields {
			s.secrets = s.secrets || f.secret
		}
	})
	s.json = root.schema(nil)
	return s
}

// JSON is the schema itself. The bytes belong to s.
func (s *Schema) JSON() json.RawMessage { return s.json }

// Secret reports whether some field holds a secret.
func (s *Schema) Secret() bool { return s.secrets }

// Targets reports whether some field names apps.
func (s *Schema) Targets() bool { return s.targets }

// Empty reports whether an object of s has no field at all.
func (s *Schema) Empty() bool { return len(s.root.fields) == 0 }

type kind uint8

const (
	object  kind = iota + 1 // closed, with fields
	dict                    // any keys, values of elem
	list                    // of elem
	text                    //
	integer                 //
	number                  //
	boolean                 //
	free                    // any value, for fields tagged so
)

// What the values of a text node name.
const (
	selector = iota + 1
	project
	stack
)

// node describes one value.
type node struct {
	kind    kind
	doc     string
	fields  []field
	elem    *node
	enum    []string
	pattern *pattern
	date    bool            // an RFC 3339 time
	lo, hi  *int64          // value of an integer, length of a text in characters, number of a list's items
	said    [2]bool         // whether lo and hi are published: the range of an int64 is not worth its tokens
	flo     *float64        // of a number
	fhi     *float64        //
	initial json.RawMessage // the default
	names   int             // selector, project, stack
}

// field is a property of an object.
type field struct {
	name     string
	node     *node
	required bool
	secret   bool
	control  bool // taken out of the input by Check
}

func (n *node) find(name string) int {
	for i := range n.fields {
		if n.fields[i].name == name {
			return i
		}
	}
	return -1
}

func (n *node) each(do func(*node)) {
	do(n)
	for _, f := range n.fields {
		f.node.each(do)
	}
	if n.elem != nil {
		n.elem.each(do)
	}
}

func (n *node) fieldNames() []string {
	names := make([]string, len(n.fields))
	for i, f := range n.fields {
		names[i] = f.name
	}
	return names
}
