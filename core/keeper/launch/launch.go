// Package launch starts programs with nothing but what they were given: descriptors 0, 1 and 2, an exact environment,
// no blocked or ignored signals, a session of their own. Usually that is one fork and exec; where something has to be
// done in the child that Go cannot do there, or where the reason of a failure has to be found, the binary executes
// itself as a step in between.
package launch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Program is what to start.
type Program struct {
	Path   string   `json:"path"` // found from Argv[0] when empty
	Argv   []string `json:"argv"`
	Env    []string `json:"env"`
	Dir    string   `json:"dir"`
	UID    int      `json:"uid"` // -1: keep
	GID    int      `json:"gid"` // -1: keep
	Groups []int    `json:"groups"`
	Umask  int      `json:"umask"` // -1: 022
	Cgroup string   `json:"cgroup"`
	Join   bool     `json:"join"`             // enter Cgroup by writing to it, as the first version of control groups needs
	Bounds []string `json:"bounds,omitempty"` // groups to enter in the same way, for their limits
	Limits Limits   `json:"limits,omitzero"`
	Files  [3]int   `json:"-"` // stdin, stdout, stderr
	Passed []int    `json:"-"` // more descriptors, from 3 on, which the program is told of as systemd does
}

// Limits are what a process has of itself and hands on to those that it starts; nil and 0 leave them as ours are.
type Limits struct {
	NoFile   uint64 `json:"nofile,omitempty"`
	Best     bool   `json:"best,omitempty"` // go on without NoFile where it is not allowed
	Nice     *int   `json:"nice,omitempty"`
	OOMScore *int   `json:"oom_score,omitempty"`
}

func (l Limits) any() bool { return l.NoFile > 0 || l.Nice != nil || l.OOMScore != nil }

// Started is a program that has been executed.
type Started struct {
	PID, Pidfd int
	At         time.Time
	Skipped    []string // limits that it does without, in words
}

// Start executes the program. Nil error: it runs.
func (p Program) Start() (Started, *protocol.Error) {
	if e := p.prepare(); e != nil {
		return Started{}, e
	}
	// Passed descriptors are told who they are for: LISTEN_PID is the program's own number.
	if !p.Join && len(p.Bounds) == 0 && !p.Limits.any() && len(p.Passed) == 0 {
		s, err := p.fork()
		if err == nil {
			return s, nil
		}
		// fork and exec tell one number for all their steps; the step in between tells which one it was. What failed
		// only for a moment succeeds there, and that is fine.
	}
	return p.byStep()
}

// prepare settles what can be settled before anything is forked.
func (p *Program) prepare() *protocol.Error {
	if len(p.Argv) == 0 {
		return refusal("invalid", "bad_spec", "there is no command")
	}
	for _, s := range append(append([]string{p.Dir}, p.Argv...), p.Env...) {
		if strings.IndexByte(s, 0) >= 0 {
			return refusal("invalid", "bad_spec", "arguments, environment and directory cannot hold a NUL")
		}
	}
	if p.Umask < 0 {
		p.Umask = 0o022
	}
	if p.UID == os.Geteuid() && p.UID == os.Getuid() && p.UID != 0 && (p.GID < 0 || p.GID == os.Getegid()) {
		p.UID, p.GID, p.Groups = -1, -1, nil // who cannot change it need not
	}
	if p.Path != "" {
		return nil
	}
	if strings.Contains(p.Argv[0], "/") {
		p.Path = p.Argv[0]
		return nil
	}
	// A missing directory explains a relative PATH that finds nothing, so it is looked at first.
	if st, err := os.Stat(p.Dir); err != nil || !st.IsDir() {
		if errno := unix.ENOTDIR; err == nil {
			return p.Explain(StepDir, errno)
		} else if errors.As(err, &errno) {
			return p.Explain(StepDir, errno)
		}
	}
	path, e := p.find()
	p.Path = path
	return e
}

// fork is the fast way. The umask belongs to the whole process: no other thread of a keeper makes files.
func (p Program) fork() (Started, error) {
	attr := &syscall.ProcAttr{Dir: p.Dir, Env: p.env(), Files: []uintptr{uintptr(p.Files[0]), uintptr(p.Files[1]), uintptr(p.Files[2])}}
	pidfd := -1
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd, Credential: p.credential()}
	if p.Cgroup != "" {
		fd, err := unix.Open(p.Cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return Started{}, err
		}
		defer unix.Close(fd)
		sys.UseCgroupFD, sys.CgroupFD = true, fd
	}
	attr.Sys = sys
	old := unix.Umask(p.Umask)
	pid, err := syscall.ForkExec(p.Path, p.Argv, attr)
	unix.Umask(old)
	if err != nil {
		if pidfd >= 0 {
			unix.Close(pidfd)
		}
		return Started{}, err
	}
	if pidfd < 0 { // before Linux 5.3
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil { // our child, not reaped: the pid is still its own
			pidfd = -1
		}
	}
	return Started{PID: pid, Pidfd: pidfd, At: time.Now()}, nil
}

// env keeps an empty environment empty: a nil one would be taken for ours.
func (p Program) env() []string {
	if p.Env == nil {
		return []string{}
	}
	return p.Env
}

func (p Program) credential() *syscall.Credential {
	if p.UID < 0 && p.GID < 0 && p.Groups == nil {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	if p.UID >= 0 {
		c.Uid = uint32(p.UID)
	}
	if p.GID >= 0 {
		c.Gid = uint32(p.GID)
	}
	for _, g := range p.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// report is what a step that failed says.
type report struct {
	Step    string
	Errno   int
	Skipped bool // it was gone on without
}

// byStep starts the program through `omnitron-keeper exec`, which takes one step after the other and says which failed.
func (p Program) byStep() (Started, *protocol.Error) {
	fail := func(err error) (Started, *protocol.Error) {
		return Started{}, refusal("internal", "spawn_failed", "cannot start %s: %v", p.Argv[0], err)
	}
	order, err := unix.MemfdCreate("order", unix.MFD_CLOEXEC)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(order)
	b, err := json.Marshal(p)
	if err != nil {
		return fail(err)
	}
	if n, err := unix.Pwrite(order, b, 0); err != nil || n < len(b) {
		return fail(err)
	}
	var told [2]int
	if err := unix.Pipe2(told[:], unix.O_CLOEXEC); err != nil {
		return fail(err)
	}
	defer unix.Close(told[0])
	pidfd := -1
	files := []uintptr{uintptr(p.Files[0]), uintptr(p.Files[1]), uintptr(p.Files[2])}
	for _, fd := range p.Passed {
		files = append(files, uintptr(fd))
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"omnitron-keeper", "exec", strconv.Itoa(len(p.Passed))}, &syscall.ProcAttr{
		Env:   []string{},
		Files: append(files, uintptr(order), uintptr(told[1])),
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	unix.Close(told[1])
	if err != nil {
		return fail(err)
	}
	s := Started{PID: pid, Pidfd: pidfd, At: time.Now()}
	reports := json.NewDecoder(reader(told[0]))
	var r report
	for {
		r = report{}
		if err = reports.Decode(&r); err == io.EOF { // closed by the exec: it runs
			s.At = time.Now()
			return s, nil
		}
		if err != nil || !r.Skipped {
			break
		}
		s.Skipped = append(s.Skipped, p.Explain(r.Step, unix.Errno(r.Errno)).Message)
	}
	var ws unix.WaitStatus
	for {
		if _, werr := unix.Wait4(pid, &ws, 0, nil); werr != unix.EINTR {
			break
		}
	}
	unix.Close(pidfd)
	if err != nil {
		return fail(err)
	}
	return Started{}, p.Explain(r.Step, unix.Errno(r.Errno))
}

// reader reads a descriptor until its end.
type reader int

func (fd reader) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), b)
		switch {
		case err == unix.EINTR:
		case err == nil && n == 0:
			return 0, io.EOF
		default:
			return max(n, 0), err
		}
	}
}

// Step is `omnitron-keeper exec [N]`: N descriptors from 3 on are the program's; the next one is the order, and the one after it
// the pipe for bad news. It returns only when the program could not be executed.
func Step(args []string) int {
	runtime.LockOSThread() // exec is done by the thread whose mask was set
	order := 3
	if len(args) > 0 {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return 125
		}
		order += n
	}
	told := order + 1
	var st unix.Stat_t
	if unix.Fstat(order, &st) != nil {
		return 125
	}
	b := make([]byte, st.Size)
	if n, err := unix.Pread(order, b, 0); err != nil || n < len(b) {
		return 125
	}
	var p Program
	if json.Unmarshal(b, &p) != nil {
		return 125
	}
	unix.CloseOnExec(order)
	unix.CloseOnExec(told)
	if order > 3 {
		p.Env = append(p.Env, "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	step, err := p.steps(told)
	tell(told, step, err, false)
	return 127
}

// tell writes into the pipe for bad news.
func tell(told int, step string, err error, skipped bool) {
	errno := unix.EIO
	errors.As(err, &errno)
	bad, _ := json.Marshal(report{step, int(errno), skipped}) // plain fields
	_, _ = unix.Write(told, bad)                              // nobody else to tell
}

// orphaned reports whether nobody reads the pipe for bad news any more.
func orphaned(told int) bool {
	fds := []unix.PollFd{{Fd: int32(told), Events: unix.POLLOUT}}
	for {
		_, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	}
}

func (p Program) steps(told int) (string, error) {
	if p.Cgroup != "" {
		if err := cage.Join(p.Cgroup); err != nil {
			return StepGroup, err
		}
	}
	for _, dir := range p.Bounds {
		if err := cage.Join(dir); err != nil {
			return StepGroup, err
		}
	}
	if step, err := p.Limits.set(told); err != nil { // while we may
		return step, err
	}
	if c := p.credential(); c != nil {
		groups := make([]int, len(c.Groups))
		for i, g := range c.Groups {
			groups[i] = int(g)
		}
		if err := syscall.Setgroups(groups); err != nil {
			return StepUser, err
		}
		if err := syscall.Setgid(int(c.Gid)); err != nil {
			return StepUser, err
		}
		if err := syscall.Setuid(int(c.Uid)); err != nil {
			return StepUser, err
		}
	}
	if err := unix.Chdir(p.Dir); err != nil {
		return StepDir, err
	}
	unix.Umask(p.Umask)
	// We are in the group now, where the next keeper finds us. When ours died before, nobody may know of us: a keeper that
	// came since has looked already, and the program may have been started again.
	if orphaned(told) {
		return StepGroup, unix.ESRCH
	}
	return StepExec, syscall.Exec(p.Path, p.Argv, p.env())
}

// set takes the limits on, and names the one that was refused; those that are gone on without are told.
func (l Limits) set(told int) (string, error) {
	if l.NoFile > 0 {
		// By way of syscall: what it was told to set it does not undo at the exec.
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: l.NoFile, Max: l.NoFile}); err != nil {
			if !l.Best {
				return StepNoFile, err
			}
			tell(told, StepNoFile, err, true)
		}
	}
	if l.OOMScore != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*l.OOMScore)), 0); err != nil {
			return StepOOMScore, err
		}
	}
	if l.Nice != nil { // of this thread, which becomes the program
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *l.Nice); err != nil {
			return StepNice, err
		}
	}
	return "", nil
}
