// Package faults breaks things around the built omnitron on purpose: daemon and keeper are killed at the worst moments,
// programs refuse to end, pids are reused, clients quarrel. Each scenario says what must hold all the same.
//
// OMNITRON_E2E=1 runs the full counts; OMNITRON_SEED repeats the moments of an earlier run.
package faults

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/proc/proctest"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func TestMain(m *testing.M) {
	os.Exit(proctest.Main(func() int {
		code := m.Run()
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
		return code
	}))
}

// actor builds the program that the scenarios supervise, once, and gives its path.
func actor(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("FAULTS_ACTOR"); p != "" { // built by the process that started this one
		return p
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "omactor"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil { // other users run it too
			return
		}
		built.path = filepath.Join(built.dir, "actor")
		cmd := exec.Command("go", "build", "-o", built.path, "./actor")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("cannot build the actor: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// marker is a word that is in the command line of this test's programs and of nothing else.
func marker() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return "omf" + hex.EncodeToString(b[:])
}

// dice is the test's chance, repeatable by OMNITRON_SEED.
func dice(t testing.TB) *mathrand.Rand {
	seed := uint64(time.Now().UnixNano()) % 1_000_000_007
	if s := os.Getenv("OMNITRON_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("OMNITRON_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("OMNITRON_SEED=%d", seed)
	return mathrand.New(mathrand.NewPCG(seed, 7))
}

// await is time.Sleep for moments that have to be hit: nothing is waited for but the clock.
func await(d time.Duration) { <-time.After(d) }

// upTo is a moment within d.
func upTo(r *mathrand.Rand, d time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(d) + 1))
}

// daemonPID finds the living daemon of a rig, or 0. One that has just been started has not said its pid yet.
func daemonPID(r *rig.Rig) int {
	const what = "daemon serve --home "
	if p, ok := rig.ReadProcess(r.DaemonPID()); ok && p.State != 'Z' && strings.Contains(p.Args, what+r.Home) {
		return p.PID
	}
	for _, p := range rig.Marked(what + r.Home) {
		return p.PID
	}
	return 0
}

// kill9 kills a process that there has to be.
func kill9(t testing.TB, what string, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("there is no %s to kill", what)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("cannot kill the %s (pid %d): %v", what, pid, err)
	}
}

// dial makes a connection of its own, which ends with the test.
func dial(ctx context.Context, r *rig.Rig) (*wire.Client, error) {
	return wire.Dial(ctx, "unix", filepath.Join(r.Home, "daemon.sock"))
}

// back waits until the daemon answers, whoever started it, and says how long that took.
func back(r *rig.Rig, within time.Duration) time.Duration {
	r.T.Helper()
	began := time.Now()
	r.Until(within, "the daemon answers again", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c, err := dial(ctx, r)
		if err != nil {
			return false
		}
		defer c.Close()
		return c.Call(ctx, "daemon.ping", struct{}{}, nil) == nil
	})
	return time.Since(began)
}

// runFresh starts daemon and keeper as a boot of the machine would: in the foreground, told nothing.
func runFresh(t testing.TB, r *rig.Rig) *exec.Cmd {
	t.Helper()
	cmd := r.Command(context.Background(), "daemon", "run")
	log, err := os.OpenFile(filepath.Join(r.Dir, "daemon-run.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.Close()
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is for those who ask the process table
		close(ended)
	}()
	t.Cleanup(func() {
		r.Down()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("daemon run (pid %d) has not ended", cmd.Process.Pid)
			_ = cmd.Process.Kill()
		}
	})
	return cmd
}

// stamp is what an actor wrote down: when what happened to whom.
type stamp struct {
	who, what string
	at        time.Time
}

func stamps(t testing.TB, path string) []stamp {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var out []stamp
	for line := range strings.Lines(string(text)) {
		var s stamp
		var ns int64
		if _, err := fmt.Sscan(line, &s.who, &s.what, &ns); err != nil {
			t.Fatalf("%s: %q: %v", path, line, err)
		}
		s.at = time.Unix(0, ns)
		out = append(out, s)
	}
	return out
}

// argv writes a command as YAML.
func argv(words ...string) string {
	text, err := json.Marshal(words)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(text)
}
