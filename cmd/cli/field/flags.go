package field

import (
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/spf13/pflag"
)

// Flags holds what was typed for the fields of one input.
type Flags struct {
	Fields []Field
	typed  map[string]*text
}

// text collects the values of a flag as they were typed; parsing waits until all of them are known.
type text struct {
	field  Field
	values []string
}

func (t *text) String() string { return t.field.Default }
func (t *text) Type() string {
	if t.onOff() {
		return "bool" // so that help shows no value
	}
	return t.field.Kind()
}
func (t *text) Set(s string) error {
	if !t.field.many() {
		t.values = t.values[:0]
	}
	t.values = append(t.values, s)
	return nil
}

// onOff reports whether the flag stands without a value.
func (t *text) onOff() bool { return t.field.base().Kind() == reflect.Bool }

// Bind gives a command a flag for each field that is neither an argument nor ambient. A field called wait is on by
// itself, and its flag says --no-wait: a command returns when what it was asked for is so.
func Bind(set *pflag.FlagSet, fields []Field) *Flags {
	b := &Flags{fields, map[string]*text{}}
	for _, f := range fields {
		if f.Arg != "" || f.Ambient() {
			continue
		}
		t := &text{field: f}
		name, doc := f.Flag(), f.help()
		if f.waits() {
			name, doc = "no-wait", "return at once instead of when it is so"
		}
		b.typed[f.Name] = t
		flag := set.VarPF(t, name, f.Short, doc)
		if t.onOff() {
			flag.NoOptDefVal = "true"
		}
	}
	return b
}

func (f Field) waits() bool { return f.Name == "wait" && f.base().Kind() == reflect.Bool }

func (f Field) help() string {
	doc := f.Doc
	if len(f.Enum) > 0 && f.Kind() == "text" {
		doc += ": " + strings.Join(f.Enum, ", ")
	}
	if f.many() {
		doc += " (repeatable)"
	}
	if f.Kind() == "json" {
		doc += " (JSON, or @file)"
	}
	if f.Secret {
		doc += " (- reads standard input; left out, it is asked for: never typed here, where process lists show it)"
	}
	return strings.TrimSpace(doc)
}

// Secret asks for a secret without showing it, or reads it from standard input where nobody can be asked: all of that, or
// only a line where several are wanted.
type Secret func(what string, line bool) (string, error)

// secrets gives secret with the knowledge of how many are wanted.
func (b *Flags) secrets(secret Secret) Secret {
	n := 0
	for _, f := range b.Fields {
		if t := b.typed[f.Name]; f.Secret && t != nil && (f.Required || len(t.values) > 0) {
			n++
		}
	}
	return func(what string, _ bool) (string, error) { return secret(what, n > 1) }
}

// Input makes the method's input of flags and arguments. secret gives what must not be typed as one of them: a secret
// that is required and left out, or given as "-". Fault: invalid (secret_in_arguments).
func (b *Flags) Input(args []string, now time.Time, secret Secret) (map[string]any, error) {
	in := map[string]any{}
	secret = b.secrets(secret)
	for _, f := range b.Fields {
		if t := b.typed[f.Name]; t != nil {
			if f.waits() {
				no := len(t.values) > 0 && t.values[0] != "false"
				in[f.Name] = !no
				continue
			}
			if f.Secret && f.Required && len(t.values) == 0 {
				t.values = []string{"-"}
			}
			if err := b.put(in, f, t.values, now, secret); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case f.Arg == "args":
			if err := b.put(in, f, args, now, secret); err != nil {
				return nil, err
			}
			args = nil
		case f.Arg == "arg" && len(args) > 0:
			if err := b.put(in, f, args[:1], now, secret); err != nil {
				return nil, err
			}
			args = args[1:]
		}
	}
	return in, nil
}

func (b *Flags) put(in map[string]any, f Field, values []string, now time.Time, secret Secret) error {
	if len(values) == 0 {
		return nil
	}
	values = slices.Clone(values)
	for i, v := range values {
		got, err := f.content(v, secret)
		if err != nil {
			return err
		}
		values[i] = got
	}
	if !f.many() {
		v, err := f.Parse(values[len(values)-1], now)
		if err == nil {
			in[f.Name] = v
		}
		return err
	}
	if f.base().Kind() == reflect.Map {
		m := map[string]any{}
		for _, s := range values {
			v, err := f.Parse(s, now)
			if err != nil {
				return err
			}
			pair := v.([2]string)
			m[pair[0]] = pair[1]
		}
		in[f.Name] = m
		return nil
	}
	list := make([]any, 0, len(values))
	for _, s := range values {
		v, err := f.Parse(s, now)
		if err != nil {
			return err
		}
		list = append(list, v)
	}
	in[f.Name] = list
	return nil
}

// content reads what a value stands for: @file of structured fields, - of secrets.
func (f Field) content(v string, secret Secret) (string, error) {
	if f.Secret && v == "-" {
		return secret(f.Flag(), false)
	}
	if f.Secret {
		return "", fault.New(fault.Invalid, "--%s: a secret must not be an argument: the list of processes shows it to everyone, and the shell keeps it", f.Flag()).
			WithReason("secret_in_arguments").WithHint("leave --%s out to be asked for it, or send it to standard input: … < file", f.Flag())
	}
	if path, ok := strings.CutPrefix(v, "@"); ok && f.Kind() == "json" {
		file, err := os.Open(path)
		if err != nil {
			return "", fault.New(fault.Invalid, "--%s: %v", f.Flag(), err)
		}
		defer file.Close()
		return f.bounded(file)
	}
	return v, nil
}

// mostContent is how much one value may have.
const mostContent = 4 << 20

// bounded reads a value to its end, which has to come.
func (f Field) bounded(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, mostContent+1))
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "--%s: %v", f.Flag(), err)
	case len(raw) > mostContent:
		return "", fault.New(fault.Invalid, "--%s: what is to be read has more than %d bytes", f.Flag(), mostContent)
	}
	return string(raw), nil
}

// Usage is the argument part of a command's usage line.
func Usage(fields []Field) string {
	var b strings.Builder
	for _, f := range fields {
		switch {
		case f.Arg == "args" && f.Required:
			b.WriteString(" <" + f.singular() + "…>")
		case f.Arg == "args":
			b.WriteString(" [" + f.singular() + "…]")
		case f.Arg == "arg" && f.Required:
			b.WriteString(" <" + f.Flag() + ">")
		case f.Arg == "arg":
			b.WriteString(" [" + f.Flag() + "]")
		}
	}
	return b.String()
}

func (f Field) singular() string { return strings.TrimSuffix(f.Flag(), "s") }

// Check refuses too few and too many arguments. Fault: invalid.
func Check(fields []Field, args []string, command string) error {
	least, most := 0, 0
	var missing []string
	for _, f := range fields {
		switch f.Arg {
		case "arg":
			if most++; f.Required {
				if least++; len(args) < most {
					missing = append(missing, "<"+f.Flag()+">")
				}
			}
		case "args":
			if f.Required {
				if least++; len(args) < least {
					missing = append(missing, "<"+f.singular()+">")
				}
			}
			most = 1 << 30
		}
	}
	usage := command + Usage(fields)
	switch {
	case len(missing) > 0:
		return fault.New(fault.Invalid, "%s needs %s", command, strings.Join(missing, " and ")).WithReason("missing_argument").WithHint("%s", usage)
	case len(args) > most:
		e := fault.New(fault.Invalid, "%s does not take %q", command, args[most]).WithReason("unknown_argument").WithHint("%s", usage)
		return e
	}
	return nil
}
