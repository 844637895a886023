// Package ident tells processes apart: a pid alone names whoever has it now, so that an identity is pid, start time,
// boot and pid namespace, and nothing is done to a process when one of them does not fit.
package ident

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Identity names one process for good.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/<pid>/stat
	Boot  string `json:"boot"`
	NS    string `json:"ns"` // pid namespace, as /proc/self/ns/pid names it
}

// ErrOther says that the process is not the one that was meant, or is gone.
var ErrOther = errors.New("no process of this identity")

var here = sync.OnceValues(func() (string, string) {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	ns, _ := os.Readlink("/proc/self/ns/pid")
	return strings.TrimSpace(string(boot)), ns
})

// Here gives the boot id and pid namespace that this process lives in; "" where it cannot be known.
func Here() (boot, ns string) { return here() }

// Stat is the part of /proc/<pid>/stat that is of use here.
type Stat struct {
	PID, PPID, PGID, SID int
	State                byte
	UTime, STime         uint64 // clock ticks
	Start                uint64 // clock ticks since boot
	ExitCode             int    // as wait(2) gives it; of a zombie only, and only where we may look
}

// Read gives the Stat of a pid.
func Read(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, ErrOther
	}
	end := bytes.LastIndexByte(b, ')') // the name may hold anything, parentheses too
	f := strings.Fields(string(b[end+1:]))
	if end < 0 || len(f) < 50 {
		return Stat{}, fmt.Errorf("cannot read /proc/%d/stat: %q", pid, b)
	}
	num := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
	big := func(i int) uint64 { n, _ := strconv.ParseUint(f[i], 10, 64); return n }
	return Stat{PID: pid, State: f[0][0], PPID: num(1), PGID: num(2), SID: num(3),
		UTime: big(11), STime: big(12), Start: big(19), ExitCode: num(49)}, nil
}

// Of gives the identity of a living pid.
func Of(pid int) (Identity, error) {
	s, err := Read(pid)
	if err != nil {
		return Identity{}, err
	}
	boot, ns := Here()
	return Identity{pid, s.Start, boot, ns}, nil
}

// Local reports whether the identity belongs to this boot and pid namespace; otherwise its pid means nothing here.
func (id Identity) Local() bool {
	boot, ns := Here()
	return id.PID > 0 && id.Start > 0 && id.Boot == boot && id.NS == ns && boot != "" && ns != ""
}

// Open gives a pidfd of exactly this process, or ErrOther. A zombie counts as the process.
func (id Identity) Open() (int, error) {
	if !id.Local() {
		return -1, ErrOther
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err != nil {
		return -1, ErrOther
	}
	unix.CloseOnExec(fd)
	if s, err := Read(id.PID); err != nil || s.Start != id.Start { // looked at after the pidfd pins it
		unix.Close(fd)
		return -1, ErrOther
	}
	return fd, nil
}

// Alive reports whether exactly this process runs; a zombie does not.
func (id Identity) Alive() bool {
	if !id.Local() {
		return false
	}
	s, err := Read(id.PID)
	return err == nil && s.Start == id.Start && s.State != 'Z' && s.State != 'X'
}

// Signal sends a signal through a pidfd that is opened and checked for this one signal.
func (id Identity) Signal(sig unix.Signal) error {
	fd, err := id.Open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// Exit is what can be known of the end of a process that is not our child. how is pidfd or stat; ok is false while
// nothing is known. A process that has been reaped is known through its pidfd (Linux 6.15), one that has not yet
// through its stat.
func (id Identity) Exit(pidfd int) (status int, how string, ok bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if e == 0 && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
		return int(info.Exit_code), "pidfd", true
	}
	if s, err := Read(id.PID); err == nil && s.Start == id.Start && (s.State == 'Z' || s.State == 'X') && id.readable() {
		return s.ExitCode, "stat", true
	}
	return 0, "", false
}

// readable says whether the kernel shows us the exit code in stat: it shows 0 to who may not look, which must not be
// taken for success. Root and the owner may.
func (id Identity) readable() bool {
	if os.Geteuid() == 0 {
		return true
	}
	var st unix.Stat_t
	return unix.Stat("/proc/"+strconv.Itoa(id.PID), &st) == nil && int(st.Uid) == os.Geteuid()
}

// All gives the Stat of every process that can be seen.
func All() []Stat {
	d, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	var out []Stat
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			if s, err := Read(pid); err == nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// Below gives those of all that descend from root, root itself left out.
func Below(root int, all []Stat) []Stat {
	kids := map[int][]Stat{}
	for _, s := range all {
		kids[s.PPID] = append(kids[s.PPID], s)
	}
	var out []Stat
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		for _, s := range kids[todo[0]] {
			out = append(out, s)
			todo = append(todo, s.PID)
		}
	}
	return out
}

// Environ gives one variable of another process, as it was at its start.
func Environ(pid int, name string) (string, bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return "", false
	}
	for v := range strings.SplitSeq(string(b), "\x00") {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			return rest, true
		}
	}
	return "", false
}
