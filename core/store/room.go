package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// walRoom is how far SQLite lets the write-ahead log grow before it begins at its front again: 1000 pages, each with
	// its head, and those of the transaction that comes last.
	walRoom = 1100 * (4096 + 24)
	// plenty is how much of the disk is free where room is made: what is left of a disk that fills up is for records.
	plenty = 32 * walRoom
)

// makeRoom lengthens the write-ahead log to the size that it comes to anyway. A commit then writes over what is there, and its
// fsync need not write the journal of the file system as well: about a quarter of what it takes. SQLite takes zeros for the end
// of the log, as it takes whatever has no valid checksum, so a death at any point of this costs nothing. Without room on
// the disk the log stays as it is.
func makeRoom(wal string) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(wal, &disk); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil // nothing was written yet
		}
		return fmt.Errorf("cannot look at the disk: %w", err)
	}
	if disk.Bavail*uint64(disk.Bsize) < plenty {
		return nil
	}
	f, err := os.OpenFile(wal, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("cannot open the write-ahead log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was synced, or is as it was
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot look at the write-ahead log: %w", err)
	}
	if info.Size() >= walRoom {
		return nil
	}
	zeros := make([]byte, 64<<10)
	for at := info.Size(); at < walRoom && err == nil; at += int64(len(zeros)) {
		_, err = f.WriteAt(zeros[:min(int64(len(zeros)), walRoom-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cannot make room for the write-ahead log: %w", err), f.Truncate(info.Size()))
	}
	return nil
}
