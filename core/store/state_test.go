package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
)

var quiet = slog.New(slog.DiscardHandler)

func openState(t testing.TB, path string, disk store.Disk) *store.StateFile {
	t.Helper()
	f, err := store.OpenState(path, disk, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t testing.TB, f *store.StateFile, a store.AppState) {
	t.Helper()
	if err := f.Put(context.Background(), func(s *store.State) error { s.Set(a); return nil }); err != nil {
		t.Fatal(err)
	}
}

// number is the test's counter: an app whose Command says which write it is from.
func number(n int) store.AppState {
	return store.AppState{Name: "api", Key: "shop/dev/api", Status: "running", Desired: store.WantRunning, Command: int64(n)}
}

func numberOf(s store.State) int {
	a, _ := s.App("shop/dev/api")
	return int(a.Command)
}

// full sets every field of a struct, whatever is added to it later.
func full(v reflect.Value, seed *int) {
	*seed++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text", *seed))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*seed))
	case reflect.Uint64:
		v.SetUint(uint64(*seed))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		full(v.Index(0), seed)
		full(v.Index(1), seed)
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		full(elem, seed)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), elem)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(v.Elem(), seed)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(*seed), 123456789).UTC()))
			return
		}
		for i := range v.NumField() {
			full(v.Field(i), seed)
		}
	default:
		panic("the test does not know " + v.Kind().String())
	}
}

func fullApp() (a store.AppState) {
	seed := 0
	full(reflect.ValueOf(&a).Elem(), &seed)
	return a
}

func TestStateKeepsEveryField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	f := openState(t, path, store.OS)
	want := fullApp()
	err := f.Put(t.Context(), func(s *store.State) error {
		s.Set(want)
		s.Edit("shop/dev/web", func(a *store.AppState) { a.Name = "web" })
		s.HomeDown = true
		s.Cluster = store.Cluster{Role: "leader", Leader: "n1", Term: 7}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := openState(t, path, store.OS).View()
	got, ok := s.App(want.Key)
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("after a start (-want +got):\n%s", diff)
	}
	if !s.HomeDown || s.Cluster.Term != 7 || s.Len() != 2 {
		t.Errorf("got %+v", s)
	}
	var doc map[string]any
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &doc); err != nil || doc["version"] != 1.0 || doc["homeDown"] != true {
		t.Errorf("the file is %s (%v)", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestStateSnapshotsAreTheirOwn(t *testing.T) {
	f := openState(t, filepath.Join(t.TempDir(), "state.json"), store.OS)
	put(t, f, fullApp())
	before, want := f.View(), fullApp()
	mine, _ := before.App(want.Key)
	mine.Processes[0].PID = -1
	mine.Processes[0].LastExit.StderrTail[0] = "changed"
	mine.Processes[0].RestartsAt[0] = -1
	mine.LastExit.Code = -1
	mine.LastExit.StderrTail[0] = "changed"
	mine.Scale["key"], mine.ScaleBase["key"], mine.Numbers["key"], mine.Parts["key"] = -1, -1, -1, "changed"
	f.Touch(func(s *store.State) { s.Edit(want.Key, func(a *store.AppState) { a.Processes[0].Ports[0].Port = -1 }) })
	before.Delete(want.Key)
	after, ok := f.View().App(want.Key)
	if !ok || after.Processes[0].Ports[0].Port != -1 {
		t.Errorf("the state has %+v, %v", after, ok)
	}
	after.Processes[0].Ports[0].Port = want.Processes[0].Ports[0].Port
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("a change of a copy reached the state:\n%s", diff)
	}
}

func TestPutErrorKeepsNothing(t *testing.T) {
	f := openState(t, filepath.Join(t.TempDir(), "state.json"), store.OS)
	put(t, f, number(1))
	mine := errors.New("mine")
	for name, fn := range map[string]func(*store.State) error{
		"error": func(s *store.State) error {
			s.HomeDown = true
			s.Set(number(2))
			s.Set(store.AppState{Key: "new"})
			s.Delete("shop/dev/api")
			return mine
		},
		"panic": func(s *store.State) error {
			s.HomeDown = true
			s.Delete("shop/dev/api")
			panic(mine)
		},
	} {
		func() {
			defer func() {
				if p := recover(); (p != nil) != (name == "panic") {
					t.Errorf("%s: panic %v", name, p)
				}
			}()
			if err := f.Put(t.Context(), fn); err != mine {
				t.Errorf("%s: got %v", name, err)
			}
		}()
		if s := f.View(); s.HomeDown || s.Len() != 1 || numberOf(s) != 1 {
			t.Errorf("%s: the state is %+v", name, s)
		}
	}
	put(t, f, number(3))
	if n := numberOf(f.View()); n != 3 {
		t.Errorf("afterwards %d", n)
	}
}

func TestEveryFailingStepIsUndone(t *testing.T) {
	for step := 1; ; step++ {
		disk := faulty.WrapDisk(store.OS)
		path := filepath.Join(t.TempDir(), "state.json")
		f := openState(t, path, disk)
		put(t, f, number(1))
		calls := disk.Calls()
		put(t, f, number(2))
		calls = disk.Calls() - calls
		disk.FailAt(step, syscall.ENOSPC)
		err := f.Put(t.Context(), func(s *store.State) error { s.Set(number(3)); return nil })
		if err == nil {
			if step != calls+1 {
				t.Errorf("%d steps could fail, want each of %d", step-1, calls)
			}
			return
		}
		if fl := fault.From(err); fl.Code != fault.Internal || fl.Reason != store.NotDurable || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d: got %v", step, err)
		}
		if n := numberOf(f.View()); n != 2 || f.Health() == nil {
			t.Errorf("step %d: the state is %d, health %v", step, n, f.Health())
		}
		again := openState(t, path, store.OS)
		if n := numberOf(again.View()); n != 2 && n != 3 || len(again.Warnings()) > 0 {
			t.Errorf("step %d: the disk has %d, %q", step, n, again.Warnings())
		}
		if _, err := os.Stat(path + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("step %d: half a file is left: %v", step, err)
		}
		put(t, f, number(4))
		if n := numberOf(openState(t, path, store.OS).View()); n != 4 || f.Health() != nil {
			t.Errorf("step %d: afterwards %d, health %v", step, n, f.Health())
		}
	}
}

// The power goes at every step of every write, with every number of pending name changes on the medium: what is found is
// the last acknowledged version or the one under way.
func TestPowerCutAtEveryStep(t *testing.T) {
	t.Run("exchange", func(t *testing.T) { powerCuts(t, false) })
	t.Run("links only", func(t *testing.T) { powerCuts(t, true) })
}

func powerCuts(t *testing.T, plain bool) {
	cases := 0
	for cut := 1; ; cut++ {
		disk := newMemDisk()
		disk.cutAt, disk.plain = cut, plain
		f := openState(t, "/home/state.json", disk)
		acked := 0
		for n := 1; n <= 4; n++ {
			if err := f.Put(t.Context(), func(s *store.State) error { s.Set(number(n)); return nil }); err != nil {
				break
			}
			acked = n
		}
		for n := 0; n <= len(disk.pending); n++ {
			cases++
			rest := disk.afterCut(n)
			if file := rest.names["/home/state.json"]; !plain && file != nil && file == rest.names["/home/state.json.bak"] {
				t.Errorf("cut at step %d, %d of %d changes made: the copy is the file itself", cut, n, len(disk.pending))
			}
			found := openState(t, "/home/state.json", rest)
			if got := numberOf(found.View()); got != acked && got != acked+1 || found.Lost() {
				t.Errorf("cut at step %d, %d of %d changes made: found %d, acknowledged was %d, %q", cut, n, len(disk.pending), got, acked, found.Warnings())
			}
			put(t, found, number(100)) // and it can go on from there
		}
		if acked == 4 {
			break
		}
	}
	if cases < 35 || plain && cases < 60 { // links take more steps
		t.Errorf("only %d cases", cases)
	}
}

func thousandApps(b *testing.B, disk store.Disk, path string) *store.StateFile {
	f := openState(b, path, disk)
	err := f.Put(context.Background(), func(s *store.State) error {
		for i := range 1000 {
			a := fullApp()
			a.Key = fmt.Sprintf("shop/dev/app%d", i)
			s.Set(a)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkViewOf1000Apps(b *testing.B) {
	f := thousandApps(b, newMemDisk(), "/state.json")
	for b.Loop() {
		f.View()
	}
}

func BenchmarkPutIn1000Apps(b *testing.B) {
	f := thousandApps(b, store.OS, filepath.Join(b.TempDir(), "state.json"))
	for b.Loop() {
		if err := f.Put(context.Background(), func(s *store.State) error {
			s.Edit("shop/dev/app500", func(a *store.AppState) { a.Restarts++ })
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}
