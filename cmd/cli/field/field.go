// Package field turns the input type of a method into arguments and flags, and what was typed into the method's input.
package field

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Field is one field of an input.
type Field struct {
	Name     string // JSON name
	Doc      string
	Type     reflect.Type
	Arg      string // arg: positional, args: all that follow, "": a flag
	Short    string // one letter of the flag
	Complete string // what completion offers: apps, projects, …
	Enum     []string
	Default  string
	Secret   bool
	Required bool
}

// Of gives the fields of an input type in their order, embedded structs flattened.
func Of(t reflect.Type) []Field {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var fields []Field
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fields = append(fields, Of(f.Type)...)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fd := Field{
			Name: name, Doc: f.Tag.Get("jsonschema"), Type: f.Type, Complete: f.Tag.Get("complete"),
			Default: f.Tag.Get("default"), Secret: f.Tag.Get("secret") == "true" && f.Type.Kind() == reflect.String,
			Required: !strings.Contains(opts, "omitempty") && !strings.Contains(opts, "omitzero"),
		}
		for part := range strings.SplitSeq(f.Tag.Get("cli"), ",") {
			switch part {
			case "arg", "args":
				fd.Arg = part
			case "arg?":
				fd.Arg, fd.Required = "arg", false
			}
			if letter, ok := strings.CutPrefix(part, "short="); ok {
				fd.Short = letter
			}
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			fd.Enum = strings.Split(enum, ",")
		}
		fields = append(fields, fd)
	}
	return fields
}

// Find gives the field of a JSON name.
func Find(fields []Field, name string) (Field, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// Ambient reports whether a field is filled by a flag of every command instead of one of its own.
func (f Field) Ambient() bool {
	return f.Type == reflect.TypeFor[op.ProjectRef]() || f.Type == reflect.TypeFor[op.StackRef]() || f.Name == "project" && f.Arg == "" || f.Name == "stack" && f.Arg == ""
}

// Flag is the name of the field's flag. A duration is typed with its unit, so the unit leaves the name.
func (f Field) Flag() string {
	name := f.Name
	if _, ok := f.unit(); ok {
		name = name[:strings.LastIndexByte(name, '_')]
	}
	return strings.ReplaceAll(name, "_", "-")
}

// unit is the unit of a number that is typed with one.
func (f Field) unit() (time.Duration, bool) {
	if !f.numeric() {
		return 0, false
	}
	switch {
	case strings.HasSuffix(f.Name, "_s"):
		return time.Second, true
	case strings.HasSuffix(f.Name, "_ms"):
		return time.Millisecond, true
	}
	return 0, false
}

func (f Field) base() reflect.Type {
	t := f.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func (f Field) numeric() bool {
	switch f.base().Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

// bytes reports whether a number is a size that may be typed as 50MB.
func (f Field) bytes() bool { return f.numeric() && strings.HasSuffix(f.Name, "_bytes") }

// moment reports whether the field is a point in time, so that 10m means ten minutes ago.
func (f Field) moment() bool {
	return f.base() == timeType || f.base().Kind() == reflect.String && (f.Name == "since" || f.Name == "until")
}

// many reports whether the flag may be repeated: a list of texts or numbers, or texts by name.
func (f Field) many() bool {
	t := f.base()
	switch t.Kind() {
	case reflect.Slice:
		return t != rawType && scalar(t.Elem())
	case reflect.Map:
		return t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String
	}
	return false
}

func scalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Interface, reflect.Pointer, reflect.Array:
		return t == timeType
	}
	return true
}

var (
	timeType = reflect.TypeFor[time.Time]()
	rawType  = reflect.TypeFor[json.RawMessage]()
)

// Kind is the word for what the flag takes, as help shows it.
func (f Field) Kind() string {
	t := f.base()
	if t.Kind() == reflect.Slice && f.many() {
		f.Type = t.Elem()
		return f.Kind()
	}
	_, span := f.unit()
	switch {
	case span:
		return "duration"
	case f.bytes():
		return "size"
	case f.moment():
		return "when"
	case f.Type.Kind() == reflect.Map && f.many():
		return "key=value"
	case t.Kind() == reflect.Bool:
		return ""
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "number"
	case f.numeric():
		return "int"
	case len(f.Enum) > 0 && len(strings.Join(f.Enum, "|")) <= 40:
		return strings.Join(f.Enum, "|")
	case t.Kind() == reflect.String:
		return "text"
	}
	return "json"
}
