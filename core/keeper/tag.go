package keeper

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A tag names the descendants of one stub for as long as they live, whatever becomes of the stub. It is their limit of
// file locks: inherited by everything that they start, kept by exec, setsid and an empty environment, told by /proc to
// everybody, and without any effect since Linux 2.4.25. It can be lowered, and raised by root: a program that does that
// on purpose leaves, as it could leave a control group.

const (
	tagTop  = 1 << 62 // what programs print as a number stays one that they can print
	tagRoom = 1 << 48 // a tag is drawn from so many: none comes twice
)

// newTag draws a tag that this process can give. Without CAP_SYS_RESOURCE it must be below our own, which we have when
// we were started from within an app. 0: there is none.
func newTag() uint64 {
	var own unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_LOCKS, &own) != nil {
		return 0
	}
	top := min(own.Max, tagTop)
	if top <= tagRoom {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return top - 1 - binary.NativeEndian.Uint64(b[:])%tagRoom
}

// tag gives a process that runs nothing yet a tag, or 0 when it cannot have one.
func (k *keeper) tag(pid int) uint64 {
	tag := newTag()
	if tag == 0 {
		k.log("warn", "the limit of file locks is too low to tell programs by it", "pid", pid)
		return 0
	}
	if err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, &unix.Rlimit{Cur: tag, Max: tag}, nil); err != nil {
		k.log("warn", "cannot set the limit of file locks", "pid", pid, "err", err.Error())
		return 0
	}
	return tag
}

// tagOf reads the tag of a process, 0 when it has none.
func tagOf(pid int) uint64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max file locks")); ok {
			if f := bytes.Fields(rest); len(f) > 1 { // soft, hard
				n, _ := strconv.ParseUint(string(f[1]), 10, 64) // "unlimited" is none
				return n
			}
		}
	}
	return 0
}

// telling gives those tags that tell others from us: when we descend from an app, so does all that we start.
func telling(tags map[uint64]bool) map[uint64]bool {
	delete(tags, 0)
	delete(tags, tagOf(os.Getpid()))
	return tags
}
