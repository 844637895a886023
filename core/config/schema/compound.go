package schema

import (
	"regexp"

	"github.com/omnitron-dev/omnitron/core/config/tree"
)

type list[T any] struct {
	label string
	item  Kind[T]
	least int
}

// List is a list of items, at least so many.
func List[T any](label string, item Kind[T], least int) Kind[[]Value[T]] {
	return &list[T]{label, item, least}
}

func (l *list[T]) Label() string { return l.label }
func (l *list[T]) Keys() []*Key  { return l.item.Keys() }

func (l *list[T]) Schema() map[string]any {
	s := map[string]any{"type": "array", "items": l.item.Schema()}
	if l.least > 0 {
		s["minItems"] = l.least
	}
	return s
}

func (l *list[T]) Decode(d *Decoder, n *tree.Node) (out []Value[T], ok bool) {
	if n.Kind != tree.List {
		p := wrongKind(d, n, l.label)
		switch {
		case n.Kind == tree.Text && !n.Quoted && !n.Expanded:
			p.Hint = "a list is written in brackets: [" + clip(n.Text) + "]"
		case n.Kind == tree.Map:
			p.Hint = "each item begins with a dash"
		}
		return nil, false
	}
	if len(n.Items) < l.least {
		d.fail(n, "%s must be %s, not an empty list", called(n), l.label)
		return nil, false
	}
	out, ok = make([]Value[T], 0, len(n.Items)), true
	for _, item := range n.Items {
		if v, good := l.item.Decode(d, item); good {
			out = append(out, Value[T]{v, item})
		} else {
			ok = false
		}
	}
	// What is right is kept even beside what is wrong: a reference to a good item is no second mistake.
	return out, ok || len(out) > 0
}

// Entry is one key of a map whose keys are free, with its place.
type Entry[T any] struct {
	Key   *tree.Node
	Value Value[T]
}

type dict[T any] struct {
	label, pattern, hint string
	re                   *regexp.Regexp
	item                 Kind[T]
}

// Dict is a map whose keys follow a pattern; hint says which those are.
func Dict[T any](label, pattern, hint string, item Kind[T]) Kind[[]Entry[T]] {
	return &dict[T]{label, pattern, hint, regexp.MustCompile(pattern), item}
}

func (m *dict[T]) Label() string { return m.label }

// Keys are those below each of the names, where these are maps themselves.
func (m *dict[T]) Keys() []*Key {
	if _, ok := m.item.(*object[T]); ok {
		return m.item.Keys()
	}
	return nil
}

func (m *dict[T]) Schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": m.item.Schema(), "propertyNames": map[string]any{"pattern": m.pattern}}
}

func (m *dict[T]) Decode(d *Decoder, n *tree.Node) (out []Entry[T], ok bool) {
	if n.Kind != tree.Map {
		p := wrongKind(d, n, m.label)
		if n.Kind == tree.List {
			p.Hint = "write key: value, without dashes"
		}
		return nil, false
	}
	null := false
	if i, ok := m.item.(nullable); ok {
		null = i.takesNull()
	}
	for _, p := range n.Pairs {
		if !m.re.MatchString(p.Key.Text) {
			d.fail(p.Key, "%q cannot be a name here", clip(p.Key.Text)).Hint = m.hint
		}
		if p.Value.Gone && !null {
			continue
		}
		if p.Value.Kind == tree.Null && !null {
			d.fail(p.Key, "%q has no value: it must be %s", clip(p.Key.Text), m.item.Label())
			continue
		}
		if v, good := m.item.Decode(d, p.Value); good {
			out = append(out, Entry[T]{p.Key, Value[T]{v, p.Value}})
		}
	}
	return out, true
}

// Form is one of several ways to write a value.
type Form[T any] struct {
	takes  func(*tree.Node) bool
	schema func() map[string]any
	keys   []*Key
	words  []string
	decode func(d *Decoder, n *tree.Node) (T, bool)
}

func form[A, T any](takes func(*tree.Node) bool, k Kind[A], to func(A) T) Form[T] {
	f := Form[T]{takes: takes, schema: k.Schema, keys: k.Keys()}
	if w, ok := k.(interface{ Words() []string }); ok {
		f.words = w.Words()
	}
	f.decode = func(d *Decoder, n *tree.Node) (out T, ok bool) {
		v, ok := k.Decode(d, n)
		if !ok {
			return out, false
		}
		return to(v), true
	}
	return f
}

// AsScalar is the form of one value.
func AsScalar[A, T any](k Kind[A], to func(A) T) Form[T] {
	return form((*tree.Node).Scalar, k, to)
}

// AsNumber is the form of a whole number where text means something else.
func AsNumber[A, T any](k Kind[A], to func(A) T) Form[T] {
	return form(func(n *tree.Node) bool { return n.Kind == tree.Int || n.Kind == tree.Float }, k, to)
}

// AsBool is the form of true or false where other text means nothing.
func AsBool[A, T any](k Kind[A], to func(A) T) Form[T] {
	return form(func(n *tree.Node) bool { return n.Kind == tree.Bool || n.Expanded }, k, to)
}

// AsList is the form of a list.
func AsList[A, T any](k Kind[A], to func(A) T) Form[T] {
	return form(func(n *tree.Node) bool { return n.Kind == tree.List }, k, to)
}

// AsMap is the form of a map.
func AsMap[A, T any](k Kind[A], to func(A) T) Form[T] {
	return form(func(n *tree.Node) bool { return n.Kind == tree.Map }, k, to)
}

type oneOf[T any] struct {
	label string
	forms []Form[T]
}

// OneOf is a value that may be written in several forms; the first that takes its YAML kind reads it.
func OneOf[T any](label string, forms ...Form[T]) Kind[T] { return &oneOf[T]{label, forms} }

func (o *oneOf[T]) Label() string { return o.label }

func (o *oneOf[T]) Keys() []*Key {
	for _, f := range o.forms {
		if f.keys != nil {
			return f.keys
		}
	}
	return nil
}

func (o *oneOf[T]) Words() (words []string) {
	for _, f := range o.forms {
		words = append(words, f.words...)
	}
	return words
}

func (o *oneOf[T]) Schema() map[string]any {
	var forms []any
	for _, f := range o.forms {
		forms = append(forms, f.schema())
	}
	return map[string]any{"anyOf": forms}
}

func (o *oneOf[T]) Decode(d *Decoder, n *tree.Node) (v T, ok bool) {
	for _, f := range o.forms {
		if n.Kind != tree.Null && f.takes(n) {
			return f.decode(d, n)
		}
	}
	wrongKind(d, n, o.label)
	return v, false
}

// Variable is the value of an environment variable, the name of the secret that it is, or its removal.
type Variable struct {
	Text   string
	Secret string
	Unset  bool
}

type variable struct{ Kind[Variable] }

// reference is the map that stands for a secret.
type reference struct{ Secret Value[string] }

// EnvValue is a scalar taken as written, {secret: name}, or null, which unsets. The pattern is that of the names, the hint
// says what they look like.
func EnvValue(pattern, hint string) Kind[Variable] {
	const label = "text, {secret: name}, or null to unset it"
	return variable{OneOf(label,
		AsScalar(Written(label), func(s string) Variable { return Variable{Text: s} }),
		AsMap(Object("secret", []Rule{ExactlyOne("secret")},
			Field("secret", Pattern("the name of a secret", pattern, hint), func(r *reference) *Value[string] { return &r.Secret },
				"The name of a secret: that of the stack, of the project, or shared by all.", Example("db/password"))),
			func(r reference) Variable { return Variable{Secret: r.Secret.V} }))}
}

func (variable) takesNull() bool { return true }

func (v variable) Schema() map[string]any {
	return map[string]any{"anyOf": append(v.Kind.Schema()["anyOf"].([]any), map[string]any{"type": "null"})}
}

func (v variable) Decode(d *Decoder, n *tree.Node) (Variable, bool) {
	if n.Kind == tree.Null {
		return Variable{Unset: true}, true
	}
	return v.Kind.Decode(d, n)
}

type orNull struct{ Kind[string] }

// OrNull is a word that may also be left without a value: null stands for the word of that name.
func OrNull(k Kind[string]) Kind[string] { return orNull{k} }

func (orNull) takesNull() bool { return true }

func (o orNull) Schema() map[string]any {
	return map[string]any{"anyOf": []any{o.Kind.Schema(), map[string]any{"type": "null"}}}
}

func (o orNull) Decode(d *Decoder, n *tree.Node) (string, bool) {
	if n.Kind == tree.Null {
		return "null", true
	}
	return o.Kind.Decode(d, n)
}
