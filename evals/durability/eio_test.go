package durability_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inject makes system calls of the daemon fail until the given function is called.
func (w world) inject(args ...string) (heal func()) {
	w.T.Helper()
	cmd := exec.Command("strace", append([]string{"-f", "-q", "-o", filepath.Join(w.Dir, "strace.out"), "-p", strconv.Itoa(w.DaemonPID())}, args...)...)
	if err := cmd.Start(); err != nil {
		w.T.Fatalf("this needs strace: %v", err)
	}
	heal = func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the daemon
		_ = cmd.Wait()                         // it ends by our signal
	}
	w.T.Cleanup(heal)
	w.Until(5*time.Second, "strace holds every thread of the daemon", func() bool { return w.traced() })
	return heal
}

// traced reports whether every thread of the daemon has a tracer.
func (w world) traced() bool {
	list, err := filepath.Glob("/proc/" + strconv.Itoa(w.DaemonPID()) + "/task/*/status")
	if err != nil || len(list) == 0 {
		return false
	}
	for _, f := range list {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// database is what makes every write to the database fail.
func (w world) database(errno string) []string {
	db := filepath.Join(w.Home, "omnitron.db")
	return []string{"-P", db, "-P", db + "-wal", "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=" + errno}
}

// TestFailingDisk: the disk says EIO, or that there is no room, or none for this user. A call is refused, nothing of it is kept, and it goes on when the disk does.
func TestFailingDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, reason string
		args         func(w world) []string
	}{
		{"of everything", "audit_unavailable", func(world) []string {
			return []string{"-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"}
		}},
		{"of the state", "state_not_durable", func(w world) []string {
			return []string{"-P", filepath.Join(w.Home, "state.json.tmp"), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"}
		}},
		{"no room for the state", "state_not_durable", func(w world) []string {
			return []string{"-P", filepath.Join(w.Home, "state.json.tmp"), "-e", "trace=write", "-e", "inject=write:error=ENOSPC"}
		}},
		{"no quota for the state", "state_not_durable", func(w world) []string {
			return []string{"-P", filepath.Join(w.Home, "state.json.tmp"), "-e", "trace=write", "-e", "inject=write:error=EDQUOT"}
		}},
		{"the state cannot be written", "state_not_durable", func(w world) []string {
			return []string{"-P", filepath.Join(w.Home, "state.json.tmp"), "-e", "trace=write", "-e", "inject=write:error=EIO"}
		}},
		{"no quota for the database", "audit_unavailable", func(w world) []string { return w.database("EDQUOT") }},
		{"the database cannot be written", "audit_unavailable", func(w world) []string { return w.database("EIO") }},
		{"the state cannot be renamed", "state_not_durable", func(w world) []string {
			return []string{"-P", filepath.Join(w.Home, "state.json.tmp"), "-e", "trace=rename,renameat,renameat2", "-e", "inject=rename,renameat,renameat2:error=EIO"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Up(w.project(w.sitter("a"), w.sitter("c")))
			w.OK("stop", "c")
			was := w.pids("a")
			heal := w.inject(c.args(w)...)
			for _, call := range []struct {
				method string
				in     map[string]any
			}{
				{"apps.start", map[string]any{"names": []string{"c"}}},
				{"apps.stop", map[string]any{"names": []string{"a"}}},
				{"apps.scale", map[string]any{"name": "a", "instances": 2}},
			} {
				if err := w.call(call.method, call.in); reason(err) != c.reason {
					t.Errorf("%s: %v (reason %q)", call.method, err, reason(err))
				}
			}
			w.same(was)
			w.says("cannot be written")
			old := was["a"][0]
			if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			w.Until(5*time.Second, "a is back", func() bool { pid := w.PID("a"); return pid != 0 && pid != old })
			was = w.pids("a")
			heal()
			w.Until(5*time.Second, "calls are taken again", func() bool { return w.call("apps.start", map[string]any{"names": []string{"c"}}) == nil })
			w.Until(5*time.Second, "status is content", func() bool { return w.warnings() == "" })
			w.murder()
			w.same(was)
			w.WaitState("c", "running", 5*time.Second)
		})
	}
}
