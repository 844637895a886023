package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
)

// pollEvery is how often followers look that cannot be told.
const pollEvery = 250 * time.Millisecond

// hub tells followers which files have changed: one inotify instance for all of them, one watch a folder.
type hub struct {
	log *slog.Logger

	mu      sync.Mutex
	fd      int // -1 while Run does not run
	folders map[string]*folder
	watches map[int32]*folder
	subs    map[*sub]struct{}
}

// folder is a watched folder.
type folder struct {
	path string
	wd   int32 // -1: not watched by the kernel
	told bool  // that it cannot be watched was logged
	subs map[*sub]struct{}
}

// sub is one follower's place at the hub.
type sub struct {
	hub     *hub
	wake    chan struct{} // holds one token
	folders map[string]bool

	mu     sync.Mutex
	dirty  map[string]bool // live files that have changed
	rescan bool            // files came or went
	poll   bool            // some folder is not watched
}

func (h *hub) init(log *slog.Logger) {
	h.log, h.fd = log, -1
	h.folders, h.watches, h.subs = map[string]*folder{}, map[int32]*folder{}, map[*sub]struct{}{}
}

func (h *hub) join() *sub {
	s := &sub{hub: h, wake: make(chan struct{}, 1), folders: map[string]bool{}, dirty: map[string]bool{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	return s
}

func (h *hub) leave(s *sub) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
	for path := range s.folders {
		h.unwatch(s, path)
	}
}

// watch makes the follower's folders exactly these. Whatever happens in them from then on wakes it.
func (s *sub) watch(paths []string) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	want := map[string]bool{}
	for _, p := range paths {
		want[p] = true
		if !s.folders[p] {
			s.folders[p] = true
			f := h.folders[p]
			if f == nil {
				f = &folder{path: p, wd: -1, subs: map[*sub]struct{}{}}
				h.folders[p] = f
			}
			f.subs[s] = struct{}{}
		}
		if f := h.folders[p]; f.wd < 0 {
			h.add(f)
		}
	}
	poll := false
	for p := range s.folders {
		if !want[p] {
			h.unwatch(s, p)
		} else if h.folders[p].wd < 0 {
			poll = true
		}
	}
	s.mu.Lock()
	s.poll = poll
	s.mu.Unlock()
}

// add asks the kernel to watch a folder; where it will not, the followers poll.
func (h *hub) add(f *folder) {
	if h.fd < 0 {
		return
	}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	wd, err := unix.InotifyAddWatch(h.fd, f.path, mask)
	if err != nil {
		if !errors.Is(err, unix.ENOENT) && !f.told {
			f.told = true
			h.log.Warn("cannot watch a folder of logs, looking at it four times a second", "path", f.path, "err", err)
		}
		return
	}
	f.wd = int32(wd)
	h.watches[f.wd] = f
}

func (h *hub) unwatch(s *sub, path string) {
	delete(s.folders, path)
	f := h.folders[path]
	delete(f.subs, s)
	if len(f.subs) > 0 {
		return
	}
	delete(h.folders, path)
	if f.wd >= 0 {
		delete(h.watches, f.wd)
		if _, err := unix.InotifyRmWatch(h.fd, uint32(f.wd)); err != nil && !errors.Is(err, unix.EINVAL) {
			h.log.Warn("cannot stop watching a folder of logs", "path", path, "err", err)
		}
	}
}

// changed wakes a follower: a live file has grown, or, with an empty path, files came or went.
func (s *sub) changed(path string) {
	s.mu.Lock()
	if path == "" {
		s.rescan = true
	} else {
		s.dirty[path] = true
	}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // a token lies there already
	}
}

// news takes what has happened since the last call.
func (s *sub) news() (dirty map[string]bool, rescan, poll bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirty) > 0 {
		dirty, s.dirty = s.dirty, map[string]bool{}
	}
	rescan, s.rescan = s.rescan, false
	return dirty, rescan, s.poll
}

// polls reports whether the follower has to look by itself.
func (s *sub) polls() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.poll
}

// Run tells followers of changes until ctx ends. Without it they look four times a second.
func (j *Journal) Run(ctx context.Context) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		j.log.Warn("cannot watch the logs, followers look four times a second", "err", err)
		<-ctx.Done()
		return nil
	}
	f := os.NewFile(uintptr(fd), "inotify")
	j.hub.start(fd)
	defer func() {
		j.hub.stop()
		f.Close()
	}()
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 16<<10)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		j.hub.dispatch(buf[:n])
	}
}

// start has the followers that are already there watch, too.
func (h *hub) start(fd int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fd = fd
	for s := range h.subs {
		s.changed("")
	}
}

// stop sends all followers back to polling.
func (h *hub) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fd = -1
	clear(h.watches)
	for _, f := range h.folders {
		f.wd = -1
	}
	for s := range h.subs {
		s.changed("")
	}
}

func (h *hub) dispatch(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(b) >= unix.SizeofInotifyEvent {
		wd, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:size], "\x00"))
		b = b[size:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for s := range h.subs {
				s.changed("")
			}
			continue
		}
		f := h.watches[wd]
		if f == nil {
			continue
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(h.watches, wd)
			f.wd = -1
		}
		path, news := relevant(f.path, name, mask)
		if !news {
			continue
		}
		for s := range f.subs {
			s.changed(path)
		}
	}
}

// relevant gives the live file that has grown, or "" where files came or went.
func relevant(dir, name string, mask uint32) (path string, news bool) {
	if strings.HasSuffix(name, segment.Temporary) {
		return "", false
	}
	if mask&unix.IN_MODIFY == 0 {
		return "", true
	}
	name = strings.TrimSuffix(name, ".idx")
	return filepath.Join(dir, name), strings.HasSuffix(name, ".log")
}
