// Package sample reads from /proc what programs use: CPU time, memory, descriptors, threads. One tick samples everything
// for all readers, so that a hundred of them cost what one does.
package sample

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Target is a program with everything that it started.
type Target struct {
	Key    string // what readers ask for
	PID    int    // its main process
	Start  uint64 // when that started, in clock ticks since boot; another process under its pid is not sampled. 0: any
	Cgroup string // directory of its cgroup, in which all its processes are; "": the main process and its descendants
}

// Usage is what a program used when it was sampled: the sum over its processes.
type Usage struct {
	At        time.Time     //
	PID       int           // its main process
	CPU       float64       // percent of one CPU since the sample before; at first, since its start
	CPUTime   time.Duration // of the processes that are alive
	RSS       int64         // bytes
	FDs       int           // open descriptors
	Threads   int           //
	Processes int           //
}

// Sampler keeps the latest usage of its targets. Tick is for one goroutine, Latest for any number.
type Sampler struct {
	root   string // /proc
	latest atomic.Pointer[map[string]Usage]

	mu    sync.Mutex // held by a tick
	files reader
	seen  map[int]seen // processes at the tick before
	next  map[int]seen
	last  time.Time
	pids  []int
}

// seen is what is remembered of a process, so that its next sample can tell what it did since.
type seen struct {
	start, ticks uint64
}

// New gives a sampler that knows nothing yet.
func New() *Sampler { return &Sampler{root: "/proc"} }

// Latest gives the usage at the last tick, and false for a key that was no target then or whose processes were gone.
func (s *Sampler) Latest(key string) (Usage, bool) {
	all := s.latest.Load()
	if all == nil {
		return Usage{}, false
	}
	u, ok := (*all)[key]
	return u, ok
}

// Tick samples the targets; those that are not named any more are forgotten. Processes that end while they are read are
// left out, and so is what belongs to a pid that is another process by now.
func (s *Sampler) Tick(now time.Time, targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files.prepare(s.root)
	var tree *forest
	if s.next == nil {
		s.next = map[int]seen{}
	}
	clear(s.next)
	out := make(map[string]Usage, len(targets))
	before := s.latest.Load()
	for i := range targets {
		t := &targets[i]
		s.pids = s.pids[:0]
		if t.Cgroup != "" {
			s.pids = s.files.cgroup(s.pids, t.Cgroup)
		}
		read := s.files.stat
		if len(s.pids) == 0 {
			if tree == nil {
				tree = s.files.forest()
			}
			s.pids = tree.under(s.pids, t.PID)
			read = tree.stat
		}
		main, ok := read(t.PID)
		if ok && t.Start != 0 && main.start != t.Start {
			continue
		}
		u, delta := s.sum(t.PID, main, ok, read)
		if u.Processes == 0 {
			continue
		}
		u.At, u.PID = now, t.PID
		known := false
		if before != nil {
			_, known = (*before)[t.Key]
		}
		if span := now.Sub(s.last); known && span > 0 {
			u.CPU = percent(delta, span)
		} else if ok {
			u.CPU = percent(ticksOf(u.CPUTime), sinceBoot()-ticks(main.start))
		}
		out[t.Key] = u
	}
	s.seen, s.next = s.next, s.seen
	s.last = now
	s.latest.Store(&out)
}

// sum adds up the processes in s.pids, and gives the ticks that they ran since the tick before. The main process has been
// read already.
func (s *Sampler) sum(mainPID int, main stat, haveMain bool, read func(int) (stat, bool)) (u Usage, delta uint64) {
	var total uint64
	for _, pid := range s.pids {
		p, ok := main, haveMain
		if pid != mainPID || !haveMain {
			p, ok = read(pid)
		}
		if !ok || p.state == 'Z' {
			continue
		}
		was := s.seen[pid]
		if was.start == p.start && was.ticks <= p.ticks {
			delta += p.ticks - was.ticks
		} else if was.start != p.start {
			delta += p.ticks // it is new
		}
		s.next[pid] = seen{p.start, p.ticks}
		total += p.ticks
		u.RSS += p.rss
		u.Threads += p.threads
		u.FDs += s.files.fds(pid)
		u.Processes++
	}
	u.CPUTime = ticks(total)
	return u, delta
}

// userHZ is the unit of the kernel's clock ticks as programs see them; it has been the same on every Linux.
const userHZ = 100

func ticks(n uint64) time.Duration { return time.Duration(n) * (time.Second / userHZ) }

func ticksOf(d time.Duration) uint64 { return uint64(d / (time.Second / userHZ)) }

func percent(delta uint64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return 100 * float64(ticks(delta)) / float64(span)
}

func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
