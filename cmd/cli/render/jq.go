package render

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"text/template"

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

// Template is a Go template for the JSON of an answer.
type Template struct{ t *template.Template }

// helpers are what a template can call beside Go's own.
var helpers = template.FuncMap{
	"json": func(v any) (string, error) {
		text, err := json.Marshal(v)
		return string(text), err
	},
	"join": func(sep string, list any) string {
		items, _ := list.([]any)
		words := make([]string, len(items))
		for i, it := range items {
			words[i] = fmt.Sprint(it)
		}
		return strings.Join(words, sep)
	},
	"upper": strings.ToUpper, "lower": strings.ToLower,
	"pluck": func(field string, list any) (out []any) {
		items, _ := list.([]any)
		for _, it := range items {
			if m, ok := it.(map[string]any); ok {
				out = append(out, m[field])
			}
		}
		return out
	},
}

// NewTemplate reads a template. Fault: invalid (bad_template).
func NewTemplate(text string) (*Template, error) {
	t, err := template.New("--template").Funcs(helpers).Parse(text)
	if err != nil {
		return nil, badTemplate(err)
	}
	return &Template{t}, nil
}

func badTemplate(err error) error {
	return fault.New(fault.Invalid, "%s", strings.TrimPrefix(err.Error(), "template: ")).WithReason("bad_template").
		WithHint(`omnitron … --template '{{range .items}}{{.name}}{{"\n"}}{{end}}'        a Go template; its names are those of -o json`)
}

// Apply writes what the template makes of a document; what a field that is absent would give is nothing. The control characters of
// others' text are escaped where a terminal would obey them. Fault: invalid (bad_template), when the template fails on the document.
func (t *Template) Apply(w io.Writer, raw []byte, terminal bool) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	var b bytes.Buffer
	if err := t.t.Execute(&b, simple(v, terminal)); err != nil {
		return badTemplate(err)
	}
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte("<no value>"), nil))
	return err
}

// simple makes numbers what a template can compare, and texts harmless.
func simple(v any, escape bool) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if f, err := strconv.ParseFloat(v.String(), 64); err == nil {
			return f
		}
		return v.String()
	case string:
		if escape {
			return Escape(v)
		}
	case []any:
		for i := range v {
			v[i] = simple(v[i], escape)
		}
	case map[string]any:
		for k := range v {
			v[k] = simple(v[k], escape)
		}
	}
	return v
}
