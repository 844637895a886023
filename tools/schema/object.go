package schema

import (
	"encoding/json"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// keys remembers the keys of one object that is not described, to find one that is there twice. Parsers disagree on
// which of the two counts, so whoever filters on the one may be fooled by the other.
type keys struct {
	few  []string
	many map[string]bool
}

func (k *keys) again(name string) bool {
	if k.many != nil {
		if k.many[name] {
			return true
		}
		k.many[name] = true
		return false
	}
	for _, other := range k.few {
		if other == name {
			return true
		}
	}
	if k.few = append(k.few, name); len(k.few) > 16 {
		k.many = make(map[string]bool, 64)
		for _, other := range k.few {
			k.many[other] = true
		}
	}
	return false
}

// members is where the members of an object lie, for edits that add or remove some.
type members struct {
	seen    [maxFields / 64]uint64
	unknown keys
	kept    int // end of the last member that stays, or of the brace that opens
	any     bool
	next    int // index into edits of a removal that has to reach up to the next member, or -1
}

func (m *members) again(i int) bool {
	bit := uint64(1) << (i % 64)
	was := m.seen[i/64]&bit != 0
	m.seen[i/64] |= bit
	return was
}

func (w *walk) objectValue(n *node) error {
	w.pos++
	if n != nil && n.kind != object && n.kind != dict {
		if n.kind != free {
			w.wrong(n, "object")
		}
		n = nil
	}
	m := members{kept: w.pos, next: -1}
	if w.peek() == '}' {
		w.close(n, &m)
		return nil
	}
	for {
		if w.peek() != '"' {
			return w.bad("expected a key in quotes")
		}
		if m.next >= 0 {
			w.edits[m.next].end, m.next = w.pos, -1
		}
		if err := w.member(n, &m); err != nil {
			return err
		}
		switch w.peek() {
		case ',':
			w.pos++
		case '}':
			w.close(n, &m)
			return nil
		default:
			return w.bad("expected , or } in an object")
		}
	}
}

// member reads one key and its value.
func (w *walk) member(n *node, m *members) error {
	start := w.pos
	inner, escaped, err := w.str()
	if err != nil {
		return err
	}
	if w.peek() != ':' {
		return w.bad("expected : after a key")
	}
	w.pos++
	i := -1
	if n != nil && n.kind == object && !escaped {
		i = n.lookup(inner)
	}
	if i >= 0 {
		return w.known(n, m, i, start)
	}
	name := unescape(inner, escaped)
	if n != nil && n.kind == object {
		if i = n.find(name); i >= 0 {
			return w.known(n, m, i, start)
		}
	}
	w.path = append(w.path, step{name: name, index: -1})
	if m.unknown.again(name) {
		w.problem("the key is there twice")
	} else if n != nil && n.kind == object {
		w.stranger(n, name)
	}
	var elem *node
	if n != nil && n.kind == dict {
		elem = n.elem
	}
	err = w.value(elem)
	w.path = w.path[:len(w.path)-1]
	m.kept, m.any = w.pos, true
	return err
}

// lookup finds a field by the bytes of its key; fields are few, so comparing beats hashing.
func (n *node) lookup(key []byte) int {
	for i := range n.fields {
		if n.fields[i].name == string(key) {
			return i
		}
	}
	return -1
}

// known reads the value of field i, whose member begins at start.
func (w *walk) known(n *node, m *members, i, start int) error {
	f := &n.fields[i]
	w.path = append(w.path, step{name: f.name, index: -1})
	hidden := w.hidden
	w.hidden = hidden || f.secret
	if m.again(i) {
		w.problem("the key is there twice")
	}
	w.space()
	from, edits := w.pos, len(w.edits)
	err := w.value(f.node)
	switch {
	case err != nil:
	case f.secret && w.redact:
		w.edits = append(w.edits[:edits], edit{from, w.pos, `"•••"`})
	case f.control && w.mend:
		w.take(f, m, edits, from, start)
	}
	if !f.control {
		m.kept, m.any = w.pos, true
	}
	w.path, w.hidden = w.path[:len(w.path)-1], hidden
	return err
}

// take moves the control f, whose value begins at from and whose member begins at start, out of the input.
func (w *walk) take(f *field, m *members, edits, from, start int) {
	if w.in.Controls == nil {
		w.in.Controls = make(map[string]json.RawMessage)
	}
	w.in.Controls[f.name] = apply(w.src[from:w.pos], shifted(w.edits[edits:], from))
	w.edits = append(w.edits[:edits], edit{start, w.pos, ""})
	m.next = edits // up to the next member, if one follows
}

// close ends an object: what is missing is a problem or has a default.
func (w *walk) close(n *node, m *members) {
	if m.next >= 0 { // the last member was taken out: the comma before it goes too
		w.edits[m.next].start = m.kept
	}
	if n != nil && n.kind == object {
		for i := range n.fields {
			f := &n.fields[i]
			if m.seen[i/64]&(1<<(i%64)) != 0 {
				continue
			}
			if f.required {
				w.path = append(w.path, step{name: f.name, index: -1})
				w.problem("missing: %s, %s", f.node.expected(), f.node.doc)
				w.path = w.path[:len(w.path)-1]
			}
			if w.mend && f.node.initial != nil && !f.control {
				w.initial(f, m)
			}
		}
	}
	w.pos++
}

// initial adds the default of f at the end of the object.
func (w *walk) initial(f *field, m *members) {
	text := `"` + f.name + `":` + string(f.node.initial)
	if m.any {
		text = "," + text
	}
	m.any = true
	w.edits = append(w.edits, edit{w.pos, w.pos, text})
}

// stranger says that the object n has no such field, and which one was perhaps meant.
func (w *walk) stranger(n *node, name string) {
	p := fault.Problem{Path: w.where(), Message: "unknown field", Allowed: n.fieldNames()}
	if p.Near = fault.Near(name, p.Allowed); p.Near != "" {
		p.Message = "unknown field, did you mean " + p.Near + "?"
	}
	w.add(p)
}
