package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// program is the test binary as a supervised program: each argument is something to do, in order.
//
//	wait:FILE   until there is such a file
//	exit:N      end
//	eat:N       so many MB of memory, and keep them
//	for:TIME    wait
//	every:TIME:KEY=VALUE say so again and again
//	term:KEY=VALUE when asked to end: say so, and end a good while later with 7
//	KEY=VALUE   say so to the supervisor
func program(args []string) int {
	for _, a := range args {
		verb, arg, _ := strings.Cut(a, ":")
		switch {
		case verb == "unless": // a version that does not come up
			if _, err := os.Stat(arg); err == nil {
				fmt.Fprintln(os.Stderr, "this version is bad")
				return 3
			}
		case verb == "hup": // wait to be told to reload
			told := make(chan os.Signal, 1)
			signal.Notify(told, syscall.SIGHUP)
			if err := os.WriteFile(arg, nil, 0o600); err != nil {
				return 72
			}
			<-told
		case verb == "serve":
			return serve(arg)
		case verb == "wait":
			_ = poll(context.Background(), func() bool { _, err := os.Stat(arg); return err == nil })
		case verb == "exit":
			n := 0
			fmt.Sscan(arg, &n)
			return n
		case verb == "eat":
			var n int
			fmt.Sscan(arg, &n)
			for ; n > 0; n-- {
				b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
				if err != nil {
					return 1
				}
				for i := 0; i < len(b); i += 4096 {
					b[i] = 1
				}
			}
		case verb == "for":
			d, _ := time.ParseDuration(arg)
			<-time.After(d)
		case verb == "every":
			pause, text, _ := strings.Cut(arg, ":")
			d, _ := time.ParseDuration(pause)
			for ; ; <-time.After(d) {
				if say(text) != nil {
					return 70
				}
			}
		case verb == "term":
			asked := make(chan os.Signal, 1)
			signal.Notify(asked, unix.SIGTERM)
			go func() {
				<-asked
				_ = say(arg)
				<-time.After(900 * time.Millisecond)
				os.Exit(7)
			}()
		default:
			if err := say(a); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 70
			}
		}
	}
	select {}
}

func say(text string) error {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte(text))
	return err
}

// prog0 gives a program as words for a shell.
func (w *world) prog0(args ...string) string {
	exe, err := os.Executable()
	must(w.t, err)
	return exe + " program '" + strings.Join(args, "' '") + "'"
}

// prog gives the argv of a program in YAML.
func (w *world) prog(args ...string) string {
	exe, err := os.Executable()
	must(w.t, err)
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf("[%q, program, %s]", exe, strings.Join(quoted, ", "))
}

func (w *world) touch(name string) {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.home, name), nil, 0o600))
}

// TestNotices: what a program says of itself.
func TestNotices(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply("project: shop\napps:\n  - {name: api, ready: {notify: true, timeout: 60s}, command: " +
		w.prog("STATUS=warming up", "wait:ready", "READY=1\nSTATUS=serving", "wait:stop", "STOPPING=1") + "}\n"); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	c := w.command("api")
	go func() { _, err := w.Start(w.ctx(), c); started <- err }()
	status := func(want string) {
		t.Helper()
		eventually(t, "the status "+want, func() bool { return w.app("api").Instances[0].Status == want }, w.tell)
	}
	status("warming up")
	if v := w.app("api"); v.State != view.Starting {
		t.Errorf("%s", w.tell())
	}
	w.touch("ready")
	if err := <-started; err != nil {
		t.Error(err)
	}
	status("serving")
	w.end()
	w.begin()
	status("serving") // another daemon is told again
	w.is("api", view.Running)
	w.touch("stop")
	eventually(t, "the reason", func() bool { return w.app("api").Reason == "it says that it is stopping" }, w.tell)
}

// TestUnready: what is not ready in time has failed, and falls under its restart policy.
func TestUnready(t *testing.T) {
	w := newWorld(t)
	w.check = func(context.Context, probe.Target) probe.Result { return probe.Result{Message: "no such page"} }
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: "echo x >> starts; exec sleep 1000", ready: {tcp: "127.0.0.1:1", timeout: 100ms}, restart: {maxRestarts: 2, backoff: {type: fixed, initial: 10ms}}}
  - {name: mute, command: "exec sleep 1000", ready: {log: never, timeout: 50ms}, restart: never}
`); err != nil {
		t.Fatal(err)
	}
	rs, err := w.start("api")
	if err == nil || rs[0].State != view.Crashed || len(w.file("starts")) != 3 ||
		rs[0].Reason != "was not ready within 100ms; not started again: 2 restarts within 1m did not help" {
		t.Errorf("%+v %v, %d starts", rs, err, len(w.file("starts")))
	}
	if x := w.app("api").Instances[0].LastExit; x.Reason != "unready" || x.Signal != "SIGTERM" {
		t.Errorf("%+v", x)
	}
	if rs, err := w.start("mute"); err == nil || !strings.HasPrefix(rs[0].Reason, "was not ready within 50ms") {
		t.Errorf("%+v %v", rs, err)
	}
	var texts []string
	for _, e := range w.bus.Recent(busFilter("apps"), 0, 100) {
		if e.Type == "stopping" && e.Key == "shop/dev/api" {
			texts = append(texts, e.Text)
		}
	}
	if len(texts) != 3 || texts[0] != "stopping: was not ready within 100ms: no such page" {
		t.Errorf("told %q", texts)
	}
}

// TestUnhealthy: a program that its probe finds unhealthy has failed; where it is not restarted it stays down.
func TestUnhealthy(t *testing.T) {
	w := newWorld(t)
	var sick atomic.Bool
	var at, most atomic.Int32
	w.check = func(context.Context, probe.Target) probe.Result {
		most.Store(max(most.Load(), at.Add(1)))
		defer at.Add(-1)
		return probe.Result{Healthy: !sick.Load(), Message: "says the probe"}
	}
	w.begin()
	const health = "health: {tcp: \"127.0.0.1:1\", interval: 100ms, timeout: 1s, retries: 3}, ready: {delay: 10ms}"
	w.up("project: shop\napps:\n  - {name: api, command: \"exec sleep 1000\", " + health + ", restart: {backoff: {type: fixed, initial: 10ms}}}\n" +
		"  - {name: once, command: \"exec sleep 1000\", " + health + ", restart: never}\n" +
		"  - {name: bare, command: \"exec sleep 1000\", ready: {tcp: \"127.0.0.1:1\"}}\n")
	eventually(t, "health", func() bool { return w.app("api").Health == "healthy" && w.app("once").Health == "healthy" }, w.tell)
	sick.Store(true)
	v := w.is("once", view.Crashed)
	if v.Reason != "its health probe failed: says the probe; not started again: its restart policy is never" || v.Instances[0].LastExit.Reason != "unhealthy" {
		t.Errorf("%+v", v)
	}
	eventually(t, "a restart", func() bool { return w.app("api").Restarts > 0 }, w.tell)
	sick.Store(false)
	eventually(t, "health again", func() bool { v := w.app("api"); return v.State == view.Running && v.Health == "healthy" }, w.tell)
	if got := w.events("once", "health"); !slices.Equal(got, []string{"healthy", "unhealthy"}) {
		t.Errorf("events %v", got)
	}
	got := w.Probe(w.ctx(), w.command("api", "once").Targets)
	if len(got) != 2 || got[0].Health != "healthy" || got[0].Note != "says the probe" || got[0].Probe != "tcp" || got[1].Health != "unknown" || got[1].State != view.Crashed {
		t.Errorf("%+v", got)
	}
	if got, v := w.Probe(w.ctx(), w.command("bare").Targets), w.app("bare"); len(got) != 1 || got[0].Health != v.Health || got[0].Note != "ready; says the probe" {
		t.Errorf("without a health probe: %+v, and the app is %s", got, v.Health)
	}
	if most.Load() > 3 { // one of each app, and the one that was asked for here
		t.Errorf("%d probes at once", most.Load())
	}
}

// TestExecProbe: a command asks as the program would: same folder and environment. Nothing of it is left, and one that
// hangs is ended with all that it started.
func TestExecProbe(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: "exec sleep 1000", env: {COLOR: red}, ports: {http: auto}, ready: {exec: [sh, -c, "echo $$COLOR $$PORT $$OMNITRON_APP >> asked; test -e yes || { echo not yet; exit 3; }"], timeout: 60s}}
  - {name: slow, command: "exec sleep 1000", ready: {delay: 10ms}, health: {exec: [sh, -c, "sleep 999 & sleep 999"], interval: 100ms, timeout: 200ms, retries: 1}, restart: never}
`); err != nil {
		t.Fatal(err)
	}
	c := w.command("api")
	started := make(chan error, 1)
	go func() { _, err := w.Start(w.ctx(), c); started <- err }()
	eventually(t, "the first question", func() bool { return len(w.file("asked")) >= 3 })
	w.touch("yes")
	if err := <-started; err != nil {
		t.Error(err)
	}
	if got := w.file("asked"); got[0] != "red" || got[1] != fmt.Sprint(w.app("api").Instances[0].Ports["http"]) || got[2] != "api" {
		t.Errorf("asked with %v", got[:3])
	}
	if _, err := w.start("slow"); err != nil {
		t.Error(err)
	}
	if v := w.is("slow", view.Crashed); !strings.Contains(v.Reason, "no answer within ") {
		t.Errorf("%s", v.Reason)
	}
	eventually(t, "the probes to be forgotten", func() bool {
		return len(w.k.Processes()) == 1 && len(errand.Leftovers(w.RunDir)) == 0
	}, func() string { return fmt.Sprint(len(w.k.Processes()), errand.Leftovers(w.RunDir)) })
}

// TestRestOfATree: what a program that ended by itself leaves behind is ended before it starts again, and a stop ends what
// left the process group.
func TestRestOfATree(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(`
project: shop
apps:
  - {name: api, command: "setsid sleep 1000 & echo $$! >> rest; while [ ! -e end ]; do sleep 0.02; done; rm end; exit 1", ready: {delay: 10ms}, restart: {backoff: {type: fixed, initial: 10ms}}}
`)
	rest := func(i int) (pid int) { fmt.Sscan(w.file("rest")[i], &pid); return pid }
	eventually(t, "the rest", func() bool { return len(w.file("rest")) == 1 })
	w.touch("end")
	eventually(t, "another run", func() bool { return len(w.file("rest")) == 2 }, w.tell)
	if alive(rest(0)) {
		t.Error("the rest of the first run lives beside the second run")
	}
	eventually(t, "its tree", func() bool { return len(w.Trees(w.ctx(), "shop/dev/api")["api:api#1"]) >= 2 })
	if _, err := w.stop("api"); err != nil || alive(rest(1)) {
		t.Errorf("after a stop: %v, the rest lives: %v", err, alive(rest(1)))
	}
}

// TestEveryStartFails: what cannot be started is told as what it is, and keeps nothing.
func TestEveryStartFails(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.touch("text")
	if _, err := w.apply(`
project: shop
apps:
  - {name: missing, command: [./no-such-program], ports: {a: auto, b: auto}}
  - {name: text, command: [./text], ports: {a: auto}}
  - {name: folder, command: "exec sleep 1", cwd: ./none}
`); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"missing": "no-such-program", "text": "may not be executed", "folder": "none"} {
		rs, err := w.start(name)
		if err == nil || rs[0].State != view.Crashed || !strings.Contains(rs[0].Reason, want) {
			t.Errorf("%s: %+v %v", name, rs, err)
		}
		if x := w.app(name).Instances[0].LastExit; x == nil || x.Reason != "spawn" || x.Known {
			t.Errorf("%s: %+v", name, x)
		}
	}
	if n := w.common.Ports.Taken(); n != 0 {
		t.Errorf("%d ports are kept", n)
	}
	if n := len(w.k.Processes()); n != 0 {
		t.Errorf("the keeper has %d generations", n)
	}
}

// TestCrashed: the end of it carries one clear reason and the last lines.
func TestCrashed(t *testing.T) {
	w := newWorld(t)
	w.begin()
	if _, err := w.apply(`
project: shop
apps:
  - {name: api, command: "echo starting; echo no database >&2; exit 9", restart: {maxRestarts: 1, backoff: {type: fixed, initial: 10ms}}}
`); err != nil {
		t.Fatal(err)
	}
	rs, err := w.start("api")
	if reason(err) != "failed/start_failed" || rs[0].State != view.Crashed || len(rs[0].Lines) != 2 || rs[0].Lines[1] != "no database" {
		t.Fatalf("%+v %v", rs, err)
	}
	if f := fault.From(err); !strings.HasPrefix(f.Message, "cannot start shop/dev/api: exited 9 after") || f.Hint != `apps.explain {"name":"api"}` {
		t.Errorf("%+v", f)
	}
	a := w.saved("api", func(a store.AppState) bool {
		return a.Status == "crashed" && a.LastExit != nil && len(a.LastExit.StderrTail) > 0
	})
	if a.LastExit.Code != 9 || a.Restarts != 1 || !strings.Contains(a.LastError, "not started again: 1 restart within 1m did not help") || a.Processes[0].Attempt != 1 {
		t.Errorf("on disk: %+v", a)
	}
	if rs, err := w.Reset(w.ctx(), w.command("api").Targets); err != nil || rs[0].State != view.Stopped {
		t.Errorf("%+v %v", rs, err)
	}
	w.saved("api", func(a store.AppState) bool {
		return a.Status == "stopped" && a.Restarts == 0 && a.Processes[0].Attempt == 0 && a.LastExit.Code == 9
	})
}

// TestStuck: what the kernel does not let go of is named, holds up nobody, not even the end of the daemon, and is stopped
// once it dies after all.
func TestStuck(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: it takes a mount")
	}
	w := newWorld(t)
	hang := newHang(t, filepath.Join(w.home, "hang"))
	w.begin()
	w.up(`
project: shop
apps:
  - {name: api, command: "exec cat hang/file", ready: {delay: 10ms}, stop: {timeout: 50ms}, dependsOn: [db]}
  - {name: db, command: "exec sleep 1000", ready: {delay: 10ms}}
`)
	hang.asked(t)
	pid, began := w.pid("api"), time.Now()
	rs, err := w.stop("api")
	if reason(err) != "failed/stuck" || rs[0].State != view.Stuck || !strings.Contains(rs[0].Reason, fmt.Sprint(pid)) {
		t.Fatalf("%+v %v", rs, err)
	}
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("it took %s", took)
	}
	if rs, err := w.start("api"); err == nil || rs[0].State != view.Stuck {
		t.Errorf("a start of what is stuck: %+v %v", rs, err)
	}
	if _, err := w.stop("api"); reason(err) != "failed/stuck" {
		t.Errorf("another stop: %v", err)
	}
	halted := make(chan error, 1)
	if _, err := w.Halt(w.ctx(), false, func(_ []view.Result, err error) { halted <- err }); reason(err) != "failed/stuck" {
		t.Errorf("the end of the daemon: %v", err)
	}
	if err := <-halted; reason(err) != "failed/stuck" || !strings.Contains(err.Error(), "shop/dev/api") {
		t.Errorf("the end of the daemon: %v", err)
	}
	w.is("db", view.Stopped)
	hang.answer()
	w.is("api", view.Stopped)
	if alive(pid) {
		t.Error("it lives")
	}
}

// TestIntoTheBackground: of a program that leaves its work to the background it is said so, and how it stays in front.
func TestIntoTheBackground(t *testing.T) {
	w := newWorld(t)
	w.begin()
	const fork = "command: [sh, -c, \"(exec sleep 1000) & : %s\"]"
	if _, err := w.apply("project: shop\napps:\n  - {name: api, " + fmt.Sprintf(fork, "x") + "}\n  - {name: web, " + fmt.Sprintf(fork, "/usr/sbin/nginx") + ", restart: {policy: always, maxRestarts: 0}}\n" +
		"  - {name: plain, command: [\"true\"]}\n"); err != nil {
		t.Fatal(err)
	}
	const said = "; it went into the background, and the 1 process that it left there was ended: have it run in the foreground"
	for name, want := range map[string]string{"api": said, "web": said + " (nginx -g 'daemon off;'); not started again: 0 restarts within 1m did not help", "plain": "it ended by itself"} {
		if _, err := w.start(name); err == nil {
			t.Errorf("%s runs", name)
		}
		if v := w.app(name); !strings.HasSuffix(v.Reason, want) || v.State.Up() {
			t.Errorf("%s is %s: %s", name, v.State, v.Reason)
		}
	}
}
