package render

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"

	"github.com/itchyny/gojq"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Filter is a compiled jq expression.
type Filter struct{ code *gojq.Code }

// NewFilter compiles a jq expression. Fault: invalid.
func NewFilter(expr string) (*Filter, error) {
	q, err := gojq.Parse(expr)
	if err != nil {
		return nil, badFilter(expr, err)
	}
	code, err := gojq.Compile(q)
	if err != nil {
		return nil, badFilter(expr, err)
	}
	return &Filter{code}, nil
}

func badFilter(expr string, err error) error {
	return fault.New(fault.Invalid, "cannot use the filter %q: %v", expr, err).WithReason("bad_filter").
		WithHint("omnitron … --jq '.items[].name'        jq's own language")
}

// Apply writes what the expression makes of a document: texts as they are, everything else as JSON, a value a line.
// Fault: invalid, when the expression fails on the document.
func (f *Filter) Apply(ctx context.Context, w io.Writer, raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	var b bytes.Buffer
	iter := f.code.RunWithContext(ctx, numbers(v))
results:
	for {
		v, ok := iter.Next()
		if !ok {
			break
		}
		switch v := v.(type) {
		case error:
			if err, ok := v.(*gojq.HaltError); ok && err.Value() == nil {
				break results
			}
			return fault.New(fault.Invalid, "the filter failed: %v", v).WithReason("bad_filter")
		case string:
			b.WriteString(v + "\n")
		default:
			text, err := gojq.Marshal(v)
			if err != nil {
				return fmt.Errorf("cannot write the filter's value: %w", err)
			}
			b.Write(text)
			b.WriteByte('\n')
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// numbers turns json.Number into what jq counts with, without losing the digits of large integers.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			return n
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}
