package supervisor

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// step is a place at which a daemon dies: what comes to it tells that, and never goes on.
type step struct {
	once    sync.Once
	reached chan struct{}
	dead    chan struct{} // closed when everything has ended
}

func newStep() *step { return &step{reached: make(chan struct{}), dead: make(chan struct{})} }

// die is where the daemon is killed. The goroutine ends when the daemon has.
func (s *step) die() {
	s.once.Do(func() { close(s.reached) })
	<-s.dead
	runtime.Goexit()
}

// mortal is a state file that a daemon dies at.
type mortal struct {
	runner.Memory
	before, after *step
}

func (m *mortal) Put(ctx context.Context, change func(*store.State) error) error {
	if m.before != nil {
		m.before.die()
	}
	err := m.Memory.Put(ctx, change)
	if m.after != nil {
		m.after.die()
	}
	return err
}

// starter is a keeper that a daemon dies at: before the nth program is started, or when it was and nobody has heard of it.
type starter struct {
	runner.Keeper
	mu            sync.Mutex
	nth           int
	before, after *step
}

func (k *starter) Spawn(ctx context.Context, spec proc.Spec) (*proc.Process, error) {
	k.mu.Lock()
	k.nth--
	now := k.nth == 0
	k.mu.Unlock()
	if now && k.before != nil {
		k.before.fall(ctx)
		return nil, ctx.Err()
	}
	p, err := k.Keeper.Spawn(ctx, spec)
	if now && k.after != nil {
		k.after.fall(ctx)
		return nil, ctx.Err()
	}
	return p, err
}

// fall is die for a goroutine that somebody waits for.
func (s *step) fall(ctx context.Context) {
	s.once.Do(func() { close(s.reached) })
	<-ctx.Done()
}

// TestKilledWhileApplying kills the daemon at each step of applying a definition: before its state is written all is as it was, with
// the pids that were, and from then on the next daemon makes all of it so; what is not touched keeps its pid either way.
func TestKilledWhileApplying(t *testing.T) {
	const before = `
project: shop
apps:
  - {name: same, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: live, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: slow, command: "trap 'echo x >> ends; sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done", ready: {delay: 10ms}}
  - {name: other, command: "exec sleep 1000", instances: 2, ready: {delay: 10ms}}
  - {name: gone, command: "exec sleep 1000", ready: {delay: 10ms}}
`
	const after = `
project: shop
apps:
  - {name: same, command: "exec sleep 1000", ready: {delay: 10ms}}
  - {name: live, command: "exec sleep 1000", ready: {delay: 10ms}, stop: {timeout: 3s}}
  - {name: slow, command: "exec sleep 2000", ready: {delay: 10ms}}
  - {name: other, command: "exec sleep 2000", instances: 2, ready: {delay: 10ms}}
  - {name: new, command: "exec sleep 1000", ready: {delay: 10ms}}
`
	for _, c := range []struct {
		name     string
		arm      func(w *world, s *step)
		finished bool
	}{
		{"kept, not written", func(w *world, s *step) { w.State = &mortal{Memory: w.st, before: s} }, false},
		{"written, nothing told", func(w *world, s *step) { w.State = &mortal{Memory: w.st, after: s} }, true},
		{"an old one ends", func(w *world, s *step) {
			go func() {
				defer close(s.reached)
				_ = poll(w.t.Context(), func() bool { return len(w.file("ends")) > 0 })
			}()
		}, true},
		{"before the first start", func(w *world, s *step) { w.common.Keeper = &starter{Keeper: w.k, nth: 1, before: s} }, true},
		{"the first start, unheard of", func(w *world, s *step) { w.common.Keeper = &starter{Keeper: w.k, nth: 1, after: s} }, true},
		{"between two instances", func(w *world, s *step) { w.common.Keeper = &starter{Keeper: w.k, nth: 2, before: s} }, true},
		{"the last start, unheard of", func(w *world, s *step) { w.common.Keeper = &starter{Keeper: w.k, nth: 3, after: s} }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.up(before)
			was := map[string]map[string]int{}
			for _, v := range w.Apps() {
				was[v.Name] = w.pids(v.Name)
			}
			s := newStep()
			c.arm(w, s)
			def := w.load(after)
			rev, cmd := w.defs.add(def), Command{Seq: w.next(), Wait: true}
			done := make(chan struct{})
			go func() { defer close(done); _, _ = w.Apply(w.ctx(), def, rev, cmd) }()
			select {
			case <-s.reached:
			case <-time.After(20 * time.Second):
				t.Fatalf("the daemon does not come to it\n%s", w.tell())
			}
			ended := make(chan struct{})
			go func() { defer close(ended); w.crash() }()
			if c.name == "kept, not written" || c.name == "written, nothing told" {
				close(s.dead)
			}
			<-done
			<-ended
			w.begin()
			w.resumed()
			w.settles(c.finished, was)
			// Again, and to the end: what was half done is no obstacle.
			if _, err := w.apply(after); err != nil {
				t.Fatal(err)
			}
			w.settles(true, was)
		})
	}
}

// settles waits until everything is as it was before a definition was applied, or as it wants it, and nothing between.
func (w *world) settles(finished bool, was map[string]map[string]int) {
	w.t.Helper()
	problem := ""
	eventually(w.t, "everything to be as it should", func() bool {
		problem = ""
		for name, pids := range was {
			v, now := w.app(name), w.pids(name)
			same, other := kept(pids, now)
			total := len(strings.Fields(same)) + len(strings.Fields(other))
			replaced := finished && (name == "slow" || name == "other")
			switch {
			case name == "gone" && finished:
				if v != nil || alive(pids["gone:gone#1"]) {
					problem = "gone is still there"
				}
			case v == nil || v.State != view.Running || total != len(pids):
				problem = fmt.Sprintf("%s: %v", name, now)
			case replaced && same != "" || !replaced && other != "":
				problem = fmt.Sprintf("%s: the same %q, others %q", name, same, other)
			}
			if replaced {
				for slot, pid := range pids {
					if now[slot] != pid && alive(pid) {
						problem = fmt.Sprintf("%s: %d still lives", slot, pid)
					}
				}
			}
		}
		if v := w.app("new"); (v != nil) != finished || v != nil && v.State != view.Stopped {
			problem = "new is there: " + fmt.Sprint(v != nil)
		}
		for _, name := range []string{"sleep 1000", "sleep 2000"} {
			if n, want := w.sleepers(name), map[bool]map[string]int{false: {"sleep 1000": 5, "sleep 2000": 0}, true: {"sleep 1000": 2, "sleep 2000": 3}}[finished][name]; n != want {
				problem = fmt.Sprintf("%s runs %d times, not %d", name, n, want)
			}
		}
		return problem == ""
	}, func() string { return problem + "\n" + w.tell() })
}

// sleepers counts the programs of this home with a command line.
func (w *world) sleepers(line string) (n int) {
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		args, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err != nil || strings.TrimRight(strings.ReplaceAll(string(args), "\x00", " "), " ") != line {
			continue
		}
		env, err := os.ReadFile("/proc/" + d.Name() + "/environ")
		if err == nil && strings.Contains(string(env), "TEST_HOME="+w.home+"\x00") && strings.Contains(string(env), "OMNITRON_APP=") {
			n++
		}
	}
	return n
}

// counted counts what is written.
type counted struct {
	runner.Memory
	puts int
}

func (c *counted) Put(ctx context.Context, change func(*store.State) error) error {
	c.puts++
	return c.Memory.Put(ctx, change)
}

// TestAllOrNone: several definitions are followed together, in one write; where one may not be, none is.
func TestAllOrNone(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(one)
	pid := w.pid("api")
	in := func(dir, yaml string) Revised {
		def := w.load(yaml)
		def.Dir = dir
		return Revised{def, w.defs.add(def)}
	}
	changed := strings.Replace(one, "1000", "2000", 1)
	const blog = "project: blog\napps:\n  - {name: cms, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"
	shop := in(w.home, changed)
	if _, err := w.ApplyAll(w.ctx(), []Revised{shop, in(w.home, blog)}, Command{Seq: w.next(), Wait: true}); reason(err) != "conflict/project_renamed" {
		t.Errorf("one that may not be: %v", err)
	}
	if w.pid("api") != pid || w.app("api").Revision == shop.Rev || w.app("cms") != nil {
		t.Errorf("something was followed: %s", w.tell())
	}
	c := &counted{Memory: w.st}
	w.State = c
	rs, err := w.ApplyAll(w.ctx(), []Revised{shop, in(t.TempDir(), blog)}, Command{Seq: w.next(), Wait: true})
	if err != nil || len(rs) != 1 || w.pid("api") == pid || w.app("api").Revision != shop.Rev || w.app("cms") == nil || c.puts != 1 {
		t.Errorf("%+v %v, %d writes\n%s", rs, err, c.puts, w.tell())
	}
}
