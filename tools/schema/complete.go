package schema

import (
	"reflect"
	"strings"
	"sync"
)

// Complete gives v with every nil list and map that would be encoded as null made empty, because an output promises an
// array or an object there. Whatever v shares with the handler's own state is copied before it is changed.
func Complete(v any) any {
	if v == nil {
		return nil
	}
	rv := reflect.ValueOf(v)
	if !hollow(rv) {
		return v
	}
	return filled(rv).Interface()
}

// gaps are the fields of a type that may have to be filled.
type gaps struct {
	self   bool  // the value itself is a list or a map that must not be nil
	fields []gap // of a struct
	elem   bool  // elements of a list or map may have gaps
}

type gap struct {
	index    int
	optional bool // left out when nil
}

var known sync.Map // reflect.Type → *gaps; a program has few types of answers

func gapsOf(t reflect.Type) *gaps {
	if g, ok := known.Load(t); ok {
		return g.(*gaps)
	}
	g := &gaps{}
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		g.self, g.elem = t.Elem().Kind() != reflect.Uint8, mayHave(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			tag := f.Tag.Get("json")
			if tag == "-" || !f.IsExported() || !mayHave(f.Type) {
				continue
			}
			g.fields = append(g.fields, gap{i, strings.Contains(tag, ",omit")})
		}
	}
	known.Store(t, g)
	return g
}

// mayHave reports whether values of t can hold a list or a map that must not be nil. Free values are left as they are.
func mayHave(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8
	case reflect.Map:
		return true
	case reflect.Pointer:
		return mayHave(t.Elem())
	case reflect.Struct:
		return t != timeType && len(gapsOf(t).fields) > 0
	}
	return false
}

// hollow reports whether something in v has to be filled.
func hollow(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && hollow(v.Elem())
	case reflect.Slice, reflect.Map:
		g := gapsOf(v.Type())
		return g.self && v.IsNil() || g.elem && anyHollow(v)
	case reflect.Struct:
		for _, f := range gapsOf(v.Type()).fields {
			fv := v.Field(f.index)
			if f.optional && (fv.Kind() == reflect.Slice || fv.Kind() == reflect.Map) && fv.IsNil() {
				continue
			}
			if hollow(fv) {
				return true
			}
		}
	}
	return false
}

func anyHollow(v reflect.Value) bool {
	if v.Kind() == reflect.Map {
		for it := v.MapRange(); it.Next(); {
			if hollow(it.Value()) {
				return true
			}
		}
		return false
	}
	for i := range v.Len() {
		if hollow(v.Index(i)) {
			return true
		}
	}
	return false
}

// filled gives a copy of v, which is hollow.
func filled(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.Pointer:
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(part(v.Elem()))
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(part(v.Index(i)))
		}
	case reflect.Map:
		out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(it.Key(), part(it.Value()))
		}
	case reflect.Struct:
		out.Set(v)
		for _, f := range gapsOf(v.Type()).fields {
			fv := v.Field(f.index)
			if f.optional && (fv.Kind() == reflect.Slice || fv.Kind() == reflect.Map) && fv.IsNil() {
				continue
			}
			out.Field(f.index).Set(part(fv))
		}
	}
	return out
}

func part(v reflect.Value) reflect.Value {
	if hollow(v) {
		return filled(v)
	}
	return v
}
