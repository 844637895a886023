package proc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// raw is a home with a keeper whose daemon does what the file "daemon" says.
func raw(t *testing.T, contain, daemon string) *env {
	t.Helper()
	e := &env{t: t, home: shortDir(t), contain: contain}
	if err := os.WriteFile(filepath.Join(e.home, "daemon"), []byte(daemon), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(e.home, "orders"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OMNITRON_TEST_KEEPER", keeperBinary)
	t.Cleanup(func() {
		if e.cmd != nil {
			e.cmd.Process.Kill()
			e.cmd.Wait()
		}
	})
	return e
}

// launch runs the keeper and waits for it only when asked.
func (e *env) launch(args ...string) {
	e.t.Helper()
	e.cmd = e.keeperCmd(args...)
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
}

// agentPID waits for the n-th agent and gives its pid.
func (e *env) agentPID(n int) int {
	e.t.Helper()
	var pid int
	eventually(e.t, fmt.Sprintf("agent %d", n), func() bool {
		var ready []string
		for l := range strings.Lines(read(e.t, filepath.Join(e.home, "answers"))) {
			if rest, ok := strings.CutPrefix(l, "ready "); ok {
				ready = append(ready, strings.TrimSpace(rest))
			}
		}
		if len(ready) < n {
			return false
		}
		pid, _ = strconv.Atoi(ready[n-1])
		return true
	})
	return pid
}

func (e *env) order(words ...string) {
	e.t.Helper()
	f, err := os.OpenFile(filepath.Join(e.home, "orders"), os.O_WRONLY, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintln(f, strings.Join(words, " "))
}

func (e *env) orderSpawn(s proc.Spec) {
	e.t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		e.t.Fatal(err)
	}
	n := strings.Count(e.answers(), "spawned <nil>")
	e.order("spawn", string(b))
	eventually(e.t, "the spawn", func() bool { return strings.Count(e.answers(), "spawned <nil>") == n+1 })
}

func (e *env) answers() string { return read(e.t, filepath.Join(e.home, "answers")) }

func (e *env) starts() int { return strings.Count(read(e.t, filepath.Join(e.home, "starts")), "\n") }

func TestDaemonDies(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := raw(t, contain, "agent")
		e.launch()
		e.agentPID(1)
		word := fmt.Sprintf("66%05d%05d", os.Getpid(), serial.Add(1))
		lives, dies, ticks, ends := e.spec("sleep", word+"1"), e.spec("/bin/sh", "-c", "setsid sleep "+word+"2 & wait"), e.helperSpec("ticks"), e.spec("/bin/sh", "-c", "sleep 0.2; echo FATAL >&2; exit 7")
		dies.DieWithDaemon = true
		for _, s := range []proc.Spec{lives, dies, ticks} {
			e.orderSpawn(s)
		}
		eventually(t, "both", func() bool { return len(alive("sleep\x00"+word)) >= 2 })
		pid := alive("sleep\x00" + word + "1")
		for i := range count(3, 20) {
			agent := e.agentPID(i + 1)
			if i == 0 {
				e.orderSpawn(ends)
			}
			began := time.Now()
			if err := syscall.Kill(agent, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, "what must not outlive the daemon", func() bool { return len(alive("sleep\x00"+word+"2")) == 0 })
			e.agentPID(i + 2)
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("round %d: the next daemon was ready after %v", i, d)
			}
			if now := alive("sleep\x00" + word + "1"); len(now) != 1 || now[0] != pid[0] {
				t.Fatalf("%v run, want %v", now, pid)
			}
			if has := fmt.Sprintf("has %s %d\n", lives.ID, pid[0]); strings.Count(e.answers(), has) != i+1 {
				t.Errorf("round %d: the next daemon does not know %s", i, has)
			}
		}
		eventually(t, "the end of one that ended meanwhile", func() bool {
			e.order("exits")
			return strings.Contains(e.answers(), "exit "+ends.ID+" {Known:true Code:7 ")
		})
		if got := read(t, ends.Err); got != "FATAL\n" {
			t.Errorf("%q", got)
		}
		e.order("quit 9") // everything ends, and the keeper with the daemon's status
		err := e.cmd.Wait()
		var x *exec.ExitError
		if !asExit(err, &x) || x.ExitCode() != 9 {
			t.Errorf("the keeper ended with %v", err)
		}
		if left := alive(word); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
		for _, name := range []string{"keeper.sock", "keeper.json", "run"} {
			if _, err := os.Stat(filepath.Join(e.home, name)); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", name, err)
			}
		}
		checkTicks(t, read(t, ticks.Out))
	})
}

func TestDaemonFails(t *testing.T) {
	e := raw(t, "auto", "exit 1")
	e.launch()
	begin := time.Now()
	eventually(t, "five starts", func() bool { return e.starts() >= 5 })
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("five starts took %v", d)
	}
	lines := strings.Split(read(t, filepath.Join(e.home, "starts")), "\n")
	at := func(i int) time.Duration {
		n, _ := strconv.ParseInt(strings.Fields(lines[i])[0], 10, 64)
		return time.Duration(n)
	}
	if d := at(1) - at(0); d > 500*time.Millisecond {
		t.Errorf("the first restart came after %v", d)
	}
	if d := at(4) - at(0); d < 300*time.Millisecond {
		t.Errorf("five starts within %v: no pause in between", d)
	}
	// SIGTERM with no daemon to give it to: the keeper ends.
	e.cmd.Process.Signal(unix.SIGTERM)
	err := e.cmd.Wait()
	var x *exec.ExitError
	if !asExit(err, &x) {
		t.Errorf("the keeper ended with %v", err)
	}
}

func TestDaemonThatMustNotRun(t *testing.T) {
	e := raw(t, "auto", "exit 3")
	e.launch()
	err := e.cmd.Wait()
	var x *exec.ExitError
	if !asExit(err, &x) || x.ExitCode() != 1 || e.starts() != 1 {
		t.Errorf("the keeper ended with %v after %d starts", err, e.starts())
	}
	for _, left := range []string{filepath.Join(e.home, "keeper.json"), filepath.Join(e.home, "keeper.sock"), "/sys/fs/cgroup/*/omnitron-" + keeper.HomeID(e.home), "/sys/fs/cgroup/omnitron-" + keeper.HomeID(e.home)} {
		if found, _ := filepath.Glob(left); len(found) > 0 {
			t.Errorf("left behind: %v", found)
		}
	}
}

func TestHold(t *testing.T) {
	e := raw(t, "auto", "agent")
	e.launch()
	agent := e.agentPID(1)
	held := func() bool {
		i, err := proc.Look(ctx(t), proc.Socket(e.home))
		if err != nil || i.PID != e.cmd.Process.Pid {
			t.Errorf("the keeper: %+v %v", i, err)
		}
		return i.Held
	}
	if err := proc.HoldDaemon(ctx(t), proc.Socket(e.home), true, false); err != nil {
		t.Fatal(err)
	}
	if held() {
		t.Error("a daemon that runs is said to be down")
	}
	id, err := ident.Of(agent)
	if err != nil {
		t.Fatal(err)
	}
	id.Signal(unix.SIGKILL)
	eventually(t, "the daemon's end", func() bool { return !id.Alive() })
	if err := proc.HoldDaemon(ctx(t), proc.Socket(e.home), true, false); err != nil { // the keeper is there and has seen it
		t.Fatal(err)
	}
	if n := e.starts(); n != 1 {
		t.Errorf("%d starts while the daemon was to stay down", n)
	}
	eventually(t, "the word that it stays down", held)
	if err := proc.HoldDaemon(ctx(t), proc.Socket(e.home), false, true); err != nil {
		t.Fatal(err)
	}
	e.agentPID(2)
	if held() {
		t.Error("a daemon that was started again is said to stay down")
	}
	e.order("quit 0")
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}

// TestHungKeeper: one that does not answer is not waited for beyond one's own patience.
func TestHungKeeper(t *testing.T) {
	e := raw(t, "auto", "agent")
	e.launch()
	e.agentPID(1)
	halt(t, e.cmd.Process.Pid)
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := proc.Look(soon, proc.Socket(e.home)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a keeper that is stopped: %v", err)
	}
	e.cmd.Process.Signal(unix.SIGCONT)
	if i, err := proc.Look(ctx(t), proc.Socket(e.home)); err != nil || i.PID != e.cmd.Process.Pid {
		t.Errorf("one that goes on: %+v %v", i, err)
	}
	e.order("quit 0")
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}

func TestSignalsReachTheDaemon(t *testing.T) {
	e := raw(t, "auto", "agent")
	e.launch()
	e.agentPID(1)
	e.cmd.Process.Signal(unix.SIGHUP)
	eventually(t, "the hangup", func() bool { return strings.Contains(e.answers(), "got hangup") })
	word := fmt.Sprintf("44%05d%05d", os.Getpid(), serial.Add(1))
	e.orderSpawn(e.stubborn(word))
	e.cmd.Process.Signal(unix.SIGTERM)
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
	if left := alive(word); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestSignalDuringStart(t *testing.T) { // it would kill a daemon that has no handler yet
	e := raw(t, "auto", "agent")
	e.launch()
	eventually(t, "the lock", func() bool {
		return strings.Contains(read(t, filepath.Join(e.home, "keeper.json")), `"daemon":{"pid"`) || e.starts() > 0
	})
	e.cmd.Process.Signal(unix.SIGTERM)
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
	if !strings.Contains(e.answers(), "got terminated") {
		t.Errorf("the daemon was not told: %q", e.answers())
	}
}

func TestBothDie(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := raw(t, contain, "agent")
		e.launch()
		for i := range count(2, 20) {
			agent := e.agentPID(i + 1)
			word := fmt.Sprintf("55%05d%05d", os.Getpid(), serial.Add(1))
			s := e.stubborn(word)
			e.orderSpawn(s)
			eventually(t, "the tree", func() bool {
				return len(alive("sleep\x00"+word)) >= 4 && strings.Contains(read(t, filepath.Join(e.home, "keeper.json")), s.Group)
			})
			halt(t, e.cmd.Process.Pid)         // so that it does not start another daemon first
			if contain == "stub" && i%2 == 1 { // and nobody ends the tree when they do
				e.killStub(s.ID)
			}
			syscall.Kill(agent, syscall.SIGKILL)
			e.cmd.Process.Kill()
			e.cmd.Wait()
			e.launch()
			e.agentPID(i + 2)
			if left := alive(word); len(left) > 0 {
				t.Fatalf("round %d: %v are left when the next daemon is there", i, left)
			}
			e.order("exits")
			eventually(t, "the record", func() bool { return strings.Contains(e.answers(), "exit "+s.ID+" {Known:false ") })
			rs := records(t, s.Out)
			if n := len(rs); n < 2 || rs[n-2].Kind != logfile.Gap || rs[n-1].Kind != logfile.End {
				t.Errorf("no gap in the index: %+v", rs)
			}
			if groups, _ := filepath.Glob("/sys/fs/cgroup/*/omnitron-*/" + s.Group); len(groups) > 0 && strings.Contains(groups[0], homeID(e)) {
				t.Errorf("groups are left: %v", groups)
			}
		}
		e.order("quit 0")
		if err := e.cmd.Wait(); err != nil {
			t.Errorf("the keeper ended with %v", err)
		}
	})
}

func TestTakeOver(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		ticks := e.helperSpec("ticks")
		p := e.spawn(ticks)
		s := e.helperSpec("notify", "READY=1")
		s.Notify = true
		q := e.spawn(s)
		notice(t, q, func(n proc.Notice) bool { return n.Ready })
		for range count(2, 10) {
			old := e.k.Info()
			e.runKeeper("--takeover")
			eventually(t, "the other keeper", func() bool { i := e.k.Info(); return i.Instance != old.Instance && i.PID == e.cmd.Process.Pid })
			if !p.Identity().Alive() {
				t.Fatal("it did not survive")
			}
			if x, out, _ := e.run(e.spec("echo", "x")); x.Code != 0 || out != "x\n" {
				t.Errorf("%+v %q", x, out)
			}
		}
		if err := q.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if x := wait(t, q); !x.Known || x.Code != 0 {
			t.Errorf("%+v", x)
		}
		if err := p.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		checkTicks(t, read(t, ticks.Out))
	})
}

func TestTakeOverWithoutKeeper(t *testing.T) {
	e := &env{t: t, home: shortDir(t), contain: "auto"}
	e.runKeeper("--takeover")
	e.dial()
	t.Cleanup(e.stop)
	if x, _, _ := e.run(e.spec("true")); x.Code != 0 {
		t.Errorf("%+v", x)
	}
}

func TestUpgrade(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		newer := filepath.Join(e.home, "newer")
		b, err := os.ReadFile(keeperBinary)
		if err == nil {
			err = os.WriteFile(newer, b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		ticks := e.helperSpec("ticks")
		p := e.spawn(ticks)
		for i := range count(3, 50) {
			old := e.k.Info()
			q := e.spawn(e.spec("/bin/sh", "-c", fmt.Sprintf("sleep 0.05; exit %d", 20+i)))
			if err := e.k.Upgrade(ctx(t), newer); err != nil {
				t.Fatal(err)
			}
			now := e.k.Info()
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", now.PID))
			if now.PID != old.PID || now.Instance == old.Instance || exe != newer {
				t.Fatalf("%+v runs %s, before %+v", now, exe, old)
			}
			if x := wait(t, q); x.Code != 20+i || x.Note != "" { // still its child
				t.Errorf("%+v", x)
			}
			if err := q.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		for _, bad := range []string{"/bin/true", "/no/such", filepath.Join(e.home, "keeper.json")} {
			if err := e.k.Upgrade(ctx(t), bad); reason(err) != "bad_binary" {
				t.Errorf("upgrade to %s: %v", bad, err)
			}
		}
		if x, out, _ := e.run(e.spec("echo", "x")); x.Code != 0 || out != "x\n" {
			t.Errorf("%+v %q", x, out)
		}
		if err := p.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		checkTicks(t, read(t, ticks.Out))
	})
}

// TestFirstProcess runs the keeper as init of a pid namespace and leaves it orphans.
func TestFirstProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: needs a pid namespace")
	}
	e := raw(t, "auto", "agent")
	e.cmd = e.keeperCmd()
	e.cmd.Path, e.cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "-fp", "--mount-proc", "--kill-child=KILL", keeperBinary}, e.cmd.Args[1:]...)
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e.agentPID(1)
	n := count(200, 5000)
	s := e.spec("/bin/sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do (sleep 0 &); i=$((i+1)); done; exit 6", n))
	e.orderSpawn(s)
	eventually(t, "its end", func() bool {
		e.order("exits")
		return strings.Contains(e.answers(), "exit "+s.ID+" {Known:true Code:6 ")
	})
	eventually(t, "no zombies to be left", func() bool { // the last orphans end after what started them
		zombies := e.spec("/bin/sh", "-c", `cat /proc/[0-9]*/stat | grep -c ') Z '`)
		e.orderSpawn(zombies)
		eventually(t, "the count", func() bool { return strings.HasSuffix(read(t, zombies.Out), "\n") })
		return read(t, zombies.Out) == "0\n"
	})
	e.order("quit 0")
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the keeper ended with %v", err)
	}
}
