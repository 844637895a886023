package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

func (w *world) reload(names ...string) ([]view.Result, error) {
	return w.Reload(w.ctx(), w.command(names...))
}

// storm asks again and again, each time over a new connection; stop gives how often it was answered, and every failure.
func storm(address string) (stop func() (int64, []string)) {
	var answered atomic.Int64
	quit, ended := make(chan struct{}), make(chan []string, 4)
	for range cap(ended) {
		go func() {
			var bad []string
			for i := 0; ; i++ {
				select {
				case <-quit:
					ended <- bad
					return
				default:
				}
				path := "/"
				if i%20 == 19 {
					path = "/slow"
				}
				if _, err := get(address, path); err != nil {
					bad = append(bad, err.Error())
				} else {
					answered.Add(1)
				}
			}
		}()
	}
	return func() (int64, []string) {
		close(quit)
		var bad []string
		for range cap(ended) {
			bad = append(bad, <-ended...)
		}
		return answered.Load(), bad
	}
}

// living counts the main processes of an app that are alive, as the kernel has them.
func (w *world) living(name string) (pids []int) {
	for _, s := range ident.All() {
		if home, _ := ident.Environ(s.PID, "TEST_HOME"); home != w.home || s.State == 'Z' {
			continue
		}
		if app, _ := ident.Environ(s.PID, "OMNITRON_APP"); app == name {
			pids = append(pids, s.PID)
		}
	}
	return pids
}

func none(a, b []int) bool {
	return !slices.ContainsFunc(a, func(p int) bool { return slices.Contains(b, p) })
}

// TestRollingReload: whoever connects meanwhile is served, and at the end every instance is another one.
func TestRollingReload(t *testing.T) {
	w := newWorld(t)
	w.begin()
	at := free(t)
	w.up("project: shop\napps:\n  - {name: web, ready: notify, instances: 3, sockets: {http: " + at + "}, command: " + w.prog("serve:1") + "}\n")
	stop := storm(at)
	for range 5 {
		before := w.mains("web")
		res, err := w.reload("web")
		after := w.mains("web")
		if err != nil || !res[0].Changed || len(after) != 3 || !none(before, after) || len(w.living("web")) != 3 {
			t.Errorf("reloaded: %v %+v, %v then %v, living %v", err, res, before, after, w.living("web"))
		}
	}
	if n, bad := stop(); len(bad) > 0 || n < 20 {
		t.Errorf("%d were served, %d not: %.500q", n, len(bad), bad)
	}
	if _, err := w.stop("web"); err != nil || len(w.living("web")) != 0 {
		t.Errorf("stopped: %v, living %v", err, w.living("web"))
	}
}

// TestReloadOfABadVersion: what does not come up takes nothing away, and the call says why.
func TestReloadOfABadVersion(t *testing.T) {
	w := newWorld(t)
	w.begin()
	at := free(t)
	w.up("project: shop\napps:\n  - {name: web, ready: {notify: true, timeout: 1s}, instances: 2, sockets: {http: " + at + "}, command: " +
		w.prog("unless:"+w.home+"/bad", "serve:1") + "}\n" +
		"  - {name: mute, ready: {notify: true, timeout: 1s}, command: " + w.prog("READY=1") + "}\n")
	before := w.mains("web")
	w.touch("bad")
	res, err := w.reload("web")
	f := fault.From(err)
	if f == nil || f.Reason != "reload_failed" || !strings.Contains(f.Message, "the old one stays") || !strings.Contains(f.Message, "exited 3") {
		t.Errorf("%v", err)
	}
	if len(res) != 1 || !slices.Contains(res[0].Lines, "this version is bad") {
		t.Errorf("its last words are missing: %+v", res)
	}
	w.is("web", view.Running)
	if after := w.mains("web"); !slices.Equal(before, after) || !slices.Contains(before, served(t, at)) {
		t.Errorf("%v became %v", before, after)
	}
	eventually(t, "nothing of it to be left", func() bool { return len(w.living("web")) == 2 })
	must(t, os.Remove(w.home+"/bad"))
	if _, err := w.reload("web"); err != nil || !none(before, w.mains("web")) {
		t.Errorf("mended: %v, %v then %v", err, before, w.mains("web"))
	}
}

// TestReloadByItself: by a signal, by a command, and one by one where a fixed port is in the way.
func TestReloadByItself(t *testing.T) {
	w := newWorld(t)
	w.begin()
	_, port, _ := strings.Cut(free(t), ":")
	w.up("project: shop\napps:\n  - {name: told, ready: notify, reload: {signal: HUP}, command: " + w.prog("READY=1", "hup:"+w.home+"/armed", "RELOADING=1", "wait:"+w.home+"/go", "READY=1\nSTATUS=again") + "}\n" +
		"  - {name: plain, reload: {signal: USR1, timeout: 5s}, ready: {log: up}, command: \"trap 'echo usr' USR1; echo up; while :; do sleep 0.05; done\"}\n" +
		"  - {name: asked, reload: {command: [sh, -c, 'echo $OMNITRON_APP >> " + w.home + "/said; exit $(cat " + w.home + "/code)']}, command: [sleep, inf]}\n" +
		"  - {name: fixed, ports: {p: " + port + "}, instances: 2, command: [sleep, inf]}\n")
	before := map[string][]int{}
	for _, name := range []string{"told", "plain", "asked", "fixed"} {
		before[name] = w.mains(name)
	}
	eventually(t, "the handler", func() bool { _, err := os.Stat(w.home + "/armed"); return err == nil })
	ended := make(chan error, 1)
	c := w.command("told")
	go func() { _, err := w.Reload(w.ctx(), c); ended <- err }()
	select {
	case err := <-ended:
		t.Errorf("it is reloading, and the call has ended: %v", err)
	case <-time.After(1500 * time.Millisecond): // longer than it may take to say so
	}
	w.touch("go")
	if err := <-ended; err != nil || w.app("told").Instances[0].Status != "again" {
		t.Errorf("ready again: %v", err)
	}
	must(t, os.WriteFile(w.home+"/code", []byte("0"), 0o600))
	for _, name := range []string{"plain", "asked"} {
		if _, err := w.reload(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, os.WriteFile(w.home+"/code", []byte("4"), 0o600))
	if _, err := w.reload("asked"); err == nil || !strings.Contains(err.Error(), "exited 4") {
		t.Errorf("a command that fails: %v", err)
	}
	if got := w.file("said"); !slices.Equal(got, []string{"asked", "asked"}) {
		t.Errorf("the command was run as %v", got)
	}
	for _, name := range []string{"told", "plain", "asked"} {
		if after := w.mains(name); !slices.Equal(before[name], after) {
			t.Errorf("%s was replaced: %v, %v", name, before[name], after)
		}
	}
	if _, err := w.reload("fixed"); err != nil || !none(before["fixed"], w.mains("fixed")) {
		t.Errorf("fixed: %v, %v then %v", err, before["fixed"], w.mains("fixed"))
	}
}

// TestStopDuringReload: a stop is the end of it, and nothing of either generation is left.
func TestStopDuringReload(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.touch("go")
	w.up("project: shop\napps:\n  - {name: web, ready: {notify: true, timeout: 60s}, instances: 2, command: " + w.prog("wait:"+w.home+"/go", "READY=1") + "}\n")
	must(t, os.Remove(w.home+"/go"))
	for _, end := range []string{"stop", "restart"} {
		before := w.mains("web")
		c := w.command("web")
		ended := make(chan error, 1)
		go func() { _, err := w.Reload(w.ctx(), c); ended <- err }()
		eventually(t, "a second generation", func() bool { return len(w.living("web")) == 3 })
		if v := w.app("web"); v.State != view.Running {
			t.Errorf("meanwhile it is %s", v.State)
		}
		if end == "stop" {
			if _, err := w.stop("web"); err != nil || len(w.living("web")) != 0 {
				t.Errorf("stopped: %v, living %v", err, w.living("web"))
			}
		} else {
			w.touch("go")
			if _, err := w.restart("web"); err != nil || !none(before, w.mains("web")) {
				t.Errorf("restarted: %v", err)
			}
			eventually(t, "two to be left", func() bool { return len(w.living("web")) == 2 })
		}
		if err := <-ended; fault.From(err) == nil || fault.From(err).Reason != "superseded" {
			t.Errorf("the reload: %v", err)
		}
		w.touch("go")
		if _, err := w.start("web"); err != nil {
			t.Error(err)
		}
		must(t, os.Remove(w.home+"/go"))
	}
}

// TestDaemonDiesDuringReload: at whatever moment, the next one has the right number, one generation of each, and all of them
// new in the end; nobody who connects is turned away.
func TestDaemonDiesDuringReload(t *testing.T) {
	w := newWorld(t)
	w.begin()
	at := free(t)
	w.up("project: shop\napps:\n  - {name: web, ready: notify, instances: 3, sockets: {http: " + at + "}, command: " + w.prog("serve:1") + "}\n")
	stop := storm(at)
	var ends []string
	for round := range 12 {
		before := w.mains("web")
		c := w.command("web")
		c.Wait = false
		if _, err := w.Reload(w.ctx(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round) * 12 * time.Millisecond) // another moment each time
		w.end()
		for _, ev := range w.bus.Recent(busFilter("apps"), 0, 4096) {
			if ev.Type == "exited" {
				ends = append(ends, fmt.Sprint(round, " ", ev.Text, ev.Data))
			}
		}
		w.begin()
		eventually(t, fmt.Sprintf("round %d: three, all of them new", round), func() bool {
			after := w.mains("web")
			return w.app("web").State == view.Running && len(after) == 3 && none(before, after) && len(w.living("web")) == 3
		}, func() string { return fmt.Sprintf("%v, living %v\n%s", before, w.living("web"), w.tell()) })
	}
	if n, bad := stop(); len(bad) > 0 || n < 20 {
		t.Errorf("%d were served, %d not: %.500q; ends: %s", n, len(bad), bad, strings.Join(ends, "\n"))
	}
}
