// Package durability_test shows that what was asked for outlives whatever happens to the disk, the files and the daemon:
// damaged and newer files, a full disk, a daemon killed at any moment, eight started at once, one that is PID 1, one
// without descriptors. What lives is never stopped for it, and what was acknowledged is never lost.
package durability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/proc/proctest"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

func TestMain(m *testing.M) {
	rig.Sweep()
	os.Exit(proctest.Main(m.Run))
}

// world is a rig with apps that do nothing but live, and that are found by the rig's folder in their command line.
type world struct {
	*rig.Rig
}

func newWorld(t *testing.T) world { return world{rig.New(t)} }

// sitter is the definition of an app that lives until it is told to end.
func (w world) sitter(name string, more ...string) string {
	w.T.Helper()
	path := w.Write(name+".txt", "")
	return fmt.Sprintf("  - {name: %s, command: [tail, -f, %s], %s}\n", name, path, strings.Join(append([]string{"ready: {delay: 10ms}"}, more...), ", "))
}

// project is the YAML of a project with these apps.
func (w world) project(apps ...string) string {
	return "project: " + w.Name() + "\napps:\n" + strings.Join(apps, "")
}

// kill ends the daemon by force and has the keeper leave it down.
func (w world) kill() {
	w.T.Helper()
	w.OK("kill")
	if pid := w.DaemonPID(); alive(pid) && strings.Contains(args(pid), "serve") {
		w.T.Fatalf("the daemon (pid %d) lives after kill", pid)
	}
}

func args(pid int) string {
	p, _ := rig.ReadProcess(pid)
	return p.Args
}

func alive(pid int) bool {
	p, ok := rig.ReadProcess(pid)
	return ok && p.State != 'Z'
}

// pids gives the pids of all instances of some apps.
func (w world) pids(apps ...string) map[string][]int {
	out := map[string][]int{}
	for _, name := range apps {
		for _, i := range w.App(name).Instances {
			out[name] = append(out[name], i.PID)
		}
	}
	return out
}

// live fails the test unless every one of these pids is alive.
func (w world) live(pids map[string][]int) {
	w.T.Helper()
	for name, list := range pids {
		for _, pid := range list {
			if !alive(pid) {
				w.T.Errorf("%s: pid %d is gone", name, pid)
			}
		}
	}
}

// same fails the test unless apps still have the pids that they had.
func (w world) same(was map[string][]int) {
	w.T.Helper()
	for name, list := range was {
		var now []int
		for _, i := range w.App(name).Instances {
			now = append(now, i.PID)
		}
		if !slices.Equal(now, list) {
			w.T.Errorf("%s has pids %v, had %v", name, now, list)
		}
	}
}

// warnings is what status says is wrong.
func (w world) warnings() string {
	w.T.Helper()
	var st struct{ Warnings []string }
	if err := w.Call("daemon.status", nil, &st); err != nil {
		w.T.Fatal(err)
	}
	return strings.Join(st.Warnings, "\n")
}

// says fails the test unless status and doctor both tell of something.
func (w world) says(words ...string) {
	w.T.Helper()
	doctor := w.Run("doctor", "-o", "json").Out
	var d struct {
		OK     bool
		Checks []struct{ What, Status string }
	}
	if err := json.Unmarshal([]byte(doctor), &d); err != nil {
		w.T.Fatalf("doctor: %v in %s", err, doctor)
	}
	if d.OK {
		w.T.Errorf("doctor finds nothing wrong")
	}
	for _, word := range words {
		if got := w.warnings(); !strings.Contains(got, word) {
			w.T.Errorf("status does not tell of %q: %s", word, got)
		}
		if !slices.ContainsFunc(d.Checks, func(c struct{ What, Status string }) bool { return c.Status != "ok" && strings.Contains(c.What, word) }) {
			w.T.Errorf("doctor does not tell of %q: %s", word, doctor)
		}
	}
}

// aside gives the content of the files that were set aside of one, oldest first.
func (w world) aside(name string) (found []string) {
	w.T.Helper()
	list, err := filepath.Glob(filepath.Join(w.Home, name+".corrupt-*"))
	if err != nil {
		w.T.Fatal(err)
	}
	for _, f := range list {
		if !strings.HasSuffix(f, "-wal") && !strings.HasSuffix(f, "-shm") {
			found = append(found, w.read(filepath.Base(f)))
		}
	}
	return found
}

// read gives the content of a file in the home.
func (w world) read(name string) string {
	w.T.Helper()
	text, err := os.ReadFile(filepath.Join(w.Home, name))
	if err != nil {
		w.T.Fatal(err)
	}
	return string(text)
}

// put replaces a file in the home.
func (w world) put(name, text string) {
	w.T.Helper()
	path := filepath.Join(w.Home, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.T.Fatal(err)
	}
	if w.UID != 0 {
		if err := os.Chown(path, w.UID, w.UID); err != nil {
			w.T.Fatal(err)
		}
	}
}

// view is what a scenario compares of an app.
type view struct {
	Name, State, Desired string
	Instances            []struct {
		PID   int
		State string
	}
}

// get gives an app.
func (w world) get(name string) (v view, err error) {
	return v, w.Call("apps.get", map[string]any{"name": name}, &v)
}

// names gives the names of all apps that the daemon knows, in order.
func (w world) names() []string {
	w.T.Helper()
	var out struct{ Items []struct{ Name string } }
	if err := w.Call("apps.list", map[string]any{"limit": 200, "all": true}, &out); err != nil {
		w.T.Fatal(err)
	}
	var names []string
	for _, v := range out.Items {
		names = append(names, v.Name)
	}
	return names
}

// call gives a command on a connection of its own.
func (w world) call(method string, in any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := wire.Dial(ctx, "unix", filepath.Join(w.Home, "daemon.sock"))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Call(ctx, method, in, nil)
}

// reason is the reason of a fault.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

// murder kills the daemon as a crash would, and waits until the keeper has started the next one.
func (w world) murder() {
	w.T.Helper()
	old := w.DaemonPID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		w.T.Fatal(err)
	}
	w.back(old, 10*time.Second)
}

// back waits until another daemon than old answers.
func (w world) back(old int, within time.Duration) {
	w.T.Helper()
	w.Disconnect()
	w.Until(within, "the daemon is back", func() bool {
		pid := w.DaemonPID()
		return pid != 0 && pid != old && w.call("daemon.ping", nil) == nil
	})
}
