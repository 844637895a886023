package descent

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestSweep ends a grandchild that has left its session and lost its parent, and only what descends from here.
func TestSweep(t *testing.T) {
	stranger := os.Getppid()
	tree, err := Grow()
	if err != nil {
		t.Fatal(err)
	}
	defer tree.End()
	cmd := exec.Command("sh", "-c", "setsid sleep 987654.25 & echo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // the grandchild is there, if only as a copy of the shell
		t.Fatal(err)
	}
	pids := Running("987654.25") // as setsid or as sleep
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); len(pids) == 0 && time.Now().Before(end); pids = Running("987654.25") {
		<-tick.C
	}
	if len(pids) != 1 || slices.Contains(pids, stranger) {
		t.Errorf("running: %v", pids)
	}
	if left := tree.Sweep(); len(left) == 0 {
		t.Error("nothing was left to sweep")
	}
	if err := tree.Wait(cmd); err != nil {
		t.Logf("the shell: %v", err) // it may have been swept too
	}
	for _, pid := range pids {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil {
			t.Errorf("%d is still there", pid)
		}
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(stranger)); err != nil {
		t.Error("the parent was hit")
	}
}
