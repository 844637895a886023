package sample

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"time"
)

// Process is one process in detail, read when it is asked for.
type Process struct {
	PID, PPID int
	Name      string   // as the kernel has it: foreign text
	Command   []string // its argv as it is now: foreign text, and empty for a zombie
	State     string   // R, S, D, T, Z …
	Started   time.Time
	CPUTime   time.Duration
	RSS       int64 // bytes
	FDs       int
	Threads   int
}

const maxCommand = 4096 // bytes of an argv that are kept

// Processes reads the processes of a target, ordered by their start.
func (s *Sampler) Processes(t Target) []Process {
	var r reader
	r.prepare(s.root)
	main, ok := r.stat(t.PID)
	ok = ok && (t.Start == 0 || main.start == t.Start)
	var pids []int
	if t.Cgroup != "" {
		pids = r.cgroup(nil, t.Cgroup)
	}
	if len(pids) == 0 && ok {
		pids = r.forest().under(nil, t.PID)
	}
	boot := time.Now().Add(-sinceBoot())
	list := make([]Process, 0, len(pids))
	for _, pid := range pids {
		st, ok := r.stat(pid)
		if !ok {
			continue
		}
		p := Process{
			PID: pid, PPID: st.ppid, State: string(st.state), Started: boot.Add(ticks(st.start)), CPUTime: ticks(st.ticks),
			RSS: st.rss, FDs: r.fds(pid), Threads: st.threads,
		}
		p.Name = string(bytes.TrimSpace(r.read(r.name(pid, "/comm"))))
		for arg := range bytes.SplitSeq(bytes.TrimRight(cut(r.read(r.name(pid, "/cmdline")), maxCommand), "\x00"), []byte{0}) {
			if len(p.Command) > 0 || len(arg) > 0 {
				p.Command = append(p.Command, string(arg))
			}
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b Process) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.PID, b.PID))
	})
	return list
}

func cut(b []byte, n int) []byte { return b[:min(n, len(b))] }

// readAll reads a file of /proc that may be longer than the reader's buffer.
func readAll(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil // the process may have ended, or be another user's: there is nothing to tell then
	}
	return text
}
