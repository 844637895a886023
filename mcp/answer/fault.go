package answer

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Fault puts a fault into words: CODE: what and why. What is wrong, item by item. Next: what to call.
func Fault(f *fault.Error) string {
	var b strings.Builder
	b.WriteString(string(f.Code) + ": ")
	if len(f.Problems) > 0 { // the message says the same in one line
		b.WriteString("the input does not fit.")
	} else {
		b.WriteString(sentence(Text(f.Message, 2_000)))
	}
	for i, p := range f.Problems {
		if i == 20 {
			b.WriteString("\n- …")
			break
		}
		b.WriteString("\n- ")
		if p.Path != "" {
			b.WriteString(Line(p.Path, 100) + ": ")
		}
		b.WriteString(Line(p.Message, 300))
		if p.Near != "" && !strings.Contains(p.Message, p.Near) {
			b.WriteString("; did you mean " + Line(p.Near, 100) + "?")
		}
	}
	var more []string
	if len(f.Candidates) > 0 {
		names := make([]string, min(len(f.Candidates), 20))
		for i := range names {
			names[i] = Line(f.Candidates[i], 130)
		}
		more = append(more, "Candidates: "+strings.Join(names, ", ")+".")
	}
	if f.Hint != "" {
		more = append(more, "Next: "+sentence(Text(f.Hint, 1_000)))
	}
	if f.Call != "" {
		more = append(more, "Call id: "+Line(f.Call, 64)+".")
	}
	if len(more) > 0 {
		b.WriteString(map[bool]string{true: "\n", false: " "}[len(f.Problems) > 0] + strings.Join(more, " "))
	}
	if f.Items != nil {
		if items, err := Marshal(f.Items); err == nil {
			b.WriteString("\n" + Cut(string(items), MaxText/2))
		}
	}
	return b.String()
}

func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "!") {
		return s
	}
	return s + "."
}

// Shrink cuts any value to at most limit bytes of JSON, and reports false when that cannot be done.
func Shrink(v any, limit int) (any, bool) {
	if v == nil {
		return nil, true
	}
	whole, err := Marshal(v)
	if err != nil {
		return nil, false
	}
	if len(whole) <= limit {
		return json.RawMessage(whole), true
	}
	cut, ok := fit(bytes.Clone(whole), nil, limit)
	return json.RawMessage(cut), ok
}
