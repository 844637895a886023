package keeper

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/stub"
)

// kill ends the tree of a generation and calls done when nothing of it is left and its exit is known.
func (k *keeper) kill(g *gen, done func()) {
	g.killers = append(g.killers, done)
	if len(g.killers) > 1 {
		return
	}
	g.round = 0
	k.killRound(g)
}

// killRound kills and looks, again and again with growing pauses, for as long as something is left: what the kernel
// cannot let go of (D state) is waited for without harm to others.
func (k *keeper) killRound(g *gen) {
	if g.round%64 == 0 || g.rec.Contain == cage.V1 || g.lostStub() { // the others are killed in one step
		k.killTree(g)
	}
	g.round++
	if k.empty(g) && g.rec.Exit != nil {
		k.cancel(g.killing)
		killers := g.killers
		g.killers = nil
		for _, done := range killers {
			done()
		}
		return
	}
	pause := time.Duration(g.round) * time.Millisecond
	g.killing = k.after(min(pause, 100*time.Millisecond), func() { k.killRound(g) })
}

func (k *keeper) killTree(g *gen) {
	if g.rec.Cgroup != "" {
		if err := cage.Kill(g.rec.Cgroup); err != nil && g.round%64 == 0 {
			k.log("error", "cannot kill a control group", "id", g.rec.ID, "err", err.Error())
		}
	}
	if l := g.stub; l != nil && !l.killing { // it answers when nothing is left, however long that takes
		l.killing = l.fd >= 0
		l.ask(k, protocol.Kill, func(protocol.Frame) { l.killing, l.empty = false, true })
	}
	if g.pidfd >= 0 && g.rec.Exit == nil { // it may have left its group, as root can
		_ = unix.PidfdSendSignal(g.pidfd, unix.SIGKILL, nil, 0) // ESRCH when it has ended
	}
	if g.lostStub() {
		k.killMarked(g)
	}
}

// empty reports whether nothing of the tree is left, and then removes its groups.
func (k *keeper) empty(g *gen) bool {
	if !k.deserted(g) {
		return false
	}
	for _, dir := range g.rec.Bounds {
		if cage.Remove(dir) != nil {
			return false
		}
	}
	return true
}

func (k *keeper) deserted(g *gen) bool {
	switch {
	case g.rec.Cgroup != "":
		return !cage.Populated(g.rec.Cgroup) && cage.Remove(g.rec.Cgroup) == nil
	case g.lostStub():
		return len(k.marked(g)) == 0
	case g.stub != nil:
		return g.stub.empty
	}
	return true
}

// tree gives the living pids of a generation.
func (k *keeper) tree(g *gen, tell func([]int)) {
	pids := []int{}
	switch {
	case g.rec.Cgroup != "":
		pids = append(pids, cage.PIDs(g.rec.Cgroup)...)
	case g.stub != nil && g.stub.fd >= 0:
		g.stub.ask(k, protocol.Tree, func(f protocol.Frame) {
			var b protocol.PIDsBody
			if json.Unmarshal(f.Body, &b) == nil && b.PIDs != nil {
				pids = b.PIDs
			}
			tell(pids)
		})
		return
	case g.lostStub():
		for _, id := range k.marked(g) {
			pids = append(pids, id.PID)
		}
	}
	tell(pids)
}

// stubLink is the socket to a stub.
type stubLink struct {
	fd, pidfd int
	pid       int
	child     bool
	dec       protocol.Decoder
	seq       uint64
	asked     map[uint64]func(protocol.Frame)
	killing   bool // was asked to kill and has not answered
	empty     bool // its tree is, since the last kill
}

// lostStub reports whether the generation had a stub that is no more.
func (g *gen) lostStub() bool { return g.rec.StubPID != 0 && (g.stub == nil || g.stub.fd < 0) }

// ask sends a request to the stub. Without a stub there is no answer.
func (l *stubLink) ask(k *keeper, typ string, answer func(protocol.Frame)) {
	if l.fd < 0 {
		return
	}
	if l.asked == nil { // numbers of another keeper's questions must not be ours
		l.asked, l.seq = map[uint64]func(protocol.Frame){}, uint64(time.Now().UnixNano())
	}
	l.seq++
	l.asked[l.seq] = answer
	if err := protocol.Write(l.fd, protocol.Frame{Type: typ, Seq: l.seq}, nil, nil); err != nil {
		k.log("warn", "cannot talk to a stub", "pid", l.pid, "err", err.Error())
	}
}

// watchStub listens to the stub.
func (k *keeper) watchStub(g *gen) {
	l := g.stub
	k.watch(l.fd, unix.EPOLLIN, func(uint32) { k.hearStub(g) })
	if !l.child {
		k.watch(l.pidfd, unix.EPOLLIN, func(uint32) {
			k.hearStub(g) // it may have said something before
			k.stubDied(g)
		})
	}
}

func (k *keeper) hearStub(g *gen) {
	l := g.stub
	n, m, _, _, err := unix.Recvmsg(l.fd, k.in, k.oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		// It closes its descriptors first and gives its children away later: only then can those be found.
		k.unwatch(l.fd)
		k.watch(l.pidfd, unix.EPOLLIN, func(uint32) { k.stubDied(g) })
		return
	}
	l.dec.Feed(k.in[:n], protocol.Rights(k.oob[:m]))
	for l.fd >= 0 {
		f, fds, ok, err := l.dec.Next()
		protocol.CloseAll(fds)
		if err != nil {
			k.log("error", "a stub talks nonsense", "id", g.rec.ID, "err", err.Error())
		}
		if err != nil || !ok {
			return
		}
		if answer := l.asked[f.Re]; f.Re != 0 && answer != nil {
			delete(l.asked, f.Re)
			answer(f)
		} else if f.Type == protocol.Exited {
			k.stubState(g, f)
		}
	}
}

func (k *keeper) stubState(g *gen, f protocol.Frame) {
	var s stub.State
	if json.Unmarshal(f.Body, &s) == nil && s.Exit != nil {
		k.ended(g, *s.Exit)
	}
}

// stubDied: nobody looks after the tree any more, so it is ended. Its main process is ours now if we were the stub's
// parent, else known by its pidfd.
func (k *keeper) stubDied(g *gen) {
	if g.stub == nil || g.stub.fd < 0 {
		return
	}
	k.log("warn", "a stub has died", "id", g.rec.ID, "pid", g.rec.StubPID)
	asked := g.stub.asked
	k.closeStub(g.stub)
	for _, answer := range asked {
		answer(protocol.Frame{})
	}
	k.watchMain(g)
	k.kill(g, func() {})
}

func (k *keeper) closeStub(l *stubLink) {
	k.drop(&l.fd)
	k.drop(&l.pidfd)
	l.dec.Close()
	l.asked = nil
}

// dropStub lets a stub go, which then ends whatever is left below it.
func (k *keeper) dropStub(g *gen) {
	if g.stub.fd >= 0 {
		_ = protocol.Write(g.stub.fd, protocol.Frame{Type: protocol.Forget, Seq: 1}, nil, nil) // the end of the socket says the same
	}
	k.closeStub(g.stub)
}

// marked finds what is left of a generation whose stub is gone: by its tag, or by the mark in the environment, and what
// descends from either.
func (k *keeper) marked(g *gen) []ident.Identity {
	known := map[int]uint64{}
	for _, o := range k.gens {
		if o != g {
			known[o.rec.StubPID], known[o.rec.PID] = o.rec.StubStart, o.rec.Start
		}
	}
	known[k.daemon.pid] = k.daemon.start
	all := ident.All()
	other := func(s ident.Stat) bool {
		start, is := known[s.PID]
		return s.PID == os.Getpid() || is && start == s.Start || s.State == 'Z' || s.State == 'X' || s.Start < g.rec.StubStart
	}
	boot, ns := ident.Here()
	tags := telling(map[uint64]bool{g.rec.Tag: true})
	found := map[int]ident.Identity{}
	for _, s := range all {
		if other(s) {
			continue
		}
		id, _ := ident.Environ(s.PID, "OMNITRON_GENERATION")
		home, _ := ident.Environ(s.PID, "OMNITRON_HOME_ID")
		if (id != g.rec.ID || home != k.homeID) && !tags[tagOf(s.PID)] {
			continue
		}
		// Who opens this identity and finds the same start time has the process whose tag and environment were just read.
		found[s.PID] = ident.Identity{PID: s.PID, Start: s.Start, Boot: boot, NS: ns}
		for _, below := range ident.Below(s.PID, all) {
			if !other(below) {
				found[below.PID] = ident.Identity{PID: below.PID, Start: below.Start, Boot: boot, NS: ns}
			}
		}
	}
	return slices.Collect(maps.Values(found))
}

// killMarked stops what it finds before it kills, so that nothing forks away meanwhile.
func (k *keeper) killMarked(g *gen) {
	fds := map[ident.Identity]int{}
	for range 20 { // the next round goes on
		fresh := false
		for _, id := range k.marked(g) {
			if _, seen := fds[id]; seen {
				continue
			}
			if fd, err := id.Open(); err == nil {
				fds[id], fresh = fd, true
				_ = unix.PidfdSendSignal(fd, unix.SIGSTOP, nil, 0) // gone is as good
			}
		}
		if !fresh {
			break
		}
	}
	for _, fd := range fds {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		unix.Close(fd)
	}
}
