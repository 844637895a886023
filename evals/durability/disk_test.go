package durability_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// disk is a tmpfs in the place of the home.
type disk struct {
	t    testing.TB
	path string
}

// smallDisk puts a world's home on a disk of so many MB.
func smallDisk(t *testing.T, megabytes int) (world, disk) {
	t.Helper()
	w := newWorld(t)
	w.Disk(w.Home, megabytes)
	d := disk{t, w.Home}
	t.Cleanup(d.free)
	return w, d
}

// fill leaves not a byte, nor a page that a file could grow by.
func (d disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.path, "filler"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<16); ; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

// free gives all of it back.
func (d disk) free() { _ = os.Remove(filepath.Join(d.path, "filler")) } // it may be free already

// undurable are the reasons of calls that are refused because they cannot be kept.
var undurable = []string{"state_not_durable", "audit_unavailable"}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	w, d := smallDisk(t, 32)
	more := w.sitter("d")
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("c")))
	w.OK("stop", "c")
	was := w.pids("a", "b")
	next := w.project(w.sitter("a"), w.sitter("b"), w.sitter("c"), more)
	d.fill()

	calls := []struct {
		method string
		in     map[string]any
	}{
		{"apps.start", map[string]any{"names": []string{"c"}}},
		{"apps.stop", map[string]any{"names": []string{"a"}}},
		{"apps.scale", map[string]any{"name": "b", "instances": 2}},
		{"apps.disable", map[string]any{"names": []string{"b"}}},
		{"apps.apply", map[string]any{"files": []map[string]string{{"path": filepath.Join(w.Dir, "omnitron.yaml"), "text": next}}}},
		{"daemon.shutdown", map[string]any{}},
	}
	refused := func() {
		t.Helper()
		for _, c := range calls {
			if err := w.call(c.method, c.in); !slices.Contains(undurable, reason(err)) {
				t.Errorf("%s on a full disk: %v (reason %q)", c.method, err, reason(err))
			}
		}
		w.same(was)
		if got := w.App("c"); got.State != "stopped" {
			t.Errorf("c is %s", got.State)
		}
		if got := w.names(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("the daemon knows %v", got)
		}
	}
	refused()
	w.says("cannot be written")

	crash := func() { // supervision goes on
		t.Helper()
		old := w.PID("b")
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		w.Until(5*time.Second, "b is back", func() bool {
			b := w.App("b")
			return b.State == "running" && b.Instances[0].PID != old && alive(b.Instances[0].PID)
		})
		was = w.pids("a", "b")
	}
	crash()

	w.murder() // the last acknowledged holds, with the disk still full
	refused()
	crash()

	d.free()
	freed := time.Now()
	w.Until(5*time.Second, "calls are taken again", func() bool { return w.call("apps.start", map[string]any{"names": []string{"c"}}) == nil })
	t.Logf("calls are taken again after %s", time.Since(freed))
	w.Until(5*time.Second, "status is content", func() bool { return w.warnings() == "" })
	w.same(was)
	w.murder()
	w.same(was)
	w.WaitState("c", "running", 5*time.Second) // looked at again
}

// A daemon that starts when there is no room has everything it needs from the disk as it is.
func TestFullDiskAtStart(t *testing.T) {
	t.Parallel()
	w, d := smallDisk(t, 32)
	w.Up(w.project(w.sitter("a"), w.sitter("b")))
	w.OK("stop", "b")
	was := w.pids("a")
	w.kill()
	d.fill()
	ran := w.Run("start", "a")
	t.Logf("start on a full disk: exit %d, %s", ran.Code, ran.Err)
	w.live(was)
	d.free()
	w.Until(15*time.Second, "start succeeds", func() bool { return w.Run("start", "a").Code == 0 })
	w.same(was)
	if got := w.App("b"); got.State != "stopped" {
		t.Errorf("b is %s", got.State)
	}
}
