package output_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is a tmpfs over the folder of an app's logs.
type disk struct {
	t    testing.TB
	path string
}

// disk mounts one of so many MB before the app has printed anything.
func (w *world) disk(t *testing.T, app string, megabytes int) *disk {
	t.Helper()
	d := &disk{t, filepath.Dir(w.live(app, "out"))}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	w.Disk(d.path, megabytes)
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
