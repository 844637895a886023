package sample

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is the host as a whole.
type Machine struct {
	Hostname     string
	Kernel       string
	Boot         string // id of this boot
	Uptime       time.Duration
	CPUs         int
	Load         [3]float64 // over 1, 5 and 15 minutes
	MemTotal     int64      // bytes
	MemAvailable int64
	SwapTotal    int64
	SwapFree     int64
	DiskTotal    int64 // bytes of the file system that the home is on
	DiskFree     int64 // for unprivileged users
	Threads      int   // of all processes
}

// Machine reads the state of the host; home is any path on the disk that matters. What a container does not show stays
// zero; that the disk cannot be looked at is an error.
func (s *Sampler) Machine(home string) (Machine, error) {
	m := Machine{CPUs: runtime.NumCPU(), Uptime: sinceBoot()}
	m.Hostname, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	m.Boot = strings.TrimSpace(string(readAll(s.root + "/sys/kernel/random/boot_id")))
	for i, word := range strings.Fields(string(readAll(s.root + "/loadavg"))) {
		if i < len(m.Load) {
			m.Load[i], _ = strconv.ParseFloat(word, 64)
		} else if _, all, ok := strings.Cut(word, "/"); ok {
			m.Threads, _ = strconv.Atoi(all)
			break
		}
	}
	for line := range bytes.Lines(readAll(s.root + "/meminfo")) {
		name, rest, _ := strings.Cut(string(line), ":")
		n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		switch name {
		case "MemTotal":
			m.MemTotal = n << 10
		case "MemAvailable":
			m.MemAvailable = n << 10
		case "SwapTotal":
			m.SwapTotal = n << 10
		case "SwapFree":
			m.SwapFree = n << 10
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(home, &fs); err != nil {
		return m, fmt.Errorf("cannot look at the disk of %s: %w", home, err)
	}
	m.DiskTotal, m.DiskFree = int64(fs.Blocks)*fs.Bsize, int64(fs.Bavail)*fs.Bsize
	return m, nil
}
