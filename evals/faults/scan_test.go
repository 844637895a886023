package faults

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// process names one process for good.
type process struct {
	pid   int
	start string // clock ticks since boot
}

// status is what /proc/PID/stat says of a process.
type status struct {
	start string
	ppid  int
}

// scanner looks through the process table all the time, from outside, for programs that carry a mark in an argument:
// MARK.SLOT. It knows nothing of daemon or keeper.
type scanner struct {
	prefix  []byte
	strange map[int]bool // was there before us and is none of ours
	buf     []byte
	quit    chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	seen    map[string][]process // by slot, as of the last look
	looks   int
	slowest time.Duration // between two looks
	late    int           // looks that came more than 5 ms after the one before
	doubles []string      // two living generations of one slot
}

// scan starts a scanner that ends with the test, which then fails if a slot ever had two generations at once.
func scan(t testing.TB, mark string) *scanner {
	t.Helper()
	s := &scanner{prefix: []byte(mark + "."), strange: map[int]bool{}, buf: make([]byte, 4096), quit: make(chan struct{}), done: make(chan struct{}),
		seen: map[string][]process{}}
	for _, pid := range s.pids() {
		if _, ok := s.slot(pid); !ok {
			s.strange[pid] = true
		}
	}
	go s.run()
	t.Cleanup(func() {
		close(s.quit)
		<-s.done
		t.Logf("scanner: %d looks at the process table, %d of them more than 5 ms after the one before, at most %s", s.looks, s.late, s.slowest.Round(time.Millisecond))
		for i, d := range s.doubles {
			if i == 10 {
				t.Errorf("… and %d times more", len(s.doubles)-i)
				break
			}
			t.Error(d)
		}
		if s.looks > 1000 && s.late*4 > s.looks {
			t.Errorf("only %d of %d looks came within 5 ms: this proves too little", s.looks-s.late, s.looks)
		}
	})
	return s
}

func (s *scanner) run() {
	defer close(s.done)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-s.quit:
			return
		case <-tick.C:
			s.look()
			now := time.Now()
			s.mu.Lock()
			s.looks++
			if d := now.Sub(last); d > 5*time.Millisecond {
				s.late++
				s.slowest = max(s.slowest, d)
			}
			s.mu.Unlock()
			last = now
		}
	}
}

// look reads the table once.
func (s *scanner) look() {
	seen := map[string][]process{}
	strange := make(map[int]bool, len(s.strange))
	for _, pid := range s.pids() {
		if s.strange[pid] {
			strange[pid] = true
			continue
		}
		slot, ok := s.slot(pid)
		if !ok {
			continue
		}
		if st, alive := statusOf(pid); alive {
			seen[slot] = append(seen[slot], process{pid, st.start})
		}
	}
	s.strange = strange
	var doubles []string
	for slot, ps := range seen {
		if len(ps) < 2 {
			continue
		}
		// Both were seen, one after the other. Only if the first lives still did they live at the same time. A child that
		// has not executed its own program yet has the arguments of its parent.
		var living []process
		for _, p := range ps {
			st, alive := statusOf(p.pid)
			if alive && st.start == p.start && !slices.ContainsFunc(ps, func(o process) bool { return o.pid == st.ppid }) {
				living = append(living, p)
			}
		}
		if len(living) > 1 {
			doubles = append(doubles, fmt.Sprintf("%s: slot %s has %d living generations: %v", time.Now().Format("15:04:05.000"), slot, len(living), living))
		}
	}
	s.mu.Lock()
	s.seen = seen
	s.doubles = append(s.doubles, doubles...)
	s.mu.Unlock()
}

func (s *scanner) pids() []int {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // what cannot be read is not there
	out := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

// slot finds the mark in a process's arguments. A zombie has none.
func (s *scanner) slot(pid int) (string, bool) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	n, err := unix.Read(fd, s.buf)
	unix.Close(fd)
	if err != nil || n <= 0 {
		return "", false
	}
	args := s.buf[:n]
	for at := 0; at < len(args); {
		i := bytes.Index(args[at:], s.prefix)
		if i < 0 {
			return "", false
		}
		at += i
		if at == 0 || args[at-1] == 0 { // an argument of its own, not the middle of a path
			rest, _, _ := bytes.Cut(args[at+len(s.prefix):], []byte{0})
			return string(rest), true
		}
		at++
	}
	return "", false
}

// statusOf reads a process that lives and is no zombie.
func statusOf(pid int) (status, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return status{}, false
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return status{}, false
	}
	ppid, _ := strconv.Atoi(f[1]) // always a number
	return status{f[19], ppid}, true
}

// now gives the processes of each slot as of a look that began after the call.
func (s *scanner) now() map[string][]process {
	s.mu.Lock()
	from := s.looks
	s.mu.Unlock()
	for {
		select {
		case <-s.done:
			return nil
		case <-time.After(time.Millisecond):
		}
		s.mu.Lock()
		if s.looks >= from+2 {
			seen := s.seen
			s.mu.Unlock()
			return seen
		}
		s.mu.Unlock()
	}
}

// one gives the only process of a slot, or a zero one.
func one(seen map[string][]process, slot string) process {
	if ps := seen[slot]; len(ps) == 1 {
		return ps[0]
	}
	return process{}
}

// others gives the slots that have processes, but for those named.
func others(seen map[string][]process, but ...string) []string {
	var out []string
	for slot := range seen {
		if !slices.Contains(but, slot) {
			out = append(out, slot)
		}
	}
	slices.Sort(out)
	return out
}
