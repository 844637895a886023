package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// trio is three apps that need each other in a row, each of which takes its time to end, and one that was stopped singly.
type trio struct {
	t     *testing.T
	r     *rig.Rig
	scan  *scanner
	mark  string
	file  string
	apps  []string
	order []string // the order in which they are started
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	w := &trio{t: t, r: rig.New(t), mark: marker(), apps: []string{"base", "middle", "top", "aside"}, order: []string{"base", "middle", "top"}}
	w.file = filepath.Join(w.r.Dir, "stamps")
	w.scan = scan(t, w.mark)
	w.r.Up(w.yaml(""))
	w.r.OK("stop", "aside")
	return w
}

// yaml is the project's file; env goes to middle, and more apps can be added behind.
func (w *trio) yaml(env string, more ...string) string {
	var y strings.Builder
	fmt.Fprintf(&y, "project: trio\napps:\n")
	for i, name := range append(slices.Clone(w.apps), more...) {
		fmt.Fprintf(&y, "  - name: %s\n    command: %s\n    ready: {delay: 50ms}\n", name, argv(actor(w.t), "sit", w.mark+"."+name, "lag=100ms", "stamps="+w.file))
		if name == "middle" || name == "top" {
			fmt.Fprintf(&y, "    dependsOn: [%s]\n", w.apps[i-1])
		}
		if name == "middle" && env != "" {
			fmt.Fprintf(&y, "    env: {%s}\n", env)
		}
	}
	return y.String()
}

// pids gives the process of each app that runs, as the scanner sees it.
func (w *trio) pids() map[string]process {
	out := map[string]process{}
	for slot, ps := range w.scan.now() {
		if len(ps) == 1 {
			out[slot] = ps[0]
		}
	}
	return out
}

// same fails the test unless the three run as the same processes as before, and nothing else does.
func (w *trio) same(before map[string]process) {
	w.t.Helper()
	now := w.pids()
	for _, name := range w.order {
		if before[name].pid == 0 || now[name] != before[name] {
			w.t.Errorf("%s was %+v and is %+v", name, before[name], now[name])
		}
	}
	if left := others(w.scan.now(), w.order...); len(left) > 0 {
		w.t.Errorf("%v run too", left)
	}
}

// inOrder fails the test unless, since from, what happened to each app before it happened to the next one.
func (w *trio) inOrder(from time.Time, first, next string, names ...string) {
	w.t.Helper()
	when := map[string]time.Time{}
	for _, s := range stamps(w.t, w.file) {
		if s.at.After(from) {
			when[strings.TrimPrefix(s.who, w.mark+".")+" "+s.what] = s.at
		}
	}
	for i := range names[1:] {
		a, b := when[names[i]+" "+first], when[names[i+1]+" "+next]
		if a.IsZero() || b.IsZero() || b.Before(a) {
			w.t.Errorf("%s: %s at %s, %s: %s at %s", names[i], first, a.Format("15:04:05.000"), names[i+1], next, b.Format("15:04:05.000"))
		}
	}
}

// nothingLeft waits until daemon, keeper and apps have ended.
func (w *trio) nothingLeft() {
	w.t.Helper()
	w.r.Until(15*time.Second, "nothing is left", func() bool {
		return len(w.r.Left()) == 0 && len(w.scan.now()) == 0
	})
}

// allBack waits until the three run again.
func (w *trio) allBack() {
	w.t.Helper()
	for _, name := range w.order {
		w.r.WaitState(name, "running", 10*time.Second)
	}
}

func TestSIGTERM(t *testing.T) {
	for _, who := range []string{"daemon", "keeper"} {
		t.Run(who, func(t *testing.T) {
			w := newTrio(t)
			pid := daemonPID(w.r)
			if who == "keeper" {
				pid = w.r.KeeperPID()
			}
			from := time.Now()
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			w.nothingLeft()
			w.inOrder(from, "end", "term", "top", "middle", "base")
			from = time.Now()
			runFresh(t, w.r)
			back(w.r, 10*time.Second)
			w.allBack()
			w.inOrder(from, "start", "start", "base", "middle", "top")
			if a := w.r.App("aside"); a.State != "stopped" {
				t.Errorf("aside was stopped before and is %s", a.State)
			}
		})
	}
}

func TestSIGHUP(t *testing.T) {
	w := newTrio(t)
	before := w.pids()
	w.r.Write("omnitron.yaml", w.yaml(`COLOUR: green`, "fresh"))
	if err := syscall.Kill(daemonPID(w.r), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.r.Until(10*time.Second, "middle runs with its new environment", func() bool {
		now := w.pids()["middle"]
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", now.pid))
		return now != before["middle"] && err == nil && strings.Contains(string(env), "COLOUR=green")
	})
	w.allBack()
	now := w.pids()
	for _, name := range []string{"base", "top"} {
		if now[name] != before[name] {
			t.Errorf("%s did not change in the file and was restarted", name)
		}
	}
	if a := w.r.App("fresh"); a.State != "stopped" {
		t.Errorf("what is new in the file is %s: it is known, and nobody has started it", a.State)
	}
	w.r.Write("omnitron.yaml", "apps: {}\n")
	now = w.pids()
	if err := syscall.Kill(daemonPID(w.r), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.r.Until(10*time.Second, "the daemon says what is wrong with the file", func() bool {
		return strings.Contains(rig.LastLines(filepath.Join(w.r.Home, "logs", "daemon.log"), 3), "cannot reload")
	})
	w.same(now)
}

func TestKillCommand(t *testing.T) {
	w := newTrio(t)
	before := w.pids()
	w.r.OK("kill")
	if pid := daemonPID(w.r); pid != 0 {
		t.Errorf("the daemon %d lives", pid)
	}
	w.same(before)
	deadline := time.After(2500 * time.Millisecond)
	for came := false; !came; {
		select {
		case <-deadline:
			came = true
		case <-time.After(20 * time.Millisecond):
			if pid := daemonPID(w.r); pid != 0 {
				t.Fatalf("a daemon (pid %d) has come back by itself", pid)
			}
		}
	}
	if ran := w.r.Run("ls"); ran.Code != 2 {
		t.Errorf("ls exits %d without a daemon, not 2: %s", ran.Code, ran.Err)
	}
	w.same(before)
	w.r.OK("start", "top") // needs a daemon, and brings it up
	w.same(before)
	w.r.OK("kill")
	w.r.OK("up")
	now := w.pids()
	for _, name := range w.order {
		if now[name] != before[name] {
			t.Errorf("%s was %+v before kill and up, and is %+v", name, before[name], now[name])
		}
	}
	if now["aside"].pid == 0 {
		t.Error("up has not started what was stopped singly")
	}
}

func TestDaemonCrashes(t *testing.T) {
	w := newTrio(t)
	before := w.pids()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGQUIT, syscall.SIGBUS} {
		old := daemonPID(w.r)
		if err := syscall.Kill(old, sig); err != nil {
			t.Fatal(err)
		}
		w.r.Until(10*time.Second, "the daemon has died", func() bool { p, ok := rig.ReadProcess(old); return !ok || p.State == 'Z' })
		if took := back(w.r, 10*time.Second); took > time.Second {
			t.Errorf("after %s the daemon was back after %s", sig, took)
		}
		w.allBack()
		w.same(before)
	}
}

func TestDaemonRestart(t *testing.T) {
	w := newTrio(t)
	before := w.pids()
	for range rig.Count(3, 20) {
		old, keeper := daemonPID(w.r), w.r.KeeperPID()
		w.r.OK("daemon", "restart")
		back(w.r, 10*time.Second)
		w.r.Until(10*time.Second, "there is another daemon", func() bool { p := daemonPID(w.r); return p != 0 && p != old })
		w.allBack()
		w.same(before)
		if k := w.r.KeeperPID(); k != keeper {
			t.Errorf("the keeper was pid %d and is %d", keeper, k)
		}
	}
}

func TestDown(t *testing.T) {
	w := newTrio(t)
	from := time.Now()
	w.r.OK("down")
	w.nothingLeft()
	w.inOrder(from, "end", "term", "top", "middle", "base")
	for range 2 { // a second reboot forgets no more than the first
		fresh := runFresh(t, w.r)
		back(w.r, 10*time.Second)
		var st struct {
			Down bool `json:"home_down"`
			Apps map[string]int
		}
		if err := w.r.Call("daemon.status", struct{}{}, &st); err != nil || !st.Down || st.Apps["stopped"] != 4 {
			t.Errorf("after down and a reboot: %+v %v", st, err)
		}
		var got struct{ Desired string }
		if err := w.r.Call("apps.get", map[string]any{"name": "top"}, &got); err != nil || got.Desired != "running" {
			t.Errorf("top is desired %q after down (%v)", got.Desired, err)
		}
		if ps := w.scan.now(); len(ps) > 0 {
			t.Errorf("after down and a reboot there run %v", ps)
		}
		if err := syscall.Kill(fresh.Process.Pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		w.nothingLeft()
	}
	runFresh(t, w.r)
	back(w.r, 10*time.Second)
	w.r.OK("up")
	now := w.pids()
	for _, name := range w.apps {
		if now[name].pid == 0 {
			t.Errorf("%s does not run after up", name)
		}
	}
}

// What is not to outlive its daemon ends with it, within a second, and comes back with the next one: that is no failure of
// its own, however often it happens.
func TestEndsWithItsDaemon(t *testing.T) {
	r := rig.New(t)
	prog, mark := actor(t), marker()
	s := scan(t, mark)
	r.Up(fmt.Sprintf(`
apps:
  - {name: dies, command: %s, ready: {delay: 20ms}, onDaemonExit: stop}
  - {name: lives, command: %s, ready: {delay: 20ms}}
`, argv(prog, "sit", mark+".dies", "child=1"), argv(prog, "sit", mark+".lives")))
	grown := func() {
		r.Until(5*time.Second, "dies has its child", func() bool { return len(s.now()["dies.child"]) == 1 })
	}
	grown()
	lives := one(s.now(), "lives")
	var slowest time.Duration
	for round := range rig.Count(7, 200) {
		seen := s.now()
		old := append(slices.Clone(seen["dies"]), seen["dies.child"]...)
		if len(old) != 2 {
			t.Fatalf("round %d: dies and its child are %v", round, old)
		}
		began := time.Now()
		kill9(t, "daemon", daemonPID(r))
		r.Until(5*time.Second, "dies has died", func() bool {
			return !slices.ContainsFunc(old, func(p process) bool { st, ok := statusOf(p.pid); return ok && st.start == p.start })
		})
		slowest = max(slowest, time.Since(began))
		back(r, 10*time.Second)
		a := r.WaitState("dies", "running", 5*time.Second)
		grown()
		if a.Restarts != 0 {
			t.Fatalf("round %d: %d restarts are counted against dies", round, a.Restarts)
		}
		if now := one(s.now(), "lives"); now != lives {
			t.Fatalf("round %d: lives was %+v and is %+v", round, lives, now)
		}
	}
	t.Logf("gone after %s at most", slowest.Round(time.Millisecond))
	if slowest > time.Second {
		t.Errorf("it took %s until everything of it was gone", slowest)
	}
	dies := one(s.now(), "dies")
	r.OK("daemon", "restart")
	back(r, 10*time.Second)
	r.WaitState("dies", "running", 5*time.Second)
	if now := one(s.now(), "dies"); now != dies {
		t.Errorf("dies was %+v before the daemon was replaced, and is %+v", dies, now)
	}
}

// A descendant that keeps standard output open neither hides the end of the main process nor outlives its next start.
func TestHeldOutput(t *testing.T) {
	r := rig.New(t)
	prog, mark := actor(t), marker()
	file := filepath.Join(r.Dir, "stamps")
	s := scan(t, mark)
	r.Up(fmt.Sprintf(`
apps:
  - name: leaver
    command: %s
    ready: {delay: 20ms}
    restart: {policy: always, maxRestarts: 1000, backoff: {initial: 50ms, type: fixed}}
`, argv(prog, "leave", mark+".leaver", "stamps="+file)))
	var late []time.Duration
	for round := range rig.Count(6, 100) {
		r.WaitState("leaver", "running", 5*time.Second)
		r.Until(5*time.Second, "main and child live", func() bool { seen := s.now(); return len(seen["leaver"]) == 1 && len(seen["leaver.child"]) == 1 })
		seen := s.now()
		old, child := one(seen, "leaver"), one(seen, "leaver.child")
		signalTo(old, sigOrder)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var a rig.App
		for a = r.App("leaver"); ctx.Err() == nil && (len(a.Instances) == 0 || a.Instances[0].PID == old.pid); a = r.App("leaver") {
			await(time.Millisecond)
		}
		cancel()
		noticed := time.Now()
		all := stamps(t, file)
		if len(all) != round+1 {
			t.Fatalf("round %d: stamps %v", round, all)
		}
		late = append(late, noticed.Sub(all[round].at))
		r.WaitState("leaver", "running", 5*time.Second)
		if st, ok := statusOf(child.pid); ok && st.start == child.start {
			t.Errorf("round %d: the child of the run before lives on", round)
		}
	}
	slices.Sort(late)
	t.Logf("the end of the main process was seen after %s (median), %s (most)", late[len(late)/2].Round(time.Microsecond), late[len(late)-1].Round(time.Microsecond))
	if m := late[len(late)/2]; m > 100*time.Millisecond {
		t.Errorf("the end of the main process was seen after %s (median)", m)
	}
}
