package proc

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Process is one generation: a main process, everything it starts, and its output.
type Process struct {
	keeper  *Keeper
	id      string
	done    chan struct{}
	notices chan Notice

	mu      sync.Mutex
	gen     protocol.Generation // as handed to a new keeper
	handles []int               // our duplicates, in the order of gen.Handles
	exit    Exit
	ended   bool
}

func newProcess(k *Keeper, gen protocol.Generation, fds []int) *Process {
	p := &Process{keeper: k, id: gen.ID, gen: gen, handles: fds, done: make(chan struct{}), notices: make(chan Notice, 1)}
	if gen.Notice != nil {
		p.notices <- noticeOf(*gen.Notice)
	}
	if gen.Exit != nil {
		p.finish(*gen.Exit)
	}
	return p
}

// ID is the id that the generation was started with.
func (p *Process) ID() string { return p.id }

// Group is the cgroup name that the generation was started with.
func (p *Process) Group() string { return p.gen.Group }

// Kind is the kind that the generation was started with.
func (p *Process) Kind() string { return p.gen.Kind }

// Identity names the main process.
func (p *Process) Identity() Identity {
	return Identity{PID: p.gen.PID, Start: p.gen.Start, Boot: p.gen.Boot, NS: p.gen.NS}
}

// Cgroup is the absolute directory of its cgroup, or "" where a stub holds the tree together.
func (p *Process) Cgroup() string { return p.gen.Cgroup }

// Skipped says in words which limits could not be set, where that was not insisted on.
func (p *Process) Skipped() []string { return p.gen.Skipped }

// Started is when the main process was started.
func (p *Process) Started() time.Time { return p.gen.Started }

// Done is closed when the main process has ended. Others of its tree may still live then: see Kill.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how the main process ended; it means something after Done only.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Notices carries what the program says on its notify socket. It holds one notice: what comes while nobody reads is
// merged into it. It is never closed.
func (p *Process) Notices() <-chan Notice { return p.notices }

// Signal sends a signal to the main process, through its pidfd: never to a stranger who got the pid later. A process
// that has ended is no error.
func (p *Process) Signal(sig unix.Signal) error { return p.signal(sig, 0) }

// SetMaxFiles has the keeper bound the rotated files of the program's logs by another number from now on.
func (p *Process) SetMaxFiles(n int) {
	p.mu.Lock()
	p.gen.MaxFiles = n
	p.mu.Unlock()
	p.keeper.say(protocol.Retain, protocol.RetainBody{ID: p.id, MaxFiles: n})
}

// SetEnding has the keeper note why the program is about to be asked to end. A daemon that comes after us then does not
// take the end that follows for the program's own doing. It is on its way to the keeper when SetEnding returns, and it
// outlives this process and the keeper.
func (p *Process) SetEnding(why string) {
	p.mu.Lock()
	p.gen.Ending = why
	p.mu.Unlock()
	p.keeper.say(protocol.Ending, protocol.EndingBody{ID: p.id, Why: why})
}

// Ending is why the program was asked to end: what SetEnding said last, protocol.DaemonDied when the keeper ended it
// because its daemon had died, "" when nobody asked.
func (p *Process) Ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gen.Ending
}

// SignalGroup sends a signal to the process group of the main process, as a terminal's Ctrl-C does. Once the main
// process has ended nothing is sent.
func (p *Process) SignalGroup(sig unix.Signal) error {
	return p.signal(sig, unix.PIDFD_SIGNAL_PROCESS_GROUP)
}

func (p *Process) signal(sig unix.Signal, flags int) error {
	p.mu.Lock() // held while the descriptor is used, so that Forget cannot close it in between
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	fd := p.handle(protocol.HandlePidfd)
	if fd < 0 {
		return fault.New(fault.Conflict, "cannot signal %s: its process is not held any more", p.id).WithReason("not_held")
	}
	err := unix.PidfdSendSignal(fd, sig, nil, flags)
	if errors.Is(err, unix.EINVAL) && flags != 0 { // before Linux 6.9: the pidfd says that the pid is still ours
		if err = unix.PidfdSendSignal(fd, 0, nil, 0); err == nil {
			err = unix.Kill(-p.gen.PID, sig)
		}
	}
	switch {
	case err == nil, errors.Is(err, unix.ESRCH):
		return nil
	case errors.Is(err, unix.EPERM):
		return fault.New(fault.Denied, "cannot send %s to %s: not permitted", unix.SignalName(sig), p.id).WithReason("not_permitted")
	}
	return fault.Wrap(err, fault.Internal, "cannot send %s to %s: %v", unix.SignalName(sig), p.id, err)
}

func (p *Process) handle(name string) int {
	for i, h := range p.gen.Handles {
		if h == name && i < len(p.handles) {
			return p.handles[i]
		}
	}
	return -1
}

// Kill sends SIGKILL to everything that the generation ever started, and returns when nothing of it is left. When ctx
// ends first it gives a *StuckError with the pids that are still there; the keeper goes on trying.
func (p *Process) Kill(ctx context.Context) error {
	if p.endedAlone() {
		return nil
	}
	_, err := p.keeper.call(ctx, protocol.Kill, protocol.IDBody{ID: p.id})
	if err == nil || ctx.Err() == nil {
		return gone(err)
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	pids, terr := p.Tree(look)
	switch {
	case terr != nil:
		return err
	case len(pids) == 0 && p.hasEnded():
		return nil
	}
	return &StuckError{PIDs: pids}
}

// Tree gives the pids of the generation that are alive.
func (p *Process) Tree(ctx context.Context) ([]int, error) {
	if p.endedAlone() {
		return nil, nil
	}
	a, err := p.keeper.call(ctx, protocol.Tree, protocol.IDBody{ID: p.id})
	if err != nil {
		return nil, gone(err)
	}
	var b protocol.PIDsBody
	if err := json.Unmarshal(a.body, &b); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "cannot read the keeper's answer: %v", err)
	}
	return b.PIDs, nil
}

// Forget drops the record once the exit has been taken. What is left of the tree is ended first; what is still in the
// pipes is written to the logs. A generation whose main process runs is a conflict, reason running.
func (p *Process) Forget(ctx context.Context) error {
	if _, err := p.keeper.call(ctx, protocol.Forget, protocol.IDBody{ID: p.id}); gone(err) != nil {
		return err
	}
	p.keeper.drop(p)
	return nil
}

// gone turns "no such generation" into success: after a forget there is nothing left to do.
func gone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (p *Process) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// endedAlone reports whether the keeper has said, with the exit, that nothing else was left. It need not be asked again.
func (p *Process) endedAlone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended && p.gen.Exit != nil && p.gen.Exit.Alone
}

// update takes in what a keeper tells about a generation that we know already.
func (p *Process) update(g protocol.Generation) {
	p.mu.Lock()
	news := g.Notice != nil && (p.gen.Notice == nil || g.Notice.At.After(p.gen.Notice.At))
	p.mu.Unlock()
	if news {
		p.notice(*g.Notice)
	}
	if g.Exit != nil {
		p.finish(*g.Exit)
	}
}

func (p *Process) finish(e protocol.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended, p.exit, p.gen.Exit = true, exitOf(e), &e
	close(p.done)
}

// notice is called by the reader only, so that taking out and putting in again cannot meet another writer.
func (p *Process) notice(n protocol.Notice) {
	p.mu.Lock()
	if p.gen.Notice == nil {
		p.gen.Notice = &protocol.Notice{}
	}
	p.gen.Notice.Merge(n)
	p.mu.Unlock()
	select {
	case old := <-p.notices:
		o := protocol.Notice{At: old.At, Ready: old.Ready, Stopping: old.Stopping, Reloading: old.Reloading,
			Watchdog: old.Watchdog, Status: old.Status, Extend: old.Extend.Microseconds(), MainPID: old.MainPID, PID: old.PID}
		o.Merge(n)
		n = o
	default:
	}
	p.notices <- noticeOf(n)
}

// snapshot is the generation as a new keeper needs it, with duplicates that are the caller's to close.
func (p *Process) snapshot() (protocol.Generation, []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.gen
	g.Handles = nil
	var fds []int
	for i, fd := range p.handles {
		if d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			g.Handles, fds = append(g.Handles, p.gen.Handles[i]), append(fds, d)
		}
	}
	return g, fds
}

func (p *Process) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	protocol.CloseAll(p.handles)
	p.handles, p.gen.Handles = nil, nil
}
