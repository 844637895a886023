// Package keeper is the small process that outlives daemons. It starts programs when told, is their parent, moves what they
// print into files, listens to their notify sockets, records how they end, and starts the daemon again when it dies. It
// decides nothing. One loop does all of it, without a lock; nothing in the loop waits, but for the disk.
package keeper

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/cage"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/keeper/sockets"
)

// Options is what a keeper is started with.
type Options struct {
	Home    string // resolved
	Daemon  string // path of omnitron
	Contain string // auto, v2, v1 or stub
	Version string
}

// HomeID is the short name of a home in places that homes share: control groups, /run, environments.
func HomeID(resolved string) string {
	sum := sha256.Sum256([]byte(resolved))
	return hex.EncodeToString(sum[:6])
}

// keeper is the state of the loop. Only the loop's goroutine touches it.
type keeper struct {
	o        Options
	homeID   string
	instance string
	contain  string
	place    cage.Place            // where groups are made, unless contain is stub
	bounders map[string]cage.Place // where further groups are made that limit programs
	lock     int                   // keeper.lock, held for life
	listener int

	epoll    int
	watches  map[int]watch
	watchSeq int32
	timers   []*timer
	now      time.Time
	signals  chan os.Signal
	relayed  chan unix.Signal
	wake     int     // eventfd, written for each signal
	heard    []heard // messages that the daemon was not told yet
	in, oob  []byte  // what is read into: empty again before anything else may read

	gens    map[string]*gen
	sinks   map[string]*sink
	sockets map[string]*sockets.Socket
	conns   map[*conn]bool
	daemon  daemon
	boss    *conn // the daemon's connection

	adopting bool // what runs is not known yet: the daemon will tell
	frozen   *conn
	dirty    *timer // keeper.json waits to be written
	exit     *int   // set: the loop ends with this status
}

// watch is a descriptor that the loop looks at.
type watch struct {
	seq   int32 // tells a descriptor from an earlier one of the same number
	ready func(events uint32)
}

type timer struct {
	at time.Time
	fn func()
}

func newKeeper(o Options) (*keeper, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot make an epoll: %w", err)
	}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	k := &keeper{o: o, homeID: HomeID(o.Home), instance: hex.EncodeToString(id[:]), lock: -1, listener: -1, epoll: ep,
		watches: map[int]watch{}, now: time.Now(), signals: make(chan os.Signal, 64), relayed: make(chan unix.Signal, 64),
		in: make([]byte, protocol.InSize), oob: make([]byte, protocol.OOBSize),
		gens: map[string]*gen{}, sinks: map[string]*sink{}, sockets: map[string]*sockets.Socket{}, conns: map[*conn]bool{}}
	k.daemon.pidfd = -1
	return k, nil
}

// watch calls ready whenever the descriptor is. A second call for the same descriptor changes events and function.
func (k *keeper) watch(fd int, events uint32, ready func(uint32)) {
	k.watchSeq++
	op := unix.EPOLL_CTL_ADD
	if _, known := k.watches[fd]; known {
		op = unix.EPOLL_CTL_MOD
	}
	if err := unix.EpollCtl(k.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: k.watchSeq}); err != nil {
		k.log("error", "cannot watch a descriptor", "fd", fd, "err", err.Error())
		return
	}
	k.watches[fd] = watch{k.watchSeq, ready}
}

// unwatch must come before the descriptor is closed: a duplicate elsewhere would keep it in the epoll.
func (k *keeper) unwatch(fd int) {
	if _, known := k.watches[fd]; known {
		_ = unix.EpollCtl(k.epoll, unix.EPOLL_CTL_DEL, fd, nil) // can fail only if it is not there
		delete(k.watches, fd)
	}
}

// drop unwatches and closes a descriptor and marks it as gone.
func (k *keeper) drop(fd *int) {
	if *fd >= 0 {
		k.unwatch(*fd)
		unix.Close(*fd)
		*fd = -1
	}
}

// after calls fn once, in the loop.
func (k *keeper) after(d time.Duration, fn func()) *timer {
	t := &timer{k.now.Add(d), fn}
	k.timers = append(k.timers, t)
	return t
}

func (k *keeper) cancel(t *timer) {
	if t != nil {
		t.fn = nil
	}
}

// run is the loop. It returns the exit status of the process.
func (k *keeper) run() int {
	k.watchWake()
	k.reap() // what ended before we listened
	events := make([]unix.EpollEvent, 64)
	for k.exit == nil {
		n, err := unix.EpollWait(k.epoll, events, k.timeout())
		k.now = time.Now()
		if err != nil && err != unix.EINTR {
			k.log("error", "cannot wait for events", "err", err.Error())
			return 1
		}
		for _, e := range events[:max(n, 0)] {
			if w, ok := k.watches[int(e.Fd)]; ok && w.seq == e.Pad {
				w.ready(e.Events)
			}
		}
		k.fire()
		k.sendNotices()
	}
	return *k.exit
}

// watchWake lets signals interrupt the wait.
func (k *keeper) watchWake() {
	k.watch(k.wake, unix.EPOLLIN, func(uint32) {
		var b [8]byte
		_, _ = unix.Read(k.wake, b[:]) // only a counter
		k.takeSignals()
	})
}

func (k *keeper) timeout() int {
	if len(k.timers) == 0 || k.frozen != nil {
		return -1
	}
	next := k.timers[0].at
	for _, t := range k.timers[1:] {
		if t.at.Before(next) {
			next = t.at
		}
	}
	d := next.Sub(time.Now())
	if d <= 0 {
		return 0
	}
	return int(min((d+time.Millisecond-1)/time.Millisecond, 60_000))
}

func (k *keeper) fire() {
	if k.frozen != nil {
		return // nothing may be touched any more
	}
	due, rest := []*timer(nil), k.timers[:0]
	for _, t := range k.timers {
		switch {
		case t.fn == nil:
		case t.at.After(k.now):
			rest = append(rest, t)
		default:
			due = append(due, t)
		}
	}
	clear(k.timers[len(rest):])
	k.timers = rest
	for _, t := range due {
		if k.exit != nil { // what has been cleaned up stays so: keeper.json may be due, too
			return
		}
		if fn := t.fn; fn != nil { // an earlier one may have cancelled it
			t.fn = nil
			fn()
		}
	}
}

func (k *keeper) path(name string) string { return filepath.Join(k.o.Home, name) }

// log writes one JSON object a line to stderr. keys and values alternate.
func (k *keeper) log(level, msg string, kv ...any) {
	m := map[string]any{"time": time.Now().Format(time.RFC3339Nano), "level": level, "msg": msg, "from": "keeper", "pid": os.Getpid()}
	for i := 0; i+1 < len(kv); i += 2 {
		if name, ok := kv[i].(string); ok {
			m[name] = kv[i+1]
		}
	}
	if b, err := json.Marshal(m); err == nil {
		_, _ = unix.Write(2, append(b, '\n')) // nobody to tell
	}
}

// tell sends an event to the daemon, if one is connected.
func (k *keeper) tell(typ string, body any) {
	if k.boss != nil {
		k.boss.send(protocol.Frame{Type: typ}, body, nil)
	}
}
