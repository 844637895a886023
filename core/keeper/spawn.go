package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/launch"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
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
	stdin   int // the writing end of its input, or -1
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
	add(protocol.HandleStdin, g.stdin)
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
	case s.TTY || s.Stdin != "" && s.Stdin != "null" && s.Stdin != "open":
		return refusal("invalid", "not_supported", "this keeper supports no terminal, and no stdin but null and open")
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
	g := &gen{pidfd: -1, notify: -1, stdin: -1}
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
	bounds, e := limits(s.Limits, &p.Limits)
	if e != nil {
		return e
	}
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
	if s.Stdin == "open" {
		var ps [2]int
		if err := unix.Pipe2(ps[:], unix.O_CLOEXEC); err != nil {
			return refusal("limited", "no_resources", "cannot make a pipe: %v", err)
		}
		ends = append(ends, ps[0])
		p.Files[0], g.stdin = ps[0], ps[1]
	}
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
		if e := k.bind(g, bounds, &p, s.Group); e != nil {
			return e
		}
		return k.beginStub(g, p)
	}
	dir, err := k.place.Make(s.Group)
	if err != nil {
		return refusal("internal", "cgroup_unavailable", "cannot make the control group of %s: %v", s.ID, err)
	}
	g.rec.Cgroup, p.Cgroup, p.Join = dir, dir, k.contain == cage.V1
	if e := k.bind(g, bounds, &p, s.Group); e != nil {
		return e
	}
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
	g.rec.Skipped = append(g.rec.Skipped, run.Skipped...)
	return nil
}

// limits reads what a program is limited to, and refuses what this keeper does not know.
func limits(said map[string]string, to *launch.Limits) (b cage.Bounds, e *protocol.Error) {
	for name, text := range said {
		var err error
		number := func(low, high int) *int {
			n, bad := strconv.Atoi(text)
			if bad != nil || n < low || n > high {
				err = strconv.ErrRange
			}
			return &n
		}
		switch name {
		case protocol.LimitMemory:
			b.Memory, err = strconv.ParseInt(text, 10, 64)
		case protocol.LimitCPU:
			b.CPU, err = strconv.ParseFloat(text, 64)
		case protocol.LimitNoFile:
			to.NoFile, err = strconv.ParseUint(text, 10, 64)
		case protocol.LimitNice:
			to.Nice = number(-20, 19)
		case protocol.LimitOOMScore:
			to.OOMScore = number(-1000, 1000)
		case protocol.LimitBest:
			to.Best = true
		default:
			return b, refusal("invalid", "not_supported", "this keeper does not know the limit %q", name)
		}
		if err != nil || b.Memory < 0 || b.CPU < 0 {
			return b, refusal("invalid", "bad_spec", "%q is no value of the limit %q", text, name)
		}
	}
	return b, nil
}

// bind has the bounds of a generation hold for its groups before anything is in them.
func (k *keeper) bind(g *gen, b cage.Bounds, p *launch.Program, name string) *protocol.Error {
	if len(b.Needs()) == 0 {
		return nil
	}
	kind := k.contain
	further, failed := cage.Bind(b, kind, g.rec.Cgroup, name, k.bounders)
	g.rec.Bounds, p.Bounds = further, further
	for _, c := range b.Needs() {
		if err := failed[c]; err != nil {
			e := refusal("invalid", "limit_unavailable", "limits.%s cannot be enforced here: %v", c, err)
			if !p.Limits.Best {
				return e
			}
			g.rec.Skipped = append(g.rec.Skipped, e.Message)
		}
	}
	return nil
}

// discard takes back what begin made before it failed.
func (k *keeper) discard(g *gen) {
	for _, st := range []*stream{g.out, g.errs} {
		if st != nil {
			k.drop(&st.fd)
		}
	}
	k.drop(&g.pidfd)
	k.drop(&g.stdin)
	k.dropNotify(g)
	if g.stub != nil {
		k.dropStub(g)
	}
	for _, dir := range append(g.rec.Bounds, g.rec.Cgroup) {
		if err := cage.Remove(dir); err != nil && dir != "" {
			k.log("warn", "cannot remove a control group", "dir", dir, "err", err.Error())
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
	g.rec.StubPID, g.rec.StubStart, g.rec.Skipped = pid, self.Start, append(g.rec.Skipped, s.Skipped...)
	k.watchStub(g)
	return nil
}

// pickContainment tries what there is: a group that can be made is no proof that a process can be started in it.
func (k *keeper) pickContainment() {
	k.bounders = cage.Bounders("omnitron-" + k.homeID)
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
