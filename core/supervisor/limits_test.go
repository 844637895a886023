package supervisor

import (
	"os"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// TestOutOfMemory: what the kernel ends for want of memory has that as its reason, everywhere, and its neighbour lives on.
func TestOutOfMemory(t *testing.T) {
	w := newWorld(t)
	if os.Geteuid() != 0 {
		t.Skip("only root makes groups of the memory controller")
	}
	if _, ok := cage.Bounders("x")["memory"]; !ok {
		t.Fatal("no memory controller of the first version here: mkdir -p /sys/fs/cgroup/memory && mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory")
	}
	w.begin()
	w.up(`
apps:
  - {name: calm, command: [/bin/sleep, "600"], limits: {memory: 50MB}}
  - {name: hungry, command: ` + w.prog("eat:300") + `, limits: {memory: 64MB}, restart: {maxRestarts: 0}, ready: {delay: 60s}, enabled: false}
`)
	calm := w.pid("calm")
	if _, err := w.start("hungry"); err == nil {
		t.Error("the start of what starves succeeded")
	}
	v := w.is("hungry", view.Crashed)
	x := v.Instances[0].LastExit
	if x == nil || x.Reason != "oom" || x.Signal != "SIGKILL" || !strings.Contains(x.Message, "limit of 64MB (limits.memory)") {
		t.Errorf("it ended so: %+v", x)
	}
	if !strings.Contains(v.Reason, "needed more memory than its limit of 64MB") {
		t.Errorf("reason: %s", v.Reason)
	}
	told := false
	for _, ev := range w.bus.Recent(busFilter("apps"), 0, 4096) {
		told = told || ev.Type == "exited" && ev.Data["reason"] == "oom" && strings.Contains(ev.Text, "limits.memory")
	}
	if !told {
		t.Error("no event says so")
	}
	if w.pid("calm") != calm || w.app("calm").State != view.Running {
		t.Error("its neighbour did not live on")
	}
}

// TestLimitsOfAProcess: every limit of the file is in force for the program, and one that cannot be is an error, or a warning.
func TestLimitsOfAProcess(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: a, command: "ulimit -n > limits; nice >> limits; cat /proc/self/oom_score_adj >> limits; exec sleep 600", limits: {nofile: 444}, nice: 6, oomScore: 321, ready: {exec: [test, -s, limits]}}
  - {name: best, command: [/bin/sleep, "600"], limits: {nofile: 1073741823, best: true}}
  - {name: worst, command: [/bin/sleep, "600"], limits: {nofile: 1073741823}, enabled: false}
`)
	eventually(t, "its limits", func() bool { return strings.Join(w.file("limits"), " ") == "444 6 321" }, func() string { return strings.Join(w.file("limits"), " ") })
	v := w.app("best")
	if in := v.Instances[0]; v.State != view.Running || len(in.Warnings) != 1 || !strings.Contains(in.Warnings[0], "limits.nofile") || !strings.Contains(v.Reason, "limits.nofile") {
		t.Errorf("what does without a limit says %+v", v)
	}
	if got := w.events("best", "apps"); !strings.Contains(strings.Join(got, " "), "unlimited") {
		t.Errorf("events: %v", got)
	}
	if _, err := w.start("worst"); err == nil {
		t.Error("a limit that cannot be set was left out")
	}
	if v := w.is("worst", view.Crashed); !strings.Contains(v.Reason, "limits.nofile") || v.Restarts != 0 {
		t.Errorf("reason: %s, %d restarts", v.Reason, v.Restarts)
	}
}

func TestSuccessCodes(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
apps:
  - {name: three, command: "exit 3", oneshot: true, successCodes: [0, 3]}
  - {name: zero, command: "exit 0", oneshot: true, successCodes: [3]}
  - {name: term, command: "kill -TERM $$$$", oneshot: true, successCodes: [0, 143]}
  - {name: rests, command: "exit 3", successCodes: [3], restart: {maxRestarts: 0}}
  - {name: plain, command: "exit 3", restart: {maxRestarts: 0}}
`); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]view.State{"three": view.Completed, "zero": view.Failed, "term": view.Completed, "rests": view.Stopped, "plain": view.Crashed} {
		_, _ = w.start(name) // what it comes to is looked at
		w.is(name, want)
	}
}

// TestMaxMemory: an instance that uses too much is asked to end and started again, its sibling is left alone, and the reason is
// told.
func TestMaxMemory(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - name: leak
    processes:
      - {name: big, command: ` + w.prog("eat:120") + `, restart: {maxMemory: 100MB, maxRestarts: 1, backoff: {type: fixed, initial: 10ms}}}
      - {name: small, command: [/bin/sleep, "600"], restart: {maxMemory: 100MB}}
`)
	first, samples := w.app("leak").Instances[0].PID, sample.New()
	small := w.app("leak").Instances[1].PID
	eventually(t, "another run of what is too big", func() bool {
		w.Sample(samples)
		in := w.app("leak").Instances[0]
		return in.PID != 0 && in.PID != first
	}, w.tell)
	in := w.app("leak").Instances[0]
	if x := in.LastExit; x == nil || x.Reason != "memory" || !strings.Contains(x.Message, "more than its restart.maxMemory of 100MB") || x.Signal != "SIGTERM" || in.Restarts != 1 {
		t.Errorf("it ended so: %+v, %d restarts", x, in.Restarts)
	}
	eventually(t, "it to be given up", func() bool {
		w.Sample(samples)
		return w.app("leak").Instances[0].State == view.Crashed
	}, w.tell)
	if in := w.app("leak").Instances[0]; !strings.Contains(in.Reason, "restart.maxMemory") || !strings.Contains(in.Reason, "did not help") {
		t.Errorf("reason: %s", in.Reason)
	}
	if w.app("leak").Instances[1].PID != small {
		t.Error("its sibling was started again")
	}
}

// TestMaxMemoryInReload: a new generation that uses too much is weighed by itself: it ends, the old one stays, and the app is not
// given up, so the stack of a critical one goes on.
func TestMaxMemoryInReload(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.touch("ready")
	w.up(`
project: shop
apps:
  - {name: leak, critical: true, ready: {exec: [test, -e, ready], timeout: 60s}, restart: {maxMemory: 100MB}, command: "test -e grown && exec ` + w.prog0("eat:120") + ` || exec sleep 600"}
  - {name: other, command: [/bin/sleep, "600"]}
`)
	first, other, samples := w.app("leak").Instances[0].PID, w.app("other").Instances[0].PID, sample.New()
	must(t, os.Remove(w.home+"/ready"))
	w.touch("grown")
	ended := make(chan error, 1)
	go func() { _, err := w.reload("leak"); ended <- err }()
	var err error
	eventually(t, "the end of the reload", func() bool {
		w.Sample(samples)
		select {
		case err = <-ended:
			return true
		default:
			return false
		}
	}, w.tell)
	if f := fault.From(err); f == nil || f.Reason != "reload_failed" || !strings.Contains(f.Message, "restart.maxMemory of 100MB; the old one stays") {
		t.Errorf("%v", err)
	}
	if w.app("leak").Instances[0].PID != first || w.app("leak").State != view.Running || w.app("other").Instances[0].PID != other {
		t.Error(w.tell())
	}
	if u, ok := samples.Latest("shop/dev/leak:leak#1"); !ok || u.PID != first {
		t.Errorf("readers see %+v", u)
	}
}

// TestCritical: when what the stack cannot do without is given up, the others are stopped, dependents first, and stay so.
func TestCritical(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: core, command: "until test -e die; do sleep 0.02; done; exit 9", critical: true, restart: {maxRestarts: 0}}
  - {name: db, command: "trap 'echo db >> ends; exit 0' TERM; echo > db.up; while :; do sleep 0.02; done", ready: {exec: [test, -e, db.up]}}
  - {name: web, command: "trap 'sleep 0.1; echo web >> ends; exit 0' TERM; echo > web.up; while :; do sleep 0.02; done", dependsOn: [db], ready: {exec: [test, -e, web.up]}}
`)
	w.touch("die")
	w.is("core", view.Crashed)
	w.is("db", view.Stopped)
	if got := strings.Join(w.file("ends"), " "); got != "web db" {
		t.Errorf("they ended in the order %s", got)
	}
	if v := w.app("core"); v.State != view.Crashed || !strings.Contains(v.Reason, "exited 9") {
		t.Errorf("it is %s: %s", v.State, v.Reason)
	}
	told := false
	for _, ev := range w.bus.Recent(busFilter("apps"), 0, 4096) {
		told = told || ev.Type == "collapsed" && ev.Key == "shop/dev" && strings.Contains(ev.Text, "core is critical and was given up") && strings.Contains(ev.Text, "exited 9")
	}
	if !told {
		t.Error("no event says why")
	}
	w.saved("web", func(a store.AppState) bool { return a.Desired == store.WantStopped })
	if _, err := w.start("web"); err != nil { // somebody starts it again, and it stays
		t.Error(err)
	}
	if w.app("web").State != view.Running || w.app("core").State != view.Crashed {
		t.Error(w.tell())
	}
}

// TestInputAndOutput: stdin: open has no end, and logging.merge has both streams in one, in the order in which they were printed.
func TestInputAndOutput(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: reads, command: "cat; echo ended >> input", stdin: open}
  - {name: eof, command: "cat; echo eof >> input", oneshot: true}
  - {name: both, command: "for i in 1 2 3; do echo out$i; echo err$i >&2; done", oneshot: true, logging: {merge: true}}
`)
	w.is("eof", view.Completed)
	w.is("both", view.Completed)
	if v := w.app("reads"); v.State != view.Running || strings.Join(w.file("input"), " ") != "eof" {
		t.Errorf("%s input: %v", w.tell(), w.file("input"))
	}
	text, _ := os.ReadFile(w.out.path("shop/dev/both:both#1", "out"))
	if got := strings.Join(strings.Fields(string(text)), " "); got != "out1 err1 out2 err2 out3 err3" {
		t.Errorf("the one stream has %s", got)
	}
	if _, err := os.Stat(w.out.path("shop/dev/both:both#1", "err")); err == nil {
		t.Error("there is another stream")
	}
}
