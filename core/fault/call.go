package fault

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
)

// Call is a call that makes sense now. A hint names calls in their native spelling, and every plane that shows one spells
// them its own way: apps.list {"all":true}, apps_list({"all":true}), omnitron ls --all.
type Call struct {
	Method string         `json:"method" jsonschema:"method id"`
	Input  map[string]any `json:"input,omitempty" schema:"any" jsonschema:"its input"`
}

// Do makes a call of a method; the input is pairs of a name and a value.
func Do(method string, pairs ...any) Call {
	c := Call{Method: method, Input: map[string]any{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		c.Input[pairs[i].(string)] = pairs[i+1]
	}
	return c
}

// JSON is the input as one object.
func (c Call) JSON() string {
	if len(c.Input) == 0 {
		return "{}"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c.Input); err != nil {
		return "{}" // inputs are plain data
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// String is the native spelling.
func (c Call) String() string { return c.Method + " " + c.JSON() }

// Hint is a text of an answer that may name calls, as the hint of a fault does.
type Hint string

// Speller gives the spelling that a plane has for a call, or false for a method that it does not know.
type Speller func(Call) (string, bool)

var native = regexp.MustCompile(`(?:^|[\s(])([a-z_]+\.[a-z_]+) \{`)

// Spell gives a text with its calls in another spelling.
func Spell(text string, spell Speller) string {
	var b strings.Builder
	for {
		at := native.FindStringSubmatchIndex(text)
		if at == nil {
			return b.String() + text
		}
		from, brace := at[2], at[1]-1
		end := brace
		d := json.NewDecoder(strings.NewReader(text[brace:]))
		c := Call{Method: text[from:at[3]]}
		if d.Decode(&c.Input) == nil {
			if said, ok := spell(c); ok {
				b.WriteString(text[:from] + said)
				text = text[brace+int(d.InputOffset()):]
				continue
			}
			end += int(d.InputOffset())
		}
		end = max(end, brace+1)
		b.WriteString(text[:end])
		text = text[end:]
	}
}

// Spelled gives the fault with the calls of its hint in another spelling.
func (e *Error) Spelled(spell Speller) *Error {
	hint := Spell(e.Hint, spell)
	if hint == e.Hint {
		return e
	}
	told := *e
	told.Hint = hint
	return &told
}

var hintType = reflect.TypeFor[Hint]()

// Hints reports whether values of a type have hints in them.
func Hints(t reflect.Type) bool { return hints(t, map[reflect.Type]bool{}) }

func hints(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == nil || seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && hints(f.Type, seen) {
				return true
			}
		}
	case reflect.Slice, reflect.Pointer:
		return hints(t.Elem(), seen)
	}
	return t == hintType
}

// SpellAll gives a value whose hints, in fields and lists, are in another spelling. The value itself stays as it is.
func SpellAll(v any, spell Speller) any {
	if v == nil {
		return nil
	}
	return spelled(reflect.ValueOf(v), spell).Interface()
}

func spelled(v reflect.Value, spell Speller) reflect.Value {
	if !Hints(v.Type()) {
		return v
	}
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.String:
		out.SetString(Spell(v.String(), spell))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				out.Field(i).Set(spelled(v.Field(i), spell))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(spelled(v.Index(i), spell))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(spelled(v.Elem(), spell))
		}
	}
	return out
}
