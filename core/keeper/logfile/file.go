// Package logfile keeps what a program prints: it moves bytes from a pipe to the end of a file without taking them into
// memory, begins a new file at the end of a line when the old one is large, and writes beside each file when the bytes
// came. A kill at any moment neither loses nor doubles a byte: the file's size is the truth.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Result says how a Move ended.
type Result int

// The results of Move and Drop.
const (
	More   Result = iota // the budget is used up
	Empty                // nothing is in the pipe now
	EOF                  // nobody writes to the pipe any more, and it is empty
	Failed               // the disk refused: the bytes are still in the pipe, see File.Err
)

// File is one log file and its index. It is used by one goroutine.
type File struct {
	Path     string
	MaxSize  int64                // 0: never rotated
	MaxFiles int                  // rotated files that are left when one more comes, at most; 0: all
	Rotated  func(archive string) // called after each rotation; may be nil

	fd       int // -1 while the file could not be opened
	idx      *index
	base     uint64 // position of the file's first byte
	off      int64  // its size
	dev, ino uint64
	want     bool      // rotate at the next end of a line, whatever the size
	notUntil time.Time // no rotation before, after one that failed
	checked  time.Time // last look whether the file is still the one at Path
	kept     []uint64  // positions of the rotated files, oldest first, once listed; some may be gone by now
	listed   bool
	err      error    // why the last Move failed
	owed     []Record // losses from the time in which there was no file to write them beside
}

// New makes the File of a path. Opening waits for the first use: a disk that is full must not keep a program from
// starting.
func New(path string, maxSize int64) *File { return &File{Path: path, MaxSize: maxSize, fd: -1} }

// Err is why the last Move failed.
func (f *File) Err() error { return f.err }

// Pos is the position of the next byte, or 0 while the file cannot be opened.
func (f *File) Pos() uint64 { return f.base + uint64(f.off) }

// Unwritten reports whether index records wait for the disk; Flush tries again.
func (f *File) Unwritten() bool { return f.fd >= 0 && (len(f.idx.pending) > 0 || f.idx.dirty) }

// Flush writes waiting index records.
func (f *File) Flush() error {
	if f.fd < 0 {
		return nil
	}
	return f.idx.flush()
}

// Close writes what can be written of the index and lets the file go.
func (f *File) Close() {
	if f.fd >= 0 {
		_ = f.idx.flush() // nothing could be done about it any more
		f.idx.close()
		unix.Close(f.fd)
		f.fd = -1
	}
}

// Open makes the file ready, mending what a kill or a power loss left behind.
func (f *File) Open(now time.Time) error {
	if f.fd >= 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
		return err
	}
	if err := f.finishRotation(); err != nil {
		return err
	}
	fd, err := unix.Open(f.Path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: f.Path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return fmt.Errorf("%s is not a regular file", f.Path)
	}
	idx, err := openIndex(f.Path+".idx", f.found(), now.UnixNano())
	if err != nil {
		unix.Close(fd)
		return err
	}
	f.fd, f.idx, f.off, f.dev, f.ino, f.checked = fd, idx, st.Size, st.Dev, st.Ino, now
	base, ok := idx.base()
	if !ok { // not an index: begin it anew
		_ = unix.Ftruncate(idx.fd, 0)
		base = f.found()
		idx.size, idx.last = 0, Record{}
		idx.add(Record{Time: now.UnixNano(), Pos: base, Kind: Base})
	}
	f.base = base
	f.cover(now)
	for _, r := range f.owed {
		r.Pos = f.Pos()
		idx.add(r)
	}
	f.owed = nil
	_ = idx.flush() // waits in memory else
	return nil
}

// cover makes index and file agree again: bytes that no record tells of came now, as far as anybody knows; records of
// bytes that are not there are cut.
func (f *File) cover(now time.Time) {
	x := f.idx
	if x.cutTo(f.Pos()) {
		x.add(Record{Time: now.UnixNano(), Pos: f.Pos(), Kind: Gap})
		return
	}
	known := x.last.Pos
	if x.last.Kind == Data {
		known += x.last.Val
	}
	if known < f.Pos() {
		x.add(Record{Time: now.UnixNano(), Pos: known, Val: f.Pos() - known, Kind: Data, PID: x.last.PID})
	}
}

// found is the position at which a file without index begins: behind the newest rotated one.
func (f *File) found() uint64 {
	names := f.archives()
	for i := len(names) - 1; i >= 0; i-- {
		at, _ := strconv.ParseUint(names[i][len(f.Path)+1:], 10, 64)
		if st, err := os.Stat(names[i]); err == nil && st.Mode().IsRegular() {
			return at + uint64(st.Size())
		}
		if pos, ok := lastKnown(names[i] + ".idx"); ok { // compressed by now
			return pos
		}
	}
	return 0
}

// archives gives the names of the rotated files, oldest first, without what compression or index add to them.
func (f *File) archives() []string {
	all, _ := filepath.Glob(globEscape(f.Path) + ".[0-9]*")
	seen := map[string]bool{}
	var out []string
	for _, n := range all {
		tail := n[len(f.Path)+1:]
		digits, _, _ := strings.Cut(tail, ".")
		if len(digits) != 20 || strings.Trim(digits, "0123456789") != "" || seen[digits] {
			continue
		}
		seen[digits] = true
		out = append(out, f.Path+"."+digits)
	}
	sort.Strings(out)
	return out
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// Mark writes a record that is not about bytes.
func (f *File) Mark(k Kind, pid int, val uint64, now time.Time) {
	if err := f.Open(now); err != nil {
		return // the file's own beginning will be later than this event
	}
	f.idx.add(Record{Time: now.UnixNano(), Pos: f.Pos(), Val: val, Kind: k, PID: uint32(pid)})
	_ = f.idx.flush() // kept in memory until the disk takes it
}

// Move takes up to budget bytes out of the pipe to the end of the file.
func (f *File) Move(pipe, pid int, budget int64, now time.Time) (moved int64, res Result) {
	if f.err = f.Open(now); f.err != nil {
		return 0, Failed
	}
	f.lookAgain(now)
	res = More
loop:
	for moved < budget {
		if f.err = f.Open(now); f.err != nil { // a rotation may have left us without a file
			res = Failed
			break
		}
		n, err := f.step(pipe, budget-moved, now)
		if n > 0 {
			f.err = nil
			f.idx.add(Record{Time: now.UnixNano(), Pos: f.Pos() - uint64(n), Val: uint64(n), Kind: Data, PID: uint32(pid)})
			moved += n
		}
		switch {
		case err == nil && n == 0:
			res = EOF
			break loop
		case err == unix.EAGAIN:
			res = Empty
			break loop
		case err != nil && err != unix.EINTR:
			f.err, res = err, Failed
			break loop
		}
		if f.want || f.MaxSize > 0 && f.off >= f.MaxSize {
			f.rotateAtNewline(now)
		}
	}
	if f.fd >= 0 {
		_ = f.idx.flush() // what the disk refuses waits: see Unwritten
	}
	return moved, res
}

// step moves once. Below the limit it takes what fits; above it, no more than up to the next end of a line.
func (f *File) step(pipe int, budget int64, now time.Time) (int64, error) {
	limit := int64(1 << 20)
	over := f.MaxSize > 0 && f.off >= f.MaxSize
	if !over && f.MaxSize > 0 {
		limit = f.MaxSize - f.off
	}
	limit = min(limit, budget)
	if (over || f.want) && !now.Before(f.notUntil) {
		n, err := lookForLine(pipe)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, nil
		}
		limit = n
	}
	for {
		n, err := unix.Splice(pipe, nil, f.fd, &f.off, int(limit), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		return int64(n), err
	}
}

var scratch struct { // one for the process: it is empty between two calls
	r, w int
	buf  []byte
}

// lookForLine tells how many bytes of the pipe reach to the end of the first line, without taking any; all that can be
// seen when no line ends there.
func lookForLine(pipe int) (int64, error) {
	if scratch.buf == nil {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
			return 0, err
		}
		scratch.r, scratch.w, scratch.buf = p[0], p[1], make([]byte, 64<<10)
	}
	n, err := unix.Tee(pipe, scratch.w, len(scratch.buf), unix.SPLICE_F_NONBLOCK)
	for err == unix.EINTR {
		n, err = unix.Tee(pipe, scratch.w, len(scratch.buf), unix.SPLICE_F_NONBLOCK)
	}
	if err != nil || n == 0 {
		return 0, err
	}
	got := scratch.buf[:0]
	for int64(len(got)) < n {
		k, err := unix.Read(scratch.r, scratch.buf[len(got):n])
		if err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("cannot look into a pipe: %w", err)
		}
		got = scratch.buf[:len(got)+max(k, 0)]
	}
	if i := bytes.IndexByte(got, '\n'); i >= 0 {
		return int64(i + 1), nil
	}
	return n, nil
}

// Drop throws away what is in the pipe and writes down how much.
func (f *File) Drop(pipe, pid int, now time.Time) (lost int64, res Result) {
	null, err := unix.Open("/dev/null", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, Failed
	}
	defer unix.Close(null)
	for res = More; res == More && lost < 1<<20; {
		n, err := unix.Splice(pipe, nil, null, nil, 1<<20, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			res = Empty
		case err != nil:
			res = Failed
		case n == 0:
			res = EOF
		default:
			lost += int64(n)
		}
	}
	if lost == 0 {
		return lost, res
	}
	r := Record{Time: now.UnixNano(), Pos: f.Pos(), Val: uint64(lost), Kind: Lost, PID: uint32(pid)}
	switch n := len(f.owed); {
	case f.fd >= 0:
		f.idx.add(r)
		_ = f.idx.flush() // stays in memory else
	case n > 0 && (f.owed[n-1].PID == r.PID || n >= maxPending):
		f.owed[n-1].Val += r.Val
	default:
		f.owed = append(f.owed, r)
	}
	return lost, res
}

// Probe reports whether the disk would take a byte again. It is for the time in which nothing is printed; on a file
// system that cannot tell it says no, and the next byte will show.
func (f *File) Probe(now time.Time) bool {
	if f.Open(now) != nil {
		return false
	}
	return unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, f.off, 4096) == nil && f.idx.flush() == nil
}
