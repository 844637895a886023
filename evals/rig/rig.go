// Package rig runs the built omnitron in a home of its own, for the scenarios that need the real thing: daemon, keeper,
// socket and programs. Everything that a rig starts ends with its test.
package rig

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Rig is one home and what runs in it.
type Rig struct {
	T    testing.TB
	Home string
	Dir  string // the project's folder
	Bin  string
	UID  int // who runs it; 0: us

	mu     sync.Mutex
	client *wire.Client
}

// New makes a home and a project folder below a short path: a socket's path is limited.
func New(t testing.TB) *Rig { return newRig(t, 0) }

// NewAs makes a rig whose daemon runs as another user.
func NewAs(t testing.TB, uid int) *Rig { return newRig(t, uid) }

// Users are who a daemon runs as: root, where control groups hold programs together, and an ordinary user, where stubs do.
// Without root there is only us.
func Users() map[string]int {
	if os.Geteuid() != 0 {
		return map[string]int{"unprivileged": 0}
	}
	return map[string]int{"root": 0, "nobody": 65534}
}

func newRig(t testing.TB, uid int) *Rig {
	t.Helper()
	base, err := os.MkdirTemp("", "om")
	if err != nil {
		t.Fatal(err)
	}
	r := &Rig{T: t, Home: filepath.Join(base, "h"), Dir: filepath.Join(base, "p"), Bin: Binary(t), UID: uid}
	for _, d := range []string{r.Home, r.Dir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if uid != 0 {
		for _, d := range []string{base, r.Home, r.Dir} {
			if err := os.Chown(d, uid, uid); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() { // after Down, also when that has failed the test
		for _, p := range r.Left() {
			t.Errorf("left behind: pid %d %s", p.PID, p.Args)
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		if err := os.RemoveAll(base); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.autopsy)
	t.Cleanup(r.Down)
	return r
}

// autopsy shows what the home's logs say when a test has failed.
func (r *Rig) autopsy() {
	if !r.T.Failed() {
		return
	}
	for _, f := range []string{"logs/daemon.log", "logs/keeper.log"} {
		r.T.Logf("%s ends with:\n%s", f, LastLines(filepath.Join(r.Home, f), 15))
	}
}

// LastLines gives the last lines of a log, or why it cannot be read.
func LastLines(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-n):], "\n")
}

// Name is a name for a project that nobody else uses.
func (r *Rig) Name() string { return strings.ToLower(filepath.Base(filepath.Dir(r.Home))) }

// Write puts a file into the project's folder.
func (r *Rig) Write(name, text string) string {
	r.T.Helper()
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.T.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		r.T.Fatal(err)
	}
	if r.UID != 0 {
		_ = os.Chown(path, r.UID, r.UID) // the test says what it needs when this matters
	}
	return path
}

// Ran is what a command line gave.
type Ran struct {
	Out, Err string
	Code     int
	Took     time.Duration
}

// Run runs omnitron in the project's folder, without a terminal.
func (r *Rig) Run(args ...string) Ran { return r.RunIn(context.Background(), r.Dir, args...) }

// RunIn runs omnitron in a folder until ctx ends.
func (r *Rig) RunIn(ctx context.Context, dir string, args ...string) Ran {
	r.T.Helper()
	cmd := r.Command(ctx, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	ran := Ran{Out: out.String(), Err: errs.String(), Took: time.Since(began)}
	if x, ok := errors.AsType[*exec.ExitError](err); ok {
		ran.Code = x.ExitCode()
	} else if err != nil {
		r.T.Fatalf("cannot run omnitron %v: %v", args, err)
	}
	return ran
}

// Command is an omnitron command that was not started yet.
func (r *Rig) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.Bin, args...)
	cmd.Dir = r.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(r.Home), "OMNITRON_HOME=" + r.Home, "TERM=dumb", "LANG=C.UTF-8"}
	cmd.WaitDelay = 5 * time.Second
	if r.UID != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(r.UID), Gid: uint32(r.UID), NoSetGroups: true}}
	}
	return cmd
}

// OK runs omnitron and fails the test unless it exits 0.
func (r *Rig) OK(args ...string) string {
	r.T.Helper()
	ran := r.Run(args...)
	if ran.Code != 0 {
		r.T.Fatalf("omnitron %s: exit %d\n%s%s", strings.Join(args, " "), ran.Code, ran.Out, ran.Err)
	}
	return ran.Out
}

// Up writes omnitron.yaml and brings everything up.
func (r *Rig) Up(yaml string, args ...string) {
	r.T.Helper()
	r.Write("omnitron.yaml", yaml)
	r.OK(append([]string{"up"}, args...)...)
}

// Down ends everything, whatever state it is in.
func (r *Rig) Down() {
	r.T.Helper()
	r.Disconnect()
	if _, err := os.Stat(filepath.Join(r.Home, "daemon.pid")); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if ran := r.RunIn(ctx, r.Home, "down", "--all"); ran.Code != 0 {
		r.T.Logf("down: exit %d\n%s%s", ran.Code, ran.Out, ran.Err)
	}
	r.Until(20*time.Second, "daemon and keeper have ended", func() bool { return len(r.Left()) == 0 })
}

// Until waits for a condition, which is looked at every few milliseconds.
func (r *Rig) Until(within time.Duration, what string, ok func() bool) {
	r.T.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			r.T.Fatalf("not within %s: %s", within, what)
		case <-tick.C:
		}
	}
}
