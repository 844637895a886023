package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/sockets"
)

// handOver gives everything to another keeper. Until it says that it has it, or goes away, nothing is touched here.
func (k *keeper) handOver(c *conn) {
	if k.frozen != nil {
		return
	}
	k.freeze(c)
	st, fds := k.state()
	c.send(protocol.Frame{Type: protocol.State}, st, fds)
	for _, g := range k.gens {
		rec, fds := g.record()
		c.send(protocol.Frame{Type: protocol.Record}, rec, fds)
	}
	k.sendSockets(c)
	c.send(protocol.Frame{Type: protocol.Listed}, nil, nil)
}

// state is what goes along with the generations.
func (k *keeper) state() (protocol.StateBody, []int) {
	st := protocol.StateBody{Generations: len(k.gens), DaemonPID: k.daemon.pid, DaemonStart: k.daemon.start, Hold: k.daemon.hold,
		Handles: []string{"lock", "listener"}}
	fds := []int{k.lock, k.listener}
	if k.daemon.pidfd >= 0 {
		st.Handles, fds = append(st.Handles, "daemon"), append(fds, k.daemon.pidfd)
	}
	return st, fds
}

// freeze stops everything but the conversation with the keeper that takes over.
func (k *keeper) freeze(c *conn) {
	k.abandon()
	k.sendNotices() // what has been heard is taken out of the sockets by us, and not after somebody else has read on
	k.frozen = c
	for fd := range k.watches {
		if c == nil || fd != c.fd {
			k.unwatch(fd)
		}
	}
	for _, s := range k.sinks {
		s.Close()
	}
	if k.dirty != nil {
		k.cancel(k.dirty)
		k.dirty = nil
		if err := k.write(); err != nil {
			k.log("error", "cannot write keeper.json", "err", err.Error())
		}
	}
}

// thaw goes on after a hand-over that came to nothing.
func (k *keeper) thaw() {
	k.log("warn", "the keeper that wanted to take over is gone")
	k.frozen = nil
	k.watchAll()
	k.reap()
}

// watchAll looks at everything again.
func (k *keeper) watchAll() {
	k.watchListener()
	k.watchWake()
	for c := range k.conns {
		c.arm()
	}
	for _, s := range k.sinks {
		for _, st := range s.streams {
			k.flow(st)
		}
	}
	for _, s := range k.sockets {
		k.watchSocket(s)
	}
	for _, g := range k.gens {
		k.watchNotify(g)
		if g.stub != nil && g.stub.fd >= 0 {
			k.watchStub(g)
		}
		k.watchMain(g)
	}
	if k.daemon.pidfd >= 0 && !k.daemon.child {
		k.watchDaemon()
	}
}

// takeOver asks the keeper that runs for everything it has. false means that none is there.
func (k *keeper) takeOver() (bool, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: k.path("keeper.sock")}); err != nil {
		return false, nil
	}
	tv := unix.Timeval{Sec: 15}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return true, err
	}
	me := protocol.HelloBody{Role: "keeper", PID: os.Getpid(), Version: k.o.Version, Capabilities: protocol.Capabilities}
	if err := protocol.Write(fd, protocol.Frame{Type: protocol.Hello}, me, nil); err != nil {
		return true, err
	}
	if err := protocol.Write(fd, protocol.Frame{Type: protocol.HandOver, Seq: 1}, nil, nil); err != nil {
		return true, err
	}
	type item struct {
		f   protocol.Frame
		rec protocol.Generation
		fds []int
	}
	var st protocol.StateBody
	var stFDs []int
	var items []item
	var open []item
	var dec protocol.Decoder
	defer dec.Close()
	for done := false; !done; {
		f, fds, err := dec.Read(fd)
		if err != nil {
			return true, fmt.Errorf("the running keeper did not hand over: %w", err)
		}
		if f.Err != nil {
			return true, f.Err
		}
		switch f.Type {
		case protocol.State:
			if err := json.Unmarshal(f.Body, &st); err != nil {
				return true, err
			}
			stFDs = fds
		case protocol.Record:
			var it item
			if err := json.Unmarshal(f.Body, &it.rec); err != nil {
				return true, err
			}
			it.fds = fds
			items = append(items, it)
		case protocol.Socket:
			open = append(open, item{f: f, fds: fds})
		case protocol.Listed:
			done = true
		default:
			protocol.CloseAll(fds)
		}
	}
	if len(items) != st.Generations {
		return true, fmt.Errorf("the running keeper has %d generations and handed over %d", st.Generations, len(items))
	}
	if err := protocol.Write(fd, protocol.Frame{Type: protocol.Taken}, nil, nil); err != nil {
		return true, err
	}
	for { // its end: only then are its children nobody's but ours to watch
		if _, fds, err := dec.Read(fd); err != nil {
			break
		} else {
			protocol.CloseAll(fds)
		}
	}
	k.resume(st, stFDs, false)
	for _, it := range open {
		k.takeSocket(it.f, it.fds)
	}
	for _, it := range items {
		k.adopt(it.rec, it.fds, false)
	}
	return true, nil
}

// resume takes in what goes along with the generations.
func (k *keeper) resume(st protocol.StateBody, fds []int, child bool) {
	for i, fd := range fds {
		switch st.Handles[i] {
		case "lock":
			k.lock = fd
		case "listener":
			k.listener = fd
		case "daemon":
			k.daemon.pidfd = fd
		default:
			unix.Close(fd)
		}
	}
	d := &k.daemon
	d.pid, d.start, d.hold, d.since = st.DaemonPID, st.DaemonStart, st.Hold, k.now
	if d.child = child && st.DaemonChild; !d.child && d.pidfd >= 0 {
		k.watchDaemon()
	}
	k.watchListener()
}

// saved is what a keeper leaves to the binary that replaces it in the same process.
type saved struct {
	State       protocol.StateBody
	FDs         []int
	Generations []protocol.Generation
	GenFDs      [][]int
	Sockets     []sockets.Socket
}

// upgrade replaces the program of this process: children stay children, descriptors stay open. It returns only when it
// could not.
func (k *keeper) upgrade(path string) *protocol.Error {
	if e := tryBinary(path); e != nil {
		return e
	}
	k.freeze(nil)
	k.frozen = nil
	var s saved
	s.State, s.FDs = k.state()
	s.State.DaemonChild = k.daemon.child
	keep := append([]int(nil), s.FDs...)
	for _, g := range k.gens {
		rec, fds := g.record()
		s.Generations, s.GenFDs = append(s.Generations, rec), append(s.GenFDs, fds)
		keep = append(keep, fds...)
	}
	for _, open := range k.sockets {
		s.Sockets, keep = append(s.Sockets, *open), append(keep, open.FD)
	}
	err := k.execSaved(path, s, keep)
	for _, fd := range keep {
		unix.CloseOnExec(fd)
	}
	k.watchAll()
	return refusal("internal", "upgrade_failed", "cannot execute %s: %v", path, err)
}

func (k *keeper) execSaved(path string, s saved, keep []int) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	mem, err := unix.MemfdCreate("keeper", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(mem)
	if n, err := unix.Pwrite(mem, b, 0); err != nil || n < len(b) {
		return fmt.Errorf("cannot save the state: %w", err)
	}
	for _, fd := range append(keep, mem) {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	args := []string{"omnitron-keeper", "run", "--home", k.o.Home, "--daemon", k.o.Daemon, "--resume-fd", strconv.Itoa(mem)}
	if k.o.Contain != "" {
		args = append(args, "--contain", k.o.Contain)
	}
	k.log("info", "executing another keeper", "path", path)
	return syscall.Exec(path, args, os.Environ())
}

// resumeFrom is the other end of upgrade.
func (k *keeper) resumeFrom(mem int) error {
	var st unix.Stat_t
	if err := unix.Fstat(mem, &st); err != nil {
		return err
	}
	b := make([]byte, st.Size)
	if n, err := unix.Pread(mem, b, 0); err != nil || n < len(b) {
		return fmt.Errorf("cannot read the state: %w", err)
	}
	unix.Close(mem)
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("cannot read the state: %w", err)
	}
	k.resume(s.State, s.FDs, true)
	for i := range s.Sockets {
		k.keepSocket(&s.Sockets[i])
	}
	for i, rec := range s.Generations {
		k.adopt(rec, s.GenFDs[i], true)
	}
	return nil
}

// tryBinary runs the candidate once: what cannot say its version must not become the keeper.
func tryBinary(path string) *protocol.Error {
	bad := func(format string, args ...any) *protocol.Error {
		return refusal("invalid", "bad_binary", "%s cannot be the keeper: %s", path, fmt.Sprintf(format, args...))
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return refusal("limited", "no_resources", "cannot make a pipe: %v", err)
	}
	defer unix.Close(p[0])
	pidfd := -1
	pid, err := syscall.ForkExec(path, []string{path, "version"}, &syscall.ProcAttr{
		Env: []string{}, Files: []uintptr{uintptr(p[1]), uintptr(p[1]), uintptr(p[1])}, Sys: &syscall.SysProcAttr{PidFD: &pidfd}})
	unix.Close(p[1])
	if err != nil {
		return bad("%v", err)
	}
	defer unix.Close(pidfd)
	if !waitUntil(3*time.Second, func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	}) {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // reaped below
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	out := make([]byte, 1024)
	n, _ := unix.Read(p[0], out) // nothing is an answer too
	if !ws.Exited() || ws.ExitStatus() != 0 || !strings.HasPrefix(string(out[:max(n, 0)]), "omnitron-keeper ") {
		return bad("it does not say that it is one")
	}
	return nil
}

// livingDaemon finds the daemon of the last record, if it still lives: it then holds everything, and will tell.
func (k *keeper) livingDaemon() bool {
	old := k.load().Daemon
	return old.Alive() && old.PID != os.Getpid() && k.setDaemon(old.PID) == nil && k.daemon.start == old.Start
}
