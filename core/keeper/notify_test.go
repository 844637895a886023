package keeper

import (
	"encoding/json"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// socket gives a generation a notify socket, and the end on which its program speaks.
func (g *gen) socket(t *testing.T) (program int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(p[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	g.notify = p[0]
	return p[1]
}

// TestReadyIsNotLost: a keeper that is killed while it hears that a program is ready has either told the daemon, or left it
// in the socket, which the daemon holds too, for the next keeper.
func TestReadyIsNotLost(t *testing.T) {
	k := newTest(t)
	g := k.runs("p/dev/a:a#1@1.1", protocol.Generation{PID: os.Getpid()})
	program := g.socket(t)
	if _, err := unix.Write(program, []byte("READY=1\nSTATUS=here")); err != nil {
		t.Fatal(err)
	}
	k.boss = &conn{fd: 1 << 20} // without a keeper: it ends in the middle of telling
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it was not told at once: a turn may take long, and a keeper that is killed in it takes it along")
			}
		}()
		k.hear(g)
	}()

	next := newTest(t)
	g = next.runs(g.rec.ID, protocol.Generation{PID: os.Getpid()})
	g.notify = k.gens[g.rec.ID].notify
	_, far := next.peer(t, "daemon")
	next.hear(g)
	next.hear(g) // and it is read once
	said := hear(t, far)
	if len(said) != 1 || said[0].Type != protocol.Noticed {
		t.Fatalf("the daemon was told %v", said)
	}
	var b protocol.NoticeBody
	if err := json.Unmarshal(said[0].Body, &b); err != nil || !b.Notice.Ready || b.Notice.Status != "here" || g.rec.Notice == nil || !g.rec.Notice.Ready {
		t.Errorf("%v: %+v, and the record has %+v", err, b, g.rec.Notice)
	}
}
