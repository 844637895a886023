// Package proc is the daemon's side of the keeper: it has programs started, hears how they end, and holds duplicates of
// the keeper's descriptors, so that the death of the keeper costs neither a process nor a byte.
package proc

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Spec is one generation to start.
type Spec struct {
	ID            string            // "<project>/<stack>/<app>:<process>#<n>@<generation>"; opaque to the keeper
	Group         string            // leaf name of its cgroup, [a-z0-9._-]+, unique per generation
	Kind          string            // app | probe | hook | build | step
	Argv          []string          // Argv[0] without a slash is looked up in the PATH of Env, with one it is relative to Dir
	Dir           string            // working directory, absolute
	Env           []string          // the whole environment; NOTIFY_SOCKET and the markers are added
	UID, GID      int               // -1: keep
	Groups        []int             // supplementary groups when UID or GID is set
	Umask         int               // -1: 022
	Out, Err      string            // absolute paths of the log files; "" is /dev/null, equal ones share a pipe
	MaxSize       int64             // bytes after which a log file is rotated at the next end of a line; 0: never
	MaxFiles      int               // rotated files a log that are never exceeded, whoever else tends to them; 0: no bound
	OnFull        string            // block-then-drop (default) | block | drop
	Stdin         string            // "" is /dev/null; open is a pipe that nobody writes to and that has no end while the generation is known
	Notify        bool              // make a notify socket and set NOTIFY_SOCKET
	NotifyUID     int               // who owns that socket; -1: UID
	Passed        []string          // names of the sockets that it is given, as LISTEN_FDNAMES has them
	Sockets       []string          // their ids, in the same order; each was opened by Listen
	DieWithDaemon bool              // the keeper ends the tree when the daemon dies unasked
	Limits        map[string]string // by the keeper's names of them, protocol.LimitMemory and the like
}

// Identity names one process for good: a pid alone names whoever has it now.
type Identity = ident.Identity

// Exit is how a main process ended.
type Exit struct {
	Known      bool          // false: nobody saw it, the rest means nothing
	Code       int           // exit code; 128 + signal when a signal ended it
	Signal     string        // such as SIGKILL, or ""
	CoreDumped bool          //
	At         time.Time     // when it was noticed
	User, Sys  time.Duration // CPU time of the process and the children it waited for; 0 when nobody waited for it
	MaxRSS     int64         // bytes; 0 when nobody waited for it
	Starved    int           // processes of the tree that the kernel had ended for want of memory, as far as its groups tell
	Note       string        // how it is known when the keeper was not its parent: pidfd, stat or lost
}

// Notice is what a program said on its notify socket. Several messages may have been merged into one.
type Notice struct {
	At                         time.Time
	Ready, Stopping, Reloading bool
	Watchdog                   bool          // at least one keep-alive came
	Status                     string        // foreign text
	Extend                     time.Duration // its start or stop takes so much longer from now on; 0: it did not say so
	MainPID                    int           // 0 unless the program named one of its own processes
	PID                        int           // sender
}

// Event is news about log files and the keeper itself.
type Event struct {
	Kind    string // log_full | log_recovered | rotated | keeper_replaced | socket_shut
	Path    string // log file
	Archive string // rotated: where the old file went
	ID      string // log_full, log_recovered, rotated: whose output, of the latest if several share the file
	Lost    int64  // log_recovered: bytes dropped since log_full
	Policy  string // log_full: what happens to the output now
	Error   string // log_full: what the disk said
	Broken  bool   // socket_shut: it could not be opened again; ID is the socket, Path its address
}

// Info is what is known of the keeper.
type Info struct {
	PID          int
	Version      string
	Instance     string // another one after each replacement
	Contain      string // how trees are held together: v2, v1 or stub
	Capabilities []string
	RSS          int64 // bytes, 0 when it cannot be read
	Held         bool  // its daemon is down, and was told to stay so; only Look knows
}

func infoOf(h protocol.HelloBody) Info {
	return Info{PID: h.PID, Version: h.Version, Instance: h.Instance, Contain: h.Contain, Capabilities: h.Capabilities, Held: h.Held}
}

// Has reports whether the keeper can do what name says.
func (i Info) Has(name string) bool { return slices.Contains(i.Capabilities, name) }

// StuckError says that processes would not die in time.
type StuckError struct{ PIDs []int }

func (e *StuckError) Error() string { return fmt.Sprintf("processes %v would not die", e.PIDs) }

func (s Spec) message() protocol.Spec {
	return protocol.Spec{ID: s.ID, Group: s.Group, Kind: s.Kind, Argv: s.Argv, Dir: s.Dir, Env: s.Env, UID: s.UID, GID: s.GID,
		Groups: s.Groups, Umask: s.Umask, Out: s.Out, Err: s.Err, MaxSize: s.MaxSize, MaxFiles: s.MaxFiles, OnFull: s.OnFull,
		Notify: s.Notify, NotifyUID: s.NotifyUID, Passed: s.Passed, Sockets: s.Sockets, DieWithDaemon: s.DieWithDaemon,
		Limits: s.Limits, Stdin: s.Stdin}
}

func exitOf(e protocol.Exit) Exit {
	x := Exit{Known: e.Known, At: e.At, User: time.Duration(e.User), Sys: time.Duration(e.Sys), MaxRSS: e.MaxRSS, Starved: e.Starved, Note: e.Note}
	if !e.Known {
		return x
	}
	ws := unix.WaitStatus(e.Status)
	if ws.Signaled() {
		x.Signal, x.Code, x.CoreDumped = unix.SignalName(ws.Signal()), 128+int(ws.Signal()), ws.CoreDump()
		if x.Signal == "" {
			x.Signal = fmt.Sprintf("SIG%d", int(ws.Signal()))
		}
		return x
	}
	x.Code = ws.ExitStatus()
	return x
}

func noticeOf(n protocol.Notice) Notice {
	return Notice{At: n.At, Ready: n.Ready, Stopping: n.Stopping, Reloading: n.Reloading, Watchdog: n.Watchdog,
		Status: n.Status, Extend: time.Duration(n.Extend) * time.Microsecond, MainPID: n.MainPID, PID: n.PID}
}

func faultOf(e *protocol.Error) error {
	return &fault.Error{Code: fault.Code(e.Code), Reason: e.Reason, Message: e.Message}
}
