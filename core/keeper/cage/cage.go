// Package cage holds everything that a program starts together in a control group, so that it can be listed and ended as
// one, whatever its processes did to their sessions and parents.
package cage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kinds of containment. Stub is the one without a control group.
const (
	V2   = "v2"
	V1   = "v1"
	Stub = "stub"
)

// Place is where the groups of one home are made.
type Place struct {
	Kind string // V2 or V1
	Dir  string // absolute; our own group, above those of the programs
}

// mount is a mounted hierarchy as /proc/self/mountinfo tells of it.
type mount struct{ root, point, kind, options string }

// Candidates gives the places in which groups may be made below our own place, best first. Whether one works shows when it is
// tried.
func Candidates(name string) []Place {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	return candidates(string(info), string(own), name)
}

func candidates(info, own, name string) []Place {
	var out []Place
	mounts := parseMounts(info)
	add := func(kind, controller string) {
		if dir := place(kind, controller, mounts, own, name); dir != "" {
			out = append(out, Place{Kind: kind, Dir: dir})
		}
	}
	add(V2, "")
	for _, c := range []string{"freezer", "pids", "name=systemd"} {
		add(V1, c)
	}
	return out
}

// place is where a group of a name is below our own in the hierarchy of a controller; "" where there is none.
func place(kind, controller string, mounts []mount, own, name string) string {
	path, ok := ownPath(own, controller)
	if !ok {
		return ""
	}
	for _, m := range mounts {
		if kind == V2 && m.kind != "cgroup2" || kind == V1 && (m.kind != "cgroup" || !hasOption(m.options, controller)) {
			continue
		}
		rel, err := filepath.Rel(m.root, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = "." // our place lies outside of what is mounted here
		}
		return filepath.Join(m.point, rel, name)
	}
	return ""
}

func parseMounts(info string) []mount {
	var out []mount
	for line := range strings.Lines(info) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if ok && len(f) >= 5 && len(g) >= 3 && strings.HasPrefix(g[0], "cgroup") {
			out = append(out, mount{unescape(f[3]), unescape(f[4]), g[0], g[2]})
		}
	}
	return out
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func hasOption(options, name string) bool {
	for o := range strings.SplitSeq(options, ",") {
		if o == name {
			return true
		}
	}
	return false
}

// ownPath finds our own group in /proc/self/cgroup; the controller of the second version is "".
func ownPath(own, controller string) (string, bool) {
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[1] == controller || controller != "" && hasOption(f[1], controller) {
			return f[2], true
		}
	}
	return "", false
}

// Make makes the group of a name and gives its directory. A group that is there already must be empty: it is removed
// first.
func (p Place) Make(name string) (string, error) {
	if !ValidName(name) {
		return "", fmt.Errorf("%q is no name for a control group", name)
	}
	dir := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return "", err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if err = Remove(dir); err == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil {
		return "", err
	}
	return dir, nil
}

// ValidName reports whether a name may be used as a group's: [a-z0-9._-]+, not starting with a dot.
func ValidName(name string) bool {
	return name != "" && len(name) <= 200 && name[0] != '.' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
}

// Join puts this process into a group.
func Join(dir string) error {
	return write(filepath.Join(dir, "cgroup.procs"), "0")
}

// write does not try to make a file that is not there, which these file systems answer with another error. Like read it
// goes without os.File, whose detour over epoll costs more than the rest: both are on the way of every restart.
func write(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err = unix.Write(fd, []byte(text)); err != nil {
		return &fs.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// read gives the text of a small file.
func read(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var b [256]byte
	n, err := unix.Read(fd, b[:])
	return string(b[:max(n, 0)]), err
}

// Groups gives the groups below a directory, itself included, the deepest first.
func Groups(dir string) []string {
	var out []string
	es, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range es {
		if e.IsDir() {
			out = append(out, Groups(filepath.Join(dir, e.Name()))...)
		}
	}
	return append(out, dir)
}

// PIDs gives the processes of a group and those below.
func PIDs(dir string) []int {
	var out []int
	for _, d := range Groups(dir) {
		b, err := os.ReadFile(filepath.Join(d, "cgroup.procs"))
		if err != nil {
			continue
		}
		for f := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				out = append(out, pid)
			}
		}
	}
	return out
}

// Populated reports whether anything lives in a group or below.
func Populated(dir string) bool {
	if text, err := read(filepath.Join(dir, "cgroup.events")); err == nil {
		return !strings.Contains(text, "populated 0")
	}
	return len(PIDs(dir)) > 0
}

// Kill sends SIGKILL to everything in a group and below. Where the kernel cannot do it in one step the group is frozen
// meanwhile, so that nothing forks away.
func Kill(dir string) error {
	if !exists(dir) {
		return nil
	}
	err := write(filepath.Join(dir, "cgroup.kill"), "1")
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	freeze(dir, true)
	defer freeze(dir, false)
	var failed error
	for _, pid := range PIDs(dir) {
		if e := unix.Kill(pid, unix.SIGKILL); e != nil && e != unix.ESRCH {
			failed = fmt.Errorf("cannot kill %d: %w", pid, e)
		}
	}
	return failed
}

// freeze stops and lets go; where a hierarchy cannot, the kill is simply repeated by whoever waits for the end.
func freeze(dir string, on bool) {
	v2, v1 := "0", "THAWED"
	if on {
		v2, v1 = "1", "FROZEN"
	}
	for _, d := range Groups(dir) {
		for name, word := range map[string]string{"cgroup.freeze": v2, "freezer.state": v1} {
			_ = write(filepath.Join(d, name), word) // see above
		}
	}
}

// Remove removes an empty group with those below. A group that is gone is no error.
func Remove(dir string) error {
	if err := unix.Rmdir(dir); err == nil || err == unix.ENOENT { // most have none below
		return nil
	}
	for _, d := range Groups(dir) {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Holds reports whether a pid lives in a group or below. The kernel names a group from another root than our directory
// does, but the part that starts with the home's own group is the same.
func Holds(dir string, pid int) bool {
	own, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return false
	}
	tail := filepath.Join("/", filepath.Base(filepath.Dir(dir)), filepath.Base(dir)) + "/"
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && strings.Contains(f[2]+"/", tail) {
			return true
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
