package proc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/proc/proctest"
)

// keeperBinary is built once from this tree.
var keeperBinary string

// full says that the heavy counts are wanted.
var full = os.Getenv("OMNITRON_E2E") != ""

// count is n where the heavy counts are wanted, else a smaller number.
func count(small, n int) int {
	if full {
		return n
	}
	return small
}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "daemon" {
		os.Exit(fakeDaemon())
	}
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(proctest.Main(func() int { return testMain(m) }))
}

func testMain(m *testing.M) int {
	if keeperBinary = os.Getenv("OMNITRON_TEST_KEEPER"); keeperBinary != "" { // run as another user by a test
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "keeper")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	keeperBinary = filepath.Join(dir, "omnitron-keeper")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test", "-o", keeperBinary, "github.com/omnitron-dev/omnitron/cmd/omnitron-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the keeper: %v\n%s", err, out)
		return 1
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// env is one home with its keeper, whose daemon is this test.
type env struct {
	t       *testing.T
	home    string
	contain string
	k       *proc.Keeper
	cmd     *exec.Cmd // the first keeper
	cancel  context.CancelFunc
	ran     chan struct{}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s %s", l.t.Name(), p)
	}
	return len(p), nil
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(testLog{t}, nil))
}

// ctx bounds a wait generously: nothing here should take long, but the machine may be busy.
func ctx(t *testing.T) context.Context {
	c, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return c
}

// shortDir is a directory whose path leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	d, err := os.MkdirTemp("", "om")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	if d, err = filepath.EvalSymlinks(d); err != nil {
		t.Fatal(err)
	}
	return d
}

// start runs a keeper and connects to it as its daemon.
func start(t *testing.T, contain string) *env {
	t.Helper()
	e := &env{t: t, home: shortDir(t), contain: contain}
	e.runKeeper()
	e.dial()
	t.Cleanup(e.stop)
	return e
}

func (e *env) keeperCmd(args ...string) *exec.Cmd {
	cmd := exec.Command(keeperBinary, append(proc.RunArgs(e.home, self(e.t)), args...)...)
	cmd.Args = append(cmd.Args, "--contain", e.contain)
	cmd.Stdout, cmd.Stderr = keeperLog(), keeperLog()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func keeperLog() *os.File {
	if testing.Verbose() {
		return os.Stderr
	}
	return nil
}

func self(t *testing.T) string {
	p, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (e *env) runKeeper(args ...string) {
	e.t.Helper()
	e.cmd = e.keeperCmd(args...)
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	cmd := e.cmd
	go cmd.Wait()
}

func (e *env) options() proc.Options {
	return proc.Options{Home: e.home, KeeperPath: keeperBinary, Daemon: self(e.t), Version: "test", Args: []string{"--contain", e.contain}, Log: logger(e.t)}
}

func (e *env) dial() {
	e.t.Helper()
	eventually(e.t, "the keeper to answer", func() bool {
		c, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		k, err := proc.Dial(c, proc.Socket(e.home), e.options())
		e.k = k
		return err == nil
	})
	run, cancel := context.WithCancel(context.Background())
	e.cancel, e.ran = cancel, make(chan struct{})
	k, ran := e.k, e.ran
	go func() {
		defer close(ran)
		k.Run(run)
	}()
}

func (e *env) hangUp() {
	e.cancel()
	<-e.ran
}

// stop ends everything and looks whether anything is left.
func (e *env) stop() {
	c, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, p := range e.k.Processes() {
		if err := p.Kill(c); err != nil {
			e.t.Errorf("kill %s: %v", p.ID(), err)
		}
		if err := p.Forget(c); err != nil {
			e.t.Errorf("forget %s: %v", p.ID(), err)
		}
	}
	pid := e.k.Info().PID
	id, err := ident.Of(pid)
	e.hangUp()
	if err == nil {
		id.Signal(unix.SIGKILL)
		eventually(e.t, "the keeper to end", func() bool { return !id.Alive() })
	}
	var left []int // a stub that was let go takes a moment
	eventually(e.t, "everything of this home to end", func() bool {
		left = left[:0]
		for _, s := range ident.All() {
			if v, ok := ident.Environ(s.PID, "OMNITRON_HOME_ID"); ok && v == keeper.HomeID(e.home) && s.State != 'Z' {
				left = append(left, s.PID)
			}
		}
		return len(left) == 0
	})
	for _, pattern := range []string{"/sys/fs/cgroup/*/omnitron-", "/sys/fs/cgroup/omnitron-", "/run/omnitron-"} {
		dirs, _ := filepath.Glob(pattern + keeper.HomeID(e.home))
		for _, d := range dirs {
			left, _ := filepath.Glob(d + "/*/cgroup.procs")
			if len(left) > 0 {
				e.t.Errorf("groups are left behind: %v", left)
			}
			os.Remove(d)
		}
	}
}

// killKeeper kills the keeper of now and waits until another one answers.
func (e *env) killKeeper() {
	e.t.Helper()
	old := e.k.Info()
	id, err := ident.Of(old.PID)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := id.Signal(unix.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
	eventually(e.t, "another keeper", func() bool { return e.k.Info().Instance != old.Instance })
}

var serial atomic.Int64

// spec is a program with its output in the home.
func (e *env) spec(argv ...string) proc.Spec {
	n := serial.Add(1)
	name := fmt.Sprintf("app%d", n)
	logs := filepath.Join(e.home, "logs")
	return proc.Spec{ID: "p/dev/" + name + ":" + name + "#1@1", Group: name + ".1-1", Kind: "app", Argv: argv, Dir: e.home,
		Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, UID: -1, GID: -1, Umask: -1,
		Out: filepath.Join(logs, name+".1.out.log"), Err: filepath.Join(logs, name+".1.err.log"), NotifyUID: -1}
}

// helperSpec is this test binary as a program.
func (e *env) helperSpec(args ...string) proc.Spec {
	return e.spec(append([]string{self(e.t), "helper"}, args...)...)
}

func (e *env) spawn(s proc.Spec) *proc.Process {
	e.t.Helper()
	p, err := e.k.Spawn(ctx(e.t), s)
	if err != nil {
		e.t.Fatalf("spawn %v: %v", s.Argv, err)
	}
	return p
}

// wait gives the exit of a process.
func wait(t *testing.T, p *proc.Process) proc.Exit {
	t.Helper()
	select {
	case <-p.Done():
		return p.Exit()
	case <-ctx(t).Done():
		t.Fatalf("%s does not end", p.ID())
		return proc.Exit{}
	}
}

// run spawns, waits, forgets, and gives what was printed.
func (e *env) run(s proc.Spec) (proc.Exit, string, string) {
	e.t.Helper()
	p := e.spawn(s)
	x := wait(e.t, p)
	if err := p.Forget(ctx(e.t)); err != nil {
		e.t.Fatal(err)
	}
	return x, read(e.t, s.Out), read(e.t, s.Err)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, ok)
}

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", d, what)
		}
	}
}

// contains runs a test for every way in which trees are held together here.
func contains(t *testing.T, f func(t *testing.T, contain string)) {
	ways := []string{"v2", "v1", "stub"}
	if os.Geteuid() != 0 {
		ways = []string{"stub"}
	}
	for _, c := range ways {
		t.Run(c, func(t *testing.T) { f(t, c) })
	}
}

func reason(err error) string {
	var f *fault.Error
	if errors.As(err, &f) {
		return f.Reason
	}
	return ""
}

// alive counts the processes with a word in their command line, zombies left out.
func alive(word string) (pids []int) {
	for _, s := range ident.All() {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(s.PID) + "/cmdline")
		if s.State != 'Z' && s.State != 'X' && strings.Contains(string(b), word) {
			pids = append(pids, s.PID)
		}
	}
	return pids
}

// asNobody runs tests of this package again as an unprivileged user, with a home of its own.
func asNobody(t *testing.T, pattern string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // that is already so
	}
	dir := shortDir(t)
	for name, from := range map[string]string{"t": self(t), "k": keeperBinary} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "t"), "-test.run", pattern, "-test.timeout", "10m")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "OMNITRON_TEST_KEEPER="+filepath.Join(dir, "k"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// fifo makes a pipe with a name in the home.
func (e *env) fifo(name string) {
	e.t.Helper()
	if err := unix.Mkfifo(filepath.Join(e.home, name), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func homeID(e *env) string { return keeper.HomeID(e.home) }

// halt stops a process, and returns when it has stopped: kill(2) does not wait for that.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "that it has stopped", func() bool {
		s, err := ident.Read(pid)
		return err == nil && s.State == 'T'
	})
}
