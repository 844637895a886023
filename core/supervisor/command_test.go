package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

const one = `
project: shop
apps:
  - {name: api, command: "echo $$$$ >> pids; exec sleep 1000", ready: {delay: 20ms}}
`

func TestStartAndStop(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(one)
	pid := w.pid("api")
	if !alive(pid) {
		t.Fatalf("pid %d does not live\n%s", pid, w.tell())
	}
	rs, err := w.start("api")
	if err != nil || rs[0].Changed || len(rs[0].PIDs) != 1 || rs[0].PIDs[0] != pid {
		t.Errorf("a second start: %+v %v", rs, err)
	}
	rs, err = w.stop("api")
	if err != nil || len(rs) != 1 || rs[0].State != view.Stopped || !rs[0].Changed || alive(pid) {
		t.Errorf("a stop: %+v %v", rs, err)
	}
	rs, err = w.stop("api")
	if err != nil || rs[0].Changed {
		t.Errorf("a second stop: %+v %v", rs, err)
	}
	if got := w.events("api", "apps"); !slices.Equal(got, []string{"starting", "running", "stopping", "exited", "stopped"}) {
		t.Errorf("events %v", got)
	}
	a := w.saved("api", func(a store.AppState) bool { return a.Status == "stopped" && a.LastExit != nil })
	if x := a.Processes[0].LastExit; a.Desired != store.WantStopped || a.PID != 0 || x.Reason != "stopped" || x.Signal != "SIGTERM" || x.PID != pid || x.Generation != 1 {
		t.Errorf("on disk: %+v %+v", a, x)
	}
}

// TestAtOnce: many people say the same at the same moment. All of them are told that it is so, and it is done once.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	w.begin()
	def := w.load(one)
	rev := w.defs.add(def)
	var all sync.WaitGroup
	each := func(n int, fn func(seq int64) error) {
		for range n {
			seq := w.next()
			all.Go(func() {
				if err := fn(seq); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	order := func(seq int64) Command {
		ts, err := w.Resolve(t.Context(), nil, "shop", "")
		if err != nil || len(ts) != 1 {
			t.Errorf("%v %v", ts, err)
		}
		return Command{Targets: ts, Seq: seq, Wait: true}
	}
	each(8, func(seq int64) error {
		if _, err := w.Apply(w.ctx(), def, rev, Command{Seq: seq, Wait: true}); err != nil {
			return err
		}
		_, err := w.Start(w.ctx(), order(seq))
		return err
	})
	if pids := w.file("pids"); len(pids) != 1 {
		t.Fatalf("up eight times started %d programs", len(pids))
	}
	each(10, func(seq int64) error { _, err := w.Restart(w.ctx(), order(seq)); return err })
	pids := w.file("pids")
	living := slices.DeleteFunc(slices.Clone(pids), func(p string) bool { var n int; fmt.Sscan(p, &n); return !alive(n) })
	if len(pids) < 2 || len(pids) > 11 || len(living) != 1 {
		t.Errorf("ten restarts: programs %v, of which %v live", pids, living)
	}
	each(10, func(seq int64) error { _, err := w.Stop(w.ctx(), order(seq)); return err })
	if v := w.app("api"); v.State != view.Stopped || v.Desired != "stopped" {
		t.Errorf("ten stops: %s", w.tell())
	}
}

// TestOrder: commands count in the order of their records, whenever they arrive.
func TestOrder(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(one)
	c := w.command("api")
	late := func(seq int64) Command { l := c; l.Seq = seq; return l }
	w.seq = 100
	if _, err := w.Restart(w.ctx(), late(100)); err != nil {
		t.Fatal(err)
	}
	rs, err := w.Stop(w.ctx(), late(99))
	if reason(err) != "conflict/superseded" || rs[0].State != view.Running {
		t.Errorf("a stop that came too late: %+v %v", rs, err)
	}
	pid := w.pid("api")
	for _, do := range []func(context.Context, Command) ([]view.Result, error){w.Start, w.Restart} {
		if rs, err := do(w.ctx(), late(98)); err != nil || !rs[0].OK {
			t.Errorf("late, but it wants the same: %+v %v", rs, err)
		}
	}
	if v := w.app("api"); w.pid("api") != pid || v.Desired != "running" {
		t.Errorf("late commands had an effect: %s", w.tell())
	}
	if _, err := w.Stop(w.ctx(), late(200)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Start(w.ctx(), late(199)); reason(err) != "conflict/superseded" {
		t.Errorf("a start that came too late: %v", err)
	}
	if _, err := w.Scale(w.ctx(), late(210), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Scale(w.ctx(), late(205), 2); reason(err) != "conflict/superseded" {
		t.Errorf("a scale that came too late: %v", err)
	}
	if v := w.app("api"); v.State != view.Stopped || len(v.Instances) != 3 {
		t.Errorf("at the end: %s", w.tell())
	}
}

// TestOvertaken: who waits for something that somebody else takes back is told so at once.
func TestOvertaken(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply("project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", ready: {tcp: \"127.0.0.1:1\", timeout: 60s}}\n"); err != nil {
		t.Fatal(err)
	}
	c := w.command("api")
	failed := make(chan error, 1)
	go func() { _, err := w.Start(w.ctx(), c); failed <- err }()
	w.is("api", view.Starting)
	if _, err := w.stop("api"); err != nil {
		t.Error(err)
	}
	if err := <-failed; reason(err) != "conflict/superseded" {
		t.Errorf("the start says %v", err)
	}
}

const pool = `
project: shop
apps:
  - name: pool
    processes:
      - {name: web, command: "exec sleep 1000", instances: 2, ready: {delay: 20ms}}
      - {name: worker, command: "exec sleep 1000", ready: {delay: 20ms}}
`

// TestParts: a part of an app is commanded by itself, and that lasts.
func TestParts(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(pool)
	stands := func(want string) {
		t.Helper()
		var got []string
		for _, i := range w.app("pool").Instances {
			got = append(got, string(i.State))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("stands %v, want %s", got, want)
		}
	}
	stands("running running running")
	if rs, err := w.stop("pool:web#1"); err != nil || rs[0].State != view.Stopped {
		t.Errorf("%+v %v", rs, err)
	}
	stands("stopped running running")
	if v := w.app("pool"); v.Desired != "running" || v.Instances[0].Desired != "stopped" || v.Instances[1].Desired != "running" {
		t.Errorf("desired: %+v", v)
	}
	if _, err := w.stop("pool:worker"); err != nil {
		t.Error(err)
	}
	stands("stopped running stopped")
	w.saved("pool", func(a store.AppState) bool {
		return a.Desired == store.WantRunning && a.Parts["web#1"] == store.WantStopped && a.Parts["worker"] == store.WantStopped && len(a.Parts) == 2
	})
	w.end()
	w.begin()
	w.is("pool", view.Running)
	stands("stopped running stopped")
	if _, err := w.Scale(w.ctx(), w.command("pool:web"), 3); err != nil {
		t.Error(err)
	}
	stands("stopped running running stopped") // what was stopped by itself stays so
	if _, err := w.Scale(w.ctx(), w.command("pool:web"), 2); err != nil {
		t.Error(err)
	}
	if _, err := w.start("pool:web"); err != nil { // the process takes back what was said of its instance
		t.Error(err)
	}
	stands("running running stopped")
	if _, err := w.start("pool"); err != nil {
		t.Error(err)
	}
	stands("running running running")
	w.saved("pool", func(a store.AppState) bool { return len(a.Parts) == 0 && len(a.Numbers) == 1 })
	last := w.command("pool:worker")
	if _, err := w.stop("pool:web#2"); err != nil {
		t.Error(err)
	}
	if _, err := w.Stop(w.ctx(), last); err != nil { // older than the stop of web#2, which says nothing about it
		t.Errorf("a late stop of another part: %v", err)
	}
	stands("running stopped stopped")
	if _, err := w.Signal(w.ctx(), w.command("pool:worker").Targets, "USR1"); reason(err) != "failed/signal_failed" {
		t.Errorf("a signal to what does not run: %v", err)
	}
}

const stairs = `
project: shop
apps:
  - {name: db, command: "exec sleep 1000", ready: {delay: 20ms}}
  - {name: api, command: "exec sleep 1000", dependsOn: [db], ready: {delay: 20ms}}
  - name: web
    command: "trap 'sleep 0.3; echo web >> ends; exit 0' TERM; while :; do sleep 0.05; done"
    dependsOn: [api]
    ready: {delay: 20ms}
`

// TestStopGoesOn: a stop of several levels reaches the last one also when the caller has gone.
func TestStopGoesOn(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(stairs)
	c := w.command("web", "api", "db")
	c.Timeout = 30 * time.Millisecond
	rs, err := w.Stop(w.ctx(), c)
	if reason(err) != "deadline/still_working" || len(rs) != 3 || rs[0].Key == "" || rs[2].Key == "" {
		t.Errorf("%+v %v", rs, err)
	}
	w.is("db", view.Stopped)
	if w.app("web").State != view.Stopped || w.app("api").State != view.Stopped || len(w.file("ends")) != 1 {
		t.Errorf("ends %v\n%s", w.file("ends"), w.tell())
	}
	if _, err := w.start("web"); err != nil {
		t.Fatal(err)
	}
	c = w.command("web", "api", "db")
	c.Wait = false
	if rs, err := w.Stop(w.ctx(), c); err != nil || rs[0].State != view.Stopping || !rs[0].OK || !rs[0].Changed {
		t.Errorf("a stop that nobody waits for: %+v %v", rs, err)
	}
	w.is("db", view.Stopped)
}

// TestRestartInOrder: of several apps that are restarted, those end first that others do not depend on, and those start
// first that others depend on; whether the caller waits for it, gives up, or did not want to wait.
func TestRestartInOrder(t *testing.T) {
	w := newWorld(t)
	w.begin()
	file := func(env string) string {
		text := "project: shop\napps:\n"
		for _, a := range [][2]string{{"db", ""}, {"api", "db"}, {"web", "api"}, {"cron", "api"}} {
			text += fmt.Sprintf("  - {name: %s, command: \"trap 'sleep 0.1; echo -%s >> told; exit 0' TERM; echo +%s >> told; echo up; while :; do sleep 0.02; done\", dependsOn: [%s], ready: {log: up}, env: {E: %q}}\n", a[0], a[0], a[0], a[1], env)
		}
		return text
	}
	// told checks what happened since the last time; apps of a level in any order.
	told := func(what string, want ...string) {
		t.Helper()
		n := 0
		for _, level := range want {
			n += len(strings.Fields(level))
		}
		var got []string
		eventually(t, what, func() bool { got = w.file("told"); return len(got) == n }, w.tell, func() string { return fmt.Sprint(got) })
		for _, level := range want {
			part := strings.Fields(level)
			is := slices.Sorted(slices.Values(got[:len(part)]))
			if slices.Sort(part); !slices.Equal(is, part) {
				t.Errorf("%s: %v where %s should be", what, is, level)
			}
			got = got[len(part):]
		}
		w.is("web", view.Running)
		w.is("cron", view.Running)
		must(t, os.Remove(filepath.Join(w.home, "told")))
	}
	all := []string{"-web -cron", "-api", "-db", "+db", "+api", "+web +cron"}
	w.up(file("a"))
	told("a start", "+db", "+api", "+web +cron")
	if rs, err := w.restart("db", "api", "web", "cron"); err != nil || len(rs) != 4 || len(rs[0].PIDs) != 1 || rs[0].PIDs[0] != w.pid("db") {
		t.Errorf("%+v %v", rs, err)
	}
	told("a restart", all...)
	c := w.command("cron", "web", "api", "db")
	c.Timeout = 30 * time.Millisecond
	if _, err := w.Restart(w.ctx(), c); reason(err) != "deadline/still_working" {
		t.Errorf("%v", err)
	}
	told("a restart that nobody waits for any more", all...)
	c = w.command("cron", "web", "api", "db")
	c.Wait = false
	if rs, err := w.Restart(w.ctx(), c); err != nil || len(w.file("told")) != 0 || rs[3].State != view.Stopping || !rs[3].Changed {
		t.Errorf("%+v %v, happened: %v", rs, err, w.file("told"))
	}
	told("a restart that nobody waits for", all...)
	if rs, err := w.apply(file("b")); err != nil || len(rs) != 4 {
		t.Errorf("%+v %v", rs, err)
	}
	told("another definition", all...)
	if _, err := w.restart("db", "web"); err != nil {
		t.Error(err)
	}
	if got := w.file("told"); len(got) != 4 || got[0] != "-web" { // it depends on db, by api
		t.Errorf("%v", got)
	}
}

// TestAbandoned: calls whose callers went away are not kept for ever.
func TestAbandoned(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply("project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", ready: {log: never, timeout: 60s}}\n"); err != nil {
		t.Fatal(err)
	}
	var left []*runner.Waiter
	for range 5 {
		c := w.command("api")
		waits := w.waiters(runner.Start, c.Targets, nil, c)
		left = append(left, waits...)
		ctx, cancel := context.WithTimeout(w.ctx(), 10*time.Millisecond)
		if _, err := w.carry(ctx, runner.Start, waits, true); reason(err) != "deadline/still_working" {
			t.Errorf("%v", err)
		}
		cancel()
	}
	r := w.runner("shop/dev/api")
	eventually(t, "the waiters to go", func() bool {
		r.Wake()
		return !slices.ContainsFunc(left, func(l *runner.Waiter) bool { return !l.Answered() })
	})
}
