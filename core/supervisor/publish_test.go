package supervisor

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
		"Since": "moves with the state", "Oneshot": "comes with a revision", "DependsOn": "comes with a revision", "def": "comes with a revision",
		"Instances.Slot": "never changes", "Instances.Process": "never changes", "Instances.Number": "never changes",
		"Instances.HealthNote": "every probe writes another one", "Instances.Revision": "comes with a generation", "Instances.Since": "moves with the state",
		"Instances.StartedAt": "comes with a generation", "Instances.ReadyAt": "moves with the state", "Instances.NextTry": "moves with the state",
		"Instances.Restarts": "summed up in the app's", "Instances.Ports": "come with a generation",
	}
	base := func() *App { return &App{Instances: []Instance{{}}} }
	check := func(name string, a *App) {
		if _, isQuiet := quiet[name]; same(base(), a) != isQuiet {
			t.Errorf("a change of %s: same is %v", name, !isQuiet)
		}
		delete(quiet, name)
	}
	if !same(base(), base()) {
		t.Error("a snapshot differs from itself")
	}
	v := reflect.TypeFor[App]()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Name == "Instances" || !f.IsExported() {
			continue
		}
		a := base()
		change(reflect.ValueOf(a).Elem().Field(i))
		check(f.Name, a)
	}
	in := reflect.TypeFor[Instance]()
	for i := range in.NumField() {
		if !in.Field(i).IsExported() {
			continue
		}
		a := base()
		change(reflect.ValueOf(&a.Instances[0]).Elem().Field(i))
		check("Instances."+in.Field(i).Name, a)
	}
	more := base()
	more.Instances = append(more.Instances, Instance{})
	if same(base(), more) {
		t.Error("another number of instances makes no difference")
	}
	delete(quiet, "def")
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
func TestSnapshots(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(pool)
	v := w.app("pool")
	if v.Health != "unknown" || v.Reason != "" || v.Restarts != 0 || v.Desired != "running" || v.Since.Before(v.Instances[0].Since) || !v.alive() {
		t.Errorf("%+v", v)
	}
	since := v.Instances[1].Since
	if since.Before(v.Instances[2].Since) {
		since = v.Instances[2].Since
	}
	if _, err := w.stop("pool:web#1"); err != nil {
		t.Fatal(err)
	}
	if v = w.app("pool"); v.State != Running || !v.Since.Equal(since) || v.Instances[0].State != Stopped || !v.Instances[0].Since.After(since) {
		t.Errorf("%+v", v)
	}
	if _, err := w.stop("pool"); err != nil {
		t.Fatal(err)
	}
	if v = w.app("pool"); v.alive() || !v.Since.After(since) {
		t.Errorf("%+v", v)
	}
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	if w.out.kept["shop/dev/pool"] == 0 {
		t.Error("nobody was told how much output is kept")
	}
}
