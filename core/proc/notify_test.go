package proc_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/proc"
)

// notice waits until the notices of a process, merged, satisfy ok.
func notice(t *testing.T, p *proc.Process, ok func(proc.Notice) bool) proc.Notice {
	t.Helper()
	for {
		select {
		case n := <-p.Notices():
			if ok(n) {
				return n
			}
		case <-ctx(t).Done():
			t.Fatal("no such notice")
		}
	}
}

func TestNotify(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		s := e.helperSpec("notify", `READY=1\nSTATUS=serving 7`, "WATCHDOG=1")
		s.Notify = true
		if os.Geteuid() == 0 {
			s.Dir, s.UID, s.GID, s.NotifyUID = "/", 65534, 65534, 65534
			s.Argv[0] = copySelf(t)
		}
		p := e.spawn(s)
		eventually(t, "the barrier", func() bool { return strings.Contains(read(t, s.Out), "barrier passed") })
		ready, status := false, ""
		n := notice(t, p, func(n proc.Notice) bool { // they may come together or one after the other
			if ready = ready || n.Ready; n.Status != "" {
				status = n.Status
			}
			return n.Watchdog
		})
		if !ready || status != "serving 7" || n.PID != p.Identity().PID || n.Stopping || n.At.IsZero() {
			t.Errorf("%+v", n)
		}
		if got := read(t, s.Err); got != "" {
			t.Errorf("it complains: %s", got)
		}
		// A helper process of the program may speak, and the main pid may be named.
		child := e.helperSpec()
		child.Notify, child.Argv = true, []string{"/bin/sh", "-c", child.Argv[0] + ` helper notify "RELOADING=1" "MAINPID=$$" & wait`}
		c := e.spawn(child)
		reloading := false
		n = notice(t, c, func(n proc.Notice) bool { reloading = reloading || n.Reloading; return n.MainPID != 0 })
		if n.MainPID != c.Identity().PID || n.PID == c.Identity().PID || !reloading {
			t.Errorf("%+v", n)
		}
		// After the keeper's death the socket is the same, and nothing that was said is lost.
		e.killKeeper()
		again := e.helperSpec("notify", "READY=1")
		again.Notify = true
		a := e.spawn(again)
		notice(t, a, func(n proc.Notice) bool { return n.Ready })
	})
}

func copySelf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	if err := errors.Join(os.WriteFile(dir+"/t", b, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir + "/t"
}

func TestNotifyOfStrangers(t *testing.T) {
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		s := e.spec("/bin/sh", "-c", "echo $NOTIFY_SOCKET; exec sleep 1000")
		s.Notify = true
		p := e.spawn(s)
		eventually(t, "the name of the socket", func() bool { return strings.HasSuffix(read(t, s.Out), "\n") })
		path := strings.TrimSpace(read(t, s.Out))
		if !strings.HasPrefix(path, "/run/omnitron-") && os.Geteuid() == 0 {
			t.Errorf("the socket is %s", path)
		}
		if err := sendNotice(path, "READY=1"); err != nil { // as root or the owner: nothing but the sender's place speaks against it
			t.Fatal(err)
		}
		if _, out, _ := e.run(e.helperSpec("stranger", path)); out != "sent\n" { // another program of the same home
			t.Fatal(out)
		}
		if err := barrier(path); err != nil { // strangers get their barrier: descriptors are closed whoever sent them
			t.Error(err)
		}
		select {
		case n := <-p.Notices():
			t.Errorf("a stranger was heard: %+v", n)
		default:
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", st, err)
		}
		if err := p.Kill(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if err := p.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
	})
}

// TestNotifyKeepsNoDescriptors sends many descriptors: none may stay with the keeper.
func TestNotifyKeepsNoDescriptors(t *testing.T) {
	e := start(t, "auto")
	s := e.spec("sleep", "1000")
	s.Notify = true
	s.Argv = []string{"/bin/sh", "-c", "echo $NOTIFY_SOCKET; exec sleep 1000"}
	e.spawn(s)
	eventually(t, "the name of the socket", func() bool { return strings.HasSuffix(read(t, s.Out), "\n") })
	path := strings.TrimSpace(read(t, s.Out))
	fds := func() int {
		es, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.k.Info().PID))
		return len(es)
	}
	n := fds()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	many := make([]int, 200)
	for range 20 {
		if err := unix.Sendmsg(fd, []byte("FDSTORE=1"), unix.UnixRights(many...), &unix.SockaddrUnix{Name: path}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := barrier(path); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the keeper to close them", func() bool { return fds() <= n })
}
