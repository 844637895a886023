package cage

import (
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestCandidates(t *testing.T) {
	const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:5 - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	for _, c := range []struct {
		name, info, own string
		want            []Place
	}{
		{"hybrid", hybrid, "9:name=systemd:/\n8:pids:/a\n6:freezer:/\n0::/user/b\n", []Place{
			{V2, "/sys/fs/cgroup/unified/user/b/omnitron-x"}, {V1, "/sys/fs/cgroup/freezer/omnitron-x"},
			{V1, "/sys/fs/cgroup/pids/a/omnitron-x"}, {V1, "/sys/fs/cgroup/systemd/omnitron-x"}}},
		{"unified", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "0::/system.slice/omnitron.service\n",
			[]Place{{V2, "/sys/fs/cgroup/system.slice/omnitron.service/omnitron-x"}}},
		{"bound in a container", "30 23 0:26 /docker/f00 /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/docker/f00/sub\n",
			[]Place{{V2, "/sys/fs/cgroup/sub/omnitron-x"}}},
		{"outside of the mount", "30 23 0:26 /docker/f00 /sys/fs/cgroup ro - cgroup2 cgroup ro\n", "0::/elsewhere\n",
			[]Place{{V2, "/sys/fs/cgroup/omnitron-x"}}},
		{"a blank in the name", `30 23 0:26 / /a\040b rw - cgroup2 cgroup rw` + "\n", "0::/\n", []Place{{V2, "/a b/omnitron-x"}}},
		{"joined controllers", "30 23 0:26 / /c rw - cgroup cgroup rw,cpu,freezer\n", "3:cpu,freezer:/z\n", []Place{{V1, "/c/z/omnitron-x"}}},
		{"none", "30 23 0:26 / / rw - ext4 /dev/sda rw\n", "", nil},
	} {
		if got := candidates(c.info, c.own, "omnitron-x"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"a.b-1_2": true, "": false, ".": false, "..": false, "a/b": false, "A": false, "ä": false} {
		if ValidName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// TestGroup goes through the life of a group in every hierarchy that may be written to here.
func TestGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: nobody else may make a group")
	}
	for _, p := range Candidates("omnitron-cagetest") {
		dir, err := p.Make("leaf")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { Remove(p.Dir) })
		cmd := exec.Command("/bin/sh", "-c", `echo 0 > "$0/cgroup.procs"; trap "" TERM; sleep 1000 & wait`, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(20 * time.Second); len(PIDs(dir)) < 2; <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("%s: %v", dir, PIDs(dir))
			}
		}
		if !Populated(dir) || !Holds(dir, cmd.Process.Pid) || Holds(dir, os.Getpid()) {
			t.Errorf("%s: populated %v, holds it %v, holds us %v", dir, Populated(dir), Holds(dir, cmd.Process.Pid), Holds(dir, os.Getpid()))
		}
		if Remove(dir) == nil {
			t.Errorf("%s: removed while something lives in it", dir)
		}
		if err := Kill(dir); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
			t.Errorf("%s: %v", dir, cmd.ProcessState)
		}
		for end := time.Now().Add(20 * time.Second); Populated(dir) || Remove(dir) != nil; <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("%s: still populated", dir)
			}
		}
		if err := Kill(dir); err != nil {
			t.Errorf("%s: kill of what is gone: %v", dir, err)
		}
	}
}
