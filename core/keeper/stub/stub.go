// Package stub is the parent of a program where no control group can be had. It is the subreaper of everything that the
// program starts, so that the whole tree stays below it and can be found and ended; it outlives keepers, and ends the
// tree when nobody holds the other end of its socket any more.
package stub

import (
	"encoding/json"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/launch"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Control is the descriptor of the socket to the keeper.
const Control = 3

// State is what a stub knows of its main process.
type State struct {
	PID   int            `json:"pid"`
	Start uint64         `json:"start"`
	At    time.Time      `json:"at"`
	Exit  *protocol.Exit `json:"exit,omitempty"`

	Skipped []string `json:"skipped,omitempty"` // limits that it does without, in words
}

// stub is the running state: one loop, no other goroutine touches it.
type stub struct {
	main   State
	asked  []uint64 // requests that wait for the end of the tree
	ending bool     // and then ours
}

// Main is `omnitron-keeper stub`. The first frame on the socket says what to start; the answer carries its pidfd.
func Main() int {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 125
	}
	unix.CloseOnExec(Control)
	died, others := make(chan os.Signal, 1), make(chan os.Signal, 8)
	signal.Notify(died, unix.SIGCHLD)
	signal.Notify(others, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE) // caught, not ignored: that would be inherited
	var dec protocol.Decoder
	f, passed, err := dec.Read(Control)
	if err != nil {
		return 125
	}
	var p launch.Program
	if err := json.Unmarshal(f.Body, &p); err != nil {
		return 125
	}
	p.Files, p.Passed = [3]int{0, 1, 2}, passed
	s := &stub{}
	run, refused := p.Start()
	protocol.CloseAll(passed)
	if refused != nil {
		reply(f.Seq, nil, refused)
		return 0
	}
	if null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		for fd := 1; fd <= 2; fd++ { // only the program and its children keep the pipes open
			_ = unix.Dup2(null, fd) // cannot fail on open descriptors
		}
	}
	st, err := ident.Read(run.PID) // ours and not reaped: it is there even if it has ended
	if err != nil {
		return 125
	}
	s.main = State{PID: run.PID, Start: st.Start, At: run.At, Skipped: run.Skipped}
	if err := protocol.Write(Control, protocol.Frame{Type: protocol.Spawn, Re: f.Seq}, s.main, []int{run.Pidfd}); err != nil {
		s.ending = true
	}
	unix.Close(run.Pidfd)
	return s.loop(&dec, died)
}

func reply(re uint64, body any, e *protocol.Error) {
	// A keeper that has gone is noticed as the end of the socket.
	_ = protocol.Write(Control, protocol.Frame{Type: protocol.State, Re: re, Err: e}, body, nil)
}

func (s *stub) loop(dec *protocol.Decoder, died <-chan os.Signal) int {
	frames := make(chan protocol.Frame)
	go func() {
		defer close(frames)
		for {
			f, fds, err := dec.Read(Control)
			protocol.CloseAll(fds)
			if err != nil {
				return
			}
			frames <- f
		}
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	tick.Stop()
	for {
		childless := s.reap()
		if s.ending || len(s.asked) > 0 {
			if childless {
				for _, seq := range s.asked {
					reply(seq, s.main, nil)
				}
				s.asked = nil
				tick.Stop()
				if s.ending {
					return 0
				}
			} else {
				s.kill()
				tick.Reset(10 * time.Millisecond)
			}
		}
		select {
		case <-died:
		case <-tick.C:
		case f, ok := <-frames:
			if !ok { // neither keeper nor daemon is there: nobody will ever ask for this tree again
				frames, s.ending = nil, true
				continue
			}
			s.handle(f)
		}
	}
}

func (s *stub) handle(f protocol.Frame) {
	switch f.Type {
	case protocol.Kill:
		s.asked = append(s.asked, f.Seq)
	case protocol.Forget:
		s.asked, s.ending = append(s.asked, f.Seq), true
	case protocol.State:
		reply(f.Seq, s.main, nil)
	case protocol.Tree:
		b := protocol.PIDsBody{PIDs: []int{}}
		for _, p := range ident.Below(os.Getpid(), ident.All()) {
			if p.State != 'Z' && p.State != 'X' {
				b.PIDs = append(b.PIDs, p.PID)
			}
		}
		reply(f.Seq, b, nil)
	default:
		reply(f.Seq, nil, &protocol.Error{Code: "invalid", Reason: "unknown_message", Message: "a stub does not know " + f.Type})
	}
}

// reap takes every child that has ended and reports whether none is left.
func (s *stub) reap() (childless bool) {
	for {
		var ws unix.WaitStatus
		var ru unix.Rusage
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, &ru)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return true
		case pid == 0:
			return false
		case pid == s.main.PID && s.main.Exit == nil:
			s.main.Exit = &protocol.Exit{Known: true, Status: int(ws), At: time.Now(), User: ru.Utime.Nano(), Sys: ru.Stime.Nano(), MaxRSS: ru.Maxrss << 10}
			_ = protocol.Write(Control, protocol.Frame{Type: protocol.Exited}, s.main, nil) // asked for again by the next keeper
		}
	}
}

// kill stops the tree until a look finds nothing new, so that nobody forks away, then kills it. What reparents to us
// meanwhile is found in the next round.
func (s *stub) kill() {
	stopped := map[int]bool{}
	for range 100 { // a fork bomb is not waited for: the rounds go on
		fresh := false
		for _, p := range ident.Below(os.Getpid(), ident.All()) {
			if !stopped[p.PID] && p.State != 'Z' && p.State != 'X' {
				stopped[p.PID], fresh = true, true
				_ = unix.Kill(p.PID, unix.SIGSTOP) // ours by descent; one that has gone is no loss
			}
		}
		if !fresh {
			break
		}
	}
	for pid := range stopped {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
