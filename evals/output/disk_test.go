package output_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// source is what the small disks are called in /proc/mounts, with the pid of the test that mounted them.
const source = "omnitron-evals-"

// sweep unmounts what a test that was killed has left.
func sweep() {
	for _, m := range mounts() {
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(m[0], source)); err != nil {
			_ = unix.Unmount(m[1], unix.MNT_DETACH) // whoever looks at /proc/mounts sees it
		}
	}
}

// mounts gives the small disks that are there, each with its source and its folder.
func mounts() (list [][2]string) {
	data, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[0], source) {
			list = append(list, [2]string{f[0], f[1]})
		}
	}
	return list
}

// disk is a tmpfs over the folder of an app's logs.
type disk struct {
	t    testing.TB
	path string
}

// disk mounts one of so many MB before the app has printed anything.
func (w *world) disk(t *testing.T, app string, megabytes int) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("mounting a small disk needs root")
	}
	d := &disk{t, filepath.Dir(w.live(app, "out"))}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source+strconv.Itoa(os.Getpid()), d.path, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", megabytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Down()
		if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// resize makes room, or takes it away.
func (d *disk) resize(megabytes int) {
	d.t.Helper()
	if err := unix.Mount("", d.path, "", unix.MS_REMOUNT, fmt.Sprintf("size=%dm,mode=700", megabytes)); err != nil {
		d.t.Fatal(err)
	}
}

// free is the room that is left, in bytes.
func (d *disk) free() int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
