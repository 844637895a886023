package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/launch"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/sockets"
	"github.com/omnitron-dev/omnitron/core/keeper/stub"
)

// gen is one generation: a main process and all that it started.
type gen struct {
	rec     protocol.Generation
	pidfd   int
	child   bool // we wait for the main process ourselves
	out     *stream
	errs    *stream // nil when it shares out's pipe
	notify  int
	stub    *stubLink
	killers []func() // wait for the end of the tree
	killing *timer
	round   int
	refused time.Time // a stranger's notice, logged last

	forgotten bool
}

// record gives what another keeper or the daemon needs, with the descriptors, which stay ours.
func (g *gen) record() (protocol.Generation, []int) {
	rec, fds := g.rec, []int(nil)
	rec.Handles = nil
	add := func(name string, fd int) {
		if fd >= 0 {
			rec.Handles, fds = append(rec.Handles, name), append(fds, fd)
		}
	}
	add(protocol.HandlePidfd, g.pidfd)
	if g.out != nil {
		add(protocol.HandleOut, g.out.fd)
	}
	if g.errs != nil {
		add(protocol.HandleErr, g.errs.fd)
	}
	add(protocol.HandleNotify, g.notify)
	if g.stub != nil {
		add(protocol.HandleStub, g.stub.fd)
		add(protocol.HandleStubPidfd, g.stub.pidfd)
	}
	return rec, fds
}

func refusal(code, reason, format string, args ...any) *protocol.Error {
	return &protocol.Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// check refuses what this keeper cannot do: nothing is accepted and ignored.
func check(s protocol.Spec) *protocol.Error {
	switch {
	case len(s.Limits) > 0 || s.TTY || s.Stdin != "" && s.Stdin != "null":
		return refusal("invalid", "not_supported", "this keeper supports neither limits, a terminal nor an open stdin")
	case s.ID == "" || len(s.Argv) == 0 || !strings.HasPrefix(s.Dir, "/"):
		return refusal("invalid", "bad_spec", "a generation needs an id, a command and an absolute directory")
	case !cage.ValidName(s.Group):
		return refusal("invalid", "bad_spec", "%q is no name for a group", s.Group)
	case s.Out != "" && s.Out[0] != '/' || s.Err != "" && s.Err[0] != '/':
		return refusal("invalid", "bad_spec", "log files need absolute paths")
	case s.OnFull != "" && s.OnFull != block && s.OnFull != drop && s.OnFull != blockThenDrop:
		return refusal("invalid", "bad_spec", "%q is no policy for a full disk", s.OnFull)
	}
	return nil
}

// spawn starts a generation, or gives the one of that id: a daemon that did not hear our answer asks again.
func (k *keeper) spawn(s protocol.Spec) (*gen, *protocol.Error) {
	if g := k.gens[s.ID]; g != nil {
		return g, nil
	}
	if e := check(s); e != nil {
		return nil, e
	}
	if k.adopting || k.exit != nil || k.daemon.quit {
		return nil, refusal("unavailable", "not_ready", "the keeper does not start programs now")
	}
	g := &gen{pidfd: -1, notify: -1}
	g.rec = protocol.Generation{ID: s.ID, Group: s.Group, Kind: s.Kind, Out: s.Out, Err: s.Err, MaxSize: s.MaxSize, MaxFiles: s.MaxFiles,
		OnFull: s.OnFull, DieWithDaemon: s.DieWithDaemon, Contain: k.contain}
	if e := k.begin(g, s); e != nil {
		k.discard(g)
		return nil, e
	}
	g.rec.Boot, g.rec.NS = ident.Here()
	k.gens[s.ID] = g
	k.watchMain(g)
	k.startStreams(g, true)
	k.watchNotify(g)
	k.save()
	return g, nil
}

// begin makes everything that a generation needs and starts it; what it made is in g, for discard.
func (k *keeper) begin(g *gen, s protocol.Spec) *protocol.Error {
	p := launch.Program{Argv: s.Argv, Dir: s.Dir, UID: s.UID, GID: s.GID, Groups: s.Groups, Umask: s.Umask}
	p.Env = append(append([]string{}, s.Env...), "OMNITRON_GENERATION="+s.ID, "OMNITRON_HOME_ID="+k.homeID)
	if len(s.Passed) > 0 {
		fds, e := k.passed(s)
		if e != nil {
			return e
		}
		p.Passed = fds
		p.Env = slices.DeleteFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "LISTEN_") }) // of whoever started us
		p.Env = append(p.Env, fmt.Sprintf("LISTEN_FDS=%d", len(fds)), "LISTEN_FDNAMES="+strings.Join(s.Passed, ":"))
	}
	if s.Notify {
		owner := s.NotifyUID
		if owner < 0 {
			owner = s.UID
		}
		if e := k.makeNotify(g, owner); e != nil {
			return e
		}
		p.Env = append(p.Env, "NOTIFY_SOCKET="+g.rec.NotifyPath)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return refusal("limited", "no_resources", "cannot open /dev/null: %v", err)
	}
	defer unix.Close(null)
	p.Files = [3]int{null, null, null}
	var ends []int
	defer func() { protocol.CloseAll(ends) }()
	open := func(path string) (*stream, int, *protocol.Error) {
		st, w, err := k.pipe(g, path, s)
		if err != nil {
			return nil, 0, refusal("limited", "no_resources", "cannot make a pipe: %v", err)
		}
		ends = append(ends, w)
		return st, w, nil
	}
	var e *protocol.Error
	if s.Out != "" {
		if g.out, p.Files[1], e = open(s.Out); e != nil {
			return e
		}
	}
	switch {
	case s.Err != "" && s.Err == s.Out:
		p.Files[2] = p.Files[1]
	case s.Err != "":
		if g.errs, p.Files[2], e = open(s.Err); e != nil {
			return e
		}
	}
	if k.contain == cage.Stub {
		return k.beginStub(g, p)
	}
	dir, err := k.place.Make(s.Group)
	if err != nil {
		return refusal("internal", "cgroup_unavailable", "cannot make the control group of %s: %v", s.ID, err)
	}
	g.rec.Cgroup, p.Cgroup, p.Join = dir, dir, k.contain == cage.V1
	run, e := p.Start()
	if e != nil {
		return e
	}
	st, err := ident.Read(run.PID)
	if err != nil || run.Pidfd < 0 { // cannot be: it is our child and not reaped
		_ = cage.Kill(dir) // best effort on the way out
		return refusal("internal", "spawn_failed", "cannot identify the process %d of %s", run.PID, s.ID)
	}
	g.rec.PID, g.rec.Start, g.rec.Started, g.pidfd, g.child = run.PID, st.Start, run.At, run.Pidfd, true
	return nil
}

// passed finds the sockets that a program is given.
func (k *keeper) passed(s protocol.Spec) ([]int, *protocol.Error) {
	fds := make([]int, 0, len(s.Sockets))
	for _, id := range s.Sockets {
		open := k.sockets[id]
		if open == nil {
			return nil, refusal("unavailable", "socket_closed", "the socket %s is not open", id)
		}
		fds = append(fds, open.FD)
	}
	if len(fds) != len(s.Passed) {
		return nil, refusal("invalid", "bad_spec", "%d names for %d sockets", len(s.Passed), len(fds))
	}
	return fds, nil
}

// serveSocket opens a socket or closes it. One that is open is given as it is, so that a daemon may ask again.
func (k *keeper) serveSocket(c *conn, f protocol.Frame) {
	var b protocol.SocketBody
	if !c.body(f, &b) {
		return
	}
	s := k.sockets[b.ID]
	if s != nil && (f.Type == protocol.Unlisten || s.Broken) {
		k.unwatch(s.FD)
		s.Close()
		delete(k.sockets, b.ID)
	}
	if f.Type == protocol.Unlisten {
		return
	}
	if s == nil || s.FD < 0 {
		var e *protocol.Error
		if s, e = sockets.Open(b); e != nil {
			c.refuse(f, e)
			return
		}
		k.keepSocket(s)
	}
	c.reply(f, s.SocketBody, []int{s.FD})
}

// keepSocket takes a socket in and looks for programs that shut it down: shutdown(2) in one of them is meant for all.
func (k *keeper) keepSocket(s *sockets.Socket) {
	if k.sockets[s.ID] != nil {
		unix.Close(s.FD)
		return
	}
	k.sockets[s.ID] = s
	k.watchSocket(s)
}

func (k *keeper) watchSocket(s *sockets.Socket) {
	if s.Broken {
		return
	}
	k.watch(s.FD, unix.EPOLLRDHUP, func(uint32) { // and EPOLLHUP, which need not be asked for
		if !s.Heal() {
			k.unwatch(s.FD)
		}
		k.log("warn", "a program has shut down a socket that all share", "socket", s.ID, "listens", !s.Broken)
		k.tell(protocol.Socket, s.SocketBody)
	})
}

// sendSockets tells a daemon, or another keeper, of the sockets that are open.
func (k *keeper) sendSockets(c *conn) {
	for _, s := range k.sockets {
		c.send(protocol.Frame{Type: protocol.Socket}, s.SocketBody, []int{s.FD})
	}
}

// takeSocket takes over a socket that somebody else has kept open.
func (k *keeper) takeSocket(f protocol.Frame, fds []int) {
	var b protocol.SocketBody
	if len(fds) != 1 || json.Unmarshal(f.Body, &b) != nil || b.ID == "" {
		protocol.CloseAll(fds)
		return
	}
	k.keepSocket(&sockets.Socket{SocketBody: b, FD: fds[0]})
}

// discard takes back what begin made before it failed.
func (k *keeper) discard(g *gen) {
	for _, st := range []*stream{g.out, g.errs} {
		if st != nil {
			k.drop(&st.fd)
		}
	}
	k.drop(&g.pidfd)
	k.dropNotify(g)
	if g.stub != nil {
		k.dropStub(g)
	}
	if g.rec.Cgroup != "" {
		if err := cage.Remove(g.rec.Cgroup); err != nil {
			k.log("warn", "cannot remove a control group", "dir", g.rec.Cgroup, "err", err.Error())
		}
	}
}

// beginStub starts a stub and has it start the program.
func (k *keeper) beginStub(g *gen, p launch.Program) *protocol.Error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return refusal("limited", "no_resources", "cannot make a socket pair: %v", err)
	}
	l := &stubLink{fd: pair[0], pidfd: -1}
	g.stub = l
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"omnitron-keeper", "stub", k.homeID, g.rec.ID}, &syscall.ProcAttr{
		Dir: "/", Env: []string{"OMNITRON_GENERATION=" + g.rec.ID, "OMNITRON_HOME_ID=" + k.homeID},
		Files: []uintptr{uintptr(p.Files[0]), uintptr(p.Files[1]), uintptr(p.Files[2]), uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &l.pidfd},
	})
	unix.Close(pair[1]) // at once: the end of the stub has to be the end of the socket
	if err != nil {
		return refusal("internal", "spawn_failed", "cannot start a stub: %v", err)
	}
	l.pid, l.child = pid, true
	g.rec.Tag = k.tag(pid) // it waits for our word, so that everything it will ever start inherits this
	// The answer comes within milliseconds; a stub that hangs must not hang everybody.
	tv := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(l.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv) // without it we would wait longer
	if err := protocol.Write(l.fd, protocol.Frame{Type: protocol.Spawn, Seq: 1}, p, p.Passed); err != nil {
		return refusal("internal", "spawn_failed", "cannot talk to the stub of %s: %v", g.rec.ID, err)
	}
	f, fds, err := l.dec.Read(l.fd)
	if err != nil {
		return refusal("internal", "spawn_failed", "the stub of %s does not answer: %v", g.rec.ID, err)
	}
	if f.Err != nil {
		protocol.CloseAll(fds)
		return f.Err
	}
	var s stub.State
	if json.Unmarshal(f.Body, &s) != nil || len(fds) != 1 {
		protocol.CloseAll(fds)
		return refusal("internal", "spawn_failed", "the stub of %s answered nonsense", g.rec.ID)
	}
	self, err := ident.Read(pid)
	if err != nil {
		protocol.CloseAll(fds)
		return refusal("internal", "spawn_failed", "the stub of %s has ended", g.rec.ID)
	}
	g.rec.PID, g.rec.Start, g.rec.Started, g.pidfd = s.PID, s.Start, s.At, fds[0]
	g.rec.StubPID, g.rec.StubStart = pid, self.Start
	k.watchStub(g)
	return nil
}

// pickContainment tries what there is: a group that can be made is no proof that a process can be started in it.
func (k *keeper) pickContainment() {
	want := k.o.Contain
	for _, p := range cage.Candidates("omnitron-" + k.homeID) {
		if want != "" && want != "auto" && want != p.Kind {
			continue
		}
		if err := tryPlace(p); err != nil {
			k.log("debug", "no control groups here", "kind", p.Kind, "dir", p.Dir, "err", err.Error())
			continue
		}
		k.contain, k.place = p.Kind, p
		return
	}
	k.contain = cage.Stub
}

func tryPlace(p cage.Place) error {
	dir, err := p.Make("try")
	if err != nil {
		_ = os.Remove(p.Dir) // only if it is empty
		return err
	}
	defer func() { _ = cage.Remove(dir) }() // the next one to use it empties it
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	try := launch.Program{Path: "/proc/self/exe", Argv: []string{"omnitron-keeper", "version"}, Dir: "/", UID: -1, GID: -1, Cgroup: dir, Join: p.Kind == cage.V1, Files: [3]int{null, null, null}}
	run, e := try.Start()
	if e != nil {
		return e
	}
	defer unix.Close(run.Pidfd)
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(run.PID, &ws, 0, nil); err != unix.EINTR {
			return err
		}
	}
}
