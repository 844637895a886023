package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// TestAdopt: another daemon finds everything as the one before left it: the same programs, ready, on their way and waiting.
func TestAdopt(t *testing.T) {
	for _, how := range []string{"in order", "all of a sudden"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			if _, err := w.apply(`
project: shop
apps:
  - {name: up, command: "exec sleep 1000", ready: {delay: 10ms}, ports: {a: auto, b: auto}}
  - {name: slow, command: "while [ ! -e go ]; do sleep 0.02; done; echo ready; exec sleep 1000", ready: {log: ready}}
  - {name: late, command: "exec sleep 1000", dependsOn: [slow], ready: {delay: 10ms}}
  - {name: bad, command: "echo x >> tries; exit 1", restart: {backoff: {type: fixed, initial: 2s, jitter: 0}}}
  - {name: once, command: "echo x >> onces", oneshot: true}
  - {name: off, command: "exec sleep 1000", ready: {delay: 10ms}}
`); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"slow", "late", "bad"} {
				c := w.command(name)
				c.Wait = false
				if _, err := w.Start(w.ctx(), c); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := w.start("up", "once", "off"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.stop("off"); err != nil {
				t.Fatal(err)
			}
			up, slow := w.app("up"), w.is("slow", view.Starting)
			tries := w.is("bad", view.Backoff)
			for name, state := range map[string]string{"bad": "backoff", "once": "completed", "up": "running", "slow": "starting", "off": "stopped"} {
				w.saved(name, func(a store.AppState) bool { return a.Status == state })
			}
			for _, name := range []string{"up", "off"} {
				w.saved(name, func(a store.AppState) bool { return a.Generation == w.app(name).Epoch })
			}
			off := w.app("off")
			if how == "in order" {
				w.end()
			} else {
				w.crash()
			}
			w.begin()
			v := w.is("up", view.Running)
			if v.Instances[0].PID != up.Instances[0].PID || v.Instances[0].Ports["a"] != up.Instances[0].Ports["a"] || v.Instances[0].Ports["b"] != up.Instances[0].Ports["b"] || v.Instances[0].Generation != 1 {
				t.Errorf("%+v is now %+v", up.Instances[0], v.Instances[0])
			}
			if v.Epoch != up.Epoch || w.app("off").Epoch != off.Epoch {
				t.Error("what a person has agreed to before is about something else now, though nothing has happened")
			}
			if v := w.app("slow"); v.State != view.Starting || v.Instances[0].PID != slow.Instances[0].PID {
				t.Errorf("slow: %s", w.tell())
			}
			var b *view.App
			eventually(t, "bad to wait again", func() bool { b = w.app("bad"); return b.Instances[0].NextTry != nil }, w.tell)
			if b.State != view.Backoff || b.Instances[0].NextTry.Sub(*tries.Instances[0].NextTry).Abs() > 200*time.Millisecond || b.Restarts != tries.Restarts || len(w.file("tries")) != 1 {
				t.Errorf("bad: %s tried %v", w.tell(), w.file("tries"))
			}
			if v := w.app("once"); v.State != view.Completed || len(w.file("onces")) != 1 {
				t.Errorf("once: %s", w.tell())
			}
			if v := w.app("off"); v.State != view.Stopped || v.Desired != "stopped" {
				t.Errorf("off: %s", w.tell())
			}
			must(t, os.WriteFile(filepath.Join(w.home, "go"), nil, 0o600))
			w.is("slow", view.Running)
			w.is("late", view.Running)
			eventually(t, "the next try", func() bool { return len(w.file("tries")) == 2 })
			if s := w.Warnings(); len(s) != 0 {
				t.Errorf("warnings: %v", s)
			}
			if _, err := w.stop("up", "slow", "late", "bad"); err != nil {
				t.Error(err)
			}
			if n := w.common.Ports.Taken(); n != 0 {
				t.Errorf("%d ports are still promised", n)
			}
		})
	}
}

// TestEndedMeanwhile: how a program ended while no daemon was there is known, and judged as if one had been.
func TestEndedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: fails, command: "echo x >> fails; while [ ! -e end ]; do sleep 0.02; done; exit 7", ready: {delay: 10ms}, restart: {backoff: {type: fixed, initial: 10ms}}}
  - {name: never, command: "echo x >> nevers; while [ ! -e end ]; do sleep 0.02; done; exit 6", ready: {delay: 10ms}, restart: never}
  - {name: quits, command: "echo x >> quits; while [ ! -e end ]; do sleep 0.02; done", ready: {delay: 10ms}}
  - {name: once, command: "echo x >> onces; while [ ! -e end ]; do sleep 0.02; done", oneshot: true}
`)
	var pids []int
	for _, v := range w.Apps() {
		pids = append(pids, v.Instances[0].PID)
	}
	before := map[string]uint64{}
	for _, v := range w.Apps() {
		before[v.Key] = v.Epoch
	}
	w.end()
	must(t, os.WriteFile(filepath.Join(w.home, "end"), nil, 0o600))
	eventually(t, "the programs to end", func() bool { return !slices.ContainsFunc(pids, alive) })
	must(t, os.Remove(filepath.Join(w.home, "end")))
	w.begin()
	eventually(t, "another run", func() bool { v := w.app("fails"); return v.State == view.Running && v.Instances[0].Generation == 2 }, w.tell)
	v := w.app("fails")
	if x := v.Instances[0].LastExit; x == nil || x.Code != 7 || !x.Known || x.Generation != 1 || v.Instances[0].Generation != 2 || v.Restarts != 1 {
		t.Errorf("%+v", v)
	}
	if v := w.is("never", view.Crashed); v.Instances[0].LastExit.Code != 6 || !strings.Contains(v.Reason, "exited 6") {
		t.Errorf("%+v", v)
	}
	if v := w.is("quits", view.Stopped); v.Desired != "running" || v.Instances[0].LastExit.Code != 0 {
		t.Errorf("%+v", v)
	}
	w.is("once", view.Completed)
	for _, v := range w.Apps() {
		if v.Epoch <= before[v.Key] {
			t.Errorf("%s has ended, and what was agreed to before is still about it", v.Key)
		}
	}
	if got := w.events("never"); !slices.Contains(got, "exited") || got[len(got)-1] != "crashed" {
		t.Errorf("events %v", got)
	}
	w.end()
	w.begin() // what has ended for good is not started by yet another daemon
	w.resumed()
	w.is("never", view.Crashed)
	w.is("quits", view.Stopped)
	w.is("once", view.Completed)
	for name, want := range map[string]int{"fails": 2, "nevers": 1, "quits": 1, "onces": 1} {
		if n := len(w.file(name)); n != want {
			t.Errorf("%s was started %d times, want %d", name, n, want)
		}
	}
}

// TestEndIsOnDiskBeforeItIsForgotten: until then the keeper knows, so that a daemon which dies in between does not run
// anything twice.
func TestEndIsOnDiskBeforeItIsForgotten(t *testing.T) {
	w := newWorld(t)
	ice := &frozen{Disk: store.OS}
	w.disk = ice
	w.begin()
	if _, err := w.apply("project: shop\napps:\n  - {name: once, command: \"echo x >> onces; while [ ! -e end ]; do sleep 0.02; done\", oneshot: true}\n"); err != nil {
		t.Fatal(err)
	}
	c := w.command("once")
	if _, err := w.Start(w.ctx(), c); err != nil {
		t.Fatal(err)
	}
	w.saved("once", func(a store.AppState) bool { return a.Status == "running" })
	ice.hold(true)
	must(t, os.WriteFile(filepath.Join(w.home, "end"), nil, 0o600))
	w.is("once", view.Completed)
	if n := len(w.k.Processes()); n != 1 {
		t.Fatalf("the keeper knows of %d generations", n)
	}
	w.stops[1] = func(stop func()) func() { return func() { ice.hold(false); stop() } }(w.stops[1]) // crash undoes the last flush
	w.crash()
	w.begin()
	w.resumed()
	w.is("once", view.Completed)
	if n := len(w.file("onces")); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	eventually(t, "the keeper to forget", func() bool { return len(w.k.Processes()) == 0 })
}

// TestHomeDown: after down a daemon starts nothing, ends what still runs, and the next start of anything ends that.
func TestHomeDown(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(stairs)
	ended := make(chan []view.Result, 1)
	rs, err := w.Halt(w.ctx(), true, func(rs []view.Result, err error) {
		if err != nil {
			t.Error(err)
		}
		ended <- rs
	})
	if err != nil || len(rs) != 3 || len(<-ended) != 3 {
		t.Fatalf("%+v %v", rs, err)
	}
	for what, err := range map[string]error{
		"start": func() error { _, err := w.start("db"); return err }(), "scale": func() error { _, err := w.Scale(w.ctx(), w.command("db"), 2); return err }(),
		"apply": func() error { _, err := w.apply(stairs); return err }(),
	} {
		if reason(err) != "unavailable/shutting_down" {
			t.Errorf("%s of a daemon that ends: %v", what, err)
		}
	}
	w.end()
	w.begin()
	w.resumed()
	for _, v := range w.Apps() {
		if v.State != view.Stopped || v.Desired != "running" {
			t.Errorf("%s", w.tell())
		}
	}
	if _, err := w.apply(strings.Replace(stairs, "{name: db, command: \"exec sleep 1000\"", "{name: db, command: \"exec sleep 2000\"", 1)); err != nil {
		t.Fatal(err)
	}
	if v := w.app("db"); v.State != view.Stopped { // it is wanted and has changed, and all the same
		t.Errorf("%s", w.tell())
	}
	if _, err := w.start("api"); err != nil { // and what it needs
		t.Fatal(err)
	}
	w.end()
	w.begin()
	w.is("api", view.Running)
	w.resumed()
	if v := w.app("web"); v.State != view.Stopped || v.Desired != "stopped" { // the mark is gone, and nobody has asked for this one since
		t.Errorf("%s", w.tell())
	}
}

// TestHalt names what would not stop, and ends all the same.
func TestHaltOfWhatStarts(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply("project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", ready: {log: never, timeout: 60s}}\n  - {name: web, command: \"exec sleep 1000\", dependsOn: [api]}\n"); err != nil {
		t.Fatal(err)
	}
	c := w.command("web")
	failed := make(chan error, 1)
	go func() { _, err := w.Start(w.ctx(), c); failed <- err }()
	w.is("web", view.Waiting)
	w.is("api", view.Starting)
	done := make(chan struct{})
	if _, err := w.Halt(w.ctx(), false, func([]view.Result, error) { close(done) }); err != nil {
		t.Error(err)
	}
	<-done
	if err := <-failed; reason(err) != "failed/shutting_down" {
		t.Errorf("the start says %v", err)
	}
	w.saved("web", func(a store.AppState) bool { return a.Desired == store.WantRunning && a.Status == "stopped" })
}

// TestLost: when nothing is known of what should run, what lives is taken in as wanted.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(stairs)
	pids := map[string]int{"db": w.pid("db"), "api": w.pid("api"), "web": w.pid("web")}
	kill(t, pids["web"])
	eventually(t, "another web", func() bool { v := w.app("web"); return v.State == view.Running && v.Instances[0].Generation == 2 }, w.tell)
	pids["web"] = w.pid("web")
	w.end()
	for _, f := range []string{"state.json", "state.json.bak"} {
		must(t, os.WriteFile(filepath.Join(w.home, f), []byte("{\"version\": 1, \"apps\"\x00"), 0o600))
	}
	w.begin()
	for name, pid := range pids {
		if v := w.is(name, view.Running); v.Instances[0].PID != pid || v.Desired != "running" || v.Revision != 1 {
			t.Errorf("%s: %s", name, w.tell())
		}
		w.saved(name, func(a store.AppState) bool { return a.Desired == store.WantRunning && a.Revision == 1 && a.Enabled })
	}
	if _, err := w.restart("api"); err != nil {
		t.Error(err)
	}
	f, err := store.OpenState(filepath.Join(w.home, "state.json"), store.OS, w.Log)
	must(t, err)
	if n := f.View().Len(); n != 3 {
		t.Errorf("%d apps on disk", n)
	}
	w.end()
	must(t, os.Remove(filepath.Join(w.home, "state.json")))
	must(t, os.Remove(filepath.Join(w.home, "state.json.bak")))
	w.begin() // nothing was lost: nobody wants them
	eventually(t, "the programs to end", func() bool { return len(w.k.Processes()) == 0 && !alive(pids["db"]) })
	if n := len(w.Apps()); n != 0 {
		t.Errorf("%d apps", n)
	}
}

// TestUnread: what runs without a definition that can be read is left alone, said so, and taken in again with the next
// apply.
func TestUnread(t *testing.T) {
	for _, lost := range []bool{false, true} {
		w := newWorldNow(t)
		w.begin()
		w.up(one)
		pid := w.pid("api")
		w.end()
		w.defs.bad = errors.New("omnitron.db is damaged")
		if lost {
			must(t, os.Remove(filepath.Join(w.home, "state.json")))
			must(t, os.Remove(filepath.Join(w.home, "state.json.bak")))
			w.lost = true
		}
		w.begin()
		if warn := w.Warnings(); len(warn) != 1 || !strings.Contains(warn[0], "shop/dev/api") || !strings.Contains(warn[0], "damaged") {
			t.Errorf("warnings: %v", warn)
		}
		if !alive(pid) || len(w.Apps()) != 0 {
			t.Errorf("it lives: %v\n%s", alive(pid), w.tell())
		}
		if _, err := w.apply(one); err != nil {
			t.Fatal(err)
		}
		if lost { // it is not known what should run: up starts it, and it is the one that runs already
			if _, err := w.start("api"); err != nil {
				t.Fatal(err)
			}
		}
		if v := w.is("api", view.Running); v.Instances[0].PID != pid && !lost {
			t.Errorf("it is another one: %s", w.tell())
		}
		if warn := w.Warnings(); len(warn) != 0 {
			t.Errorf("warnings: %v", warn)
		}
		if pids := w.file("pids"); !lost && len(pids) != 1 {
			t.Errorf("started %d times", len(pids))
		}
		w.end()
		w.finish()
	}
}

// TestAppliedHalf: a daemon that died between a definition and the restarts that it asks for is followed by one that does
// them.
func TestAppliedHalf(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up("project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n  - {name: same, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n  - {name: gone, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n")
	api, same, gone := w.pid("api"), w.pid("same"), w.pid("gone")
	w.end()
	def := w.load("project: shop\napps:\n  - {name: api, command: \"exec sleep 2000\", ready: {delay: 10ms}}\n  - {name: same, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n")
	rev := w.defs.add(def)
	f, err := store.OpenState(filepath.Join(w.home, "state.json"), store.OS, w.Log)
	must(t, err)
	must(t, f.Put(t.Context(), func(st *store.State) error { // all that the other one came to
		for i := range def.Apps {
			st.Edit(def.Apps[i].Key, func(a *store.AppState) { intent.Declare(a, &def.Apps[i], rev, true) })
		}
		st.Delete("shop/dev/gone")
		return nil
	}))
	w.begin()
	eventually(t, "the new api", func() bool { v := w.app("api"); return v.State == view.Running && v.Instances[0].Revision == 2 }, w.tell)
	eventually(t, "the end of gone", func() bool { return !alive(gone) })
	if alive(api) || w.pid("same") != same || w.app("gone") != nil {
		t.Errorf("%s", w.tell())
	}
}

// TestClock: how long an adopted program has run is not asked of the clock on the wall.
func TestClock(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(one)
	w.end()
	w.begin()
	w.is("api", view.Running)
	w.leap.Store(int64(1000 * time.Hour))
	id, err := ident.Of(w.pid("api"))
	must(t, err)
	must(t, id.Signal(unix.SIGKILL))
	eventually(t, "its exit", func() bool {
		x := w.app("api").Instances[0].LastExit
		return x != nil && x.Signal == "SIGKILL" && x.RanMS < 60_000
	}, w.tell)
}
