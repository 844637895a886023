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
	name, doc, cli string
	typ            reflect.Type
	enum           string
	initial        string
	required       bool
	elsewhere      bool // a flag of every command
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
		one := input{
			name: name, doc: f.Tag.Get("jsonschema"), typ: f.Type, enum: f.Tag.Get("enum"), initial: f.Tag.Get("default"),
			required: !strings.Contains(opts, "omit") && f.Tag.Get("default") == "",
		}
		for part := range strings.SplitSeq(f.Tag.Get("cli"), ",") {
			if part == "arg" || part == "args" || part == "arg?" {
				one.cli = part
			}
		}
		one.elsewhere = one.cli == "" && (f.Type == reflect.TypeFor[op.ProjectRef]() || f.Type == reflect.TypeFor[op.StackRef]())
		all = append(all, one)
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

// flag is how the field is typed, and what is typed after it: the unit of a time is part of the value there, not of the
// name.
func (f input) flag() (name, kind string) {
	name, kind = f.name, f.kind()
	if k := kindOf(f.typ); k == "integer" || k == "number" {
		for _, unit := range []string{"_ms", "_s"} {
			if short, ok := strings.CutSuffix(name, unit); ok {
				name, kind = short, "duration such as 30s"
				break
			}
		}
	}
	return "--" + strings.ReplaceAll(name, "_", "-"), kind
}

// usage is the method as a command.
func usage(m *tools.Method, command string) string {
	words := []string{"omnitron", command}
	flags := m.Controlled()
	for _, f := range inputs(m) {
		switch {
		case f.cli == "args":
			words = append(words, "["+strings.ToUpper(f.name)+" …]")
		case f.cli == "arg" && f.required:
			words = append(words, strings.ToUpper(f.name))
		case f.cli == "arg", f.cli == "arg?":
			words = append(words, "["+strings.ToUpper(f.name)+"]")
		case !f.elsewhere:
			flags = true
		}
	}
	if flags {
		words = append(words, "[flags]")
	}
	return strings.Join(words, " ")
}

func cliPage(methods []*tools.Method) []byte {
	var p page
	p.WriteString("# Commands\n\n" + generated)
	p.line("Every method is a command, `omnitron <service> <verb>`. `--project`, `--stack`, `-o` and the other common flags work everywhere;")
	p.line("`--dry-run`, `--confirm` and `--idempotency-key` on every command that changes something.")
	services(methods, func(name string, of []*tools.Method) {
		p.line("\n## %s", name)
		for _, m := range of {
			p.line("\n### omnitron %s %s\n", m.Service, m.Verb)
			p.line("%s\n\n```", m.Doc)
			p.line("%s", usage(m, m.Service+" "+m.Verb))
			if m.Top != "" {
				p.line("%s", usage(m, m.Top))
			}
			p.line("```")
			for _, f := range inputs(m) {
				switch {
				case f.elsewhere:
				case f.cli != "":
					p.line("- `%s` %s", strings.ToUpper(f.name), f.doc)
				default:
					name, kind := f.flag()
					p.line("- `%s` %s (%s)%s", name, f.doc, kind, needed(f.required))
				}
			}
		}
	})
	return p.Bytes()
}

func needed(required bool) string {
	if required {
		return ", required"
	}
	return ""
}
