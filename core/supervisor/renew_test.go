package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// pids gives the process ids of an app by slot.
func (w *world) pids(name string) map[string]int {
	w.t.Helper()
	out := map[string]int{}
	if v := w.app(name); v != nil {
		for _, i := range v.Instances {
			out[i.Slot] = i.PID
		}
	}
	return out
}

// kept names the slots whose process ids are the same, and those that have another one.
func kept(before, after map[string]int) (same, other string) {
	var s, o []string
	for slot, pid := range after {
		switch {
		case pid == 0:
		case before[slot] == pid:
			s = append(s, slot)
		default:
			o = append(o, slot)
		}
	}
	slices.Sort(s)
	slices.Sort(o)
	return strings.Join(s, " "), strings.Join(o, " ")
}

const daily = `
project: shop
apps:
  - name: api
    command: "exec sleep 1000"
    instances: 2
    ready: {delay: 10ms}
  - name: pool
    processes:
      - {name: web, command: "exec sleep 1000", instances: 2, ready: {delay: 10ms}}
      - {name: job, command: "exec sleep 1000", ready: {delay: 10ms}}
`

// TestRenew: only another program is started anew; numbers of instances are made right and live keys taken up around what
// runs. What the plan said is what happens, and a daemon that comes after a crash leaves the same alone.
func TestRenew(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		plan           string // of the app that changes
		same, other    string // of the slots that run afterwards
	}{
		{"more", "instances: 2\n", "instances: 4\n", "api changed, 2 instances started, 2 instances left running", "api:api#1 api:api#2", "api:api#3 api:api#4"},
		{"fewer", "instances: 2\n", "instances: 1\n", "api changed, 1 instance stopped, 1 instance left running", "api:api#1", ""},
		{"live", "instances: 2\n", "instances: 2\n    stop: {timeout: 3s}\n    restart: always\n    health: {tcp: \"127.0.0.1:1\", interval: 1h}\n", "api changed, 2 instances left running", "api:api#1 api:api#2", ""},
		{"program", "instances: 2\n", "instances: 2\n    env: {A: b}\n", "api changed, restarted", "", "api:api#1 api:api#2"},
		{"both", "instances: 2\n", "instances: 3\n    env: {A: b}\n", "api changed, 2 instances restarted, 1 instance started", "", "api:api#1 api:api#2 api:api#3"},
		{"one process", "{name: job, command: \"exec sleep 1000\"", "{name: job, command: \"exec sleep 2000\"", "pool changed, 1 instance restarted, 2 instances left running", "pool:web#1 pool:web#2", "pool:job#1"},
		{"another process", "      - {name: job", "      - {name: cron, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n      - {name: job", "pool changed, 1 instance started, 3 instances left running", "pool:job#1 pool:web#1 pool:web#2", "pool:cron#1"},
		{"process gone", "      - {name: job, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n", "", "pool changed, 1 instance stopped, 2 instances left running", "pool:web#1 pool:web#2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.up(daily)
			after := strings.Replace(daily, c.from, c.to, 1)
			app, _, _ := strings.Cut(c.plan, " ")
			if got := w.changes(after); !strings.Contains(got, c.plan) || strings.Count(got, "unchanged") != 1 {
				t.Errorf("plan: %s", got)
			}
			before := w.pids(app)
			rs, err := w.apply(after)
			if err != nil || c.name != "live" && (len(rs) != 1 || !rs[0].Changed) || c.name == "live" && len(rs) != 0 {
				t.Errorf("%+v %v", rs, err)
			}
			now := w.pids(app)
			if same, other := kept(before, now); same != c.same || other != c.other || w.app(app).State != view.Running {
				t.Errorf("the same: %s, others: %s, want %s and %s\n%s", same, other, c.same, c.other, w.tell())
			}
			for slot, pid := range before {
				if now[slot] != pid && alive(pid) {
					t.Errorf("%s (%d) still lives", slot, pid)
				}
			}
			if got := w.changes(after); strings.Count(got, "unchanged") != 2 {
				t.Errorf("again: %s", got)
			}
			w.crash()
			w.begin()
			w.resumed()
			w.is(app, view.Running)
			if same, other := kept(now, w.pids(app)); other != "" || len(w.pids(app)) != len(now) || same == "" {
				t.Errorf("after a crash others are: %s\n%s", other, w.tell())
			}
		})
	}
}

// TestStartAfterRenew: whoever asks for a start while the surplus is on its way is answered when it has gone.
func TestStartAfterRenew(t *testing.T) {
	w := newWorld(t)
	w.begin()
	file := func(n int) string {
		return fmt.Sprintf("project: shop\napps:\n  - {name: api, command: \"trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.02; done\", instances: %d, ready: {delay: 10ms}}\n", n)
	}
	w.up(file(3))
	def := w.load(file(1))
	if _, err := w.Apply(w.ctx(), def, w.defs.add(def), Command{Seq: w.next()}); err != nil {
		t.Fatal(err)
	}
	if rs, err := w.start("api"); err != nil || rs[0].Changed || len(w.app("api").Instances) != 1 {
		t.Errorf("%+v %v\n%s", rs, err, w.tell())
	}
}

// TestTakenUp: what a program that runs has taken up is in force for it at once, and for the next daemon too.
func TestTakenUp(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.up("project: shop\napps:\n  - {name: api, command: \"trap '' TERM; trap 'echo int >> ends; exit 0' INT; while :; do sleep 0.02; done\", ready: {delay: 10ms}}\n" +
				"  - {name: ill, command: \"exec sleep 1000\", restart: never, ready: {delay: 10ms}}\n")
			pid, gen := w.pid("api"), w.app("api").Instances[0].Generation
			rs, err := w.apply("project: shop\napps:\n  - {name: api, command: \"trap '' TERM; trap 'echo int >> ends; exit 0' INT; while :; do sleep 0.02; done\", ready: {delay: 20ms}, stop: {signal: INT, timeout: 60s}}\n" +
				"  - {name: ill, command: \"exec sleep 1000\", restart: never, ready: {delay: 10ms}, health: {tcp: \"127.0.0.1:1\", interval: 100ms, timeout: 1s, retries: 20}}\n")
			if err != nil || len(rs) != 0 {
				t.Fatalf("%+v %v", rs, err)
			}
			if v := w.app("api"); v.Instances[0].PID != pid || v.Instances[0].Generation != gen || v.Revision != 2 {
				t.Errorf("%s", w.tell())
			}
			if crash {
				w.crash()
				w.begin()
				w.is("api", view.Running)
			}
			began := time.Now()
			if _, err := w.stop("api"); err != nil || len(w.file("ends")) != 1 || time.Since(began) > 20*time.Second {
				t.Errorf("it was not asked as the new definition says: %v, after %s", err, time.Since(began))
			}
			if v := w.is("ill", view.Crashed); v.Instances[0].LastExit.Reason != "unhealthy" {
				t.Errorf("%+v", v.Instances[0].LastExit)
			}
		})
	}
}

// TestOtherReadiness: a start that waits for the wrong sign waits for the right one as soon as the file names it.
func TestOtherReadiness(t *testing.T) {
	w := newWorld(t)
	w.begin()
	file := func(ready string) string {
		return "project: shop\napps:\n  - {name: api, command: \"echo up; exec sleep 1000\", ready: " + ready + "}\n"
	}
	if _, err := w.apply(file("{log: \"on air\", timeout: 60s}")); err != nil {
		t.Fatal(err)
	}
	c := w.command("api")
	c.Wait = false
	if _, err := w.Start(w.ctx(), c); err != nil {
		t.Fatal(err)
	}
	var pid int
	eventually(t, "the program", func() bool { pid = w.pid("api"); return pid != 0 }, w.tell)
	if _, err := w.apply(file("{notify: true, timeout: 60s}")); err != nil { // it was given no socket: it goes on as it began
		t.Fatal(err)
	}
	if v := w.app("api"); v.State != view.Starting || v.Instances[0].PID != pid {
		t.Errorf("%s", w.tell())
	}
	if _, err := w.apply(file("{log: up, timeout: 60s}")); err != nil {
		t.Fatal(err)
	}
	if v := w.is("api", view.Running); v.Instances[0].PID != pid {
		t.Errorf("%s", w.tell())
	}
}

// TestRenewWhatEnded: a new definition is a new try for what failed, and none for what has ended well.
func TestRenewWhatEnded(t *testing.T) {
	w := newWorld(t)
	w.begin()
	const file = "project: shop\napps:\n  - {name: bad, command: \"exit 4\", restart: never}\n  - {name: quits, command: \"echo x >> quits; sleep 0.05\", ready: {delay: 10ms}}\n  - {name: once, command: \"echo x >> onces\", oneshot: true}\n"
	if _, err := w.apply(file); err != nil {
		t.Fatal(err)
	}
	_, _ = w.start("bad", "quits", "once")
	w.is("bad", view.Crashed)
	w.is("quits", view.Stopped)
	w.is("once", view.Completed)
	live := strings.NewReplacer("\"exit 4\", restart: never", "\"exit 4\", restart: never, stop: {timeout: 1s}", "ready: {delay: 10ms}", "ready: {delay: 20ms}", "oneshot: true", "oneshot: true, stop: {timeout: 1s}").Replace(file)
	if got, want := w.changes(live), "bad changed, 1 instance started; once changed; quits changed"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if rs, err := w.apply(live); err == nil || len(rs) != 1 || rs[0].Key != "shop/dev/bad" {
		t.Errorf("%+v %v", rs, err)
	}
	if v := w.is("bad", view.Crashed); v.Instances[0].Generation != 2 || len(w.file("quits")) != 1 || len(w.file("onces")) != 1 {
		t.Errorf("%s", w.tell())
	}
	w.saved("bad", func(a store.AppState) bool { return a.Revision == 2 })
}
