package answer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"
)

// Limits of one answer in bytes.
const (
	MaxBytes = 25_000 // the whole result as it stands on the wire
	MaxText  = 4_096  // its text, where structured content stands beside it
	margin   = 2_600  // for what the plane puts around
)

// Room is how many bytes the structured content may have.
const Room = MaxBytes - MaxText - margin

// Form knows how the answers of one method are shown and cut.
type Form struct {
	shape *shape
	item  reflect.Type // of a list
	cols  []column
	items []int // index of the field Items
	list  reflect.Type
}

// NewForm makes the form of a method from its output schema, the Go type of its answer and, for a stream, that of its
// items. Either type may be nil.
func NewForm(schema json.RawMessage, out, item reflect.Type) (*Form, error) {
	s, err := parseShape(schema)
	if err != nil {
		return nil, fmt.Errorf("cannot read the output schema: %w", err)
	}
	f := &Form{shape: s}
	if item != nil {
		f.list, f.item, f.cols = reflect.TypeFor[Batch](), item, columns(item)
		rows, _ := f.list.FieldByName("Rows")
		f.items = rows.Index
		return f, nil
	}
	if out == nil || out.Kind() != reflect.Struct {
		return f, nil
	}
	if items, ok := out.FieldByName("Items"); ok && items.Type.Kind() == reflect.Slice {
		f.list, f.items, f.item = out, items.Index, items.Type.Elem()
		for f.item.Kind() == reflect.Pointer {
			f.item = f.item.Elem()
		}
		f.cols = columns(f.item)
	}
	return f, nil
}

// Batch is what a bounded stream gave.
type Batch struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor string            `json:"next_cursor,omitempty"`
	Truncated  bool              `json:"truncated"`
	Dropped    int64             `json:"dropped,omitempty"`
	Rows       []any             `json:"-"` // the items as Go values
}

// Answer is one rendered answer.
type Answer struct {
	Structured []byte // JSON that fits the schema
	Text       string
	Whole      []byte // the uncut JSON when something was cut, else nil
	TooBig     bool   // nothing that fits the schema fits the bounds
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Marshal gives v as JSON with every hidden rune escaped and markup left alone.
func Marshal(v any) ([]byte, error) {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 64<<10 {
			buffers.Put(buf)
		}
	}()
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	return bytes.Clone(JSON(b)), nil
}

// Render gives the answer for a method's value. The JSON of the value has at most Room bytes afterwards.
func (f *Form) Render(v any) (Answer, error) {
	whole, err := Marshal(v)
	if err != nil {
		return Answer{}, fmt.Errorf("cannot write the answer as JSON: %w", err)
	}
	a := Answer{Structured: whole}
	if len(whole) > Room {
		a.Whole = whole
		var ok bool
		if a.Structured, ok = fit(whole, f.shape, Room); !ok {
			return Answer{Whole: whole, TooBig: true}, nil
		}
	}
	a.Text = f.text(v, a.Structured)
	return a, nil
}

// text is a table for a list and the JSON itself for everything else.
func (f *Form) text(v any, structured []byte) string {
	if f.list != nil && len(f.cols) > 0 {
		rv := reflect.ValueOf(v)
		for rv.Kind() == reflect.Pointer && !rv.IsNil() {
			rv = rv.Elem()
		}
		if rv.IsValid() && rv.Type() == f.list {
			if items := rv.FieldByIndex(f.items); items.Len() > 0 {
				if t := table(f.item, f.cols, items, MaxText-64); t != "" {
					return t
				}
			}
		}
	}
	if len(structured) <= MaxText {
		return string(structured)
	}
	return Cut(string(structured), MaxText-64) + " the rest is in structuredContent"
}

// Count is how many items a list holds, or -1.
func (f *Form) Count(v any) int {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if f.list == nil || !rv.IsValid() || rv.Type() != f.list {
		return -1
	}
	return rv.FieldByIndex(f.items).Len()
}

// AppendString appends s as a JSON string without escaping markup.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0 // up to here s has been appended
	for i := 0; i < len(s); {
		if plain[s[i]] {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r >= 0xa0 && r != utf8.RuneError && !hidden(r) {
			i += n
			continue
		}
		dst = append(dst, s[done:i]...)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, '\\', 'n')
		case r == '\t':
			dst = append(dst, '\\', 't')
		case r == utf8.RuneError:
			dst = append(dst, "\ufffd"...)
		default:
			dst = appendRune(dst, r)
		}
		i += n
		done = i
	}
	return append(append(dst, s[done:]...), '"')
}

// plain are the bytes that stand for themselves in a JSON string.
var plain = func() (p [256]bool) {
	for c := 0x20; c < 0x7f; c++ {
		p[c] = c != '"' && c != '\\'
	}
	return p
}()
