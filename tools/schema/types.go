package schema

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Enumerated is a string type with a closed list of values.
type Enumerated interface{ Values() []string }

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
	anyType      = reflect.TypeFor[any]()
	enumType     = reflect.TypeFor[Enumerated]()
	textTypes    = [...]reflect.Type{reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()}
	jsonTypes    = [...]reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler]()}
)

// fieldName is what fields are called on every plane.
var fieldName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// maxFields bounds an object, whose seen fields are a bit set.
const maxFields = 128

// builder walks a type; open are the structs that it is inside of.
type builder struct{ open []reflect.Type }

// object describes a struct. Embedded structs give their fields to the outer one, as encoding/json does.
func (b *builder) object(t reflect.Type, doc string) (*node, error) {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, fmt.Errorf("it is %s, and only a struct can be an input or an output", t.Kind())
	}
	if slices.Contains(b.open, t) {
		return nil, errors.New("it contains itself")
	}
	b.open = append(b.open, t)
	defer func() { b.open = b.open[:len(b.open)-1] }()
	n := &node{kind: object, doc: doc}
	if err := b.fields(n, t); err != nil {
		return nil, err
	}
	if len(n.fields) > maxFields {
		return nil, fmt.Errorf("%d fields are more than %d", len(n.fields), maxFields)
	}
	return n, nil
}

func (b *builder) fields(n *node, t reflect.Type) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("json")
		if tag == "-" {
			continue
		}
		if sf.Anonymous && !tagged {
			if sf.Type.Kind() != reflect.Struct || !sf.IsExported() {
				return fmt.Errorf("embedded field %s is not an exported struct", sf.Name)
			}
			if err := b.fields(n, sf.Type); err != nil {
				return fmt.Errorf("%s: %w", sf.Name, err)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		f, err := b.field(sf, tag)
		if err == nil && n.find(f.name) >= 0 {
			err = fmt.Errorf("two fields are called %q", f.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", sf.Name, err)
		}
		n.fields = append(n.fields, f)
	}
	return nil
}

func (b *builder) field(sf reflect.StructField, tag string) (field, error) {
	name, rest, _ := strings.Cut(tag, ",")
	f := field{name: name, required: true, secret: sf.Tag.Get("secret") == "true"}
	for opt := range strings.SplitSeq(rest, ",") {
		switch opt {
		case "omitempty", "omitzero":
			f.required = false
		case "":
		default:
			return f, fmt.Errorf("json option %q is not understood", opt)
		}
	}
	doc := sf.Tag.Get("jsonschema")
	switch {
	case !fieldName.MatchString(name):
		return f, fmt.Errorf("json name %q is not snake_case", name)
	case doc == "":
		return f, errors.New("no description (tag jsonschema)")
	case sf.Type.Kind() == reflect.Pointer && f.required:
		return f, errors.New("a pointer without omitempty may be null, which its schema cannot say")
	}
	n, err := b.value(sf.Type, sf.Tag)
	if err != nil {
		return f, err
	}
	n.doc = doc
	if f.node = n; n.initial != nil {
		f.required = false
	}
	return f, nil
}

// value describes the type of a field, with the field's tags; those of a list of texts or numbers speak of its items
// where the list itself cannot be meant.
func (b *builder) value(t reflect.Type, tag reflect.StructTag) (*node, error) {
	n, err := b.plain(t, tag)
	if err != nil {
		return nil, err
	}
	return n, n.tags(tag)
}

func (b *builder) plain(t reflect.Type, tag reflect.StructTag) (*node, error) {
	if t.Kind() == reflect.Pointer {
		return b.plain(t.Elem(), tag)
	}
	if any, err := freely(t, tag); any || err != nil {
		return &node{kind: free}, err
	}
	if g, ok := named[t]; ok {
		return &node{kind: text, pattern: g.pattern, names: g.names}, nil
	}
	switch {
	case t == timeType:
		return &node{kind: text, date: true}, nil
	case t == durationType:
		return nil, errors.New("a time.Duration is encoded in nanoseconds: use a number with the unit in its name, such as timeout_s or delay_ms")
	case t.Implements(enumType):
		values := reflect.Zero(t).Interface().(Enumerated).Values()
		if t.Kind() != reflect.String || len(values) == 0 {
			return nil, fmt.Errorf("%s lists its values and is no string type, or lists none", t)
		}
		return &node{kind: text, enum: values}, nil
	case implements(t, jsonTypes[:]):
		return nil, fmt.Errorf("%s encodes itself, so nothing is known of its form", t)
	case implements(t, textTypes[:]):
		return &node{kind: text}, nil
	}
	return b.basic(t, tag)
}

func (b *builder) basic(t reflect.Type, tag reflect.StructTag) (*node, error) {
	switch t.Kind() {
	case reflect.Struct:
		return b.object(t, "")
	case reflect.String:
		return &node{kind: text}, nil
	case reflect.Bool:
		return &node{kind: boolean}, nil
	case reflect.Float64, reflect.Float32:
		return &node{kind: number}, nil
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		bits := t.Bits()
		return &node{kind: integer, lo: new(int64(math.MinInt64 >> (64 - bits))), hi: new(int64(math.MaxInt64 >> (64 - bits)))}, nil
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		hi := int64(math.MaxInt64)
		if bits := t.Bits(); bits < 64 {
			hi = 1<<bits - 1
		}
		return &node{kind: integer, lo: new(int64(0)), hi: &hi, said: [2]bool{true, false}}, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return nil, errors.New("bytes have no form in JSON that every client shares: use a string")
		}
		return b.several(list, t.Elem(), tag)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			return nil, fmt.Errorf("keys of %s are not strings", t)
		}
		return b.several(dict, t.Elem(), tag)
	}
	return nil, fmt.Errorf("%s cannot be described", t)
}

func (b *builder) several(k kind, elem reflect.Type, tag reflect.StructTag) (*node, error) {
	if elem.Kind() == reflect.Pointer {
		return nil, errors.New("a pointer in a list or a map may be null, which its schema cannot say")
	}
	e, err := b.plain(elem, tag)
	return &node{kind: k, elem: e}, err
}

// freely reports whether t is a value of any form, which is allowed only where a tag says that it is meant.
func freely(t reflect.Type, tag reflect.StructTag) (bool, error) {
	meant := tag.Get("schema") == "any"
	switch {
	case t == rawType || t == anyType || t.Kind() == reflect.Interface:
		if !meant {
			return false, errors.New(`its form is not known; tag it schema:"any" if that is meant`)
		}
		return true, nil
	case t.Kind() == reflect.Map || t.Kind() == reflect.Slice:
		return false, nil // the tag speaks of the elements
	case meant:
		return false, fmt.Errorf(`schema:"any" on %s, which has a form`, t)
	}
	return false, nil
}

func implements(t reflect.Type, is []reflect.Type) bool {
	for _, i := range is {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}
