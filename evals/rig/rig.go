// Package rig runs the built omnitron in a home of its own, for the scenarios that need the real thing: daemon, keeper,
// socket and programs. Everything that a rig starts ends with its test.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Full says whether scenarios run with their full counts: OMNITRON_E2E=1, as `make e2e` sets it.
func Full() bool { return os.Getenv("OMNITRON_E2E") != "" }

// Count is how often a scenario repeats: full counts under make e2e, fewer in make test.
func Count(few, full int) int {
	if Full() {
		return full
	}
	return few
}

var build struct {
	once sync.Once
	path string
	err  error
}

// Binary builds omnitron with its keeper, once a test process, and gives its path. The build cache makes all but the
// first build of a tree cheap.
func Binary(t testing.TB) string {
	t.Helper()
	build.once.Do(func() { build.path, build.err = compile() })
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.path
}

// Root is the folder of the module.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
}

func compile() (string, error) {
	if p := os.Getenv("OMNITRON_BINARY"); p != "" { // the one that make has built already
		return p, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-s", "build")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build omnitron: %w\n%s", err, out)
	}
	return filepath.Join(root, "bin", "omnitron"), nil
}

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
	t.Cleanup(r.Down)
	return r
}

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

// Client is a connection to the daemon, made when it is needed first or when the one before has ended.
func (r *Rig) Client() *wire.Client {
	r.T.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		select {
		case <-r.client.Done():
			r.client.Close()
		default:
			return r.client
		}
	}
	var c *wire.Client
	r.Until(20*time.Second, "the daemon can be reached", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		var err error
		c, err = wire.Dial(ctx, "unix", filepath.Join(r.Home, "daemon.sock"))
		return err == nil
	})
	r.client = c
	return c
}

// Disconnect drops the connection to the daemon.
func (r *Rig) Disconnect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}

// Call calls a method and decodes its answer into out.
func (r *Rig) Call(method string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return r.Client().Call(ctx, method, in, out)
}

// App is what scenarios look at of an app.
type App struct {
	Key, Name, State, Health, Reason string
	Restarts                         int
	Instances                        []struct {
		Slot, State, Reason string
		PID                 int
		Generation          uint64
		StartedAt           time.Time      `json:"started_at"`
		Ports               map[string]int `json:"ports"`
		LastExit            *struct {
			Code    int
			Signal  string
			Known   bool
			Message string
			Reason  string
		} `json:"last_exit"`
	}
}

// App gives an app as it is now. A daemon that is away is waited for.
func (r *Rig) App(name string) App {
	r.T.Helper()
	var a App
	r.Until(20*time.Second, "apps.get answers", func() bool {
		return r.Call("apps.get", map[string]any{"name": name}, &a) == nil
	})
	return a
}

// PID is the main process of an app's first instance, or 0.
func (r *Rig) PID(name string) int {
	a := r.App(name)
	if len(a.Instances) == 0 {
		return 0
	}
	return a.Instances[0].PID
}

// WaitState waits until an app is in a state.
func (r *Rig) WaitState(name, state string, within time.Duration) App {
	r.T.Helper()
	var a App
	r.Until(within, name+" is "+state, func() bool {
		a = r.App(name)
		return a.State == state
	})
	return a
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

// DaemonPID is the pid in daemon.pid.
func (r *Rig) DaemonPID() int {
	data, err := os.ReadFile(filepath.Join(r.Home, "daemon.pid"))
	if err != nil {
		return 0
	}
	var p struct{ PID int }
	_ = json.Unmarshal(data, &p) // empty while nobody owns the home
	return p.PID
}

// KeeperPID is the pid of the home's keeper, or 0.
func (r *Rig) KeeperPID() int {
	for _, p := range Processes() {
		if strings.Contains(p.Args, "omnitron-keeper") && strings.Contains(p.Args, " run ") && strings.Contains(p.Args, r.Home) {
			return p.PID
		}
	}
	return 0
}

// Process is a line of ps.
type Process struct {
	PID, PPID int
	State     byte
	Start     string // clock ticks since boot
	Args      string
}

// Processes reads /proc.
func Processes() []Process {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []Process
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if p, ok := ReadProcess(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// ReadProcess reads one process, unless it is gone.
func ReadProcess(pid int) (Process, bool) {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return Process{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, false
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return Process{}, false
	}
	ppid, _ := strconv.Atoi(f[1])
	return Process{PID: pid, PPID: ppid, State: f[0][0], Start: f[19], Args: strings.TrimRight(strings.ReplaceAll(string(args), "\x00", " "), " ")}, true
}

// Marked gives the living processes whose command line has a marker.
func Marked(marker string) []Process {
	var out []Process
	for _, p := range Processes() {
		if strings.Contains(p.Args, marker) && p.State != 'Z' {
			out = append(out, p)
		}
	}
	return out
}

// Left gives the living processes of this rig: those with its folder in their command line.
func (r *Rig) Left() []Process {
	var out []Process
	for _, p := range Marked(filepath.Dir(r.Home) + "/") {
		if p.PID != os.Getpid() {
			out = append(out, p)
		}
	}
	return out
}
