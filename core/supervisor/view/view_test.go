package view

import (
	"reflect"
	"testing"
	"time"
)

// TestSame: every field of a snapshot either makes it another one, or is known to change only together with one that does
// (or to be worth no write).
func TestSame(t *testing.T) {
	quiet := map[string]string{
		"Key": "never changes", "Name": "never changes", "Project": "never changes", "Stack": "never changes",
		"Since": "moves with the state", "Oneshot": "comes with a revision", "DependsOn": "comes with a revision", "Definition": "comes with a revision",
		"Instances.Slot": "never changes", "Instances.Process": "never changes", "Instances.Number": "never changes",
		"Instances.HealthNote": "every probe writes another one", "Instances.Revision": "comes with a generation", "Instances.Since": "moves with the state",
		"Instances.StartedAt": "comes with a generation", "Instances.ReadyAt": "moves with the state", "Instances.NextTry": "moves with the state",
		"Instances.Former": "comes with a revision", "Instances.Rests": "follows from the rest",
		"Instances.Restarts": "summed up in the app's", "Instances.Ports": "come with a generation",
	}
	base := func() *App { return &App{Instances: []Instance{{}}} }
	check := func(name string, a *App) {
		if _, isQuiet := quiet[name]; Same(base(), a) != isQuiet {
			t.Errorf("a change of %s: same is %v", name, !isQuiet)
		}
		delete(quiet, name)
	}
	if !Same(base(), base()) {
		t.Error("a snapshot differs from itself")
	}
	v := reflect.TypeFor[App]()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Name == "Instances" {
			continue
		}
		a := base()
		change(reflect.ValueOf(a).Elem().Field(i))
		check(f.Name, a)
	}
	in := reflect.TypeFor[Instance]()
	for i := range in.NumField() {
		a := base()
		change(reflect.ValueOf(&a.Instances[0]).Elem().Field(i))
		check("Instances."+in.Field(i).Name, a)
	}
	more := base()
	more.Instances = append(more.Instances, Instance{})
	if Same(base(), more) {
		t.Error("another number of instances makes no difference")
	}
	for name := range quiet {
		t.Errorf("%s is no field", name)
	}
}

// change gives a field another value than zero.
func change(f reflect.Value) {
	switch f.Kind() {
	case reflect.String:
		f.SetString("x")
	case reflect.Bool:
		f.SetBool(true)
	case reflect.Int, reflect.Int64:
		f.SetInt(1)
	case reflect.Uint64:
		f.SetUint(1)
	case reflect.Pointer:
		f.Set(reflect.New(f.Type().Elem()))
	case reflect.Slice:
		f.Set(reflect.MakeSlice(f.Type(), 1, 1))
	case reflect.Map:
		f.Set(reflect.MakeMap(f.Type()))
		f.SetMapIndex(reflect.Zero(f.Type().Key()), reflect.Zero(f.Type().Elem()))
	default:
		f.Set(reflect.ValueOf(time.Unix(1, 0)))
	}
}

// TestSnapshots: what is told of an app follows from its slots.
func TestDerive(t *testing.T) {
	for _, c := range []struct {
		slots []State
		want  State
	}{
		{nil, Stopped}, {[]State{Running, Running}, Running}, {[]State{Running, Starting}, Starting}, {[]State{Running, Crashed}, Crashed},
		{[]State{Completed, Running}, Running}, {[]State{Completed, Completed}, Completed}, {[]State{Backoff, Running}, Backoff}, {[]State{Stuck, Crashed}, Stuck},
		{[]State{Stopped, Running}, Running},
	} {
		if got := Derive(c.slots); got != c.want {
			t.Errorf("Derive(%v) = %s, want %s", c.slots, got, c.want)
		}
	}
}
