package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tree is every process that this run has started: bench is the subreaper of all, so whatever loses its parent becomes a
// child of bench and can be found, reaped and ended.
type tree struct {
	mu   sync.Mutex
	mine map[int]bool // children that somebody waits for
	chld chan os.Signal
	done chan struct{}
	wg   sync.WaitGroup
}

func growTree() (*tree, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become subreaper: %w", err)
	}
	t := &tree{mine: map[int]bool{}, chld: make(chan os.Signal, 1), done: make(chan struct{})}
	signal.Notify(t.chld, syscall.SIGCHLD)
	t.wg.Go(func() {
		for {
			select {
			case <-t.chld:
				t.reap()
			case <-t.done:
				return
			}
		}
	})
	return t, nil
}

// start starts a command whose Wait is somebody's business.
func (t *tree) start(cmd *exec.Cmd) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := cmd.Start()
	if err == nil {
		t.mine[cmd.Process.Pid] = true
	}
	return err
}

// wait waits for a command that start has started.
func (t *tree) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	t.mu.Lock()
	delete(t.mine, cmd.Process.Pid)
	t.mu.Unlock()
	return err
}

// reap takes the orphans that have ended, and nobody's child.
func (t *tree) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	self := os.Getpid()
	for _, p := range processes() {
		if p.ppid == self && p.state == 'Z' && !t.mine[p.pid] {
			_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil) // it is a zombie of ours
		}
	}
}

// end kills whatever of this run is left, and names it.
func (t *tree) end() (left []string) {
	named := map[int]bool{}
	for round := 0; round < 200; round++ {
		alive := descendants(os.Getpid())
		if len(alive) == 0 {
			break
		}
		for _, p := range alive {
			if !named[p.pid] {
				named[p.pid] = true
				left = append(left, fmt.Sprintf("%d %s", p.pid, p.comm))
			}
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // gone is as good
		}
		<-time.After(10 * time.Millisecond)
		t.reap()
	}
	signal.Stop(t.chld)
	close(t.done)
	t.wg.Wait()
	return left
}

// process is what /proc/PID/stat says.
type process struct {
	pid, ppid int
	state     byte
	comm      string
}

func processes() (all []process) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		f := bytes.Fields(text[shut+1:])
		ppid, _ := strconv.Atoi(string(f[1]))
		all = append(all, process{pid: pid, ppid: ppid, state: f[0][0], comm: string(text[open+1 : shut])})
	}
	return all
}

// descendants gives the living processes below one.
func descendants(root int) (below []process) {
	all := processes()
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if in[p.ppid] && !in[p.pid] {
				in[p.pid] = true
				grown = true
				if p.state != 'Z' && p.state != 'X' {
					below = append(below, p)
				}
			}
		}
	}
	return below
}

// named gives the descendants of this run with one of these names.
func named(comms ...string) (pids []int) {
	for _, p := range descendants(os.Getpid()) {
		if slices.Contains(comms, p.comm) {
			pids = append(pids, p.pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// running gives the descendants of this run whose command line has all these words.
func running(words ...string) (pids []int) {
	for _, p := range descendants(os.Getpid()) {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if err != nil {
			continue
		}
		argv := strings.Split(string(args), "\x00")
		if !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(argv, w) }) {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// cpu is the processor time of a process with all its threads, in nanoseconds' resolution.
func cpu(pid int) time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|2), &ts) != nil { // clock_getcpuclockid(3)
		return 0
	}
	return time.Duration(ts.Nano())
}

func cpuOf(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpu(pid)
	}
	return sum
}

// memory sums up what smaps_rollup says, in bytes.
func memory(pids []int) (rss, pss int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			n, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "Rss:":
				rss += n << 10
			case "Pss:":
				pss += n << 10
			}
		}
	}
	return rss, pss
}

// resident sums up the resident pages; it is cheap enough to be looked at often.
func resident(pids []int) (sum int64) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			continue
		}
		if f := strings.Fields(string(text)); len(f) > 1 {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n * int64(os.Getpagesize())
		}
	}
	return sum
}

func descriptors(pids []int) (sum int) {
	for _, pid := range pids {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err == nil {
			sum += len(fds)
		}
	}
	return sum
}

// peak watches resident memory until stop is called, which gives how far it rose above what it was, and that.
func peak(pids []int) (stop func() (growth, start int64)) {
	start := resident(pids)
	most := start
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				most = max(most, resident(pids))
			}
		}
	}()
	return func() (int64, int64) {
		close(end)
		<-ended
		return max(most, resident(pids)) - start, start
	}
}

// unmountBelow takes away the mounts below a folder, the deepest first.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // nothing can be mounted here
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+string(filepath.Separator)) {
			points = append(points, f[4])
		}
	}
	slices.Sort(points)
	for _, p := range slices.Backward(points) {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("cannot unmount %s: %w", p, err)
		}
	}
	return nil
}
