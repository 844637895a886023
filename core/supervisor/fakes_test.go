package supervisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/store"
)

// revisions is the loader: every definition that was applied.
type revisions struct {
	mu   sync.Mutex
	defs []*config.Definition
	bad  error
}

func (d *revisions) add(def *config.Definition) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.defs = append(d.defs, def)
	return int64(len(d.defs))
}

func (d *revisions) Definition(_ context.Context, project, stack string, rev int64) (*config.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad != nil {
		return nil, d.bad
	}
	if rev < 1 || rev > int64(len(d.defs)) || d.defs[rev-1].Project != project || d.defs[rev-1].Stack != stack {
		return nil, fault.New(fault.NotFound, "there is no revision %d of %s/%s", rev, project, stack)
	}
	return d.defs[rev-1], nil
}

// printed reads the apps' output from their files.
type printed struct {
	dir string

	mu   sync.Mutex
	kept map[string]int // how often each app's policy was handed over
	asks int            // how often lines were asked for
}

func (p *printed) path(slot, stream string) string {
	key, rest, _ := strings.Cut(slot, ":")
	process, number, _ := strings.Cut(rest, "#")
	n, _ := strconv.Atoi(number)
	f := strings.Split(key, "/")
	return journal.Path(p.dir, journal.Stream{Project: f[0], Stack: f[1], App: f[2], Process: process, Instance: n, Name: stream})
}

func (p *printed) Tail(_ context.Context, slot string, _, _ time.Time, n int) []string {
	p.mu.Lock()
	p.asks++
	p.mu.Unlock()
	for _, stream := range []string{"err", "out"} {
		data, _ := os.ReadFile(p.path(slot, stream))
		if lines := strings.Split(strings.TrimSpace(string(data)), "\n"); lines[0] != "" {
			return lines[max(0, len(lines)-n):]
		}
	}
	return nil
}

func (p *printed) Keep(app *config.App) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept[app.Key]++
}

func (p *printed) Ends(s journal.Stream) map[journal.Stream]int64 {
	from := map[journal.Stream]int64{}
	for _, s.Name = range []string{"out", "err"} {
		from[s] = 0
		if st, err := os.Stat(journal.Path(p.dir, s)); err == nil {
			from[s] = st.Size()
		}
	}
	return from
}

func (p *printed) Await(ctx context.Context, from map[journal.Stream]int64, pattern string) error {
	re := regexp.MustCompile(pattern)
	return poll(ctx, func() bool {
		for s, at := range from {
			if data, _ := os.ReadFile(journal.Path(p.dir, s)); int64(len(data)) > at && re.Match(data[at:]) {
				return true
			}
		}
		return false
	})
}

func (p *printed) AwaitSince(ctx context.Context, slot, pattern string, _ time.Time) error {
	re := regexp.MustCompile(pattern)
	return poll(ctx, func() bool {
		data, _ := os.ReadFile(p.path(slot, "out"))
		return re.Match(data)
	})
}

// frozen is a disk that takes nothing while it is held.
type frozen struct {
	store.Disk
	held atomic.Bool
}

func (f *frozen) hold(on bool) { f.held.Store(on) }

func (f *frozen) Write(name string, data []byte) error {
	if f.held.Load() {
		return errors.New("no space left on device")
	}
	return f.Disk.Write(name, data)
}

// gate is a disk that is busy while it is shut.
type gate struct {
	store.Disk
	shut atomic.Pointer[chan struct{}]
}

func (g *gate) Write(name string, data []byte) error {
	if shut := g.shut.Load(); shut != nil {
		<-*shut
	}
	return g.Disk.Write(name, data)
}

// close has writes wait until open is called, which may be called again.
func (g *gate) close() (open func()) {
	shut := make(chan struct{})
	g.shut.Store(&shut)
	return sync.OnceFunc(func() {
		g.shut.Store(nil)
		close(shut)
	})
}

// arrival is a context that tells when somebody begins to wait with it.
type arrival struct {
	context.Context
	at chan struct{}
}

func (a arrival) Done() <-chan struct{} {
	select {
	case a.at <- struct{}{}:
	default:
	}
	return a.Context.Done()
}

// hang is a file system that hears questions and never answers: who asks cannot even be killed.
type hang struct {
	fd    int
	dir   string
	heard atomic.Bool
	ended chan struct{}
	done  chan struct{}
}

func newHang(t *testing.T, dir string) *hang {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	must(t, unix.Mount("hang", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)))
	h := &hang{fd: fd, dir: dir, ended: make(chan struct{}), done: make(chan struct{})}
	go h.serve()
	t.Cleanup(h.answer)
	return h
}

func (h *hang) serve() {
	defer close(h.ended)
	buf := make([]byte, 1<<20)
	for {
		select {
		case <-h.done:
			return
		default:
		}
		p := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 20); n < 1 || err != nil {
			continue
		}
		n, err := unix.Read(h.fd, buf)
		if err != nil || n < 40 {
			continue
		}
		const opInit = 26
		if binary.LittleEndian.Uint32(buf[4:]) != opInit {
			h.heard.Store(true)
			continue
		}
		out := make([]byte, 16+64)
		binary.LittleEndian.PutUint32(out, uint32(len(out)))
		copy(out[8:16], buf[8:16]) // which question it is
		binary.LittleEndian.PutUint32(out[16:], 7)
		binary.LittleEndian.PutUint32(out[20:], 31)
		binary.LittleEndian.PutUint32(out[36:], 4096)
		_, _ = unix.Write(h.fd, out)
	}
}

func (h *hang) asked(t *testing.T) {
	t.Helper()
	eventually(t, "the question that is not answered", h.heard.Load)
}

// answer ends all questions with an error.
func (h *hang) answer() {
	select {
	case <-h.done:
		return
	default:
	}
	close(h.done)
	<-h.ended
	unix.Close(h.fd)
	_ = unix.Unmount(h.dir, unix.MNT_DETACH)
}
