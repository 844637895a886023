package proc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
)

// smallDisk mounts a tmpfs.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := shortDir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullDisk: whatever the disk says when it refuses, the policy holds or drops, the loss is counted to the byte, and all
// goes on when the disk does. The disk is full for real; the other errors are what the kernel is made to say.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root, which mounts small disks")
	}
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO} {
		for _, policy := range []string{"block", "drop", "block-then-drop"} {
			t.Run(unix.ErrnoName(errno)+"/"+policy, func(t *testing.T) {
				t.Parallel()
				refuses(t, errno, policy)
			})
		}
	}
}

func refuses(t *testing.T, errno unix.Errno, policy string) {
	e := start(t, "auto")
	n := 60_000 // 3.6 MB on each stream
	s := e.helperSpec("lines", strconv.Itoa(n))
	s.Err, s.OnFull = "", policy
	var heal func()
	if errno == unix.ENOSPC {
		disk := smallDisk(t, "2m")
		ballast := filepath.Join(disk, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		s.Out = filepath.Join(disk, "out.log")
		heal = func() { // block needs room for everything
			if err := unix.Mount("", disk, "", unix.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
		}
	} else {
		n /= 10 // the tracer slows the keeper down
		s.Argv[len(s.Argv)-1] = strconv.Itoa(n)
		heal = e.inject(errno, s.Out)
	}
	p := e.spawn(s)
	full := event(t, e.k, "log_full")
	if full.Path != s.Out || full.ID != s.ID || full.Policy != policy || full.Error != errno.Error() {
		t.Errorf("%+v, want %s", full, errno.Error())
	}
	began := time.Now()
	if x, out, _ := e.run(e.spec("echo", "others")); x.Code != 0 || out != "others\n" {
		t.Errorf("others are affected: %+v %q", x, out)
	}
	total := printed(t, n)
	switch policy {
	case "block":
		select {
		case <-p.Done():
			t.Errorf("it ended: %+v", p.Exit())
		case <-time.After(700 * time.Millisecond):
		}
		if errno == unix.ENOSPC {
			e.killKeeper() // a new one finds the disk full as well, and everything still in the pipe
			event(t, e.k, "log_full")
		}
	case "drop":
		if wait(t, p); time.Since(began) > 8*time.Second {
			t.Errorf("it was held for %v", time.Since(began))
		}
	default:
		if wait(t, p); time.Since(began) < 9*time.Second {
			t.Errorf("it was held for %v only", time.Since(began))
		}
	}
	heal()
	room := time.Now()
	ok := event(t, e.k, "log_recovered")
	if d := time.Since(room); d > time.Second {
		t.Errorf("recovered after %v", d)
	}
	wait(t, p)
	if err := p.Forget(ctx(t)); err != nil {
		t.Fatal(err)
	}
	stored := int64(len(read(t, s.Out)))
	if stored+ok.Lost != total || policy == "block" && ok.Lost != 0 || policy != "block" && ok.Lost == 0 {
		t.Errorf("%d stored and %d lost of %d", stored, ok.Lost, total)
	}
	var lost, blocked, resumed int64
	for _, r := range records(t, s.Out) {
		switch r.Kind {
		case logfile.Lost:
			lost += int64(r.Val)
		case logfile.Blocked:
			blocked++
		case logfile.Resumed:
			resumed++
		}
	}
	if lost != ok.Lost || blocked == 0 || resumed == 0 {
		t.Errorf("the index tells of %d lost, %d times blocked, %d times resumed; want %d lost", lost, blocked, resumed, ok.Lost)
	}
}

// inject has everything that the keeper writes to a log and its index fail, until it is told to let go.
func (e *env) inject(errno unix.Errno, path string) (heal func()) {
	e.t.Helper()
	pid := e.k.Info().PID
	cmd := exec.Command("strace", "-f", "-q", "-o", filepath.Join(e.home, "strace.out"), "-p", strconv.Itoa(pid), "-P", path, "-P", path+".idx",
		"-e", "trace=splice,pwrite64,fallocate", "-e", "inject=splice,pwrite64,fallocate:error="+unix.ErrnoName(errno))
	if err := cmd.Start(); err != nil {
		e.t.Fatalf("this needs strace: %v", err)
	}
	heal = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(unix.SIGINT) // it lets go of the keeper
		_ = cmd.Wait()                      // it ends by our signal
	})
	e.t.Cleanup(heal)
	eventually(e.t, "strace to hold every thread of the keeper", func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range tasks {
			if strings.Contains(read(e.t, f), "TracerPid:\t0\n") {
				return false
			}
		}
		return len(tasks) > 0
	})
	return heal
}

// printed is how much the helper "lines" prints on its first stream.
func printed(t *testing.T, n int) int64 {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writeLines(f, n, 0)
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestLossSurvivesTheKeeper: what was dropped on a full disk is written down at once, so that the death of the keeper in
// that very time forgets nothing.
func TestLossSurvivesTheKeeper(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this needs root: cannot mount")
	}
	e := start(t, "auto")
	disk := smallDisk(t, "512k")
	s := e.helperSpec("bytes", "3000000")
	s.Out, s.Err, s.OnFull = filepath.Join(disk, "out.log"), "", "drop"
	p := e.spawn(s)
	wait(t, p)
	eventually(t, "the pipe to be empty", func() bool {
		var lost uint64
		for _, r := range records(t, s.Out) {
			if r.Kind == logfile.Lost {
				lost += r.Val
			}
		}
		return int64(lost)+int64(len(read(t, s.Out))) == 3000000
	})
	e.killKeeper()
	var lost uint64
	for _, r := range records(t, s.Out) {
		if r.Kind == logfile.Lost {
			lost += r.Val
		}
	}
	if int64(lost)+int64(len(read(t, s.Out))) != 3000000 {
		t.Errorf("%d lost and %d stored", lost, len(read(t, s.Out)))
	}
}
