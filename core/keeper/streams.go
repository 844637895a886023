package keeper

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper/logfile"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// The policies for a full disk.
const (
	blockThenDrop = "block-then-drop"
	block         = "block"
	drop          = "drop"
)

const (
	holdTime  = 10 * time.Second       // how long block-then-drop holds a program
	retryTime = 250 * time.Millisecond // how often a disk that refuses is tried again
	budget    = 1 << 20                // bytes that one pipe may move before the others have their turn
)

// sink is a log file and the pipes that go into it: two generations of a slot may share one for a while.
type sink struct {
	*logfile.File
	streams []*stream
	failing bool
	found   string // the generation that found the disk full
	id      string // the generation that prints to it, or did last
	retry   *timer
	lost    int64 // bytes dropped since it failed
}

// stream is the reading end of one pipe.
type stream struct {
	fd     int // -1 at the end
	sink   *sink
	id     string
	pid    int
	policy string
	held   time.Time // since when a full disk holds it; zero while it flows
	drops  bool      // what comes is thrown away
	ended  bool      // its main process has ended, and that is not in the index yet
	linger bool      // its generation is forgotten; it goes when it is empty
}

// pipe makes the pipe for one stream and gives its writing end.
func (k *keeper) pipe(g *gen, path string, s protocol.Spec) (*stream, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, 0, err
	}
	if err := unix.SetNonblock(p[0], true); err != nil { // the reading end only: programs expect to block
		protocol.CloseAll(p[:])
		return nil, 0, err
	}
	if s.UID >= 0 && s.UID != os.Geteuid() { // so that the program may open /dev/stdout
		if err := unix.Fchown(p[1], s.UID, -1); err != nil {
			k.log("debug", "cannot give a pipe away", "id", s.ID, "err", err.Error())
		}
	}
	return k.newStream(g, p[0]), p[1], nil
}

func (k *keeper) newStream(g *gen, fd int) *stream {
	st := &stream{fd: fd, id: g.rec.ID, policy: g.rec.OnFull}
	if st.policy == "" {
		st.policy = blockThenDrop
	}
	return st
}

// startStreams connects the pipes of a generation with their files. fresh means that it has just been started.
func (k *keeper) startStreams(g *gen, fresh bool) {
	for st, path := range map[*stream]string{g.out: g.rec.Out, g.errs: g.rec.Err} {
		if st == nil {
			continue
		}
		st.pid, st.sink = g.rec.PID, k.sink(path, g.rec.MaxSize, g.rec.MaxFiles)
		st.sink.streams, st.sink.id = append(st.sink.streams, st), st.id
		if fresh {
			st.sink.Mark(logfile.Start, st.pid, 0, k.now)
		}
		k.flow(st)
	}
}

// sink gives the open file of a path, however many pipes go into it.
func (k *keeper) sink(path string, maxSize int64, maxFiles int) *sink {
	s := k.sinks[path]
	if s == nil {
		s = &sink{File: logfile.New(path, maxSize)}
		s.Rotated = func(archive string) {
			k.tell(protocol.Log, protocol.LogBody{Kind: "rotated", Path: path, Archive: archive, ID: s.id})
		}
		k.sinks[path] = s
	}
	s.MaxSize, s.MaxFiles = maxSize, maxFiles
	return s
}

// flow lets the loop look at the pipe; a held one is left alone.
func (k *keeper) flow(st *stream) {
	if st.fd < 0 {
		return
	}
	if st.sink.failing && !st.drops {
		k.unwatch(st.fd)
		if st.held.IsZero() {
			st.held = k.now
		}
		return
	}
	k.watch(st.fd, unix.EPOLLIN, func(uint32) { k.pump(st) })
}

// pump moves what is in the pipe.
func (k *keeper) pump(st *stream) {
	if st.fd < 0 {
		return
	}
	if st.sink.failing {
		if st.drops {
			k.discardOutput(st)
		}
		return
	}
	_, res := st.sink.Move(st.fd, st.pid, budget, k.now)
	k.moved(st, res)
	if st.sink.Unwritten() && !st.sink.failing {
		k.retryLater(st.sink)
	}
}

func (k *keeper) moved(st *stream, res logfile.Result) {
	switch res {
	case logfile.Failed:
		k.fail(st)
	case logfile.EOF:
		k.endStream(st)
	case logfile.Empty:
		if st.linger {
			k.endStream(st)
		}
	}
	if st.ended && (res == logfile.EOF || res == logfile.Empty) {
		st.ended = false
		st.sink.Mark(logfile.End, st.pid, 0, k.now)
	}
}

// endStream lets go of a pipe and, with the last one, of the file.
func (k *keeper) endStream(st *stream) {
	k.drop(&st.fd)
	if st.linger {
		k.leave(st)
	}
}

// leave takes a stream out of its file, and closes a file that has none left. One that the disk refuses is kept until it
// does not: whoever was told of that is told of its end, and what was lost is written down.
func (k *keeper) leave(st *stream) {
	s := st.sink
	for i, other := range s.streams {
		if other == st {
			s.streams = append(s.streams[:i], s.streams[i+1:]...)
			break
		}
	}
	if !s.failing {
		k.closeUnused(s)
	}
}

// closeUnused lets a file go that nobody prints to.
func (k *keeper) closeUnused(s *sink) {
	if len(s.streams) > 0 {
		return
	}
	k.cancel(s.retry)
	s.Close()
	if k.sinks[s.Path] == s {
		delete(k.sinks, s.Path)
	}
}

// fail notes that the disk has refused and does with the file's pipes what their policies say.
func (k *keeper) fail(cause *stream) {
	s := cause.sink
	if !s.failing {
		s.failing, s.found, s.lost = true, cause.id, 0
		s.Mark(logfile.Blocked, cause.pid, 0, k.now)
		text := ""
		if s.Err() != nil {
			text = s.Err().Error()
		}
		k.log("warn", "cannot write a log", "path", s.Path, "err", text, "policy", cause.policy)
		k.tell(protocol.Log, protocol.LogBody{Kind: "log_full", Path: s.Path, ID: cause.id, Policy: cause.policy, Error: text})
		for _, st := range s.streams {
			st.held, st.drops = k.now, st.policy == drop
			k.flow(st)
		}
		k.retryLater(s)
	}
	if cause.drops {
		k.discardOutput(cause)
	}
}

func (k *keeper) discardOutput(st *stream) {
	n, res := st.sink.Drop(st.fd, st.pid, k.now)
	st.sink.lost += n
	if res == logfile.EOF || res == logfile.Empty && st.linger {
		k.moved(st, res)
	}
}

func (k *keeper) retryLater(s *sink) {
	if s.retry == nil || s.retry.fn == nil {
		s.retry = k.after(retryTime, func() { k.retry(s) })
	}
}

// retry tries a disk that has refused.
func (k *keeper) retry(s *sink) {
	if !s.failing {
		if s.Flush() != nil || s.Unwritten() {
			k.retryLater(s)
		}
		return
	}
	progress, waiting := false, false
	for _, st := range append([]*stream(nil), s.streams...) {
		if st.fd < 0 {
			continue
		}
		n, res := s.Move(st.fd, st.pid, budget, k.now)
		progress = progress || n > 0
		if res == logfile.Failed {
			waiting = true
			if n > 0 && !st.drops {
				st.held = k.now
			}
			continue
		}
		if res == logfile.EOF || res == logfile.Empty && st.linger {
			k.moved(st, res)
		}
	}
	// With nothing to write, only the file system can say that there is room again.
	if !waiting && (progress || s.Probe(k.now)) {
		k.recover(s)
		return
	}
	for _, st := range append([]*stream(nil), s.streams...) {
		if st.policy == blockThenDrop && !st.drops && st.fd >= 0 && k.now.Sub(st.held) >= holdTime {
			st.drops = true
			k.flow(st)
		}
		if st.drops && st.fd >= 0 {
			k.discardOutput(st)
		}
	}
	k.retryLater(s)
}

// recover lets everything flow again and says what was lost.
func (k *keeper) recover(s *sink) {
	s.failing = false
	s.Mark(logfile.Resumed, 0, 0, k.now)
	for _, st := range append([]*stream(nil), s.streams...) {
		st.held, st.drops = time.Time{}, false
		k.flow(st)
		if st.ended {
			k.pump(st)
		}
	}
	k.log("info", "a log can be written again", "path", s.Path, "lost", s.lost)
	k.tell(protocol.Log, protocol.LogBody{Kind: "log_recovered", Path: s.Path, ID: s.found, Lost: s.lost})
	if s.Unwritten() {
		k.retryLater(s)
	}
	k.closeUnused(s)
}

// drain moves what is in the pipes now, at the end of a main process.
func (k *keeper) drain(g *gen) {
	for _, st := range []*stream{g.out, g.errs} {
		if st == nil {
			continue
		}
		st.ended = true
		if st.fd < 0 { // at its end already
			k.moved(st, logfile.Empty)
			continue
		}
		for st.fd >= 0 && st.ended && !st.sink.failing {
			k.pump(st)
		}
	}
}

// release lets the streams of a generation go; what a full disk still holds back stays until it can be written.
func (k *keeper) release(g *gen) {
	for _, st := range []*stream{g.out, g.errs} {
		if st == nil || st.sink == nil {
			continue
		}
		st.linger = true
		if st.fd >= 0 && !st.sink.failing {
			_, res := st.sink.Move(st.fd, st.pid, budget, k.now)
			k.moved(st, res)
		} else if st.fd < 0 {
			k.leave(st)
		}
	}
}

// abandon counts what lingering pipes still hold as lost: their descriptors are not handed to another keeper.
func (k *keeper) abandon() {
	for _, s := range k.sinks {
		for _, st := range append([]*stream(nil), s.streams...) {
			if st.linger && st.fd >= 0 {
				k.discardOutput(st)
			}
		}
	}
}

// retain takes another number of rotated files for a generation's streams.
func (k *keeper) retain(g *gen, maxFiles int) {
	g.rec.MaxFiles = maxFiles
	for _, st := range []*stream{g.out, g.errs} {
		if st != nil && st.sink != nil {
			st.sink.MaxFiles = maxFiles
		}
	}
	k.save()
}

// rotate begins a new file for a log that somebody prints to.
func (k *keeper) rotate(path string) *protocol.Error {
	s := k.sinks[path]
	if s == nil {
		return refusal("not_found", "unknown_log", "nobody prints to %s now", path)
	}
	if err := s.Rotate(k.now); err != nil {
		var errno unix.Errno
		if errors.As(err, &errno) && (errno == unix.ENOSPC || errno == unix.EDQUOT) {
			return refusal("internal", "disk_full", "cannot begin a new file for %s: %v", path, err)
		}
		return refusal("internal", "rotate_failed", "cannot begin a new file for %s: %v", path, err)
	}
	return nil
}
