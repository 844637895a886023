package answer

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// column is one column of a table.
type column struct {
	name  string
	index []int
	order int
}

// columns finds the columns of an item type: the fields with a table tag in its order, else the first few plain ones.
func columns(t reflect.Type) []column {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var tagged, plain []column
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" || throughPointer(t, f.Index) {
			continue
		}
		c := column{name: name, index: f.Index}
		if tag, ok := f.Tag.Lookup("table"); ok {
			c.order, _ = strconv.Atoi(tag) // a tag that is no number stands first
			tagged = append(tagged, c)
		} else if k := f.Type.Kind(); k != reflect.Slice && k != reflect.Map && k != reflect.Struct && k != reflect.Interface {
			plain = append(plain, c)
		}
	}
	if len(tagged) > 0 {
		slices.SortStableFunc(tagged, func(a, b column) int { return a.order - b.order })
		return tagged
	}
	return plain[:min(len(plain), 6)]
}

// spoken is an item that says in words what its empty column would not: a note of output that is missing.
type spoken interface{ Words() (column, words string) }

// throughPointer reports fields that are reached through an embedded pointer, which may be nil.
func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		if t.Kind() != reflect.Struct {
			return true
		}
		t = t.Field(i).Type
	}
	return t.Kind() != reflect.Struct
}

// table writes items of one type as lines of cells parted by tabs, at most limit bytes; what does not fit is counted.
func table(item reflect.Type, cols []column, items reflect.Value, limit int) string {
	var b strings.Builder
	for i, c := range cols {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(strings.ToUpper(c.name))
	}
	for i := range items.Len() {
		row := items.Index(i)
		for row.Kind() == reflect.Pointer || row.Kind() == reflect.Interface {
			row = row.Elem()
		}
		if row.Type() != item {
			return ""
		}
		var column, words string
		if s, ok := row.Interface().(spoken); ok {
			column, words = s.Words()
		}
		start := b.Len()
		line := make([]byte, 0, 128)
		for j, c := range cols {
			if j > 0 {
				line = append(line, '\t')
			}
			if c.name == column && words != "" {
				line = append(line, Line(words, 200)...)
				continue
			}
			line = append(line, cell(row.FieldByIndex(c.index))...)
		}
		if start+len(line)+1 > limit {
			fmt.Fprintf(&b, "\n… %d more", items.Len()-i)
			break
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	return b.String()
}

// cell is one value, short and visible.
func cell(v reflect.Value) string {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return "-"
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Time:
		if x.IsZero() {
			return "-"
		}
		return x.UTC().Format(time.RFC3339)
	case fmt.Stringer:
		return Line(x.String(), 200)
	}
	switch v.Kind() {
	case reflect.String:
		if v.Len() == 0 {
			return "-"
		}
		return Line(v.String(), 200)
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return "-"
		}
		return Line(string(b), 120)
	default:
		return fmt.Sprint(v.Interface())
	}
}
