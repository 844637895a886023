package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// source is what the small disks are called in /proc/mounts, with the pid of the test that mounted them.
const source = "omnitron-evals-"

// Sweep unmounts the small disks of tests that were killed.
func Sweep() {
	data, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return // nothing can be mounted here
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || !strings.HasPrefix(f[0], source) {
			continue
		}
		if _, err := os.Stat("/proc/" + strings.TrimPrefix(f[0], source)); err != nil {
			_ = unix.Unmount(f[1], unix.MNT_DETACH) // whoever looks at /proc/mounts sees it
		}
	}
}

// Disk mounts a small disk of so many MB on a folder until the test ends.
func (r *Rig) Disk(dir string, megabytes int) {
	r.T.Helper()
	if os.Geteuid() != 0 {
		r.T.Fatal("mounting a small disk needs root")
	}
	if err := unix.Mount(source+strconv.Itoa(os.Getpid()), dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=700", megabytes)); err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() {
		r.Down()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			r.T.Error(err)
		}
	})
}
