package keeper

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// listens makes the keeper know a generation that is this process and has a notify socket, and gives one to speak on.
func (k *keeper) listens(t *testing.T, id string) (*gen, int) {
	t.Helper()
	g := k.runs(id, protocol.Generation{PID: os.Getpid()})
	path := filepath.Join(k.o.Home, "n")
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
	}
	g.notify = fds[0]
	t.Cleanup(func() { k.drop(&g.notify); unix.Close(fds[1]) })
	for _, err := range []error{
		unix.SetsockoptInt(g.notify, unix.SOL_SOCKET, unix.SO_PASSCRED, 1),
		unix.Bind(g.notify, &unix.SockaddrUnix{Name: path}), unix.Connect(fds[1], &unix.SockaddrUnix{Name: path}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return g, fds[1]
}

// TestNoticeOutlivesItsReader: a keeper that is killed before it has told the daemon has taken nothing out of the socket, and
// one that has told it has: each message is told at least once, in order, and in the end none is left.
func TestNoticeOutlivesItsReader(t *testing.T) {
	k := newTest(t)
	_, far := k.peer(t, "daemon")
	g, mouth := k.listens(t, "p/dev/a:a#1@1.1")
	said := []string{"READY=1", "STATUS=serving", "WATCHDOG=1", "nothing of ours", "STOPPING=1"}
	for _, text := range said {
		if err := unix.Send(mouth, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	if !k.hear(g) || g.rec.Notice == nil || !g.rec.Notice.Ready {
		t.Fatalf("it heard %+v", g.rec.Notice)
	}
	k.heard = nil // here it dies, and another one goes on with the socket
	for range said {
		if !k.hear(g) {
			t.Fatal("a message is lost")
		}
		k.sendNotices()
	}
	if k.hear(g) {
		t.Errorf("a message is left: %+v", k.heard)
	}
	var told []protocol.Notice
	for _, f := range hear(t, far) {
		var b protocol.NoticeBody
		if f.Type != protocol.Noticed {
			continue
		}
		if err := json.Unmarshal(f.Body, &b); err != nil {
			t.Fatal(err)
		}
		told = append(told, b.Notice)
	}
	if len(told) != 4 || !told[0].Ready || told[1].Status != "serving" || !told[2].Watchdog || !told[3].Stopping {
		t.Errorf("the daemon was told of %+v", told)
	}
}

// TestEndOutlivesItsReader: an end that was seen and not told yet can still be seen.
func TestEndOutlivesItsReader(t *testing.T) {
	k := newTest(t)
	for _, c := range []struct {
		script string
		status unix.WaitStatus
	}{{"exit 7", 7 << 8}, {"kill -KILL $$", unix.WaitStatus(unix.SIGKILL)}, {"exit 0", 0}} {
		pid := child(t, c.script)
		for range 2 { // the second time as the keeper that comes next would
			got, e := 0, protocol.Exit{}
			if !waitUntil(sweepTime, func() bool { got, e = k.dead(); return got != 0 }) {
				t.Fatalf("%s: its end is lost", c.script)
			}
			if got != pid || unix.WaitStatus(e.Status) != c.status || !e.Known || e.MaxRSS == 0 {
				t.Errorf("%s (pid %d): pid %d ended with %x: %+v", c.script, pid, got, e.Status, e)
			}
		}
		k.reap()
		if got, _ := k.dead(); got != 0 {
			t.Errorf("%s: %d was not taken", c.script, got)
		}
	}
}

// child starts a shell that ends by itself.
func child(t *testing.T, script string) int {
	t.Helper()
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", script}, &os.ProcAttr{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Pid
}
