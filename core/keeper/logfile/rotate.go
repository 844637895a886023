package logfile

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Rotate asks for a new file: now when the file ends with a newline, else at the next one. An empty file stays.
func (f *File) Rotate(now time.Time) error {
	if err := f.Open(now); err != nil {
		return err
	}
	f.want, f.notUntil = true, time.Time{}
	f.rotateAtNewline(now)
	return nil
}

func (f *File) rotateAtNewline(now time.Time) {
	if now.Before(f.notUntil) {
		return
	}
	if f.off == 0 {
		f.want = false
		return
	}
	var last [1]byte
	if n, err := unix.Pread(f.fd, last[:], f.off-1); err != nil || n != 1 || last[0] != '\n' {
		return
	}
	f.makeRoom()
	archive, err := f.rotate(now)
	if err != nil { // the old file goes on growing, and it is tried again
		f.notUntil = now.Add(time.Second)
		return
	}
	f.want = false
	if f.Rotated != nil {
		f.Rotated(archive)
	}
}

// makeRoom deletes the oldest rotated files so that with the next one there are no more than MaxFiles. Whoever tends to
// them does that sooner, and knows better; but nobody may be there for hours, and a flood may outrun anybody.
func (f *File) makeRoom() {
	if f.MaxFiles <= 0 {
		return
	}
	if !f.listed {
		f.kept, f.listed = nil, true
		for _, name := range f.archives() {
			if at, err := strconv.ParseUint(name[len(f.Path)+1:], 10, 64); err == nil {
				f.kept = append(f.kept, at)
			}
		}
	}
	for len(f.kept) >= f.MaxFiles {
		name := f.archive(f.kept[0])
		for _, ext := range []string{"", ".zst", ".gz", ".idx"} {
			_ = os.Remove(name + ext) // most of them are not there; one that cannot be removed is tried again by the daemon
		}
		f.kept = f.kept[1:]
	}
}

// archive is the name of the rotated file whose first byte is at pos.
func (f *File) archive(pos uint64) string { return fmt.Sprintf("%s.%020d", f.Path, pos) }

// rotate renames the file and its index and begins new ones. The steps, each of which may be the last before a kill:
//
//	1 X.idx.new   holds the base of the new file
//	2 X.idx   →   X.<base>.idx
//	3 X       →   X.<base>
//	4 X       made, X.idx.new → X.idx
//
// finishRotation goes on from wherever it ended.
func (f *File) rotate(now time.Time) (string, error) {
	if err := f.idx.flush(); err != nil {
		return "", err
	}
	archive := f.archive(f.base)
	fresh := f.Path + ".idx.new"
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	idx, err := openIndex(fresh, f.Pos(), now.UnixNano())
	if err != nil {
		return "", err
	}
	if err := idx.flush(); err != nil {
		idx.close()
		_ = os.Remove(fresh) // an unfinished one is replaced anyway
		return "", err
	}
	undo := func(err error) (string, error) {
		idx.close()
		_ = os.Remove(fresh) // an unfinished one is replaced anyway
		return "", err
	}
	if err := os.Rename(f.Path+".idx", archive+".idx"); err != nil {
		return undo(err)
	}
	if err := os.Rename(f.Path, archive); err != nil {
		if back := os.Rename(archive+".idx", f.Path+".idx"); back != nil {
			err = fmt.Errorf("%w; %v", err, back)
		}
		return undo(err)
	}
	idx.close()
	if f.listed {
		f.kept = append(f.kept, f.base)
	}
	f.Close()
	_ = f.Open(now) // what fails here is tried again before the next byte
	return archive, nil
}

// finishRotation completes a rotation that a kill cut short.
func (f *File) finishRotation() error {
	fresh := f.Path + ".idx.new"
	if _, err := os.Lstat(fresh); err != nil {
		return nil
	}
	if _, err := os.Lstat(f.Path + ".idx"); err == nil { // it had not begun to rename
		return os.Remove(fresh)
	}
	if names := f.archives(); len(names) > 0 {
		newest := names[len(names)-1]
		if _, err := os.Lstat(f.Path); err == nil && !archived(newest) {
			if err := os.Rename(f.Path, newest); err != nil {
				return err
			}
		}
	}
	return os.Rename(fresh, f.Path+".idx")
}

// archived reports whether a rotated file is there in any form.
func archived(name string) bool {
	for _, ext := range []string{"", ".zst", ".gz"} {
		if _, err := os.Lstat(name + ext); err == nil {
			return true
		}
	}
	return false
}

// lookAgain sees, at most once a second, whether somebody removed or replaced the file under us. Then a new one begins at
// the position where the old one ended.
func (f *File) lookAgain(now time.Time) {
	if d := now.Sub(f.checked); d >= 0 && d < time.Second {
		return
	}
	f.checked = now
	var st unix.Stat_t
	if err := unix.Lstat(f.Path, &st); err == nil && st.Ino == f.ino && uint64(st.Dev) == f.dev || err != nil && err != unix.ENOENT {
		return
	}
	pos := f.Pos()
	f.Close()
	if err := os.Remove(f.Path + ".idx"); err != nil && !os.IsNotExist(err) {
		return
	}
	fd, err := unix.Open(f.Path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	unix.Close(fd)
	if x, err := openIndex(f.Path+".idx", pos, now.UnixNano()); err == nil {
		_ = x.flush() // Open finds the base by itself else
		x.close()
	}
	_ = f.Open(now) // tried again before the next byte
}
