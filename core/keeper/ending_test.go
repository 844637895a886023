package keeper

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// runs makes the keeper know a generation without processes.
func (k *keeper) runs(id string, rec protocol.Generation) *gen {
	rec.ID = id
	g := &gen{pidfd: -1, notify: -1, rec: rec}
	k.gens[id] = g
	return g
}

// pass lets time pass until what waits to be written is.
func (k *keeper) pass() {
	k.now = k.now.Add(saveTime)
	k.fire()
}

// say sends a frame from the far end and has it read.
func say(t testing.TB, c *conn, far int, f protocol.Frame, body any) {
	t.Helper()
	if err := protocol.Write(far, f, body, nil); err != nil {
		t.Fatal(err)
	}
	c.ready(unix.EPOLLIN)
}

// hear gives what the keeper has sent to the far end.
func hear(t testing.TB, far int) (all []protocol.Frame) {
	t.Helper()
	if err := unix.Shutdown(far, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	tv := unix.Timeval{Usec: 1}
	if err := unix.SetsockoptTimeval(far, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	for dec := (protocol.Decoder{}); ; {
		f, fds, err := dec.Read(far)
		protocol.CloseAll(fds)
		if err != nil {
			return all
		}
		all = append(all, f)
	}
}

// TestEnding: what the daemon says of why a program ends is in the record, on the disk, and told to the next daemon.
func TestEnding(t *testing.T) {
	k := newTest(t)
	c, far := k.peer(t, "daemon")
	a, b := k.runs("a", protocol.Generation{PID: 1 << 30}), k.runs("b", protocol.Generation{PID: 1<<30 + 1, Ending: "before"})
	say(t, c, far, protocol.Frame{Type: protocol.Ending}, protocol.EndingBody{ID: "a", Why: "stopped"})
	say(t, c, far, protocol.Frame{Type: protocol.Ending}, protocol.EndingBody{ID: "nobody", Why: "stopped"})
	if a.rec.Ending != "stopped" || b.rec.Ending != "before" {
		t.Errorf("a ends as %q, b as %q", a.rec.Ending, b.rec.Ending)
	}
	k.pass()
	kept := map[string]string{}
	for _, g := range k.load().Generations {
		kept[g.ID] = g.Ending
	}
	if len(kept) != 2 || kept["a"] != "stopped" || kept["b"] != "before" {
		t.Errorf("keeper.json says %v", kept)
	}
	if got := hear(t, far); len(got) != 0 {
		t.Errorf("it was answered: %+v", got)
	}

	tool, farTool := k.peer(t, "tool")
	say(t, tool, farTool, protocol.Frame{Type: protocol.Ending, Seq: 7}, protocol.EndingBody{ID: "b", Why: "mischief"})
	if got := hear(t, farTool); len(got) != 1 || got[0].Err == nil || got[0].Err.Reason != "not_the_daemon" || b.rec.Ending != "before" {
		t.Errorf("a tool was answered %+v, b ends as %q", got, b.rec.Ending)
	}

	next, farNext := k.peer(t, "")
	say(t, next, farNext, protocol.Frame{Type: protocol.Hello}, protocol.HelloBody{Role: "daemon", PID: os.Getpid()})
	told := map[string]string{}
	for _, f := range hear(t, farNext) {
		var g protocol.Generation
		if f.Type == protocol.Record && json.Unmarshal(f.Body, &g) == nil {
			told[g.ID] = g.Ending
		}
	}
	if len(told) != 2 || told["a"] != "stopped" || told["b"] != "before" {
		t.Errorf("the next daemon is told %v", told)
	}
	k.drop(&k.daemon.pidfd)
}

// TestDaemonDiedEnding: only what was not to outlive its daemon and runs ends of its death, and only of a death.
func TestDaemonDiedEnding(t *testing.T) {
	for status, want := range map[int]string{9: protocol.DaemonDied, 2 << 8: protocol.DaemonDied, 0: ""} { // killed, failed, left in order
		k := newTest(t)
		bound := k.runs("bound", protocol.Generation{DieWithDaemon: true})
		ended := k.runs("ended", protocol.Generation{DieWithDaemon: true, Exit: &protocol.Exit{Known: true}})
		free := k.runs("free", protocol.Generation{})
		k.daemonDied(status, true)
		if bound.rec.Ending != want || ended.rec.Ending != "" || free.rec.Ending != "" {
			t.Errorf("daemon's status %#x: bound %q, ended %q, free %q; want %q and nothing", status, bound.rec.Ending, ended.rec.Ending, free.rec.Ending, want)
		}
		if (len(bound.killers) > 0) != (want != "") || len(free.killers) > 0 {
			t.Errorf("daemon's status %#x: %d and %d wait for an end", status, len(bound.killers), len(free.killers))
		}
	}
}

// TestStuckTree: a tree that cannot be ended for a long time costs no more with every look at it.
func TestStuckTree(t *testing.T) {
	k := newTest(t)
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer protocol.CloseAll(p[:])
	g := k.runs("a", protocol.Generation{StubPID: 1 << 30, Exit: &protocol.Exit{Known: true}})
	g.stub = &stubLink{fd: p[0], pidfd: -1}
	ended := false
	k.kill(g, func() { ended = true })
	for range 1000 {
		k.now = k.now.Add(100 * time.Millisecond)
		k.fire()
	}
	if len(g.stub.asked) != 1 || len(k.timers) != 1 || ended {
		t.Errorf("%d questions and %d timers wait, ended %v", len(g.stub.asked), len(k.timers), ended)
	}
	var dec protocol.Decoder
	f, _, err := dec.Read(p[1])
	if err != nil || f.Type != protocol.Kill {
		t.Fatalf("the stub is told %+v, %v", f, err)
	}
	if err := protocol.Write(p[1], protocol.Frame{Type: protocol.State, Re: f.Seq}, nil, nil); err != nil {
		t.Fatal(err)
	}
	k.hearStub(g)
	k.now = k.now.Add(100 * time.Millisecond)
	if k.fire(); !ended || len(k.timers) != 0 {
		t.Errorf("ended %v, %d timers wait", ended, len(k.timers))
	}
}

// TestTheEndLeavesNoRecord: a record that was about to be written when the keeper ended in order is not written any more: a
// record that stays says that nobody has ended what it tells of.
func TestTheEndLeavesNoRecord(t *testing.T) {
	k := newTest(t)
	k.save()
	k.pass()
	if _, err := os.Stat(k.path("keeper.json")); err != nil {
		t.Fatal(err)
	}
	k.daemon.quit = true
	k.now = k.now.Add(time.Second)
	k.daemonDied(0, true) // the record of it is due a moment later, and the end comes first
	if k.exit == nil {
		t.Fatal("it does not end")
	}
	k.pass()
	if _, err := os.Stat(k.path("keeper.json")); !os.IsNotExist(err) {
		t.Errorf("keeper.json is there again: %v", err)
	}
}
