package store_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
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
	before := f.View()
	want, _ := before.App("text2")
	if want.Key == "" {
		for a := range before.Apps() {
			want = a
		}
	}
	mine, _ := before.App(want.Key)
	mine.Processes[0].PID = -1
	mine.Processes[0].LastExit.StderrTail[0] = "changed"
	mine.Scale["key"] = -1
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
	cases := 0
	for cut := 1; ; cut++ {
		disk := newMemDisk()
		disk.cutAt = cut
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
			found := openState(t, "/home/state.json", disk.afterCut(n))
			if got := numberOf(found.View()); got != acked && got != acked+1 || found.Lost() {
				t.Errorf("cut at step %d, %d of %d changes made: found %d, acknowledged was %d, %q", cut, n, len(disk.pending), got, acked, found.Warnings())
			}
			put(t, found, number(100)) // and it can go on from there
		}
		if acked == 4 {
			break
		}
	}
	if cases < 60 {
		t.Errorf("only %d cases", cases)
	}
}

func TestWaitingPutsShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		put(t, f, number(0))
		put(t, f, number(0))
		perWrite := disk.Calls()
		put(t, f, number(0))
		perWrite = disk.Calls() - perWrite
		before := disk.Calls()
		reached, release := disk.StallAt(1)
		var wg sync.WaitGroup
		add := func(i int) {
			wg.Go(func() {
				err := f.Put(context.Background(), func(s *store.State) error {
					s.Set(store.AppState{Key: fmt.Sprint("app", i)})
					if i%10 == 3 {
						return errors.New("mine")
					}
					return nil
				})
				if (err != nil) != (i%10 == 3) {
					t.Errorf("put %d gave %v", i, err)
				}
			})
		}
		add(0)
		<-reached
		for i := 1; i < 50; i++ {
			add(i)
		}
		f.Touch(func(s *store.State) { s.HomeDown = true })
		synctest.Wait()
		if s := f.View(); !s.HomeDown || s.Len() != 1 { // nobody who looks waits for the disk
			t.Errorf("while the disk works the state is %+v", s)
		}
		release()
		wg.Wait()
		if writes := (disk.Calls() - before) / perWrite; writes != 2 {
			t.Errorf("50 puts took %d writes, want 2", writes)
		}
		for name, s := range map[string]store.State{"memory": f.View(), "disk": openState(t, "/home/state.json", disk).View()} {
			if s.Len() != 1+45 || !s.HomeDown {
				t.Errorf("%s has %d apps, touched %v", name, s.Len(), s.HomeDown)
			}
		}
	})
}

func TestRunWritesWhatWasTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		onDisk := func() int { return numberOf(openState(t, "/home/state.json", disk).View()) }
		wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		wait(10 * time.Millisecond)
		for i := range 20 {
			f.Touch(func(s *store.State) { s.Set(number(i + 1)) })
		}
		calls := disk.Calls()
		wait(99 * time.Millisecond)
		if disk.Calls() != calls {
			t.Error("it was written before 100 ms")
		}
		wait(2 * time.Millisecond)
		if n := onDisk(); n != 20 {
			t.Errorf("after 100 ms the disk has %d", n)
		}
		calls = disk.Calls()
		wait(31 * time.Second)
		if disk.Calls() == calls {
			t.Error("nothing was written within 30 s")
		}

		disk.FailAll(syscall.EIO)
		f.Touch(func(s *store.State) { s.Set(number(21)) })
		wait(20 * time.Second)
		if f.Health() == nil || onDisk() != 20 || numberOf(f.View()) != 21 {
			t.Errorf("on a broken disk: health %v, disk %d, memory %d", f.Health(), onDisk(), numberOf(f.View()))
		}
		disk.FailAll(nil)
		wait(2 * time.Second)
		if f.Health() != nil || onDisk() != 21 {
			t.Errorf("2 s after the disk healed: health %v, disk %d", f.Health(), onDisk())
		}

		f.Touch(func(s *store.State) { s.Set(number(22)) })
		cancel()
		wg.Wait()
		if n := onDisk(); n != 22 {
			t.Errorf("at the end the disk has %d", n)
		}
	})
}

// A refused write may have reached the disk all the same; Run puts that right without being asked.
func TestRunRepairsARefusedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := faulty.WrapDisk(newMemDisk())
		f := openState(t, "/home/state.json", disk)
		put(t, f, number(1))
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() { _ = f.Run(ctx) })
		disk.FailAt(6, syscall.EIO) // the fsync of the directory, after the rename
		if err := f.Put(t.Context(), func(s *store.State) error { s.Set(number(2)); return nil }); err == nil {
			t.Fatal("the write was not refused")
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		if n := numberOf(openState(t, "/home/state.json", disk).View()); n != 1 || f.Health() != nil {
			t.Errorf("after 5 s the disk has %d, health %v", n, f.Health())
		}
		cancel()
		wg.Wait()
	})
}

// twoVersions makes a state file and its copy, of versions 2 and 1.
func twoVersions(t *testing.T) (*memDisk, map[string][]byte) {
	t.Helper()
	disk := newMemDisk()
	f := openState(t, "/home/state.json", disk)
	for n := 1; n <= 2; n++ {
		put(t, f, number(n))
	}
	put(t, f, number(3))
	files := map[string][]byte{}
	for _, name := range []string{"/home/state.json", "/home/state.json.bak"} {
		data, err := disk.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return disk, files
}

var harms = map[string]func(b []byte, at int) []byte{
	"cut":   func(b []byte, at int) []byte { return b[:at] },
	"zeros": func(b []byte, at int) []byte { clear(b[at:min(len(b), at+64)]); return b },
	"nul":   func(b []byte, at int) []byte { b[at] = 0; return b },
	"flip":  func(b []byte, at int) []byte { b[at] ^= 1 << (at / 64 % 8); return b },
	"digit": func(b []byte, at int) []byte { // harm that leaves valid JSON
		i := bytes.IndexAny(b[at:], "12345678")
		if i >= 0 {
			b[at+i]++
		}
		return b
	},
}

func TestHarmIsSeenAndTheCopyUsed(t *testing.T) {
	_, files := twoVersions(t)
	const main = "/home/state.json"
	for name, harm := range harms {
		for at := 0; at < len(files[main]); at += 7 {
			bad := harm(bytes.Clone(files[main]), at)
			if bytes.Equal(bad, files[main]) {
				continue
			}
			disk := newMemDisk()
			_, _ = disk.Write(main, bad), disk.Write(main+".bak", files[main+".bak"])
			f := openState(t, main, disk)
			if n := numberOf(f.View()); n != 2 || len(f.Warnings()) != 1 || f.Lost() {
				t.Fatalf("%s at %d: found %d, %q", name, at, n, f.Warnings())
			}
			aside := ""
			for file := range disk.names {
				if strings.HasPrefix(file, main+".corrupt-") {
					aside = file
				}
			}
			if kept, err := disk.Read(aside); err != nil || !bytes.Equal(kept, bad) || !strings.Contains(f.Warnings()[0], aside) {
				t.Fatalf("%s at %d: the bad file was not kept: %v", name, at, err)
			}
			put(t, f, number(9))
			if n := numberOf(openState(t, main, disk).View()); n != 9 {
				t.Fatalf("%s at %d: cannot go on", name, at)
			}
		}
	}
}

func TestBothCopiesHarmed(t *testing.T) {
	for name, harm := range harms {
		disk, files := twoVersions(t)
		for file, data := range files {
			_ = disk.Write(file, harm(bytes.Clone(data), 64))
		}
		f := openState(t, "/home/state.json", disk)
		if !f.Lost() || f.View().Len() != 0 || len(f.Warnings()) != 1 || strings.Count(f.Warnings()[0], ".corrupt-") != 2 {
			t.Errorf("%s: lost %v, %d apps, %q", name, f.Lost(), f.View().Len(), f.Warnings())
		}
	}
}

func TestMissingFiles(t *testing.T) {
	for name, c := range map[string]struct {
		remove   []string
		number   int
		warnings int
	}{
		"state.json missing": {[]string{"/home/state.json"}, 2, 1},
		"copy missing":       {[]string{"/home/state.json.bak"}, 3, 0},
		"both missing":       {[]string{"/home/state.json", "/home/state.json.bak"}, 0, 0},
	} {
		disk, _ := twoVersions(t)
		for _, file := range c.remove {
			_ = disk.Remove(file)
		}
		f := openState(t, "/home/state.json", disk)
		if n := numberOf(f.View()); n != c.number || len(f.Warnings()) != c.warnings || f.Lost() {
			t.Errorf("%s: found %d, %q", name, n, f.Warnings())
		}
	}
}

func TestLaterStateIsRefusedUntouched(t *testing.T) {
	for _, in := range []string{"/home/state.json", "/home/state.json.bak"} {
		disk, files := twoVersions(t)
		later := bytes.Replace(files[in], []byte(`"version":1`), []byte(`"version":2,"new":{}`), 1)
		later = later[:bytes.LastIndex(later, []byte(`"sum"`))]
		later = append(later, "\"sum\": \"\"\n}\n"...)
		_ = disk.Write(in, later)
		if in != "/home/state.json" {
			_ = disk.Write("/home/state.json", []byte("{"))
		}
		steps := disk.steps
		_, err := store.OpenState("/home/state.json", disk, quiet)
		if f := fault.From(err); f == nil || f.Code != fault.Conflict || f.Reason != store.TooNew || disk.steps != steps {
			t.Errorf("%s: got %v after %d changes of the disk", in, err, disk.steps-steps)
		}
	}
}

func TestUnreadableStateIsNoEmptyState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.Mkdir(path, 0o700); err != nil { // reading it fails with EISDIR, for root too
		t.Fatal(err)
	}
	if _, err := store.OpenState(path, store.OS, quiet); fault.From(err) == nil || fault.From(err).Reason != "state_unreadable" {
		t.Errorf("got %v", err)
	}
}

func TestEditByHand(t *testing.T) {
	disk, files := twoVersions(t)
	text := string(files["/home/state.json"])
	i := strings.Index(text, `"sum": "`) + len(`"sum": "`)
	text = strings.Replace(text[:i]+"\"\n}\n", `"desired":"running"`, `"desired":"stopped"`, 1)
	_ = disk.Write("/home/state.json", []byte(text))
	f := openState(t, "/home/state.json", disk)
	if a, _ := f.View().App("shop/dev/api"); a.Desired != store.WantStopped || len(f.Warnings()) != 0 {
		t.Errorf("got %+v, %q", a, f.Warnings())
	}
}

// TestMain lets the test binary be the program that gets killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("STORE_TEST_PUT"); path != "" {
		putForEver(path)
	}
	os.Exit(m.Run())
}

// putForEver counts up in state.json and says each number once it is acknowledged.
func putForEver(path string) {
	f, err := store.OpenState(path, store.OS, quiet)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := numberOf(f.View()) + 1; ; n++ {
		if err := f.Put(context.Background(), func(s *store.State) error { s.Set(number(n)); return nil }); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

func TestKillWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	last := 0
	for round := range 100 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_PUT="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		after := time.Duration(random.IntN(10_000)) * time.Microsecond
		acked := last
		lines := bufio.NewScanner(out)
		for first := true; lines.Scan(); first = false {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			acked = n
			if first {
				time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		f := openState(t, path, store.OS)
		last = numberOf(f.View())
		if last != acked && last != acked+1 || len(f.Warnings()) > 0 {
			t.Fatalf("round %d: found %d, acknowledged was %d, %q", round, last, acked, f.Warnings())
		}
	}
	if last < 200 {
		t.Errorf("only %d writes in 100 rounds", last)
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
