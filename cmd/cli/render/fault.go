package render

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Fault writes a fault for a person: what and why in the first line, then what is known of it, then commands that can
// be pasted.
func Fault(w io.Writer, e *fault.Error, o Options) {
	var b strings.Builder
	first, rest, _ := strings.Cut(strings.TrimRight(EscapeLines(e.Message), "\n"), "\n")
	if listed(e) {
		first, rest = fmt.Sprintf("%d things are wrong with the input", len(e.Problems)), ""
	}
	b.WriteString(o.Style.Paint(Bad, "error:") + Fold("error: "+first, 2, o.Width)[len("error:"):] + "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		if line != "" {
			b.WriteString(Fold("  "+line, 2, o.Width) + "\n")
		}
	}
	for _, p := range e.Problems {
		if len(e.Problems) == 1 && strings.Contains(e.Message, p.Message) { // said already
			if p.Near != "" && !strings.Contains(e.Message, "did you mean") {
				fmt.Fprintf(&b, "  did you mean %q?\n", Escape(p.Near))
			}
			continue
		}
		problem(&b, p, o)
	}
	switch len(e.Candidates) {
	case 0:
	case 1:
		fmt.Fprintf(&b, "  did you mean %q?\n", Escape(e.Candidates[0]))
	default:
		quoted := make([]string, len(e.Candidates))
		for i, c := range e.Candidates {
			quoted[i] = Escape(c)
		}
		b.WriteString("  did you mean one of: " + strings.Join(quoted, ", ") + "?\n")
	}
	if e.Items != nil {
		items(&b, e.Items, o)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "  again in %s\n", number(json.Number(fmt.Sprint(e.RetryAfter)), "s"))
	}
	lead := "  try   "
	for line := range strings.SplitSeq(e.Hint, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(o.Style.Paint(Dim, lead) + Escape(line) + "\n")
			lead = "        "
		}
	}
	var more []string
	if e.Reason != "" && e.Code != fault.Invalid && e.Code != fault.Cancelled {
		what := string(e.Code)
		if _, ok := fault.Reasons[e.Reason]; ok { // a later daemon may have others
			what = e.Reason
		}
		more = append(more, "omnitron explain "+Escape(what))
		if what != e.Reason {
			more = append(more, Escape(e.Reason))
		}
	}
	if e.Call != "" {
		more = append(more, "call "+Escape(e.Call))
	}
	if len(more) > 0 {
		b.WriteString(o.Style.Paint(Dim, "  more  ") + strings.Join(more, " · ") + "\n")
	}
	io.WriteString(w, b.String())
}

// listed reports whether the message only says at a stretch what the problems say one by one.
func listed(e *fault.Error) bool {
	return len(e.Problems) > 1 && !slices.ContainsFunc(e.Problems, func(p fault.Problem) bool { return !strings.Contains(e.Message, p.Message) })
}

// problem writes one thing that is wrong with an input. A file's problem brings its source line and caret along, below
// its message, and these keep their columns.
func problem(b *strings.Builder, p fault.Problem, o Options) {
	text, path := strings.TrimRight(EscapeLines(p.Message), "\n"), ""
	if p.Path != "" {
		path = Escape(p.Path)
		text = path + ": " + text
	}
	if p.Near != "" && !strings.Contains(p.Message, "did you mean") {
		first, rest, more := strings.Cut(text, "\n")
		text = first + fmt.Sprintf("; did you mean %q?", Escape(p.Near))
		if more {
			text += "\n" + rest
		}
	} else if len(p.Allowed) > 0 && len(p.Allowed) <= 12 && p.Near == "" {
		first, rest, more := strings.Cut(text, "\n")
		text = first + "; one of " + Escape(strings.Join(p.Allowed, ", "))
		if more {
			text += "\n" + rest
		}
	}
	for i, line := range strings.Split(text, "\n") {
		line = "  " + line
		switch rest := strings.TrimLeft(line, " "); {
		case i == 0:
			line = Fold(line, 4, o.Width)
			if after, ok := strings.CutPrefix(line, "  "+path); ok { // it was not broken
				line = "  " + o.Style.Paint(Loud, path) + after
			}
		case strings.Contains(rest, "| ") && o.Width > 0: // a line of the file, or what points into it
			line = Clip(line, o.Width)
		default:
			line = Fold(line, Width(line)-Width(rest), o.Width)
		}
		b.WriteString(line + "\n")
	}
}

// items writes one line a target of a call that some targets refused.
func items(b *strings.Builder, v any, o Options) {
	raw, err := json.Marshal(v)
	if err != nil {
		return
	}
	decoded, err := Decode(raw)
	if err != nil {
		return
	}
	list, _ := decoded.([]any)
	width, most := 0, 60 // a name that is longer does not push the others away
	if o.Width > 0 {
		most = min(most, o.Width/2)
	}
	for _, it := range list {
		obj, _ := it.(Object)
		if n := Width(Escape(target(obj))); n <= most {
			width = max(width, n)
		}
	}
	for _, it := range list {
		obj, ok := it.(Object)
		if !ok || target(obj) == "" {
			b.WriteString("  " + Format(it, "", o.Now) + "\n")
			continue
		}
		word := obj.Text("state")
		symbol, color := Symbol(word)
		if obj.Get("ok") == false {
			symbol, color = "✗", Bad
		}
		text := []string{pad(Escape(target(obj)), width, false), Escape(word), Escape(obj.Text("reason")), Escape(obj.Text("error")), Escape(obj.Text("message"))}
		if inner, ok := obj.Get("error").(Object); ok {
			text[3] = Escape(inner.Text("message"))
		}
		text = slices.DeleteFunc(text, func(s string) bool { return s == "" })
		if Width(text[0]) > width && o.Width > 0 { // the rest begins below
			b.WriteString("  " + o.Style.Paint(color, symbol) + " " + text[0] + "\n")
			b.WriteString(Fold(strings.Repeat(" ", 6)+strings.Join(text[1:], "  "), 6, o.Width) + "\n")
			continue
		}
		line := strings.Repeat(" ", 4) + strings.Join(text, "  ")
		b.WriteString("  " + o.Style.Paint(color, symbol) + " " + Fold(line, 6, o.Width)[4:] + "\n")
	}
}

// target names what an item is about.
func target(obj Object) string {
	for _, key := range []string{"key", "target", "name", "id"} {
		if s := obj.Text(key); s != "" {
			return s
		}
	}
	return ""
}

// FaultJSON gives the one document that a machine reads of a failure.
func FaultJSON(e *fault.Error) []byte {
	raw, err := json.Marshal(map[string]any{"error": e})
	if err != nil { // items that are no JSON: the rest still says what happened
		plain := *e
		plain.Items = nil
		raw, _ = json.Marshal(map[string]any{"error": &plain})
	}
	return raw
}
