package catalog

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestBuildBindsWhatSpecsDescribe(t *testing.T) {
	defer func(was []Entry) { Services = was }(Services)
	var seen *host.Host
	Services = []Entry{provide(toolstest.Toys, func(h *host.Host) (*toolstest.Box, error) {
		seen = h
		return toolstest.NewBox(), nil
	})}
	h := &host.Host{}
	specs := Specs()
	methods, err := Build(h)
	if err != nil || seen != h || len(specs) == 0 || len(methods) != len(specs) {
		t.Fatal(err, len(specs), len(methods))
	}
	for i, m := range methods {
		if m.ID() != specs[i].ID() || m.Handle == nil {
			t.Errorf("%s, %s", m.ID(), specs[i].ID())
		}
	}
}

func TestBuildNamesTheServiceThatFails(t *testing.T) {
	defer func(was []Entry) { Services = was }(Services)
	cause := errors.New("no box")
	Services = []Entry{provide(toolstest.Toys, func(*host.Host) (*toolstest.Box, error) { return nil, cause })}
	if _, err := Build(nil); !errors.Is(err, cause) || !strings.Contains(err.Error(), "toys") {
		t.Errorf("%v", err)
	}
}

// TestNoServiceKeepsTheHost: a service copies what it needs, so that its struct says what that is.
func TestNoServiceKeepsTheHost(t *testing.T) {
	for _, e := range Services {
		if where := keeps(built(e)); where != "" {
			t.Errorf("%T keeps the host in %s", e, where)
		}
	}
	type inner struct{ h map[string][]*host.Host }
	type planted struct {
		n int
		inner
	}
	for _, bad := range []any{planted{}, &planted{}, struct{ h host.Host }{}, struct{ f func() *host.Host }{}} {
		if keeps(reflect.TypeOf(bad)) == "" {
			t.Errorf("%T keeps the host, and nobody sees it", bad)
		}
	}
}

// built is the type of the service that an entry builds: what its constructor gives.
func built(e Entry) reflect.Type {
	return reflect.ValueOf(e).FieldByName("build").Type().Out(0)
}

// keeps names the field of a type through which a host can be reached, or "".
func keeps(t reflect.Type) string {
	seen := map[reflect.Type]bool{}
	var in func(t reflect.Type, path string) string
	in = func(t reflect.Type, path string) string {
		if t == reflect.TypeFor[host.Host]() {
			return path
		}
		if seen[t] {
			return ""
		}
		seen[t] = true
		var parts []reflect.Type
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Chan:
			parts = append(parts, t.Elem())
		case reflect.Map:
			parts = append(parts, t.Key(), t.Elem())
		case reflect.Func:
			for i := range t.NumIn() {
				parts = append(parts, t.In(i))
			}
			for i := range t.NumOut() {
				parts = append(parts, t.Out(i))
			}
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				if where := in(f.Type, path+"."+f.Name); where != "" {
					return where
				}
			}
		}
		for _, p := range parts {
			if where := in(p, path); where != "" {
				return where
			}
		}
		return ""
	}
	return in(t, t.String())
}
