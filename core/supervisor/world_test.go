package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	keeperproc "github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/probe"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/proc/proctest"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// keeperBinary is built once from this tree.
var keeperBinary string

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "daemon" {
		os.Exit(standIn())
	}
	if len(os.Args) > 2 && os.Args[1] == "program" {
		os.Exit(program(os.Args[2:]))
	}
	os.Exit(proctest.Main(func() (code int) {
		dir := buildKeeper()
		goleak.VerifyTestMain(m, goleak.Cleanup(func(c int) {
			os.RemoveAll(dir)
			code = c
		}))
		return code
	}))
}

// buildKeeper builds keeperBinary in a folder of its own.
func buildKeeper() (dir string) {
	dir, err := os.MkdirTemp("", "sup")
	if err != nil {
		panic(err)
	}
	keeperBinary = filepath.Join(dir, "omnitron-keeper")
	build := exec.Command("go", "build", "-o", keeperBinary, "github.com/omnitron-dev/omnitron/cmd/omnitron-keeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("cannot build the keeper: %v\n%s", err, out))
	}
	return dir
}

// standIn is the daemon that the keeper starts: this test is the real one, so it only waits until its keeper is gone.
func standIn() int {
	keeper := os.Getppid()
	fd, err := unix.PidfdOpen(keeper, 0)
	if err != nil || os.Getppid() != keeper || keeper == 1 {
		return 1
	}
	for {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
			return 0
		}
	}
}

// world is a home with a keeper, a state file and a supervisor on top, as the daemon has them.
type world struct {
	*Supervisor
	t     *testing.T
	home  string
	k     *proc.Keeper
	st    *store.StateFile
	disk  store.Disk
	bus   *bus.Bus
	defs  *revisions
	out   *printed
	check func(context.Context, probe.Target) probe.Result
	vault secrets
	leap  atomic.Int64 // how far the clock on the wall was put forward
	lost  bool         // as if the state could not be read
	stops []func()
	seq   int64

	finish func() // leaves nothing
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorldNow(t)
}

// newWorldNow makes a world for a test that makes several, one after the other.
func newWorldNow(t *testing.T) *world {
	t.Helper()
	home, err := os.MkdirTemp("", "om") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	if home, err = filepath.EvalSymlinks(home); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, home: home, disk: store.OS, defs: &revisions{}, check: probe.Check}
	w.out = &printed{dir: filepath.Join(home, "logs"), kept: map[string]int{}}
	must(t, os.Mkdir(filepath.Join(home, "tmp"), 0o700))
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(keeperBinary, proc.RunArgs(home, exe)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, cmd.Start())
	reaped := make(chan struct{})
	go func() { defer close(reaped); _ = cmd.Wait() }()
	w.finish = sync.OnceFunc(func() {
		w.end()
		if w.k != nil {
			kill(t, w.k.Info().PID)
		}
		<-reaped
		w.sweep()
		os.RemoveAll(home)
	})
	t.Cleanup(w.finish)
	return w
}

// begin starts what a daemon consists of below its surfaces.
func (w *world) begin() {
	w.t.Helper()
	exe, err := os.Executable()
	must(w.t, err)
	log := slog.New(slog.NewTextHandler(words{w.t}, nil))
	eventually(w.t, "the keeper to answer", func() bool {
		within, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		defer cancel()
		w.k, err = proc.Dial(within, proc.Socket(w.home), proc.Options{Home: w.home, KeeperPath: keeperBinary, Daemon: exe, Version: "test", Log: log})
		return err == nil
	})
	w.st, err = store.OpenState(filepath.Join(w.home, "state.json"), w.disk, log)
	must(w.t, err)
	w.bus = bus.New(1, 4096)
	w.Supervisor = New(Deps{Log: log, Keeper: w.k, State: w.st, Bus: w.bus, LogDir: w.out.dir, RunDir: filepath.Join(w.home, "tmp"), Lines: w.out,
		Loader: w.defs, Check: func(ctx context.Context, t probe.Target) probe.Result { return w.check(ctx, t) }, Now: func() time.Time { return time.Now().Add(time.Duration(w.leap.Load())) }, Secret: w.vault.value, Hide: w.vault.hide, Lost: w.lost || w.st.Lost()})
	ready := make(chan struct{})
	w.run(w.k.Run)
	w.run(w.st.Run)
	w.run(func(ctx context.Context) error { return w.Run(ctx, func() { close(ready) }) })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		w.t.Fatal("the supervisor does not come up")
	}
}

func (w *world) run(fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	w.stops = append(w.stops, func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Errorf("a part ended with %v", err)
		}
	})
}

// end ends it in order. The programs live on with the keeper.
func (w *world) end() {
	for _, stop := range slices.Backward(w.stops) {
		stop()
	}
	w.stops = nil
}

// crash ends it so that nothing is on disk which was not there before.
func (w *world) crash() {
	w.t.Helper()
	file := filepath.Join(w.home, "state.json")
	then, err := os.ReadFile(file)
	must(w.t, err)
	w.end()
	must(w.t, os.WriteFile(file, then, 0o600))
}

// sweep ends whatever is left of the home, and the groups that held it.
func (w *world) sweep() {
	eventually(w.t, "everything of this home to end", func() bool {
		left := 0
		for _, s := range ident.All() {
			if id, ok := ident.Environ(s.PID, "OMNITRON_APP"); ok && id != "" {
				if at, _ := ident.Environ(s.PID, "TEST_HOME"); at == w.home && s.State != 'Z' && s.State != 'X' {
					left++
					_ = syscall.Kill(s.PID, syscall.SIGKILL)
				}
			}
		}
		return left == 0
	})
	own := "omnitron-" + keeperproc.HomeID(w.home) // those of other homes are other tests'
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, _ := filepath.Glob(pattern + own)
		for _, d := range dirs {
			inner, _ := filepath.Glob(d + "/*")
			for _, in := range inner {
				_ = os.Remove(in) // only if it is empty
			}
			_ = os.Remove(d)
		}
	}
	for _, p := range cage.Bounders(own) {
		_ = cage.Remove(p.Dir) // only if it is empty
	}
	must(w.t, os.RemoveAll("/run/"+own)) // the sockets of what a killed keeper ran
}

// load reads a file's text as up does.
func (w *world) load(yaml string) *config.Definition {
	w.t.Helper()
	def, _, err := config.Load(config.Source{Files: []config.File{{Path: filepath.Join(w.home, "omnitron.yaml"), Text: yaml}},
		Env: map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": w.home, "TEST_HOME": w.home}, Home: w.home})
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	for i := range def.Apps {
		for j := range def.Apps[i].Processes {
			def.Apps[i].Processes[j].Env["TEST_HOME"] = w.home
		}
	}
	return def
}

// apply keeps a definition as the next revision and follows it.
func (w *world) apply(yaml string) ([]view.Result, error) {
	w.t.Helper()
	def := w.load(yaml)
	return w.Apply(w.ctx(), def, w.defs.add(def), Command{Seq: w.next(), Wait: true})
}

// up applies a file and starts every app of it that is enabled.
func (w *world) up(yaml string) {
	w.t.Helper()
	if _, err := w.apply(yaml); err != nil {
		w.t.Fatalf("apply: %v", err)
	}
	var names []string
	for _, v := range w.Apps() {
		if v.Enabled {
			names = append(names, v.Key)
		}
	}
	if _, err := w.start(names...); err != nil {
		w.t.Fatalf("start: %v", err)
	}
}

func (w *world) next() int64 {
	w.seq++
	return w.seq
}

// ctx bounds a wait generously: the machine may be busy.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// command gives a command on named targets, as the next record.
func (w *world) command(names ...string) Command {
	w.t.Helper()
	sel := make([]op.Selector, len(names))
	for i, n := range names {
		sel[i] = op.Selector(n)
	}
	ts, err := w.Resolve(w.t.Context(), sel, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	return Command{Targets: ts, Seq: w.next(), Wait: true}
}

func (w *world) start(names ...string) ([]view.Result, error) {
	return w.Start(w.ctx(), w.command(names...))
}

func (w *world) stop(names ...string) ([]view.Result, error) {
	return w.Stop(w.ctx(), w.command(names...))
}

func (w *world) restart(names ...string) ([]view.Result, error) {
	return w.Restart(w.ctx(), w.command(names...))
}

// app gives the snapshot of the app with a name.
func (w *world) app(name string) *view.App {
	w.t.Helper()
	for _, v := range w.Apps() {
		if v.Name == name {
			return v
		}
	}
	return nil
}

func (w *world) pid(name string) int {
	w.t.Helper()
	if v := w.app(name); v != nil && len(v.Instances) > 0 {
		return v.Instances[0].PID
	}
	return 0
}

// is waits until an app is in a state.
func (w *world) is(name string, want view.State) *view.App {
	w.t.Helper()
	var v *view.App
	eventually(w.t, fmt.Sprintf("%s to be %s", name, want), func() bool {
		v = w.app(name)
		return v != nil && v.State == want
	}, func() string { return w.tell() })
	return v
}

// tell says how everything stands, for a failure.
func (w *world) tell() string {
	var b strings.Builder
	for _, v := range w.Apps() {
		fmt.Fprintf(&b, "%s %s (%s)\n", v.Key, v.State, v.Reason)
		for _, i := range v.Instances {
			fmt.Fprintf(&b, "  %s %s pid %d gen %d (%s)\n", i.Slot, i.State, i.PID, i.Generation, i.Reason)
		}
	}
	return b.String()
}

// file gives the lines of a file in the home; programs note there what they do.
func (w *world) file(name string) []string {
	data, _ := os.ReadFile(filepath.Join(w.home, name))
	return strings.Fields(string(data))
}

func busFilter(topics ...string) bus.Filter { return bus.Filter{Topics: topics} }

// events gives the types of the events of an app, oldest first.
func (w *world) events(name string, topics ...string) []string {
	var out []string
	for _, ev := range w.bus.Recent(busFilter(topics...), 0, 4096) {
		if ev.Key == "shop/dev/"+name {
			out = append(out, ev.Type)
		}
	}
	return out
}

// saved gives what state.json holds of an app once it says so.
func (w *world) saved(name string, ok func(store.AppState) bool) store.AppState {
	w.t.Helper()
	var got store.AppState
	eventually(w.t, "the state of "+name+" on disk", func() bool {
		f, err := store.OpenState(filepath.Join(w.home, "state.json"), store.OS, slog.New(slog.DiscardHandler))
		if err != nil {
			return false
		}
		got, _ = f.View().App("shop/dev/" + name)
		return ok(got)
	}, func() string { return fmt.Sprintf("%+v", got) })
	return got
}
