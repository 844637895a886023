package docs

import (
	"reflect"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
)

// input is one field of a method's own input.
type input struct {
	name, doc string
	typ       reflect.Type
	enum      string
	initial   string
	required  bool
}

// inputs gives the fields of a method's input, embedded structs flattened.
func inputs(m *tools.Method) []input { return fields(m.In) }

func fields(t reflect.Type) []input {
	var all []input
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			all = append(all, fields(f.Type)...)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		all = append(all, input{
			name: name, doc: f.Tag.Get("jsonschema"), typ: f.Type, enum: f.Tag.Get("enum"), initial: f.Tag.Get("default"),
			required: !strings.Contains(opts, "omit") && f.Tag.Get("default") == "",
		})
	}
	return all
}

// kind names the type as people say it.
func (f input) kind() string {
	word := kindOf(f.typ)
	if f.enum != "" {
		word = strings.ReplaceAll(f.enum, ",", " | ")
	}
	if f.typ.Kind() == reflect.Slice && f.enum != "" {
		word += " …"
	}
	if f.initial != "" {
		word += ", default " + f.initial
	}
	return word
}

func kindOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[op.Selector]():
		return "selector"
	case t == reflect.TypeFor[time.Time]():
		return "time"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "any"
		}
		return kindOf(t.Elem()) + " …"
	case reflect.Map:
		return "map of " + kindOf(t.Elem())
	case reflect.Struct:
		return "object"
	case reflect.Interface:
		return "any"
	}
	return "integer"
}
