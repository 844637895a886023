package proc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// stubborn is a program that ignores SIGTERM and has a child and two grandchildren that left its session and its
// environment behind, one of which closed all descriptors. word is in the command line of each.
func (e *env) stubborn(word string) proc.Spec {
	s := e.spec("/bin/sh", "-c", `
trap "" TERM HUP INT
sleep `+word+`1 &
(setsid env -i /bin/sh -c 'trap "" TERM; exec >/dev/null 2>&1 <&-; while :; do sleep `+word+`2; done' &)
(setsid env -i /bin/sh -c 'trap "" TERM; (while :; do sleep `+word+`3; done) & wait' &)
echo up
while :; do sleep `+word+`4; done`)
	return s
}

func (e *env) startStubborn() (*proc.Process, string) {
	e.t.Helper()
	word := fmt.Sprintf("77%05d%05d", os.Getpid(), serial.Add(1))
	p := e.spawn(e.stubborn(word))
	eventually(e.t, "the whole tree", func() bool {
		for _, n := range "1234" {
			if len(alive("sleep\x00"+word+string(n))) == 0 {
				return false
			}
		}
		return true
	})
	return p, word
}

func TestKillTree(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		neighbour, word := e.startStubborn()
		n := len(alive(word))
		var worst time.Duration
		for i := range count(5, 200) {
			p, word := e.startStubborn()
			if pids, err := p.Tree(ctx(t)); err != nil || len(pids) < 6 {
				t.Fatalf("tree %v, %v", pids, err)
			}
			if i%2 == 0 {
				p.Signal(unix.SIGTERM)
			}
			begin := time.Now()
			if err := p.Kill(ctx(t)); err != nil {
				t.Fatal(err)
			}
			worst = max(worst, time.Since(begin))
			if left := alive(word); len(left) > 0 {
				t.Fatalf("round %d: %v survived", i, left)
			}
			if x := wait(t, p); x.Signal != "SIGKILL" || !x.Known {
				t.Fatalf("%+v", x)
			}
			if i%3 == 2 {
				e.killKeeper()
			}
			if err := p.Kill(ctx(t)); err != nil {
				t.Fatalf("a second kill: %v", err)
			}
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		if worst > 2*time.Second {
			t.Errorf("a kill took %v", worst)
		}
		if got := len(alive(word)); got != n {
			t.Errorf("the neighbour has %d processes, had %d", got, n)
		}
		t.Logf("slowest kill %v", worst)
		if err := neighbour.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRestOfTreeAfterExit(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		word := fmt.Sprintf("88%05d%05d", os.Getpid(), serial.Add(1))
		p := e.spawn(e.spec("/bin/sh", "-c", "setsid sleep "+word+" & exit 3"))
		begin := time.Now()
		if x := wait(t, p); x.Code != 3 {
			t.Errorf("%+v", x)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the exit was seen after %v, behind a pipe that a grandchild holds", d)
		}
		if pids, err := p.Tree(ctx(t)); err != nil || len(pids) != 1 {
			t.Errorf("tree %v, %v; want the grandchild", pids, err)
		}
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if left := alive("sleep\x00" + word); len(left) > 0 {
			t.Errorf("%v lives on unsupervised", left)
		}
	})
}

func TestKillNamesStuck(t *testing.T) {
	if os.Geteuid() != 0 {
		return // a frozen group stands for D state, and needs groups
	}
	e := start(t, "v1")
	p := e.spawn(e.spec("sleep", "1000"))
	freezer := filepath.Join(p.Cgroup(), "freezer.state")
	// A process that cannot be killed: frozen by somebody again and again.
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				os.WriteFile(freezer, []byte("FROZEN"), 0)
			}
		}
	}()
	c, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := p.Kill(c)
	close(stop)
	<-done
	var stuck *proc.StuckError
	if err != nil && (!errors.As(err, &stuck) || len(stuck.PIDs) != 1 || stuck.PIDs[0] != p.Identity().PID) {
		t.Errorf("kill of a frozen process: %v", err)
	}
	os.WriteFile(freezer, []byte("THAWED"), 0)
	if err := p.Kill(ctx(t)); err != nil {
		t.Errorf("kill after the thaw: %v", err)
	}
}

// killStub kills the stub of a generation.
func (e *env) killStub(id string) {
	e.t.Helper()
	stubs := alive("stub\x00" + homeID(e) + "\x00" + id)
	if len(stubs) != 1 || syscall.Kill(stubs[0], syscall.SIGKILL) != nil {
		e.t.Fatalf("no stub of %s: %v", id, stubs)
	}
}

// TestStubKilled: whoever is the stub's parent by then, its whole tree ends, and nobody else.
func TestStubKilled(t *testing.T) {
	e := start(t, "stub")
	for i := range count(2, 20) {
		p, word := e.startStubborn()
		other, otherWord := e.startStubborn()
		if i%2 == 1 {
			e.killKeeper() // the stub is nobody's child then
		}
		e.killStub(p.ID())
		if x := wait(t, p); x.Signal != "SIGKILL" {
			t.Errorf("%+v", x)
		}
		within(t, 5*time.Second, "the tree of the dead stub to end", func() bool { return len(alive(word)) == 0 })
		if len(alive(otherWord)) < 4 {
			t.Errorf("the neighbour's tree was hit")
		}
		for _, p := range []*proc.Process{p, other} {
			if err := p.Kill(ctx(t)); err != nil {
				t.Fatal(err)
			}
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestKeeperKilled(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		ticks := e.helperSpec("ticks")
		ticker := e.spawn(ticks)
		for i := range count(4, 20) {
			fifo := filepath.Join(e.home, fmt.Sprintf("go%d", i))
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			code := 10 + i
			p := e.spawn(e.spec("/bin/sh", "-c", fmt.Sprintf("echo before; read x < %s; echo after; exit %d", fifo, code)))
			id := p.Identity()
			e.killKeeper()
			if p.Identity() != id || !id.Alive() {
				t.Fatalf("%v is not what it was", id)
			}
			open := func() {
				f, err := os.OpenFile(fifo, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { f.Close() })
				fmt.Fprintln(f, "go")
			}
			if i%2 == 0 {
				open()
			} else { // it ends in the very time in which there is no keeper
				old := e.k.Info()
				k, err := ident.Of(old.PID)
				if err != nil {
					t.Fatal(err)
				}
				halt(t, k.PID)
				open()
				eventually(t, "the program to end", func() bool { return !id.Alive() })
				k.Signal(unix.SIGKILL)
				eventually(t, "another keeper", func() bool { return e.k.Info().Instance != old.Instance })
			}
			x := wait(t, p)
			if !x.Known || x.Code != code {
				t.Errorf("round %d: %+v, want code %d", i, x, code)
			}
			if contain != "stub" && x.Note == "" {
				t.Errorf("nobody waited for it, and yet: %+v", x)
			}
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		if x, _, _ := e.run(e.spec("sh", "-c", "exit 4")); x.Code != 4 || x.Note != "" {
			t.Errorf("a new child of a new keeper: %+v", x)
		}
		if err := ticker.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := ticker.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		checkTicks(t, read(t, ticks.Out))
	})
}

// checkTicks sees whether every line of "ticks" is there once and in order; the last may have been cut by the kill.
func checkTicks(t *testing.T, text string) {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines[:len(lines)-1] {
		if l != fmt.Sprintf("%09d tick\n", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	if len(lines) < 10 {
		t.Errorf("only %d lines", len(lines))
	}
}

// TestSpawnsDuringKills keeps starting programs while keepers die: every start gives one process or a clear error, and
// never two.
func TestSpawnsDuringKills(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		stop := make(chan struct{})
		killed := make(chan int)
		go func() {
			n := 0
			tick := time.NewTicker(30 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					killed <- n
					return
				case <-tick.C:
					if k, err := ident.Of(e.k.Info().PID); err == nil && k.Signal(unix.SIGKILL) == nil {
						n++
					}
				}
			}
		}()
		for range count(30, 100) {
			word := fmt.Sprintf("99%05d%05d", os.Getpid(), serial.Add(1))
			p := e.spawn(e.spec("sleep", word))
			var pids []int
			eventually(t, "the program to be seen", func() bool { // a moment after its exec it has no arguments yet
				pids = alive("sleep\x00" + word)
				return len(pids) > 0
			})
			if len(pids) != 1 || pids[0] != p.Identity().PID {
				t.Fatalf("%v run, want %d only", pids, p.Identity().PID)
			}
			if err := p.Kill(ctx(t)); err != nil {
				t.Fatal(err)
			}
			if x := wait(t, p); x.Signal != "SIGKILL" {
				t.Errorf("%+v", x)
			}
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		t.Logf("%d keepers were killed", <-killed)
		if err := e.k.Rotate(ctx(t), filepath.Join(e.home, "none")); !fault.Is(err, fault.NotFound) { // answered by the last one, which the test's end has to know
			t.Errorf("the last keeper: %v", err)
		}
	})
}

// TestStranger ends an app while nobody looks and gives its pid to a stranger, who must never be touched.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: needs a pid namespace")
	}
	if os.Getenv("OMNITRON_TEST_NS") == "" {
		cmd := exec.Command("unshare", "-fp", "--mount-proc", "--kill-child=KILL", self(t), "-test.run", "^TestStranger$", "-test.v")
		cmd.Env = append(os.Environ(), "OMNITRON_TEST_NS=1", "OMNITRON_TEST_KEEPER="+keeperBinary)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("in a pid namespace: %v\n%s", err, out)
		}
		return
	}
	contains(t, func(t *testing.T, contain string) {
		rounds := count(3, 50)
		if contain == "stub" {
			rounds = 1 // the stub does not end by itself, because this test lives and holds its socket: 5 s each
		}
		for range rounds {
			e := start(t, contain)
			p := e.spawn(e.spec("/bin/sleep", "1000"))
			id := p.Identity()
			e.recorded(p)
			e.hangUp()
			k, err := ident.Of(e.k.Info().PID)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Signal(unix.SIGKILL); err != nil { // both are gone now, as far as the home knows
				t.Fatal(err)
			}
			syscall.Kill(id.PID, syscall.SIGKILL)
			eventually(t, "both to be gone", func() bool {
				for {
					var ws syscall.WaitStatus // we are init here
					if pid, err := syscall.Wait4(id.PID, &ws, syscall.WNOHANG, nil); pid <= 0 || err != nil {
						break
					}
				}
				_, err := ident.Read(id.PID)
				return !k.Alive() && err != nil
			})
			var stranger *exec.Cmd
			eventually(t, "a stranger of the same pid", func() bool {
				os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, id.PID-1), 0)
				stranger = exec.Command("/bin/sleep", "1000") // the same program, too
				if err := stranger.Start(); err != nil {
					t.Fatal(err)
				}
				if stranger.Process.Pid == id.PID {
					return true
				}
				stranger.Process.Kill()
				stranger.Wait()
				return false
			})
			rewriteDaemon(t, e.home)
			e.runKeeper()
			e.dial()
			ps := e.k.Processes()
			if len(ps) != 1 {
				t.Fatalf("%d generations", len(ps))
			}
			if x := wait(t, ps[0]); x.Known || x.Note != "lost" {
				t.Errorf("nobody can know that: %+v", x)
			}
			if err := ps[0].Signal(unix.SIGKILL); err != nil {
				t.Error(err)
			}
			if err := ps[0].Kill(ctx(t)); err != nil {
				t.Error(err)
			}
			s, err := ident.Read(id.PID)
			if err != nil || s.State == 'Z' {
				t.Fatalf("the stranger was killed")
			}
			stranger.Process.Kill()
			stranger.Wait()
			e.stop()
		}
	})
}

// recorded waits until keeper.json tells of a process.
func (e *env) recorded(p *proc.Process) {
	e.t.Helper()
	eventually(e.t, "the record", func() bool {
		return strings.Contains(read(e.t, filepath.Join(e.home, "keeper.json")), fmt.Sprintf(`"pid":%d,`, p.Identity().PID))
	})
}

// rewriteDaemon makes keeper.json tell of a daemon that is dead: this test, which played it, lives on.
func rewriteDaemon(t *testing.T, home string) {
	t.Helper()
	path := filepath.Join(home, "keeper.json")
	var m map[string]any
	if err := json.Unmarshal([]byte(read(t, path)), &m); err != nil {
		t.Fatal(err)
	}
	m["daemon"] = map[string]any{"pid": 0}
	b, err := json.Marshal(m)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
