package daemon

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// shed lets go of the pages of the program's own file, most of which only starting has used: what is needed again is
// mapped again, from the page cache. Pages that are written to are no part of it.
func shed() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) { // proc_pid_maps(5): from-to perms offset dev inode path
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != exe || len(f[1]) != 4 || f[1][1] == 'w' {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		lo, err1 := strconv.ParseUint(from, 16, 64)
		hi, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(lo), uintptr(hi-lo), unix.MADV_DONTNEED) // a hint
		}
	}
}
