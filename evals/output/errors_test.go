package output_test

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestDiskErrors has the kernel refuse what the keeper asks for, in the middle of printing and rotating: it goes on when
// the disk does, and with the policy block nothing is lost.
func TestDiskErrors(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatalf("%v\nto install it: apt-get install -y --no-install-recommends strace (or make setup)", err)
	}
	w := newWorld(t)
	notes := filepath.Join(w.Dir, "notes")
	w.up("maxSize: 64KiB, maxFiles: 10000, compress: none, onFull: block", w.app("printing", "", "steady", "1ms", 20, notes))
	hear := w.hear(t)
	keeper, pid := w.KeeperPID(), w.PID("printing")
	for _, c := range []struct{ call, fault string }{
		{"splice", "error=EIO:when=1+3"},
		{"pwrite64", "error=EIO:when=1+2"},
		{"renameat", "error=EIO:when=1+2"},
		{"renameat", "error=ENOSPC:when=1+3"},
		{"fallocate", "error=ENOSPC"},
		{"tee", "error=ENOMEM:when=1+2"},
	} {
		cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", strconv.Itoa(keeper), "-e", "trace="+c.call, "-e", "inject="+c.call+":"+c.fault)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		traced := func() bool { return w.statusText(keeper, "TracerPid:") != "0" }
		w.Until(10*time.Second, "strace is at work", traced)
		from := noted(t, notes)
		w.Until(30*time.Second, "it prints on while "+c.call+" fails with "+c.fault, func() bool { return noted(t, notes) > from+rig.Count(6_000, 60_000) })
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it ends by the signal
		w.Until(10*time.Second, "strace is gone", func() bool { return !traced() })
		again := noted(t, notes)
		w.Until(5*time.Second, "it prints on after "+c.call+" has failed", func() bool { return noted(t, notes) > again+1000 })
	}
	w.Until(5*time.Second, "every event of a failure has its counterpart", func() bool {
		return len(hear("log_full", "printing")) == len(hear("log_recovered", "printing"))
	})
	if len(hear("log_full", "printing")) == 0 {
		t.Error("no event told that the disk refused")
	}
	if w.KeeperPID() != keeper || w.PID("printing") != pid {
		t.Error("the keeper or the program is another one than before")
	}
	w.OK("stop", "printing")
	if lost := w.exact(t, "printing", int64(noted(t, notes))*plainSize); lost != 0 {
		t.Errorf("%d bytes were lost with the policy block", lost)
	}
	t.Logf("%d lines over %d files, %d times told that the disk refuses, nothing lost", noted(t, notes), len(w.files("printing", "out")), len(hear("log_full", "printing")))
}

// TestFrozen stops the daemon, then the keeper, for a while, as a busy machine or a debugger may. Without the daemon an
// app prints on; without the keeper it is held, and nothing is lost.
func TestFrozen(t *testing.T) {
	w := newWorld(t)
	notes := filepath.Join(w.Dir, "notes")
	w.up("maxSize: 1MB, maxFiles: 10000", w.app("printing", "", "steady", "1ms", 20, notes))
	pid := w.PID("printing")
	freeze := func(pid int) (thaw func()) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
	}

	thaw := freeze(w.DaemonPID())
	from := noted(t, notes)
	w.Until(5*time.Second, "it prints while the daemon is frozen", func() bool { return noted(t, notes) > from+20_000 })
	thaw()

	thaw = freeze(w.KeeperPID())
	held, since := noted(t, notes), time.Now()
	w.Until(20*time.Second, "it is held while the keeper is frozen", func() bool {
		if now := noted(t, notes); now != held {
			held, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	thaw()
	woken := time.Now()
	w.Until(5*time.Second, "it prints again", func() bool { return noted(t, notes) > held })
	resumed := time.Since(woken)
	if resumed > 100*time.Millisecond {
		t.Errorf("it was held %s longer than the keeper was frozen", resumed)
	}
	w.Until(5*time.Second, "it prints on", func() bool { return noted(t, notes) > held+10_000 })
	if now := w.PID("printing"); now != pid {
		t.Errorf("pid %d before, %d after", pid, now)
	}
	w.OK("stop", "printing")
	if lost := w.exact(t, "printing", int64(noted(t, notes))*plainSize); lost != 0 {
		t.Errorf("%d bytes were lost", lost)
	}
	t.Logf("%d lines, none lost; the first came %s after the keeper went on", noted(t, notes), resumed.Round(time.Millisecond))
}
