package schema

import (
	"encoding/json"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// MaxDepth is how deep arrays and objects may lie inside each other.
const MaxDepth = 64

// maxProblems bounds an answer: who sent more wrong than that needs no longer list.
const maxProblems = 40

// Input is an input that passed.
type Input struct {
	JSON      json.RawMessage            // mended: right types, defaults filled in, controls taken out
	Controls  map[string]json.RawMessage // the fields of Extend that were there
	Selectors []op.Selector              // in the order of the input
	Project   op.ProjectRef
	Stack     op.StackRef
}

// Check reads raw as an input: it finds everything that is wrong, or gives the input mended. Raw is not changed, and is
// shared with the result where nothing had to be mended.
func (s *Schema) Check(raw []byte) (Input, []fault.Problem) {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	w := walk{src: raw, mend: true}
	if p := w.run(s.root); len(p) > 0 {
		return Input{}, p
	}
	w.in.JSON = apply(raw, w.edits)
	return w.in, nil
}

// Fits reads raw as an output and gives what does not fit. Nothing is mended.
func (s *Schema) Fits(raw []byte) []fault.Problem {
	w := walk{src: raw}
	return w.run(s.root)
}

// Redact gives raw, which passed Check, with every secret replaced.
func (s *Schema) Redact(raw []byte) json.RawMessage {
	if !s.secrets {
		return raw
	}
	w := walk{src: raw, redact: true}
	w.run(s.root)
	return apply(raw, w.edits)
}

// walk is one pass over a text. A method that returns an error has met the end of what can be read; everything that is
// merely wrong is a problem, and the walk goes on.
type walk struct {
	src      []byte
	pos      int
	depth    int
	mend     bool // replace what is unambiguous, fill in defaults
	redact   bool
	hidden   bool // inside a secret: problems do not quote
	path     []step
	edits    []edit
	problems []fault.Problem
	in       Input
}

func (w *walk) run(n *node) []fault.Problem {
	w.path = make([]step, 0, 8)
	err := w.value(n)
	if w.space(); err == nil && w.pos < len(w.src) {
		err = w.bad("something after the end of the value")
	}
	if err != nil {
		w.problems = []fault.Problem{{Message: "cannot be read as JSON: " + err.Error()}}
	}
	return w.problems
}

// value checks the value at hand against n; nil is a value of which nothing is asked.
func (w *walk) value(n *node) error {
	c := w.peek()
	if w.mend && n != nil && n.kind == list && c != '[' && c != '{' && c != 'n' && c != 0 {
		w.edits = append(w.edits, edit{w.pos, w.pos, "["}) // one for many
		err := w.element(n, 0)
		w.edits = append(w.edits, edit{w.pos, w.pos, "]"})
		return err
	}
	switch {
	case c == '{':
		return w.nested(n, true)
	case c == '[':
		return w.nested(n, false)
	case c == '"':
		return w.stringValue(n)
	case c == '-' || '0' <= c && c <= '9':
		return w.numberValue(n)
	case c == 't':
		return w.wordValue(n, "true")
	case c == 'f':
		return w.wordValue(n, "false")
	case c == 'n':
		return w.wordValue(n, "null")
	case w.pos >= len(w.src):
		return w.bad("it ends too early")
	}
	return w.bad("unexpected character")
}

func (w *walk) nested(n *node, object bool) (err error) {
	if w.depth++; w.depth > MaxDepth {
		return w.bad("nested deeper than 64")
	}
	if object {
		err = w.objectValue(n)
	} else {
		err = w.listValue(n)
	}
	w.depth--
	return err
}

func (w *walk) wordValue(n *node, s string) error {
	if err := w.word(s); err != nil {
		return err
	}
	switch {
	case n == nil || n.kind == free:
	case n.kind == boolean && s != "null":
	case s == "null" && w.mend:
		w.wrong(n, "null; leave it out instead")
	default:
		w.wrong(n, s)
	}
	return nil
}

func (w *walk) numberValue(n *node) error {
	start := w.pos
	lit, whole, err := w.num()
	if err != nil {
		return err
	}
	if n == nil {
		n = anything
	}
	switch n.kind {
	case integer, number, free:
		w.numeric(n, lit, whole, start)
	default:
		w.wrong(n, "number "+w.quote(string(lit)))
	}
	return nil
}

// anything is the node of a value of which nothing is asked.
var anything = &node{kind: free}

func (w *walk) stringValue(n *node) error {
	start := w.pos
	inner, escaped, err := w.str()
	if err != nil || n == nil || n.kind == free {
		return err
	}
	s := ""
	if n.kind != text || n.picky() {
		s = unescape(inner, escaped)
	}
	switch {
	case n.kind == text:
		if n.picky() {
			w.textual(n, s)
		}
	case w.mend && n.kind == boolean && (s == "true" || s == "false"):
		w.edits = append(w.edits, edit{start, w.pos, s})
	case w.mend && (n.kind == integer || n.kind == number) && isNumber(s):
		w.numeric(n, []byte(s), false, start)
	default:
		w.wrong(n, "string "+w.quote(s))
	}
	return nil
}

// isNumber reports whether the whole of s is a number as JSON writes it.
func isNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
		return false
	}
	w := walk{src: []byte(s)}
	_, _, err := w.num()
	return err == nil && w.pos == len(s)
}

func (w *walk) listValue(n *node) error {
	w.pos++
	if n != nil && n.kind != list {
		if n.kind != free {
			w.wrong(n, "array")
		}
		n = nil
	}
	if w.peek() == ']' {
		w.pos++
		w.count(n, 0)
		return nil
	}
	for i := 0; ; i++ {
		if err := w.element(n, i); err != nil {
			return err
		}
		switch w.peek() {
		case ',':
			w.pos++
		case ']':
			w.pos++
			w.count(n, i+1)
			return nil
		default:
			return w.bad("expected , or ] in an array")
		}
	}
}

func (w *walk) element(n *node, i int) error {
	var elem *node
	if n != nil {
		elem = n.elem
	}
	w.path = append(w.path, step{index: i})
	err := w.value(elem)
	w.path = w.path[:len(w.path)-1]
	return err
}
