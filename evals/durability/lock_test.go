package durability_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// stranger is a process that has nothing to do with the home, and would tell of a signal.
func stranger(t *testing.T) (pid int, untouched func()) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return cmd.Process.Pid, func() {
		t.Helper()
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the stranger with the daemon's old pid was signalled: %v", err)
		default:
		}
	}
}

// run is a `daemon run` in the foreground.
type run struct {
	cmd   *exec.Cmd
	out   bytes.Buffer
	took  time.Duration
	ended chan struct{}
}

func (w world) daemonRun() *run {
	w.T.Helper()
	r := &run{cmd: w.Command(context.Background(), "daemon", "run"), ended: make(chan struct{})}
	if r.cmd.SysProcAttr == nil {
		r.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	r.cmd.SysProcAttr.Setsid = true
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	began := time.Now()
	if err := r.cmd.Start(); err != nil {
		w.T.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait() // its state tells how it ended
		r.took = time.Since(began)
		close(r.ended)
	}()
	return r
}

// TestOneDaemonWins: a stale pid file names a living stranger, and eight daemons are started at once. One wins, the others
// say so and end; nobody looks at the stranger.
func TestOneDaemonWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pid, untouched := stranger(t)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	for round := range rig.Count(3, 10) {
		stale, err := json.Marshal(map[string]any{"pid": pid, "started": time.Now(), "boot": strings.TrimSpace(string(boot))})
		if err != nil {
			t.Fatal(err)
		}
		w.put("daemon.pid", string(stale))
		if ran := w.Run("kill"); ran.Code != 0 || !strings.Contains(ran.Out, "nothing to kill") {
			t.Errorf("round %d: kill: exit %d, %s%s", round, ran.Code, ran.Out, ran.Err)
		}
		untouched()
		var runs []*run
		for range 8 {
			runs = append(runs, w.daemonRun())
		}
		deadline := time.After(15 * time.Second)
		over := make(chan *run, len(runs))
		for _, r := range runs {
			go func() { <-r.ended; over <- r }()
		}
		for range len(runs) - 1 {
			select {
			case r := <-over:
				said := r.out.String()
				if r.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(said, w.Home) || !strings.Contains(said, "another keeper has the home") && !strings.Contains(said, "already") {
					t.Errorf("round %d: a loser ended with %s and said %s", round, r.cmd.ProcessState, said)
				}
				if r.took > 2*time.Second {
					t.Errorf("round %d: a loser took %s", round, r.took)
				}
			case <-deadline:
				t.Fatalf("round %d: more than one runs", round)
			}
		}
		w.Until(10*time.Second, "the winner answers", func() bool { return w.call("daemon.ping", nil) == nil })
		var daemons, keepers int
		for _, p := range w.Left() {
			switch {
			case strings.Contains(p.Args, " daemon serve "):
				daemons++
			case strings.Contains(p.Args, "omnitron-keeper run"):
				keepers++
			default:
				t.Errorf("round %d: %s runs", round, p.Args)
			}
		}
		if daemons != 1 || keepers != 1 {
			t.Errorf("round %d: %d daemons, %d keepers", round, daemons, keepers)
		}
		untouched()
		if round%2 == 0 {
			w.OK("down")
		} else { // both die: no lock is left
			w.slay()
		}
		select {
		case <-over:
		case <-time.After(15 * time.Second):
			t.Fatalf("round %d: the winner does not end", round)
		}
		if f, err := os.Open(filepath.Join(w.Home, "daemon.pid")); err != nil {
			t.Error(err)
		} else {
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Errorf("round %d: the home is still locked: %v", round, err)
			}
			f.Close()
		}
		untouched()
	}
}

// slay kills keeper and daemon at once.
func (w world) slay() {
	w.T.Helper()
	keeper, daemon := w.KeeperPID(), w.DaemonPID()
	for _, pid := range []int{keeper, daemon} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // so that neither sees the other go
			w.T.Fatal(err)
		}
	}
	for _, pid := range []int{keeper, daemon} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			w.T.Fatal(err)
		}
	}
	w.Until(5*time.Second, "both are gone", func() bool { return !alive(keeper) && !alive(daemon) })
}

// TestTwoUpsAtOnce: whoever comes second uses the daemon of the first.
func TestTwoUpsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Write("omnitron.yaml", w.project(w.sitter("a"), w.sitter("b")))
	for round := range rig.Count(2, 10) {
		const ups = 4
		answers := make(chan rig.Ran, ups)
		for range ups {
			go func() { answers <- w.Run("up") }()
		}
		for range ups {
			if ran := <-answers; ran.Code != 0 {
				t.Errorf("round %d: up: exit %d\n%s%s", round, ran.Code, ran.Out, ran.Err)
			}
		}
		for _, name := range []string{"a", "b"} {
			if n := len(rig.Marked(filepath.Join(w.Dir, name+".txt"))); n != 1 {
				t.Errorf("round %d: %s runs %d times", round, name, n)
			}
		}
		w.OK("down")
	}
}
