package sample

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// reader reads the small files of /proc into memory that it keeps.
type reader struct {
	root  string
	buf   []byte
	path  []byte
	sizes bool // the kernel tells the number of descriptors as the size of their directory (6.2 and later)
}

func (r *reader) prepare(root string) {
	if r.buf != nil {
		return
	}
	r.root, r.buf = root, make([]byte, 16<<10)
	var st unix.Stat_t
	r.sizes = unix.Stat(root+"/self/fd", &st) == nil && st.Size > 0
}

func (r *reader) name(pid int, file string) string {
	r.path = append(r.path[:0], r.root...)
	r.path = append(r.path, '/')
	r.path = strconv.AppendInt(r.path, int64(pid), 10)
	r.path = append(r.path, file...)
	return string(r.path)
}

// read gives the beginning of a file; it is valid until the next call.
func (r *reader) read(path string) []byte {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	n, err := unix.Read(fd, r.buf)
	_ = unix.Close(fd)
	if err != nil || n <= 0 {
		return nil
	}
	return r.buf[:n]
}

// stat is what /proc/<pid>/stat tells.
type stat struct {
	state   byte
	ppid    int
	ticks   uint64 // user and system
	threads int
	start   uint64 // ticks since boot
	rss     int64  // bytes
}

var pageSize = int64(os.Getpagesize())

func (r *reader) stat(pid int) (stat, bool) { return parseStat(r.read(r.name(pid, "/stat"))) }

// parseStat reads a stat line. The name in it may hold anything, parentheses included, so fields count from its end.
func parseStat(line []byte) (s stat, ok bool) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 || end+2 >= len(line) {
		return s, false
	}
	const last = 24 // rss
	field := 3
	rest := line[end+2:]
	for field <= last {
		word := rest
		if k := bytes.IndexByte(rest, ' '); k >= 0 {
			word, rest = rest[:k], rest[k+1:]
		} else {
			rest = nil
		}
		if len(word) == 0 {
			return s, false
		}
		switch field {
		case 3:
			if s.state = word[0]; !('A' <= s.state && s.state <= 'Z' || 'a' <= s.state && s.state <= 'z') {
				return s, false
			}
		case 4:
			s.ppid = int(number(word))
		case 14, 15:
			s.ticks += number(word)
		case 20:
			s.threads = int(number(word))
		case 22:
			s.start = number(word)
		case 24:
			s.rss = int64(number(word)) * pageSize
		}
		field++
	}
	return s, true
}

func number(b []byte) uint64 {
	n := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

// fds counts open descriptors.
func (r *reader) fds(pid int) int {
	dir := r.name(pid, "/fd")
	if r.sizes {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			return 0
		}
		return int(st.Size)
	}
	n := 0
	r.list(dir, func([]byte) { n++ })
	return n
}

// list gives the numeric names in a directory.
func (r *reader) list(dir string, each func(name []byte)) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	const header = 19 // inode, offset, length of the record, type
	entries := make([]byte, 8<<10)
	for {
		n, err := unix.Getdents(fd, entries)
		if err != nil || n <= 0 {
			return
		}
		for rec := entries[:n]; len(rec) > header; {
			size := int(rec[16]) | int(rec[17])<<8
			name := rec[header:size]
			if k := bytes.IndexByte(name, 0); k >= 0 {
				name = name[:k]
			}
			if len(name) > 0 && '0' <= name[0] && name[0] <= '9' {
				each(name)
			}
			rec = rec[size:]
		}
	}
}

// cgroup appends the processes of a cgroup.
func (r *reader) cgroup(pids []int, dir string) []int {
	text := r.read(dir + "/cgroup.procs")
	if len(text) == len(r.buf) { // there is more
		text = readAll(dir + "/cgroup.procs")
	}
	for line := range bytes.Lines(text) {
		if pid := int(number(line)); pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// forest is who descends from whom.
type forest struct {
	stats    map[int]stat
	children map[int][]int
}

// forest reads all processes, once a tick.
func (r *reader) forest() *forest {
	f := &forest{stats: map[int]stat{}, children: map[int][]int{}}
	r.list(r.root, func(name []byte) {
		pid := int(number(name))
		if s, ok := r.stat(pid); ok {
			f.stats[pid] = s
			f.children[s.ppid] = append(f.children[s.ppid], pid)
		}
	})
	return f
}

func (f *forest) stat(pid int) (stat, bool) {
	s, ok := f.stats[pid]
	return s, ok
}

// under appends a process and its descendants.
func (f *forest) under(pids []int, pid int) []int {
	at := len(pids)
	for pids = append(pids, pid); at < len(pids); at++ {
		pids = append(pids, f.children[pids[at]]...)
	}
	return pids
}
