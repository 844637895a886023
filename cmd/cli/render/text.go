package render

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Text writes an answer for a person: a list as a table, an object as names and values. t is the answer's type and may
// be nil.
func Text(w io.Writer, v any, t reflect.Type, o Options) {
	switch v := v.(type) {
	case Object:
		if c, ok := listField(t); ok {
			list(w, v, c, o)
			return
		}
		if items, ok := v.Get("items").([]any); ok && t == nil {
			rows(w, items, nil, o, "")
			return
		}
		object(w, v, Columns(t), o, "")
	case []any:
		rows(w, v, elem(t), o, "")
	case nil:
	default:
		fmt.Fprintln(w, Format(v, "", o.Now))
	}
}

func elem(t reflect.Type) reflect.Type {
	t = deref(t)
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		return t.Elem()
	}
	return nil
}

// list writes the table of a list's items, then what else the answer says.
func list(w io.Writer, v Object, c Column, o Options) {
	items, _ := v.Get(c.Name).([]any)
	var rest Object
	for _, m := range v {
		switch m.Key {
		case c.Name, "next_cursor", "truncated", "dropped", "total":
		default:
			if !blank(m.Value) {
				rest = append(rest, m)
			}
		}
	}
	if len(items) == 0 && o.Width > 0 {
		fmt.Fprintln(w, o.Style.Paint(Dim, "none"))
	} else if nest := elem(c.Type); o.Width > 0 && deep(nest) {
		for i, it := range items {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if obj, ok := it.(Object); ok {
				object(w, obj, Columns(nest), o, "")
			}
		}
	} else {
		rows(w, items, elem(c.Type), o, "")
	}
	if len(rest) > 0 {
		fmt.Fprintln(w)
		object(w, rest, nil, o, "")
	}
}

// deep reports whether items hold tables of their own, so that a row could not show them.
func deep(t reflect.Type) bool {
	for _, c := range Columns(t) {
		if e := elem(c.Type); c.Priority > 0 && e != nil && len(Columns(e)) > 0 {
			return true
		}
	}
	return false
}

// rows writes items as a table, or one a line when they are no objects.
func rows(w io.Writer, items []any, t reflect.Type, o Options, indent string) {
	all := Columns(t)
	if len(all) == 0 {
		all = guess(items)
	}
	if len(all) == 0 {
		for _, v := range items {
			fmt.Fprintln(w, indent+Format(v, "", o.Now))
		}
		return
	}
	cols := chosen(all, o.Columns, o.Wide)
	if indent != "" && !slices.ContainsFunc(all, func(c Column) bool { return c.Priority > 0 }) {
		cols = ranked(all) // below an object the empty ones go first, so there may be room for more
	}
	table(w, cols, items, o, indent)
}

// object writes names and values, one a line; what is empty is left out.
func object(w io.Writer, v Object, cols []Column, o Options, indent string) {
	width := 0
	for _, m := range v {
		if !blank(m.Value) && !nested(m.Value) {
			width = max(width, Width(label(m.Key)))
		}
	}
	var hidden []string
	for _, m := range v {
		if blank(m.Value) {
			continue
		}
		c := columnOf(cols, m.Key)
		if c.Wide && !o.Wide && o.Width > 0 {
			hidden = append(hidden, label(m.Key))
			continue
		}
		name := o.Style.Paint(Dim, pad(Escape(label(m.Key)), width, false))
		if !nested(m.Value) {
			value(w, m, c, o, indent+name+"  ", indent, Width(indent)+width+2)
			continue
		}
		fmt.Fprintln(w, indent+o.Style.Paint(Dim, Escape(label(m.Key))))
		switch inner := m.Value.(type) {
		case Object:
			object(w, inner, Columns(c.Type), o, indent+"  ")
		case []any:
			below := Options{Style: o.Style, Width: o.Width, Wide: o.Wide, Now: o.Now}
			if below.Width <= 0 {
				below.Width, below.Wide = 1, true // within an object there are no lines of one form to cut
			}
			rows(w, inner, elem(c.Type), below, indent+"  ")
		}
	}
	if len(hidden) > 0 {
		fmt.Fprintln(w, indent+o.Style.Paint(Dim, strings.Join(hidden, ", ")+" hidden, -o wide"))
	}
}

// value writes one value behind its name; at is where it begins.
func value(w io.Writer, m Member, c Column, o Options, lead, indent string, at int) {
	if s, ok := m.Value.(string); ok && strings.Contains(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintln(w, strings.TrimRight(lead, " "))
		for line := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
			fmt.Fprintln(w, indent+"  "+Escape(line))
		}
		return
	}
	if list, ok := m.Value.([]any); ok && sentences(list) {
		fmt.Fprintln(w, strings.TrimRight(lead, " "))
		for _, e := range list {
			fmt.Fprintln(w, indent+"  "+Format(e, c.Unit, o.Now))
		}
		return
	}
	text, color := Format(m.Value, c.Unit, o.Now), Plain
	if stateful(m.Key) {
		text, color = o.Style.mark(text)
	}
	room := strings.Repeat(" ", at)
	fmt.Fprintln(w, lead+o.Style.Paint(color, Fold(room+text, at, o.Width)[at:]))
}

// sentences reports whether a list holds more than words, so that each entry wants a line: texts, or lists.
func sentences(list []any) bool {
	for _, e := range list {
		if _, ok := e.([]any); ok {
			return true
		}
		if s, ok := e.(string); ok && strings.ContainsAny(s, " /") {
			return true
		}
	}
	return false
}

func columnOf(cols []Column, name string) Column {
	for _, c := range cols {
		if c.Name == name {
			return c
		}
	}
	return Column{Name: name, Unit: unitOf(name, nil)}
}

// label is how a field is called; a key that is no field's name stays as it is.
func label(name string) string {
	if strings.ToLower(name) != name {
		return name
	}
	return strings.ToLower(header(name))
}

// nested reports whether a value needs lines of its own.
func nested(v any) bool {
	switch v := v.(type) {
	case Object:
		return true
	case []any:
		for _, e := range v {
			if _, ok := e.(Object); ok {
				return true
			}
		}
	}
	return false
}

// blank reports whether a value says nothing.
func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case Object:
		return len(v) == 0
	case json.Number:
		return false
	}
	return false
}
