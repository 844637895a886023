// Package descent knows every process that this program has caused, however its parents ended: it makes the program the
// subreaper of all that descends from it, so that what loses its parent becomes its child, can be found and can be ended.
package descent

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/keeper"
	"github.com/omnitron-dev/omnitron/core/keeper/cage"
)

// Tree is what descends from this program.
type Tree struct {
	mu   sync.Mutex
	mine map[int]bool // children that somebody waits for
	chld chan os.Signal
	done chan struct{}
	wg   sync.WaitGroup
}

// Grow makes this program the root of a tree. Its children are started through the tree from then on: it reaps all others.
func Grow() (*Tree, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot become subreaper: %w", err)
	}
	t := &Tree{mine: map[int]bool{}, chld: make(chan os.Signal, 1), done: make(chan struct{})}
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

// Start starts a command; Wait has to follow.
func (t *Tree) Start(cmd *exec.Cmd) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := cmd.Start()
	if err == nil {
		t.mine[cmd.Process.Pid] = true
	}
	return err
}

// Wait waits for a command that Start has started.
func (t *Tree) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	t.mu.Lock()
	delete(t.mine, cmd.Process.Pid)
	t.mu.Unlock()
	return err
}

// reap takes the orphans that have ended, and nobody's child.
func (t *Tree) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	self := os.Getpid()
	for _, p := range All() {
		if p.PPID == self && p.State == 'Z' && !t.mine[p.PID] {
			_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil) // it is a zombie of ours
		}
	}
}

// Sweep kills whatever descends from this program, removes the control groups of keepers among it, and names what it was.
func (t *Tree) Sweep() (left []string) {
	seen, homes := map[int]bool{}, map[string]bool{}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		alive := Of(os.Getpid())
		if len(alive) == 0 {
			break
		}
		for _, p := range alive {
			if !seen[p.PID] {
				seen[p.PID] = true
				left = append(left, fmt.Sprintf("%d %s", p.PID, p.Name))
				argv := p.Argv()
				if i := slices.Index(argv, "--home"); i > 0 && i+1 < len(argv) {
					homes[argv[i+1]] = true
				}
			}
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // gone is as good
		}
		<-tick.C
		t.reap()
	}
	for home := range homes {
		for _, place := range cage.Candidates("omnitron-" + keeper.HomeID(home)) {
			_ = cage.Remove(place.Dir) // it may never have been there
		}
	}
	return left
}

// End stops reaping.
func (t *Tree) End() {
	signal.Stop(t.chld)
	close(t.done)
	t.wg.Wait()
}

// Process is what /proc/PID/stat says.
type Process struct {
	PID, PPID int
	State     byte
	Name      string // at most 15 bytes
}

// All gives every process that can be seen.
func All() (all []Process) {
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
		if open < 0 || len(f) < 2 {
			continue
		}
		ppid, _ := strconv.Atoi(string(f[1]))
		all = append(all, Process{PID: pid, PPID: ppid, State: f[0][0], Name: string(text[open+1 : shut])})
	}
	return all
}

// Of gives the living processes below one.
func Of(root int) (below []Process) {
	all := All()
	in := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if in[p.PPID] && !in[p.PID] {
				in[p.PID] = true
				grown = true
				if p.State != 'Z' && p.State != 'X' {
					below = append(below, p)
				}
			}
		}
	}
	return below
}

// Named gives the descendants of this program with one of these names.
func Named(names ...string) (pids []int) {
	for _, p := range Of(os.Getpid()) {
		if slices.Contains(names, p.Name) {
			pids = append(pids, p.PID)
		}
	}
	slices.Sort(pids)
	return pids
}

// Running gives the descendants of this program whose command line has all these words.
func Running(words ...string) (pids []int) {
	for _, p := range Of(os.Getpid()) {
		argv := p.Argv()
		if !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(argv, w) }) {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// Argv is the command line, or nothing when the process has ended.
func (p Process) Argv() []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}
