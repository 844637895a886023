// Package protocol is what the keeper and the daemon say to each other: length-framed JSON over a unix stream socket,
// with descriptors passed beside it. Both ends ignore fields that they do not know and answer unknown types with an
// error, so that an old keeper works with a new daemon and the other way round.
package protocol

import (
	"encoding/json"
	"time"
)

// Version is the version of the protocol; it moves only when an old peer could no longer understand.
const Version = 1

// MaxFrame is the largest frame in bytes that either side accepts.
const MaxFrame = 8 << 20

// WillNotRun is the line of the keeper's log that says that its daemon refused to run and is not started again by itself.
const WillNotRun = "the daemon will not run as things are: it waits to be started again"

// Capabilities lists what this side of the protocol can do beyond version 1's hello.
var Capabilities = []string{"spawn", "kill", "tree", "forget", "adopt", "hand_over", "upgrade", "rotate", "hold", "quit", "ending", "retain", "sockets"}

// The types of frames. Requests carry a Seq and are answered by a frame with that number in Re; events carry neither.
const (
	Hello    = "hello"     // both ways, first: who am I
	Spawn    = "spawn"     // start a generation; the same id again gives the same record
	Kill     = "kill"      // end the tree; answered when nothing is left
	Tree     = "tree"      // live pids of the tree
	Forget   = "forget"    // drop the record of a generation that has ended
	Retain   = "retain"    // keep another number of rotated log files from now on; not answered
	Ending   = "ending"    // note why a generation is about to be asked to end; not answered
	Quit     = "quit"      // end after the daemon, leave nothing
	Hold     = "hold"      // do (not) start the daemon again when it dies
	Rotate   = "rotate"    // begin a new log file at the next end of a line
	Adopt    = "adopt"     // daemon to a new keeper: one record with its descriptors
	AdoptEnd = "adopt_end" // daemon to keeper: that was all; what is not known now is ended
	HandOver = "hand_over" // new keeper to old: give me everything
	Taken    = "taken"     // new keeper to old: I have it, go
	Upgrade  = "upgrade"   // replace the keeper's binary, same pid
	Record   = "record"    // event: a generation with its descriptors
	Listed   = "listed"    // event: all records were sent
	Exited   = "exit"      // event: a main process has ended
	Noticed  = "notice"    // event: an app said something on its notify socket
	Log      = "log"       // event about a log file
	State    = "state"     // hand-over: what is not a generation
	Listen   = "listen"    // open a listening socket; the same id again gives the same socket
	Unlisten = "unlisten"  // close it; not answered
	Socket   = "socket"    // event: one that is open, with its descriptor unless it is known; daemon to a new keeper: the same
)

// Frame is one message.
type Frame struct {
	V    int             `json:"v"`
	Type string          `json:"type"`
	Seq  uint64          `json:"seq,omitempty"`
	Re   uint64          `json:"re,omitempty"`
	FDs  int             `json:"fds,omitempty"` // descriptors that travel with this frame
	Body json.RawMessage `json:"body,omitempty"`
	Err  *Error          `json:"err,omitempty"`
}

// Error is a refusal that the other side can act on. Code and Reason are those of package fault.
type Error struct {
	Code    string `json:"code"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// HelloBody introduces a side.
type HelloBody struct {
	Role         string   `json:"role"` // keeper | daemon | tool
	PID          int      `json:"pid"`
	Version      string   `json:"version"` // of the binary
	Capabilities []string `json:"capabilities"`
	Instance     string   `json:"instance,omitempty"` // of the keeper: moves with every new one
	Adopting     bool     `json:"adopting,omitempty"` // keeper: waits for adopt and adopt_end
	Contain      string   `json:"contain,omitempty"`  // keeper: v2 | v1 | stub
	HomeID       string   `json:"home_id,omitempty"`
	Held         bool     `json:"held,omitempty"` // keeper: its daemon is down, and was told to stay so
}

// Spec is one generation to start.
type Spec struct {
	ID            string            `json:"id"`
	Group         string            `json:"group"`
	Kind          string            `json:"kind"`
	Argv          []string          `json:"argv"`
	Dir           string            `json:"dir"`
	Env           []string          `json:"env"`
	UID           int               `json:"uid"` // -1: keep
	GID           int               `json:"gid"` // -1: keep
	Groups        []int             `json:"groups,omitempty"`
	Umask         int               `json:"umask"` // -1: 022
	Out           string            `json:"out,omitempty"`
	Err           string            `json:"err,omitempty"`
	MaxSize       int64             `json:"max_size,omitempty"`
	MaxFiles      int               `json:"max_files,omitempty"` // rotated log files a stream that are never exceeded; 0: no bound
	OnFull        string            `json:"on_full,omitempty"`
	Notify        bool              `json:"notify,omitempty"`
	NotifyUID     int               `json:"notify_uid,omitempty"`
	DieWithDaemon bool              `json:"die_with_daemon,omitempty"`
	Limits        map[string]string `json:"limits,omitempty"`  // the Limit… names; a keeper refuses those that it does not know
	Passed        []string          `json:"passed,omitempty"`  // names of passed sockets, as the program sees them
	Sockets       []string          `json:"sockets,omitempty"` // their ids, in the same order
	TTY           bool              `json:"tty,omitempty"`     // refused by this version
	Stdin         string            `json:"stdin,omitempty"`   // "" and "null": /dev/null; "open": a pipe without an end; others are refused
}

// SocketBody is a listening socket that is kept open between the programs that use it.
type SocketBody struct {
	ID      string `json:"id"`
	Network string `json:"network"` // tcp | unix
	Address string `json:"address"` // ip:port, or an absolute path
	Mode    int    `json:"mode,omitempty"`
	UID     int    `json:"uid"`              // owner of the path; -1: the keeper's
	GID     int    `json:"gid"`              // -1: the keeper's
	Shut    int    `json:"shut,omitempty"`   // how often a program has shut it down for everybody
	Broken  bool   `json:"broken,omitempty"` // it was shut down and does not listen any more
}

// The names of limits. Their values are decimal numbers.
const (
	LimitMemory   = "memory"    // bytes of the whole tree
	LimitCPU      = "cpu"       // processors' time of the whole tree, such as 1.5
	LimitNoFile   = "nofile"    // descriptors of each process
	LimitNice     = "nice"      // -20 to 19
	LimitOOMScore = "oom_score" // -1000 to 1000
	LimitBest     = "best"      // whatever its value: what cannot be limited is left out of memory, cpu and nofile, and told
)

// Generation is what is kept of a started generation: enough for another keeper to go on with it.
type Generation struct {
	ID            string    `json:"id"`
	Group         string    `json:"group"`
	Kind          string    `json:"kind,omitempty"`
	Out           string    `json:"out,omitempty"`
	Err           string    `json:"err,omitempty"`
	MaxSize       int64     `json:"max_size,omitempty"`
	MaxFiles      int       `json:"max_files,omitempty"`
	OnFull        string    `json:"on_full,omitempty"`
	DieWithDaemon bool      `json:"die_with_daemon,omitempty"`
	PID           int       `json:"pid"`
	Start         uint64    `json:"start"` // clock ticks since boot
	Boot          string    `json:"boot"`
	NS            string    `json:"ns"`
	Started       time.Time `json:"started"`
	Contain       string    `json:"contain"`
	Cgroup        string    `json:"cgroup,omitempty"`  // absolute directory
	Bounds        []string  `json:"bounds,omitempty"`  // further groups that it is in, for their limits
	Skipped       []string  `json:"skipped,omitempty"` // limits that could not be set and were not insisted on, in words
	StubPID       int       `json:"stub_pid,omitempty"`
	StubStart     uint64    `json:"stub_start,omitempty"`
	Tag           uint64    `json:"tag,omitempty"` // limit of file locks that the stub and everything below it have
	NotifyPath    string    `json:"notify_path,omitempty"`
	Ending        string    `json:"ending,omitempty"` // why it was asked to end: a word of the daemon, or one of the keeper
	Exit          *Exit     `json:"exit,omitempty"`
	Notice        *Notice   `json:"notice,omitempty"`  // latest state, merged
	Handles       []string  `json:"handles,omitempty"` // names of the descriptors that travel with it, in order
}

// The names of a generation's descriptors.
const (
	HandlePidfd     = "pidfd"
	HandleOut       = "out"
	HandleErr       = "err"
	HandleNotify    = "notify"
	HandleStdin     = "stdin" // the writing end, held so that there is no end
	HandleStub      = "stub"
	HandleStubPidfd = "stub_pidfd"
)

// The keeper's own reasons for the end of a generation.
const (
	DaemonDied = "daemon_died" // it was not to outlive its daemon
	BothDied   = "both_died"   // nobody held its pipes any more
)

// EndingBody says why a generation is about to be asked to end.
type EndingBody struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// RetainBody says how many rotated log files of a generation's streams are never exceeded.
type RetainBody struct {
	ID       string `json:"id"`
	MaxFiles int    `json:"max_files"`
}

// Exit is how a main process ended.
type Exit struct {
	Known   bool      `json:"known"`
	Status  int       `json:"status"` // as wait(2) gives it; meaningless unless Known
	At      time.Time `json:"at"`
	User    int64     `json:"user_ns"`
	Sys     int64     `json:"sys_ns"`
	MaxRSS  int64     `json:"max_rss"`           // bytes
	Note    string    `json:"note,omitempty"`    // how it is known when it was not waited for: pidfd | stat | lost
	Alone   bool      `json:"alone,omitempty"`   // nothing else of its tree was left then, so nothing of it can be later
	Starved int       `json:"starved,omitempty"` // processes of the tree that the kernel had ended for want of memory, as far as its groups tell
}

// ExitBody tells of an exit.
type ExitBody struct {
	ID   string `json:"id"`
	Exit Exit   `json:"exit"`
}

// Notice is what an app said on its notify socket; several messages may be merged into one.
type Notice struct {
	At        time.Time `json:"at"`
	Ready     bool      `json:"ready,omitempty"`
	Stopping  bool      `json:"stopping,omitempty"`
	Reloading bool      `json:"reloading,omitempty"`
	Watchdog  bool      `json:"watchdog,omitempty"`
	Status    string    `json:"status,omitempty"`
	MainPID   int       `json:"main_pid,omitempty"`
	Extend    int64     `json:"extend_us,omitempty"` // microseconds that its start or stop may take from now on
	PID       int       `json:"pid"`
}

// NoticeBody tells of a notice.
type NoticeBody struct {
	ID     string `json:"id"`
	Notice Notice `json:"notice"`
}

// LogBody tells of a log file: full (held or dropping from now on), recovered, rotated.
type LogBody struct {
	Kind    string `json:"kind"` // log_full | log_recovered | rotated
	Path    string `json:"path"`
	Archive string `json:"archive,omitempty"`
	ID      string `json:"id,omitempty"`
	Lost    int64  `json:"lost,omitempty"` // bytes
	Policy  string `json:"policy,omitempty"`
	Error   string `json:"error,omitempty"`
}

// IDBody names a generation.
type IDBody struct {
	ID string `json:"id"`
}

// PIDsBody lists pids.
type PIDsBody struct {
	PIDs []int `json:"pids"`
}

// PathBody names a file.
type PathBody struct {
	Path string `json:"path"`
}

// HoldBody says whether the daemon stays down when it dies; Start asks for a start now.
type HoldBody struct {
	Hold  bool `json:"hold"`
	Start bool `json:"start"`
}

// StateBody is what one keeper hands to another besides generations.
type StateBody struct {
	Generations int      `json:"generations"`
	DaemonPID   int      `json:"daemon_pid,omitempty"`
	DaemonStart uint64   `json:"daemon_start,omitempty"`
	DaemonChild bool     `json:"daemon_child,omitempty"`
	Hold        bool     `json:"hold,omitempty"`
	Handles     []string `json:"handles"` // lock, listener, daemon
}
