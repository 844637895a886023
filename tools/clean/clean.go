// Package clean takes the known secrets out of answers and faults. What a method answers may quote what an app has printed, a
// command line, an error text of somebody else; so the pipeline has every answer, item, fault and record cleaned, all but the
// answers whose type says that they hold a secret, and those of methods that have seen to it themselves.
package clean

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// Answer gives an answer without the secrets: itself when it has none.
func Answer(m *redact.Matcher, v any) any {
	switch o := v.(type) {
	case nil:
		return v
	case op.Outcome:
		o.Result, o.Next = Answer(m, o.Result), Answer(m, o.Next).([]op.Next)
		if o.Plan != nil {
			plan := Answer(m, *o.Plan).(op.Plan)
			o.Plan = &plan
		}
		return o
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return v // the plane will say so
	}
	out, hit := m.JSON(raw)
	if !hit {
		return v
	}
	again := reflect.New(reflect.TypeOf(v))
	if json.Unmarshal(out, again.Interface()) != nil { // a text that is no text for this type any more
		return json.RawMessage(out)
	}
	return again.Elem().Interface()
}

// Fault takes the secrets out of a fault, which is the call's own.
func Fault(m *redact.Matcher, f *fault.Error) {
	f.Message, f.Hint = m.String(f.Message), m.String(f.Hint)
	f.Candidates = slices.Clone(f.Candidates)
	for i, c := range f.Candidates {
		f.Candidates[i] = m.String(c)
	}
	f.Problems = slices.Clone(f.Problems)
	for i := range f.Problems {
		p := &f.Problems[i]
		p.Path, p.Message, p.Near = m.String(p.Path), m.String(p.Message), m.String(p.Near)
	}
	f.Items = Answer(m, f.Items)
}
