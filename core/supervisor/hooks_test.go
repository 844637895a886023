package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// hooked is an app whose hooks write down that they ran. more is the rest of its keys.
func hooked(command, more string) string {
	hook := func(name, do string) string { return fmt.Sprintf("%s: \"%s\"", name, do) }
	note := "echo $OMNITRON_HOOK $OMNITRON_APP $X >> order"
	return "project: shop\napps:\n  - {name: api, env: {X: y}, command: \"" + command + "\", hooks: {" + strings.Join([]string{
		hook("preStart", note), hook("postStart", note), hook("preStop", note),
		hook("postStop", "echo $OMNITRON_HOOK $OMNITRON_EXIT_CODE/$OMNITRON_EXIT_SIGNAL/$OMNITRON_EXIT_REASON >> order; echo cleaned"),
	}, ", ") + "}, " + more + "}\n"
}

// lines gives the lines of a file in the home.
func (w *world) lines(name string) []string {
	data, _ := os.ReadFile(filepath.Join(w.home, name))
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// nothingBeside fails when a hook, or a process of one, is left.
func (w *world) nothingBeside() {
	w.t.Helper()
	for _, p := range w.k.Processes() {
		if errand.Is(p) {
			w.t.Errorf("%s is left", p.ID())
		}
	}
}

func TestHooksComeInOrder(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(hooked("echo main >> order; trap 'echo signal >> order; exit 7' TERM; touch up; while :; do sleep 0.05; done", "ready: {exec: [test, -e, up]}"))
	if got, want := w.lines("order"), []string{"preStart api y", "main", "postStart api y"}; !slices.Equal(got, want) {
		t.Errorf("start: %q", got)
	}
	if _, err := w.stop("api"); err != nil {
		t.Fatal(err)
	}
	if got, want := w.lines("order")[3:], []string{"preStop api y", "signal", "postStop 7//stopped"}; !slices.Equal(got, want) {
		t.Errorf("stop: %q", got)
	}
	if got := w.lines("logs/shop/dev/api/api.1.out.log"); !slices.Contains(got, "cleaned") {
		t.Errorf("the log has %q", got)
	}
	w.nothingBeside()
}

// TestHooksAfterACrash: what ends by itself is not asked to, and is cleaned up after, before it starts again.
func TestHooksAfterACrash(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(hooked("echo main >> order; kill -9 $$$$", "restart: {maxRestarts: 1, backoff: {type: fixed, initial: 10ms}}")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.start("api"); err == nil {
		t.Error("it started")
	}
	want := []string{"preStart api y", "main", "postStop 137/SIGKILL/signal", "preStart api y", "main", "postStop 137/SIGKILL/signal"}
	if got := w.lines("order"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	w.is("api", view.Crashed)
	w.nothingBeside()
}

// TestPreStartFails: then the start has, for the reason that it gives, and the program never runs.
func TestPreStartFails(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: "echo main >> order; exec sleep 1000", hooks: {preStart: "echo no database >&2; exit 3", postStop: "echo post >> order"}, restart: never}
  - {name: slow, command: [sleep, "1000"], hooks: {preStart: {command: "sleep 1000 & sleep 1000", timeout: 100ms}}, restart: never}
  - {name: gone, command: [sleep, "1000"], hooks: {preStart: [./no-such-program]}}
`); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"api":  "the preStart hook exited 3; not started again",
		"slow": "the preStart hook was not done within 100ms; not started again",
		"gone": "the preStart hook cannot be run: ",
	} {
		rs, err := w.start(name)
		if err == nil || rs[0].State != view.Crashed || !strings.HasPrefix(rs[0].Reason, want) {
			t.Errorf("%s: %+v %v", name, rs, err)
		}
		if x := w.app(name).Instances[0].LastExit; name != "gone" && x.Reason != "preStart" {
			t.Errorf("%s: %+v", name, x)
		}
	}
	if rs, _ := w.start("api"); len(rs) != 1 || !slices.Contains(rs[0].Lines, "no database") {
		t.Errorf("its last lines are %+v", rs)
	}
	if got := w.file("order"); len(got) > 0 {
		t.Errorf("%q", got)
	}
	w.nothingBeside()
}

// TestStopDuringHooks: a stop gives up the hooks of a start, and what they started goes with them.
func TestStopDuringHooks(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: before, command: "echo main >> order; exec sleep 1000", hooks: {preStart: "touch in; setsid sleep 1000 & sleep 1000"}}
  - {name: after, command: "exec sleep 1000", ready: {delay: 1ms}, hooks: {postStart: "touch in2; setsid sleep 1000 & sleep 1000", preStop: "echo preStop >> order"}}
`); err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{"before": "in", "after": "in2"} {
		ended := make(chan error, 1)
		c := w.command(name)
		go func() { _, err := w.Start(w.ctx(), c); ended <- err }()
		eventually(t, "the hook of "+name, func() bool { _, err := os.Stat(filepath.Join(w.home, in)); return err == nil }, w.tell)
		select {
		case err := <-ended:
			t.Errorf("%s: the start did not wait for the hook: %v", name, err)
		default:
		}
		if _, err := w.stop(name); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; reason(err) != "conflict/superseded" {
			t.Errorf("%s: the start ended with %v", name, err)
		}
		w.is(name, view.Stopped)
		w.nothingBeside()
	}
	if got := w.lines("order"); !slices.Equal(got, []string{"preStop"}) {
		t.Errorf("%q", got)
	}
}

// TestLateHooks: a hook that fails on the way down, or takes too long, is told, and holds nothing up.
func TestLateHooks(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: api, command: "exec sleep 1000", ready: {delay: 1ms}, hooks: {postStart: "exit 5", preStop: {command: "sleep 1000", timeout: 50ms}, postStop: {command: "sleep 1000", timeout: 50ms}}}
`)
	if v := w.app("api"); v.State != view.Running || v.Reason != "the postStart hook exited 5" {
		t.Errorf("%s", w.tell())
	}
	began := time.Now()
	if _, err := w.stop("api"); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d < 100*time.Millisecond || d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
	w.nothingBeside()
}

// TestDaemonDiesDuringAHook: nothing of the hook is left, and the next daemon sees it through, once.
func TestDaemonDiesDuringAHook(t *testing.T) {
	for _, name := range []string{"preStart", "postStart", "preStop", "postStop"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.begin()
			if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: "echo main >> order; exec sleep 1000", ready: {delay: 1ms}, hooks: {` + name + `: "echo in >> order; test -e go || sleep 1000; echo out >> order"}}
`); err != nil {
				t.Fatal(err)
			}
			call := func(fn func() error) {
				done := make(chan struct{})
				go func() { defer close(done); _ = fn() }()
				t.Cleanup(func() { <-done })
			}
			start := w.command("api")
			call(func() error { _, err := w.Supervisor.Start(w.ctx(), start); return err })
			if strings.HasSuffix(name, "Stop") {
				w.is("api", view.Running)
				stop := w.command("api")
				call(func() error { _, err := w.Supervisor.Stop(w.ctx(), stop); return err })
			}
			eventually(t, "the hook", func() bool { return slices.Contains(w.lines("order"), "in") }, w.tell)
			w.resumed() // what is known is on its way to the disk
			must(t, w.st.Flush(w.ctx()))
			w.crash()
			w.touch("go")
			w.begin()
			want := view.Running
			if strings.HasSuffix(name, "Stop") {
				want = view.Stopped
			}
			eventually(t, "the hook to be seen through", func() bool { return slices.Contains(w.lines("order"), "out") }, w.tell)
			w.is("api", want)
			in, out, mains := 0, 0, 0
			for _, l := range w.lines("order") {
				switch l {
				case "in":
					in++
				case "out":
					out++
				case "main":
					mains++
				}
			}
			if in != 2 || out != 1 || mains != 1 {
				t.Errorf("%q", w.lines("order"))
			}
			w.nothingBeside()
		})
	}
}
