package keeper

import (
	"encoding/binary"
	"os/signal"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// relaySignals wakes the loop for each signal. Catching, unlike ignoring, is not inherited by programs.
func (k *keeper) relaySignals() int {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		k.log("error", "cannot make an eventfd", "err", err.Error())
		return -1
	}
	got := k.signals
	signal.Notify(got, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT, unix.SIGHUP,
		unix.SIGPIPE, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM) // the last five: not to die of them
	relayed := k.relayed
	go func() {
		one := binary.NativeEndian.AppendUint64(nil, 1)
		for s := range got {
			if sig, ok := s.(unix.Signal); ok {
				select {
				case relayed <- sig:
				default: // there are plenty of them waiting
				}
				_, _ = unix.Write(wake, one) // full means that it is awake
			}
		}
	}()
	return wake
}

func (k *keeper) takeSignals() {
	for {
		select {
		case s := <-k.relayed:
			switch s {
			case unix.SIGCHLD:
			case unix.SIGTERM, unix.SIGINT, unix.SIGHUP:
				k.forward(s)
			}
		default:
			k.reap()
			return
		}
	}
}

// reap takes every child that has ended: mains, stubs, the daemon, and orphans that nobody else would take. Nothing else
// in this process waits for children, except for those that it started in the same breath.
func (k *keeper) reap() {
	if k.frozen != nil {
		return // they belong to the keeper that takes over
	}
	for {
		pid, e := k.dead()
		if pid == 0 {
			return
		}
		k.reaped(pid, e)
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil {
			k.log("error", "cannot take a child that has ended", "child", pid, "err", err.Error())
			return
		}
	}
}

// dead gives a child that has ended, and how, or 0. The child stays to be taken until its end has been told: we may be killed
// at any point, and whoever comes next can still see how it ended as long as it is there.
func (k *keeper) dead() (pid int, e protocol.Exit) {
	var info unix.Siginfo
	var ru unix.Rusage
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, &ru)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return 0, e
		}
	}
	const word = unsafe.Sizeof(uintptr(0)) // the fields of SIGCHLD, sigaction(2), begin at the next word: pid, uid, status
	f := (*[3]int32)(unsafe.Add(unsafe.Pointer(&info), (12+word-1)&^(word-1)))
	status := int(f[2])
	switch info.Code {
	case cldExited:
		status <<= 8
	case cldDumped:
		status |= 0x80
	}
	return int(f[0]), protocol.Exit{Known: true, Status: status, At: k.now, User: ru.Utime.Nano(), Sys: ru.Stime.Nano(), MaxRSS: ru.Maxrss << 10}
}

// How a child ended, si_code of sigaction(2).
const (
	cldExited = 1
	cldDumped = 3
)

func (k *keeper) reaped(pid int, e protocol.Exit) {
	if pid == k.daemon.pid && k.daemon.child {
		k.daemonDied(e.Status, true)
		return
	}
	for _, g := range k.gens {
		switch {
		case g.rec.PID == pid && g.rec.Exit == nil:
			k.ended(g, e)
			return
		case g.stub != nil && g.stub.pid == pid && g.stub.child:
			k.hearStub(g) // it may have said something before
			k.stubDied(g)
			return
		}
	}
}

// watchMain follows a main process that is not our child by its pidfd.
func (k *keeper) watchMain(g *gen) {
	if g.child || g.rec.Exit != nil || g.pidfd < 0 || g.stub != nil && g.stub.fd >= 0 {
		return
	}
	k.watch(g.pidfd, unix.EPOLLIN, func(uint32) {
		k.unwatch(g.pidfd)
		k.inquire(g, 0)
	})
}

// inquire finds out how a process ended that somebody else reaps. It may take that one a moment.
func (k *keeper) inquire(g *gen, tries int) {
	if g.rec.Exit != nil {
		return
	}
	k.reap() // it may have become our child
	if g.rec.Exit != nil {
		return
	}
	id := ident.Identity{PID: g.rec.PID, Start: g.rec.Start, Boot: g.rec.Boot, NS: g.rec.NS}
	if status, how, ok := id.Exit(g.pidfd); ok {
		e := protocol.Exit{Known: true, Status: status, At: k.now, Note: how}
		k.ended(g, e)
		return
	}
	if tries < 100 {
		k.after(20*time.Millisecond, func() { k.inquire(g, tries+1) })
		return
	}
	k.ended(g, protocol.Exit{At: k.now, Note: "lost"})
}

// lastWords is how many messages are read of a program that has ended: more than a socket holds, unless others go on
// sending.
const lastWords = 32

// ended records the end of a main process. What else its tree does is the daemon's business.
func (k *keeper) ended(g *gen, e protocol.Exit) {
	if g.rec.Exit != nil {
		return
	}
	if g.notify >= 0 {
		k.sendNotices()
		for range lastWords { // while its words still count as those of a living process
			if !k.hear(g) {
				break
			}
			k.sendNotices()
		}
	}
	k.drain(g)
	e.Alone = g.rec.Cgroup != "" && !cage.Populated(g.rec.Cgroup)
	e.Starved = cage.Starved(append([]string{g.rec.Cgroup}, g.rec.Bounds...)...)
	g.rec.Exit = &e
	k.tell(protocol.Exited, protocol.ExitBody{ID: g.rec.ID, Exit: e})
	k.save()
}

// forget lets go of everything that a generation has left.
func (k *keeper) forget(g *gen) {
	if g.forgotten {
		return
	}
	g.forgotten = true
	delete(k.gens, g.rec.ID)
	k.release(g)
	k.drop(&g.pidfd)
	k.drop(&g.stdin)
	k.dropNotify(g)
	if g.stub != nil {
		k.dropStub(g)
	}
	k.save()
}
