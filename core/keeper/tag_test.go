package keeper

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTag: what has a tag is told from all else, and who has one itself still gives others.
func TestTag(t *testing.T) {
	const own = "KEEPER_TEST_TAG"
	if os.Getenv(own) == "" { // what it does to its limits cannot be taken back, so that a process of its own does it
		cmd := exec.Command(os.Args[0], "-test.run=^TestTag$", "-test.v")
		cmd.Env = append(os.Environ(), own+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestTag") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	tagged(t)
}

func tagged(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	k := &keeper{}
	if got := tagOf(cmd.Process.Pid); got != tagOf(os.Getpid()) {
		t.Errorf("a child of ours has tag %d", got)
	}
	first := k.tag(cmd.Process.Pid)
	if first == 0 || first >= tagTop || tagOf(cmd.Process.Pid) != first {
		t.Fatalf("tag %d was given, %d is there", first, tagOf(cmd.Process.Pid))
	}
	if second := k.tag(os.Getpid()); second == first { // from here on this test descends from an app
		t.Errorf("%d was drawn twice", first)
	}
	own := tagOf(os.Getpid())
	if next := newTag(); next == 0 || next >= own {
		t.Errorf("a keeper with limit %d draws %d", own, next)
	}
	got := telling(map[uint64]bool{0: true, own: true, first: true})
	if len(got) != 1 || !got[first] {
		t.Errorf("these tell others from us: %v", got)
	}
	if err := unix.Setrlimit(unix.RLIMIT_LOCKS, &unix.Rlimit{Cur: 1000, Max: 1000}); err != nil {
		t.Fatal(err)
	}
	if next := newTag(); next != 0 {
		t.Errorf("below a limit of 1000 there is no tag, and yet %d", next)
	}
}
