// Package canary looks for secrets where they must not be: in every file of a home and in every answer, in whatever form.
package canary

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// Bird is a secret that is looked for.
type Bird struct {
	Kind  string // how it came in
	Value string
	forms []string
}

// Hatch makes a bird with the forms in which it may be met. They are made here, apart from the product's own, so that the
// two cannot be wrong together.
func Hatch(kind, value string) Bird {
	b := Bird{Kind: kind, Value: value}
	add := func(form string) {
		if len(form) >= 8 {
			b.forms = append(b.forms, form)
		}
	}
	texts := []string{value}
	for line := range strings.SplitSeq(value, "\n") {
		if line != value && !strings.HasPrefix(line, "-----") {
			texts = append(texts, line)
		}
	}
	for _, text := range texts {
		add(text)
		quoted, _ := json.Marshal(text) // a string always has a form
		add(strings.Trim(string(quoted), `"`))
	}
	add(url.QueryEscape(value))
	add(url.PathEscape(value))
	for shift := range 3 { // the middle of it, wherever it stands in something longer
		long := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
		add(long[4 : len(long)-4])
		add(strings.NewReplacer("+", "-", "/", "_").Replace(long[4 : len(long)-4]))
	}
	return b
}

// In gives the form in which the bird is in a text, or "".
func (b Bird) In(text string) string {
	for _, f := range b.forms {
		if strings.Contains(text, f) {
			return f
		}
	}
	return ""
}
