package supervisor

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// TestDependencies: an app is started when what it depends on is as far as it has to be, and what it needs is started
// with it.
func TestDependencies(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: web, command: "echo web >> order; exec sleep 1000", dependsOn: [api, {app: migrate, until: completed}, {app: mail, until: started}], ready: {delay: 10ms}}
  - {name: api, command: "echo api >> order; exec sleep 1000", dependsOn: [db], ready: {delay: 10ms}}
  - {name: db, command: "sleep 0.2; echo db >> order; echo up; exec sleep 1000", ready: {log: up}}
  - {name: migrate, command: "sleep 0.3; echo migrate >> order", oneshot: true}
  - {name: mail, command: "exec sleep 1000", ready: {log: never, timeout: 60s}}
`); err != nil {
		t.Fatal(err)
	}
	c := w.command("web")
	ended := make(chan error, 1)
	go func() { _, err := w.Start(w.ctx(), c); ended <- err }() // mail is not ready for long; web does not mind
	w.is("web", view.Running)
	order := w.file("order")
	if got := strings.Join(order, " "); got != "db migrate api web" && got != "db api migrate web" {
		t.Errorf("started in the order %s", got)
	}
	if v := w.app("mail"); v.State != view.Starting {
		t.Errorf("mail is %s", v.State)
	}
	if _, err := w.stop("mail"); err != nil {
		t.Error(err)
	}
	if err := <-ended; reason(err) != "conflict/superseded" {
		t.Errorf("the start says %v", err)
	}
}

// TestCulprit: a start that cannot come to an end by itself says which dependency is in the way, however far down.
func TestCulprit(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: a, command: "exec sleep 1000", dependsOn: [b], ready: {delay: 10ms}}
  - {name: b, command: "exec sleep 1000", dependsOn: [c], ready: {delay: 10ms}}
  - {name: c, command: "exec sleep 1000", dependsOn: [d], ready: {delay: 10ms}}
  - {name: d, command: "echo because >&2; exit 3", restart: never}
  - {name: e, command: "exec sleep 1000", dependsOn: [f], ready: {delay: 10ms}}
  - {name: f, command: [./nothing]}
`); err != nil {
		t.Fatal(err)
	}
	rs, err := w.start("a")
	if reason(err) != "failed/dependency_failed" && reason(err) != "failed/start_failed" || len(rs) != 4 {
		t.Fatalf("%+v %v", rs, err)
	}
	for _, r := range rs {
		switch {
		case r.Key == "shop/dev/d" && (r.State != view.Crashed || !strings.Contains(r.Reason, "exited 3") || !slices.Equal(r.Lines, []string{"because"})):
			t.Errorf("%+v", r)
		case r.Key != "shop/dev/d" && (r.OK || r.State != view.Waiting || !strings.Contains(r.Reason, "shop/dev/d, which it depends on, is crashed: exited 3")):
			t.Errorf("%+v", r)
		}
	}
	if rs, err = w.start("e"); err == nil || !strings.Contains(rs[1].Reason, "shop/dev/f, which it depends on, is crashed") {
		t.Errorf("%+v %v", rs, err)
	}
	if v := w.app("f"); v.Restarts != 0 || strings.Contains(v.Reason, "not started again") {
		t.Errorf("a program that is not there: %+v", v)
	}
}

// TestCommandOnTheWay: an app does not start on a dependency that is about to be restarted.
func TestCommandOnTheWay(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: db, command: "echo db >> order; exec sleep 1000", ready: {delay: 100ms}}
  - {name: api, command: "echo api >> order; exec sleep 1000", dependsOn: [db], ready: {delay: 10ms}}
`)
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	w.runner("shop/dev/db").Post(func() { <-hold }) // it comes to its command late
	done := make(chan error, 1)
	c := w.command("db", "api")
	go func() { _, err := w.Restart(w.ctx(), c); done <- err }()
	v := w.is("api", view.Waiting)
	if w.app("db").State != view.Running || v.Reason != "waits for db, which a command is on its way to" {
		t.Errorf("%s", w.tell())
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.file("order"), " "); got != "db api db api" {
		t.Errorf("started in the order %s", got)
	}
}

// TestProcessesDepend: processes of one app wait for each other, and one that is started by itself takes along what it
// needs.
func TestProcessesDepend(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - name: pool
    processes:
      - {name: web, command: "echo web >> order; exec sleep 1000", dependsOn: [worker], ready: {delay: 10ms}}
      - {name: worker, command: "echo worker >> order; : > up$OMNITRON_INSTANCE; trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.02; done", instances: 2, ready: {exec: [sh, -c, "test -e up$OMNITRON_INSTANCE"]}}
      - {name: other, command: "echo other >> order; exec sleep 1000", ready: {delay: 10ms}}
`); err != nil {
		t.Fatal(err)
	}
	rs, err := w.start("pool:web")
	if err != nil || len(rs) != 2 {
		t.Fatalf("%+v %v\n%s", rs, err, w.tell())
	}
	if got := strings.Join(w.file("order"), " "); got != "worker worker web" {
		t.Errorf("started %s", got)
	}
	w.saved("pool", func(a store.AppState) bool {
		return a.Desired == store.WantStopped && a.Parts["web"] == store.WantRunning && a.Parts["worker"] == store.WantRunning
	})
	c := w.command("pool:worker")
	c.Wait = false
	if _, err := w.Scale(w.ctx(), c, 1); err != nil { // the one that goes must not hold up anybody
		t.Error(err)
	}
	if _, err := w.restart("pool:web"); err != nil {
		t.Error(err)
	}
	if _, err := w.stop("pool:worker"); err != nil {
		t.Error(err)
	}
	rs, err = w.restart("pool:web")
	if err == nil || !strings.Contains(rs[0].Reason, "pool:worker#1, which it depends on, is stopped") {
		t.Errorf("a restart of what lacks something: %+v %v", rs, err)
	}
}

const crew = `
project: shop
apps:
  - name: crew
    supervision: {strategy: STRATEGY}
    restart: {backoff: {type: fixed, initial: 50ms, jitter: 0}}
    processes:
      - {name: a, command: "echo a >> starts; exec sleep 1000", ready: {delay: 10ms}}
      - {name: b, command: "echo b >> starts; exec sleep 1000", ready: {delay: 10ms}}
      - {name: c, command: "echo c >> starts; exec sleep 1000", ready: {delay: 10ms}}
`

// TestStrategies: what the failure of one process means for the others of its app.
func TestStrategies(t *testing.T) {
	for _, c := range []struct{ strategy, want string }{{"one_for_one", "b"}, {"one_for_all", "a b c"}, {"rest_for_one", "b c"}} {
		t.Run(c.strategy, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.up(strings.Replace(crew, "STRATEGY", c.strategy, 1))
			before := w.app("crew")
			kill(t, before.Instances[1].PID)
			eventually(t, "another b", func() bool {
				v := w.app("crew")
				return v.State == view.Running && v.Instances[1].Generation == 2
			}, w.tell)
			var again []string
			for i, in := range w.app("crew").Instances {
				if in.Generation != before.Instances[i].Generation {
					again = append(again, in.Process)
				}
			}
			slices.Sort(again)
			if got := strings.Join(again, " "); got != c.want {
				t.Errorf("started again: %s, want %s", got, c.want)
			}
		})
	}
}

// TestTiedFailuresEnd: processes that take each other along by turns do not restart for ever.
func TestTiedFailuresEnd(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - name: crew
    supervision: {strategy: one_for_all}
    restart: {maxRestarts: 4, backoff: {type: fixed, initial: 1ms, jitter: 0}}
    processes:
      - {name: a, command: "echo a >> starts; n=$(grep -c a starts); sleep 0.1; [ $((n % 2)) = 0 ] && exit 1; exec sleep 1000", ready: {delay: 5ms}}
      - {name: b, command: "sleep 0.05; n=$(grep -c a starts); sleep 0.05; [ $((n % 2)) = 1 ] && exit 1; exec sleep 1000", ready: {delay: 5ms}}
`); err != nil {
		t.Fatal(err)
	}
	c := w.command("crew")
	c.Wait = false
	if _, err := w.Start(w.ctx(), c); err != nil {
		t.Fatal(err)
	}
	w.is("crew", view.Crashed)
	if n := len(w.file("starts")); n < 5 || n > 12 { // each of the two may fail five times
		t.Errorf("%d rounds", n)
	}
}

// TestStackStrategy: the project's strategy acts among the apps of a stack, in the order of their dependencies.
func TestStackStrategy(t *testing.T) {
	for _, c := range []struct{ strategy, want string }{{"one_for_all", "api db free"}, {"rest_for_one", "api db"}} {
		t.Run(c.strategy, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			w.up(`
project: shop
supervision: {strategy: ` + c.strategy + `, backoff: {type: fixed, initial: 50ms, jitter: 0}}
apps:
  - {name: api, command: "echo api >> order; exec sleep 1000", dependsOn: [db], ready: {delay: 10ms}}
  - {name: db, command: "echo db >> order; exec sleep 1000", ready: {delay: 50ms}}
  - {name: free, command: "exec sleep 1000", ready: {delay: 10ms}}
`)
			eventually(t, "both to have said so", func() bool { return len(w.file("order")) == 2 })
			kill(t, w.pid("db"))
			eventually(t, "db and api again", func() bool {
				d, a := w.app("db"), w.app("api")
				return d.State == view.Running && a.State == view.Running && d.Instances[0].Generation == 2 && a.Instances[0].Generation == 2
			}, w.tell)
			w.is("free", view.Running)
			var again []string
			for _, v := range w.Apps() {
				if v.Instances[0].Generation == 2 {
					again = append(again, v.Name)
				}
			}
			if got := strings.Join(again, " "); got != c.want {
				t.Errorf("started again: %s, want %s", got, c.want)
			}
			eventually(t, "both to have said so again", func() bool { return len(w.file("order")) >= 4 })
			if got := strings.Join(w.file("order"), " "); got != "db api db api" {
				t.Errorf("in the order %s", got)
			}
		})
	}
}

// TestOneshots run once: a start says how they ended, or that they have been running for a while; another start runs them
// again, an app that needs them does not.
func TestOneshots(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: migrate, command: "echo migrate >> runs", oneshot: true}
  - {name: long, command: "exec sleep 1000", oneshot: true}
  - {name: bad, command: "echo no >&2; exit 5", oneshot: true}
  - {name: api, command: "exec sleep 1000", dependsOn: [migrate], ready: {delay: 10ms}}
`); err != nil {
		t.Fatal(err)
	}
	if rs, err := w.start("migrate"); err != nil || rs[0].State != view.Completed {
		t.Errorf("%+v %v", rs, err)
	}
	if rs, err := w.start("api"); err != nil || len(rs) != 1 {
		t.Errorf("%+v %v", rs, err)
	}
	if rs, err := w.start("migrate"); err != nil || !rs[0].Changed || len(w.file("runs")) != 2 {
		t.Errorf("%+v %v, ran %v", rs, err, w.file("runs"))
	}
	if rs, err := w.start("long"); err != nil || rs[0].State != view.Running || rs[0].TookMS < 900 {
		t.Errorf("%+v %v", rs, err)
	}
	rs, err := w.start("bad")
	if err == nil || rs[0].State != view.Failed || !slices.Equal(rs[0].Lines, []string{"no"}) || !strings.HasPrefix(rs[0].Reason, "exited 5") {
		t.Errorf("%+v %v", rs, err)
	}
	if rs, err := w.Reset(w.ctx(), w.command("bad", "migrate").Targets); err != nil || rs[0].State != view.Stopped || !rs[0].Changed || rs[1].State != view.Completed || rs[1].Changed {
		t.Errorf("reset: %+v %v", rs, err)
	}
	halted := make(chan struct{})
	if _, err := w.Halt(w.ctx(), false, func([]view.Result, error) { close(halted) }); err != nil {
		t.Fatal(err)
	}
	<-halted
	w.end()
	w.begin()
	w.is("long", view.Running)
	w.is("api", view.Running)
	if v := w.app("migrate"); v.State != view.Completed || len(w.file("runs")) != 2 {
		t.Errorf("after the next start of the daemon: %s, ran %v", w.tell(), w.file("runs"))
	}
}
