package proc

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// Options is what Dial needs besides the socket.
type Options struct {
	Home       string       // the home that the keeper belongs to
	KeeperPath string       // keeper binary, see Binary; "" means that a dead keeper is not replaced
	Daemon     string       // path of omnitron, for the keeper to start the daemon again
	Version    string       // of this daemon
	Args       []string     // more arguments of a keeper that is started here
	Log        *slog.Logger //
}

// Keeper is the connection to the keeper. It survives the keeper: calls wait while a new one is started.
type Keeper struct {
	o    Options
	sock string

	mu        sync.Mutex
	link      *link // nil while there is none
	procs     map[string]*Process
	sockets   map[string]held
	calls     map[uint64]*call
	abandoned map[string]uint64 // spawns that nobody waits for any more, with their numbers
	seq       uint64
	info      Info
	quitting  bool
	events    chan Event
	spawning  atomic.Int64 // spawns that are under way
	background
}

// background counts the few goroutines that clean up behind callers who went away.
type background struct{ wg sync.WaitGroup }

type call struct {
	typ    string
	body   any
	id     string // of the generation, for spawns
	answer chan answer
}

type answer struct {
	body    json.RawMessage
	process *Process // of a spawn: entered by the reader, so that the exit that may follow at once finds it
	err     error
}

const (
	perProcess = 6 // descriptors of a program that we hold at most: its own, its outputs, its notify socket, its stub's
	spare      = 8 // descriptors that starts leave to everything else
)

// enter begins a spawn, unless there is no room for its descriptors: some of them would be lost on their way, and with
// them the connection that all other programs depend on.
func (k *Keeper) enter() error {
	under := k.spawning.Add(1)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // nothing is known, so nothing is refused
	}
	used, err := os.ReadDir("/proc/self/fd")
	if err == nil && uint64(len(used))+uint64(under)*perProcess+spare <= limit.Cur {
		return nil
	}
	k.spawning.Add(-1)
	return fault.New(fault.Limited, "the daemon has too few file descriptors left: %d of %d are in use", len(used), limit.Cur).
		WithReason("no_resources").WithHint("raise the limit of open files (ulimit -n), or close some connections").WithRetryAfter(1)
}

// Dial connects to a living keeper and learns what it runs. Faults: unavailable (reason keeper_unreachable).
func Dial(ctx context.Context, sockPath string, o Options) (*Keeper, error) {
	k := &Keeper{o: o, sock: sockPath, procs: map[string]*Process{}, sockets: map[string]held{}, calls: map[uint64]*call{},
		abandoned: map[string]uint64{}, events: make(chan Event, 1024)}
	l, err := dial(ctx, sockPath)
	if err != nil {
		return nil, unreachable(err, sockPath)
	}
	if err := k.greet(ctx, l); err != nil {
		l.close()
		return nil, fault.Wrap(err, fault.Unavailable, "cannot talk to the keeper at %s: %v", sockPath, err).WithReason("keeper_unreachable")
	}
	return k, nil
}

// Processes gives every generation that the keeper runs or ran and that nobody forgot, sorted by id.
func (k *Keeper) Processes() []*Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*Process, 0, len(k.procs))
	for _, id := range slices.Sorted(maps.Keys(k.procs)) {
		out = append(out, k.procs[id])
	}
	return out
}

// Events carries news about log files and the keeper. When nobody reads, news is dropped, never waited for.
func (k *Keeper) Events() <-chan Event { return k.events }

// Info tells about the keeper as it is now.
func (k *Keeper) Info() Info {
	k.mu.Lock()
	i := k.info
	k.mu.Unlock()
	if b, err := os.ReadFile("/proc/" + strconv.Itoa(i.PID) + "/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			i.RSS = pages * int64(os.Getpagesize())
		}
	}
	return i
}

// Ping asks the keeper whether it is there, and waits for no other one. Faults: unavailable, reason keeper_unreachable, also
// when it does not answer before ctx ends.
func (k *Keeper) Ping(ctx context.Context) error {
	_, err := Look(ctx, k.sock)
	return err
}

// Spawn starts a generation. It returns when the program has been executed. Starting an id that runs gives the same
// process, also when it has ended and was not forgotten. Faults: invalid with reason exec_not_found, not_executable,
// bad_interpreter, cwd_missing, too_large, path_too_long, not_supported or bad_spec; denied with reason not_permitted;
// conflict with reason text_busy; limited with reason no_resources; internal with reason cgroup_unavailable, no_socket_dir
// or spawn_failed; deadline or cancelled with reason keeper_slow when ctx ended first: what was started is then ended.
func (k *Keeper) Spawn(ctx context.Context, s Spec) (*Process, error) {
	if err := k.enter(); err != nil {
		return nil, err
	}
	defer k.spawning.Add(-1)
	a, err := k.call(ctx, protocol.Spawn, s.message())
	return a.process, err
}

// Rotate begins a new file for the log at path: at once when the file ends with a newline, else at the next one. A path
// that no generation prints to is not_found.
func (k *Keeper) Rotate(ctx context.Context, path string) error {
	_, err := k.call(ctx, protocol.Rotate, protocol.PathBody{Path: path})
	return err
}

// Hold says that the keeper is not to start the daemon again when it dies; false takes it back.
func (k *Keeper) Hold(ctx context.Context, hold bool) error {
	_, err := k.call(ctx, protocol.Hold, protocol.HoldBody{Hold: hold})
	return err
}

// Upgrade has the keeper replace its program by the binary at path: same pid, its children stay its children. It
// returns when the new one answers. Faults: invalid when the binary is none of ours or does not run.
func (k *Keeper) Upgrade(ctx context.Context, path string) error {
	_, err := k.call(ctx, protocol.Upgrade, protocol.PathBody{Path: path})
	return err
}

// Quit tells the keeper that the daemon is about to end: the keeper then does not start it again, ends whatever is
// left, and exits with the daemon's status.
func (k *Keeper) Quit(ctx context.Context) error {
	if _, err := k.call(ctx, protocol.Quit, nil); err != nil {
		return err
	}
	k.mu.Lock()
	k.quitting = true
	k.mu.Unlock()
	return nil
}

// call sends a request and waits for its answer, over as many keepers as it takes: every request may be repeated.
func (k *Keeper) call(ctx context.Context, typ string, body any) (answer, error) {
	c := &call{typ: typ, body: body, answer: make(chan answer, 1)}
	if s, ok := body.(protocol.Spec); ok {
		c.id = s.ID
	}
	k.mu.Lock()
	k.seq++
	seq := k.seq
	k.calls[seq] = c
	delete(k.abandoned, c.id)
	l := k.link
	k.mu.Unlock()
	if l != nil {
		if err := l.send(protocol.Frame{Type: typ, Seq: seq}, body, nil); errors.Is(err, errUnsendable) {
			k.take(seq)
			return answer{}, fault.Wrap(err, fault.Invalid, "%v", err).WithReason("bad_spec")
		} // anything else: the reader sees the end of the connection, and the call is sent again on the next one
	}
	select {
	case a := <-c.answer:
		return a, a.err
	case <-ctx.Done():
	}
	k.mu.Lock()
	_, waiting := k.calls[seq]
	delete(k.calls, seq)
	if waiting && typ == protocol.Spawn {
		k.abandoned[c.id] = seq
	}
	k.mu.Unlock()
	if !waiting { // answered in the same moment
		a := <-c.answer
		return a, a.err
	}
	code := fault.Deadline
	if errors.Is(ctx.Err(), context.Canceled) {
		code = fault.Cancelled
	}
	return answer{}, fault.Wrap(ctx.Err(), code, "the keeper did not answer to %s in time", typ).WithReason("keeper_slow")
}

// say sends what is not answered. Without a connection it is not sent: the next keeper is handed it with the rest.
func (k *Keeper) say(typ string, body any) {
	k.mu.Lock()
	l := k.link
	k.mu.Unlock()
	if l == nil {
		return
	}
	if err := l.send(protocol.Frame{Type: typ}, body, nil); err != nil {
		k.o.Log.Debug("cannot tell the keeper", "what", typ, "err", err) // the reader sees the end of the connection
	}
}

func (k *Keeper) take(seq uint64) *call {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.calls[seq]
	delete(k.calls, seq)
	return c
}

// record makes the keeper's word about a generation ours. fds become ours, or are closed when we hold them already.
func (k *Keeper) record(g protocol.Generation, fds []int) *Process {
	k.mu.Lock()
	p, known := k.procs[g.ID]
	if !known {
		p = newProcess(k, g, fds)
		k.procs[g.ID] = p
	}
	_, orphan := k.abandoned[g.ID]
	delete(k.abandoned, g.ID)
	k.mu.Unlock()
	if known {
		protocol.CloseAll(fds)
		p.update(g)
	}
	if orphan {
		k.wg.Go(func() { k.discard(p) })
	}
	return p
}

// discard ends a generation whose Spawn was given up: nobody knows of it, so nobody else would.
func (k *Keeper) discard(p *Process) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := p.Kill(ctx)
	if err == nil {
		err = p.Forget(ctx)
	}
	if err != nil {
		k.o.Log.Warn("cannot end a generation that nobody waits for", "id", p.id, "err", err)
	}
}

func (k *Keeper) drop(p *Process) {
	k.mu.Lock()
	if k.procs[p.id] == p {
		delete(k.procs, p.id)
	}
	k.mu.Unlock()
	p.finish(protocol.Exit{At: time.Now(), Note: "lost"}) // a reader of Done must not wait for what is forgotten
	p.release()
}

func (k *Keeper) tell(e Event) {
	select {
	case k.events <- e:
	default:
		k.o.Log.Warn("news of the keeper is not read", "kind", e.Kind, "path", e.Path)
	}
}
