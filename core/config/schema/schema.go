// Package schema describes the keys of Omnitron's files once. From one table come the reader that fills Go values and
// says everything that is wrong, the JSON Schema for editors, and the text of `omnitron explain`.
package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Value is a value of the file, or nothing.
type Value[T any] struct {
	V    T
	Node *tree.Node // nil: the file does not give it
}

// Set reports whether the file gives the value.
func (v Value[T]) Set() bool { return v.Node != nil }

// Or is the value, or d where the file gives none.
func (v Value[T]) Or(d T) T {
	if v.Set() {
		return v.V
	}
	return d
}

// Put writes v to dst where the file gives it, and leaves dst alone otherwise.
func Put[T any](dst *T, v Value[T]) {
	if v.Set() {
		*dst = v.V
	}
}

// Decoder gathers what is wrong while values are read.
type Decoder struct{ Problems *tree.Problems }

func (d *Decoder) fail(n *tree.Node, format string, args ...any) *tree.Problem {
	return d.Problems.Add(n.Pos, tree.Structure, format, args...)
}

// Kind reads one form of value and describes it.
type Kind[T any] interface {
	// Label says to people what is expected, such as "a duration such as 15s".
	Label() string
	// Schema is the JSON Schema of the value.
	Schema() map[string]any
	// Decode reads n; false when it is wrong, which the decoder then knows.
	Decode(d *Decoder, n *tree.Node) (T, bool)
	// Keys describes the keys below, if it is a map or holds some.
	Keys() []*Key
}

// nullable is a kind for which the file's null is a value.
type nullable interface{ takesNull() bool }

// Key describes one key for people and schema.
type Key struct {
	Name     string
	Doc      string
	Label    string
	Default  string // as it would be written
	Example  string // YAML
	Required bool
	Later    bool // known, but not supported yet
	Live     bool // a change is taken up without a restart
	Allowed  []string
	Keys     []*Key
}

// FieldOf is a key of the maps that become an S.
type FieldOf[S any] struct {
	key    *Key
	schema func() map[string]any
	null   bool
	decode func(d *Decoder, n *tree.Node, s *S)
}

// Option says more about a key.
type Option func(*Key)

// Default is what holds when the key is absent, as one would write it.
func Default(text string) Option { return func(k *Key) { k.Default = text } }

// Example shows the key in use.
func Example(yaml string) Option { return func(k *Key) { k.Example = yaml } }

// Required makes the key's absence an error.
func Required() Option { return func(k *Key) { k.Required = true } }

// Live says that a change is taken up without a restart.
func Live() Option { return func(k *Key) { k.Live = true } }

// Field declares a key: its name, its form, where its value goes, what it means.
func Field[S, T any](name string, kind Kind[T], at func(*S) *Value[T], doc string, opts ...Option) FieldOf[S] {
	k := &Key{Name: name, Doc: doc, Label: kind.Label(), Keys: kind.Keys()}
	if w, ok := kind.(interface{ Words() []string }); ok {
		k.Allowed = w.Words()
	}
	for _, o := range opts {
		o(k)
	}
	f := FieldOf[S]{key: k, schema: kind.Schema}
	if n, ok := kind.(nullable); ok {
		f.null = n.takesNull()
	}
	f.decode = func(d *Decoder, n *tree.Node, s *S) {
		if v, ok := kind.Decode(d, n); ok {
			*at(s) = Value[T]{v, n}
		}
	}
	return f
}

// Later declares a key that the contract names and this version does not support: it is refused, never ignored.
func Later[S any](name, doc string) FieldOf[S] {
	return FieldOf[S]{key: &Key{Name: name, Doc: doc, Later: true}}
}

// Rule is what a map as a whole must obey.
type Rule struct {
	exactlyOne []string
	defaultOne bool
}

// ExactlyOne demands one of the keys, and no second one.
func ExactlyOne(names ...string) Rule { return Rule{exactlyOne: names} }

// AtMostOne forbids a second one of the keys.
func AtMostOne(names ...string) Rule { return Rule{exactlyOne: names, defaultOne: true} }

type object[S any] struct {
	label  string
	fields []FieldOf[S]
	rules  []Rule
}

// Object is a map with known keys.
func Object[S any](label string, rules []Rule, fields ...FieldOf[S]) Kind[S] {
	return &object[S]{label, fields, rules}
}

func (o *object[S]) Label() string { return "a map" }

func (o *object[S]) Keys() []*Key {
	keys := make([]*Key, len(o.fields))
	for i, f := range o.fields {
		keys[i] = f.key
	}
	return keys
}

func (o *object[S]) field(name string) *FieldOf[S] {
	for i := range o.fields {
		if o.fields[i].key.Name == name {
			return &o.fields[i]
		}
	}
	return nil
}

// known lists the keys that may be given.
func (o *object[S]) known() []string {
	var names []string
	for _, f := range o.fields {
		if !f.key.Later {
			names = append(names, f.key.Name)
		}
	}
	return names
}

func (o *object[S]) Decode(d *Decoder, n *tree.Node) (s S, ok bool) {
	if n.Kind != tree.Map {
		wrongKind(d, n, o.Label()).Hint = "its keys: " + strings.Join(o.known(), ", ")
		return s, false
	}
	for _, p := range n.Pairs {
		f := o.field(p.Key.Text)
		switch {
		case f == nil:
			o.unknown(d, p.Key)
		case f.key.Later:
			d.fail(p.Key, "%q is not supported yet", p.Key.Text).Hint = "remove it; no key is accepted and then ignored"
		case p.Value.Gone:
		case p.Value.Kind == tree.Null && !f.null:
			d.Problems.Add(p.Key.Pos, tree.Structure, "%q has no value: it must be %s", p.Key.Text, f.key.Label).Hint = "give it one or remove the line"
		default:
			f.decode(d, p.Value, &s)
		}
	}
	for _, f := range o.fields {
		if f.key.Required && n.Find(f.key.Name) == nil {
			d.fail(n, "%s needs %q: %s", o.label, f.key.Name, f.key.Label).Hint = example(f.key)
		}
	}
	for _, r := range o.rules {
		o.obey(d, n, r)
	}
	return s, true
}

func example(k *Key) string {
	if k.Example == "" {
		return ""
	}
	return "for example " + k.Name + ": " + k.Example
}

func (o *object[S]) unknown(d *Decoder, key *tree.Node) {
	var all []string
	for _, f := range o.fields {
		all = append(all, f.key.Name)
	}
	p := d.fail(key, "%s has no key %q", o.label, clip(key.Text))
	if p.Near = fault.Near(key.Text, all); p.Near == "" {
		p.Allowed = o.known()
	}
}

func (o *object[S]) obey(d *Decoder, n *tree.Node, r Rule) {
	var given []*tree.Node
	for _, p := range n.Pairs {
		if slices.Contains(r.exactlyOne, p.Key.Text) && !p.Value.Gone {
			given = append(given, p.Key)
		}
	}
	switch {
	case len(given) == 0 && !r.defaultOne:
		d.fail(n, "%s needs one of %s", o.label, strings.Join(r.exactlyOne, ", "))
	case len(given) > 1:
		d.fail(given[1], "%q and %q exclude each other", given[0].Text, given[1].Text).Hint = "keep one of them"
	}
}

func (o *object[S]) Schema() map[string]any {
	props, required := map[string]any{}, []string{}
	for _, f := range o.fields {
		if f.key.Later {
			continue
		}
		s := f.schema()
		s["description"] = f.key.Doc
		if f.key.Default != "" {
			s["description"] = fmt.Sprintf("%s Default: %s.", f.key.Doc, f.key.Default)
		}
		props[f.key.Name] = s
		if f.key.Required {
			required = append(required, f.key.Name)
		}
	}
	s := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	var all []any
	for _, r := range o.rules {
		var one []any
		for _, name := range r.exactlyOne {
			one = append(one, map[string]any{"required": []string{name}})
		}
		if r.defaultOne {
			one = append(one, map[string]any{"not": map[string]any{"anyOf": slices.Clone(one)}})
		}
		all = append(all, map[string]any{"oneOf": one})
	}
	if len(all) > 0 {
		s["allOf"] = all
	}
	return s
}

// wrongKind says what was expected and what stands there instead.
func wrongKind(d *Decoder, n *tree.Node, label string) *tree.Problem {
	return d.fail(n, "%s must be %s, not %s", called(n), label, shown(n))
}

// called is how a message names a value.
func called(n *tree.Node) string {
	if n.Name == "" || n.Name[0] == '[' {
		return "the file"
	}
	return strconv.Quote(clip(n.Name))
}

// shown is a value for a message: short, and without what came from the environment.
func shown(n *tree.Node) string {
	switch {
	case n.Expanded && n.Scalar():
		return "the value of a variable"
	case n.Kind == tree.Text:
		return fmt.Sprintf("the text %q", clip(n.Text))
	case n.Kind == tree.Int || n.Kind == tree.Float:
		return "the number " + clip(n.Text)
	case n.Kind == tree.Bool:
		return clip(n.Text)
	}
	return n.Kind.String()
}

func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
