package rig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// DaemonPID is the pid in daemon.pid.
func (r *Rig) DaemonPID() int {
	data, err := os.ReadFile(filepath.Join(r.Home, "daemon.pid"))
	if err != nil {
		return 0
	}
	var p struct{ PID int }
	_ = json.Unmarshal(data, &p) // empty while nobody owns the home
	return p.PID
}

// KeeperPID is the pid of the home's keeper, or 0.
func (r *Rig) KeeperPID() int {
	for _, p := range Processes() {
		if strings.Contains(p.Args, "omnitron-keeper") && strings.Contains(p.Args, " run ") && strings.Contains(p.Args, r.Home) {
			return p.PID
		}
	}
	return 0
}

// KillDaemon ends the daemon by SIGKILL and waits until the next one owns the home.
func (r *Rig) KillDaemon() {
	r.T.Helper()
	old := r.DaemonPID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		r.T.Fatal(err)
	}
	r.Until(20*time.Second, "another daemon owns the home", func() bool {
		now := r.DaemonPID()
		return now != 0 && now != old
	})
}

// Process is a line of ps.
type Process struct {
	PID, PPID int
	State     byte
	Start     string // clock ticks since boot
	Args      string
}

// Processes reads /proc.
func Processes() []Process {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []Process
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		if p, ok := ReadProcess(pid); ok {
			out = append(out, p)
		}
	}
	return out
}

// ReadProcess reads one process, unless it is gone.
func ReadProcess(pid int) (Process, bool) {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return Process{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, false
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 20 {
		return Process{}, false
	}
	ppid, _ := strconv.Atoi(f[1])
	return Process{PID: pid, PPID: ppid, State: f[0][0], Start: f[19], Args: strings.TrimRight(strings.ReplaceAll(string(args), "\x00", " "), " ")}, true
}

// Marked gives the living processes whose command line has a marker.
func Marked(marker string) []Process {
	var out []Process
	for _, p := range Processes() {
		if strings.Contains(p.Args, marker) && p.State != 'Z' {
			out = append(out, p)
		}
	}
	return out
}

// Left gives the living processes of this rig: those with its folder in their command line.
func (r *Rig) Left() []Process {
	var out []Process
	for _, p := range Marked(filepath.Dir(r.Home) + "/") {
		if p.PID != os.Getpid() {
			out = append(out, p)
		}
	}
	return out
}
