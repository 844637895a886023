package render

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Column is one field of an item.
type Column struct {
	Name     string // JSON name
	Header   string
	Unit     string
	Priority int  // 1 stays longest; 0: only in -o wide
	Wide     bool // within an object: for a person only in -o wide
	Type     reflect.Type
}

// Columns gives the fields of a struct type in their order, embedded ones flattened. Anything but a struct has none.
func Columns(t reflect.Type) []Column {
	t = deref(t)
	if t == nil || t.Kind() != reflect.Struct || t == timeType {
		return nil
	}
	var cols []Column
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			cols = append(cols, Columns(f.Type)...)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		c := Column{Name: name, Unit: f.Tag.Get("unit"), Type: f.Type, Wide: f.Tag.Get("wide") != ""}
		c.Priority, _ = strconv.Atoi(f.Tag.Get("table"))
		if c.Unit == "" {
			c.Unit = unitOf(name, f.Type)
		}
		c.Header = header(name)
		cols = append(cols, c)
	}
	return cols
}

var timeType = reflect.TypeFor[time.Time]()

func deref(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// unitOf reads the unit out of the name, as the names carry it. A command is shown as it would be typed.
func unitOf(name string, t reflect.Type) string {
	if name == "argv" {
		return name
	}
	if deref(t) == timeType {
		return "time"
	}
	for _, u := range []string{"bytes", "ms", "s", "percent"} {
		if strings.HasSuffix(name, "_"+u) {
			return u
		}
	}
	return ""
}

func header(name string) string {
	for _, u := range []string{"_bytes", "_ms", "_s", "_percent"} {
		if base, ok := strings.CutSuffix(name, u); ok {
			name = base
			break
		}
	}
	return strings.ToUpper(strings.ReplaceAll(name, "_", " "))
}

// listField finds the field that makes an answer a list: a slice called items, or the only slice of structs of
// the first rank in the table.
func listField(t reflect.Type) (Column, bool) {
	var found Column
	for _, c := range Columns(t) {
		if deref(c.Type).Kind() != reflect.Slice {
			continue
		}
		if c.Name == "items" || c.Priority == 1 && deref(deref(c.Type).Elem()).Kind() == reflect.Struct {
			if found.Name == "" || c.Name == "items" {
				found = c
			}
		}
	}
	return found, found.Name != ""
}

// guess makes columns from the data where there is no type that says more.
func guess(rows []any) []Column {
	var cols []Column
	seen := map[string]bool{}
	for _, row := range rows {
		obj, ok := row.(Object)
		if !ok {
			continue
		}
		for _, m := range obj {
			if !seen[m.Key] {
				seen[m.Key] = true
				cols = append(cols, Column{Name: m.Key, Header: header(m.Key), Unit: unitOf(m.Key, nil), Priority: len(cols) + 1})
			}
		}
	}
	return cols
}

// CheckColumns refuses names that are no columns of an answer of type t, if that is a list.
func CheckColumns(t reflect.Type, names []string) error {
	c, ok := listField(t)
	if !ok {
		return nil
	}
	var have []string
	for _, c := range Columns(elem(c.Type)) {
		have = append(have, c.Name)
	}
	for _, n := range names {
		if len(chosen(Columns(elem(c.Type)), []string{n}, false)) > 0 {
			continue
		}
		e := fault.New(fault.Invalid, "--columns: there is no column %q; there are %s", n, strings.Join(have, ", ")).WithReason("bad_flag")
		if near := fault.Near(n, have); near != "" {
			e = e.WithCandidates(near)
		}
		return e
	}
	return nil
}

// chosen gives the columns that a table shows: those asked for, all in wide, else those with a priority.
func chosen(all []Column, names []string, wide bool) []Column {
	if len(names) > 0 {
		var cols []Column
		for _, n := range names {
			for _, c := range all {
				if c.Name == n || strings.EqualFold(c.Header, n) {
					c.Priority = 1
					cols = append(cols, c)
				}
			}
		}
		return cols
	}
	if wide {
		return all
	}
	var cols []Column
	for _, c := range all {
		if c.Priority > 0 {
			cols = append(cols, c)
		}
	}
	if len(cols) > 0 {
		return cols
	}
	return ranked(all[:min(len(all), 8)])
}

// ranked gives columns of which nobody said what matters: the order of the fields does.
func ranked(all []Column) []Column {
	cols := slices.Clone(all)
	for i := range cols {
		cols[i].Priority = i + 1
	}
	return cols
}
