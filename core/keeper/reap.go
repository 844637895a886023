package keeper

import (
	"encoding/binary"
	"os/signal"
	"time"

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
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
		k.reaped(pid, protocol.Exit{Known: true, Status: int(ws), At: k.now, User: ru.Utime.Nano(), Sys: ru.Stime.Nano(), MaxRSS: ru.Maxrss << 10})
	}
}

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

// ended records the end of a main process. What else its tree does is the daemon's business.
func (k *keeper) ended(g *gen, e protocol.Exit) {
	if g.rec.Exit != nil {
		return
	}
	if g.notify >= 0 {
		k.hear(g) // while its words still count as those of a living process
		k.sendNotices()
	}
	k.drain(g)
	e.Alone = g.rec.Cgroup != "" && !cage.Populated(g.rec.Cgroup)
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
	k.dropNotify(g)
	if g.stub != nil {
		k.dropStub(g)
	}
	k.save()
}
