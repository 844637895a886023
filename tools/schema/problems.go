package schema

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// step is one part of a path: a name, or an index when that is not negative.
type step struct {
	name  string
	index int
}

// where is the path of the value at hand, such as files[2].path; the whole input is "".
func (w *walk) where() string {
	var b strings.Builder
	for i, s := range w.path {
		switch {
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
		case fieldName.MatchString(s.name):
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		default:
			b.WriteString("[" + clip(s.name) + "]")
		}
	}
	return b.String()
}

func (w *walk) add(p fault.Problem) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, p)
	}
}

func (w *walk) problem(format string, args ...any) {
	if len(w.problems) < maxProblems {
		w.add(fault.Problem{Path: w.where(), Message: fmt.Sprintf(format, args...)})
	}
}

// wrong says that the value at hand is not what n asks for.
func (w *walk) wrong(n *node, got string) {
	if len(w.problems) < maxProblems {
		w.add(fault.Problem{Path: w.where(), Message: "expected " + n.expected() + ", got " + got, Allowed: n.enum})
	}
}

// quote shows a value of the caller's own, cut and with control characters escaped; secrets are not shown.
func (w *walk) quote(s string) string {
	if w.hidden {
		return "•••"
	}
	return clip(s)
}

func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
}

// expected says in words what n asks for.
func (n *node) expected() string {
	switch n.kind {
	case object, dict:
		return "object"
	case list:
		return "array"
	case integer:
		return "integer" + n.span()
	case number:
		return "number"
	case boolean:
		return "true or false"
	case text:
		switch {
		case len(n.enum) > 0:
			return "one of " + strings.Join(n.enum, ", ")
		case n.date:
			return "a time such as 2026-01-31T12:00:00Z"
		case n.pattern != nil:
			return n.pattern.says
		}
		return "string"
	}
	return "any value"
}

func (n *node) span() string {
	switch {
	case n.said[0] && n.said[1]:
		return fmt.Sprintf(" from %d to %d", *n.lo, *n.hi)
	case n.said[0]:
		return fmt.Sprintf(" of at least %d", *n.lo)
	case n.said[1]:
		return fmt.Sprintf(" of at most %d", *n.hi)
	}
	return ""
}

// numeric checks a number. The text at start is replaced where it is not how the handler can read it: a quoted number,
// or an integer written as 5.0.
func (w *walk) numeric(n *node, lit []byte, whole bool, start int) {
	if n.kind != integer {
		f, err := strconv.ParseFloat(string(lit), 64)
		switch {
		case err != nil:
			w.wrong(n, w.quote(string(lit))+", which is out of range")
		case n.flo != nil && f < *n.flo:
			w.wrong(n, fmt.Sprintf("%s, the least is %v", w.quote(string(lit)), *n.flo))
		case n.fhi != nil && f > *n.fhi:
			w.wrong(n, fmt.Sprintf("%s, the most is %v", w.quote(string(lit)), *n.fhi))
		}
		if w.mend && w.src[start] == '"' {
			w.edits = append(w.edits, edit{start, w.pos, string(lit)})
		}
		return
	}
	i, ok := toInt(lit, whole || !strings.ContainsAny(string(lit), ".eE"))
	if !ok || n.lo != nil && i < *n.lo || n.hi != nil && i > *n.hi {
		w.wrong(n, w.quote(string(lit)))
		return
	}
	if w.mend && (w.src[start] == '"' || !whole) {
		w.edits = append(w.edits, edit{start, w.pos, strconv.FormatInt(i, 10)})
	}
}

// picky reports whether the text itself matters.
func (n *node) picky() bool {
	return n.names != 0 || len(n.enum) > 0 || n.pattern != nil || n.date || n.lo != nil || n.hi != nil
}

func (w *walk) textual(n *node, s string) {
	switch {
	case len(n.enum) > 0:
		for _, v := range n.enum {
			if v == s {
				return
			}
		}
		p := fault.Problem{Path: w.where(), Message: "expected " + n.expected() + ", got " + w.quote(s), Allowed: n.enum, Near: fault.Near(s, n.enum)}
		w.add(p)
	case n.date:
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			w.wrong(n, w.quote(s))
		}
	case n.pattern != nil && !n.pattern.re.MatchString(s):
		w.wrong(n, w.quote(s))
	}
	if n.lo != nil || n.hi != nil {
		w.between(n, utf8.RuneCountInString(s), "characters")
	}
	switch n.names {
	case selector:
		w.in.Selectors = append(w.in.Selectors, op.Selector(s))
	case project:
		w.in.Project = op.ProjectRef(s)
	case stack:
		w.in.Stack = op.StackRef(s)
	}
}

func (w *walk) count(n *node, items int) {
	if n != nil && n.kind == list {
		w.between(n, items, "items")
	}
}

func (w *walk) between(n *node, size int, of string) {
	if n.lo != nil && int64(size) < *n.lo {
		w.problem("expected at least %d %s, got %d", *n.lo, of, size)
	}
	if n.hi != nil && int64(size) > *n.hi {
		w.problem("expected at most %d %s, got %d", *n.hi, of, size)
	}
}

// edit replaces src[start:end].
type edit struct {
	start, end int
	text       string
}

// apply makes the edits. A removal may cover others; those are dropped.
func apply(src []byte, edits []edit) []byte {
	if len(edits) == 0 {
		return src
	}
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].start < edits[j].start })
	out, at := make([]byte, 0, len(src)+64), 0
	for _, e := range edits {
		if e.start < at {
			at = max(at, e.end)
			continue
		}
		out = append(append(out, src[at:e.start]...), e.text...)
		at = e.end
	}
	return append(out, src[at:]...)
}

func shifted(edits []edit, by int) []edit {
	out := make([]edit, len(edits))
	for i, e := range edits {
		out[i] = edit{e.start - by, e.end - by, e.text}
	}
	return out
}
