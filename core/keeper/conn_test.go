package keeper

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// newTest is a keeper whose loop is turned by the test.
func newTest(t testing.TB) *keeper {
	t.Helper()
	k, err := newKeeper(Options{Home: t.TempDir(), Daemon: "/bin/false", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(k.epoll) })
	return k
}

// peer connects a new daemon or tool, and gives our end and its own.
func (k *keeper) peer(t testing.TB, role string) (*conn, int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(p[0], true)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := k.serve(p[0])
	c.hello.Role = role
	if role == "daemon" {
		k.boss = c
	}
	t.Cleanup(func() {
		c.close()
		unix.Close(p[1])
	})
	return c, p[1]
}

// said is a message of the daemon that is not answered, with a text of so many bytes, and what takes it in.
func said(t testing.TB, size int) (take func()) {
	t.Helper()
	k := newTest(t)
	k.adopting = true // nothing is written to the disk
	c, far := k.peer(t, "daemon")
	id := "p/dev/a:a#1@1"
	k.gens[id] = &gen{pidfd: -1, notify: -1, rec: protocol.Generation{ID: id}}
	why := strings.Repeat("x", size)
	p, err := protocol.Encode(protocol.Frame{Type: protocol.Ending}, protocol.EndingBody{ID: id, Why: why})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		k.gens[id].rec.Ending = ""
		rest := p
		for range 10_000 {
			if len(rest) > 0 {
				n, err := unix.SendmsgN(far, rest, nil, nil, unix.MSG_DONTWAIT)
				if err != nil && err != unix.EAGAIN {
					t.Fatal(err)
				}
				rest = rest[max(n, 0):]
			}
			if c.ready(unix.EPOLLIN); k.gens[id].rec.Ending == why {
				return
			}
		}
		t.Fatal("it did not arrive")
	}
}

// TestMessageNeedsLittle: what is allocated for a message is a few times its size, and what is kept afterwards is not.
func TestMessageNeedsLittle(t *testing.T) {
	for size, want := range map[int]uint64{10: 1500, 100_000: 1_000_000} {
		take := said(t, size)
		take()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const n = 50
		for range n {
			take()
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / n; got > want {
			t.Errorf("a message of %d bytes takes %d bytes, want at most %d", size, got, want)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	for _, size := range []int{10, 100_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			take := said(b, size)
			b.ReportAllocs()
			for b.Loop() {
				take()
			}
		})
	}
}

// TestHangUp: a peer that takes nothing any more is still listened to until it has said all, and then let go; nothing
// stays queued for it.
func TestHangUp(t *testing.T) {
	for name, leave := range map[string]func(far int){
		"gone":            func(far int) { unix.Shutdown(far, unix.SHUT_RDWR) },
		"stopped reading": func(far int) { unix.Shutdown(far, unix.SHUT_RD) }, // it goes on talking
	} {
		t.Run(name, func(t *testing.T) {
			k := newTest(t)
			k.adopting = true
			c, far := k.peer(t, "daemon")
			g := k.runs("a", protocol.Generation{})
			sent, own := copies(t, far), c.fd
			if n := copies(t, own); sent != 1 || n != 1 {
				t.Fatalf("%d and %d descriptors of the ends of the connection", sent, n)
			}
			own, err := unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 0) // to ask for it when it is closed
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(own)
			for body := (protocol.PathBody{Path: strings.Repeat("x", 10_000)}); len(c.out) < 3; { // until the socket is full
				c.send(protocol.Frame{Type: protocol.Record}, body, []int{far})
			}
			if copies(t, far) == 1 {
				t.Fatal("no descriptor waits")
			}
			if err := protocol.Write(far, protocol.Frame{Type: protocol.Ending}, protocol.EndingBody{ID: "a", Why: "stopped"}, nil); err != nil {
				t.Fatal(err)
			}
			leave(far)
			c.ready(unix.EPOLLOUT)
			if len(c.out) != 0 || c.queued != 0 {
				t.Errorf("%d frames of %d bytes wait for nobody", len(c.out), c.queued)
			}
			c.send(protocol.Frame{Type: protocol.Listed}, nil, nil)
			if len(c.out) != 0 || c.queued != 0 {
				t.Error("more is queued for who takes nothing")
			}
			c.ready(unix.EPOLLIN)
			if g.rec.Ending != "stopped" {
				t.Error("its last words were not heard")
			}
			c.ready(unix.EPOLLIN)
			if c.fd >= 0 || k.boss != nil || k.conns[c] {
				t.Errorf("it was not let go: descriptor %d", c.fd)
			}
			if sent, served := copies(t, far), copies(t, own); sent != 1 || served != 1 {
				t.Errorf("%d descriptors that waited are open, and %d of the connection", sent-1, served-1)
			}
		})
	}
}

// copies counts the descriptors of this process that are of the same file as fd: those of others come and go with the
// garbage collector.
func copies(t *testing.T, fd int) (n int) {
	t.Helper()
	file, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if other, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && other == file {
			n++
		}
	}
	return n
}
