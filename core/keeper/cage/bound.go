package cage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds is how much everything in a group may use together; 0 is as much as there is.
type Bounds struct {
	Memory int64   // bytes; swap is not used instead
	CPU    float64 // so many processors' time
}

// The controllers that bounds need.
const (
	memory = "memory"
	cpu    = "cpu"
)

// period is the time in which a share of CPU is given, in microseconds.
const period = 100_000

// Needs names the controllers that the bounds need.
func (b Bounds) Needs() (out []string) {
	if b.Memory > 0 {
		out = append(out, memory)
	}
	if b.CPU > 0 {
		out = append(out, cpu)
	}
	return out
}

// files is what has to be written for one controller of a kind; what is beyond the first file may be missing here.
func (b Bounds) files(kind, controller string) [][2]string {
	bytes, quota := strconv.FormatInt(b.Memory, 10), strconv.FormatInt(max(int64(b.CPU*period), 1000), 10)
	switch {
	case kind == V2 && controller == memory:
		return [][2]string{{"memory.max", bytes}, {"memory.swap.max", "0"}}
	case kind == V2:
		return [][2]string{{"cpu.max", quota + " " + strconv.Itoa(period)}}
	case controller == memory: // the sum with swap cannot be less than the memory, so it comes second
		return [][2]string{{"memory.limit_in_bytes", bytes}, {"memory.memsw.limit_in_bytes", bytes}}
	}
	return [][2]string{{"cpu.cfs_quota_us", quota}}
}

// set writes the bounds of one controller into a group.
func (b Bounds) set(kind, controller, dir string) error {
	if kind == V1 && controller == cpu {
		if err := write(filepath.Join(dir, "cpu.cfs_period_us"), strconv.Itoa(period)); err != nil {
			return err
		}
	}
	for i, f := range b.files(kind, controller) {
		if err := write(filepath.Join(dir, f[0]), f[1]); err != nil && (i == 0 || !errors.Is(err, fs.ErrNotExist)) { // without swap there is no such file
			return err
		}
	}
	return nil
}

// Bounders gives the places of the first version in which the groups of a home can have bounds, by controller. Beside the
// group that holds a program together they are further ones, which the program enters too.
func Bounders(name string) map[string]Place {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return bounders(string(info), string(own), name)
}

func bounders(info, own, name string) map[string]Place {
	out := map[string]Place{}
	for _, c := range []string{memory, cpu} {
		if dir := place(V1, c, parseMounts(info), own, name); dir != "" {
			out[c] = Place{V1, dir}
		}
	}
	return out
}

// Bind has the bounds hold for the programs of a group: held is the group that holds them together, "" where there is none, in
// a place of a kind; name is theirs in further places. It gives the further groups that a program has to enter, which are
// the caller's to remove, and why a controller cannot do its part.
func Bind(b Bounds, kind, held, name string, places map[string]Place) (further []string, failed map[string]error) {
	failed = map[string]error{}
	for _, c := range b.Needs() {
		if kind == V2 && held != "" && enable(held, c) == nil {
			if err := b.set(V2, c, held); err != nil {
				failed[c] = err
			}
			continue
		}
		p, ok := places[c]
		if !ok {
			failed[c] = fmt.Errorf("no %s controller can be had here", c)
			continue
		}
		dir, err := p.Make(name)
		if err != nil {
			failed[c] = err
			continue
		}
		if slices.Contains(further, dir) { // both in one hierarchy
			err = b.set(V1, c, dir)
		} else if err = b.set(V1, c, dir); err == nil {
			further = append(further, dir)
		} else {
			_ = Remove(dir) // it was made just now and is empty
		}
		if err != nil {
			failed[c] = err
		}
	}
	return further, failed
}

// enable has a controller of the second version at work in a group, if it is to be had: each group on the way has to pass it on.
// A group that holds processes itself cannot, unless it is the root of all.
func enable(dir, controller string) error {
	if at, _ := read(filepath.Join(dir, "cgroup.controllers")); hasWord(at, controller) {
		return nil
	}
	home := filepath.Dir(dir)
	for _, d := range []string{filepath.Dir(home), home} {
		if err := write(filepath.Join(d, "cgroup.subtree_control"), "+"+controller); err != nil {
			return err
		}
	}
	if at, _ := read(filepath.Join(dir, "cgroup.controllers")); !hasWord(at, controller) {
		return unix.ENOENT
	}
	return nil
}

func hasWord(text, word string) bool {
	return slices.Contains(strings.Fields(text), word)
}

// Starved tells how many processes of a group, and of those below, the kernel has ended for want of memory.
func Starved(dirs ...string) int {
	n := 0
	for _, d := range dirs {
		if d == "" {
			continue
		}
		for _, name := range []string{"memory.events", "memory.oom_control"} {
			text, err := read(filepath.Join(d, name))
			if err != nil {
				continue
			}
			for line := range strings.Lines(text) {
				if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
					k, _ := strconv.Atoi(f[1])
					n += k
				}
			}
		}
	}
	return n
}
