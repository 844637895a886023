package store

import (
	"errors"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Reasons of the faults of this package.
const (
	NotDurable = "state_not_durable" // the disk did not take it; nothing of the call was kept
	Damaged    = "database_damaged"  // the database is corrupt; the next start sets it aside
	TooNew     = "state_too_new"     // written by a later version
)

// codeOf gives the primary result code of an error of SQLite, or 0.
func codeOf(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// diskError reports whether err says that the disk is full, broken or read-only: what a new try may well survive.
func diskError(err error) bool {
	switch codeOf(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// damage is what the check of a file has found.
type damage struct{ what string }

func (d *damage) Error() string { return "the check of its structure found: " + d.what }

// damaged reports whether err says that the file is no sound database.
func damaged(err error) bool {
	if _, ok := errors.AsType[*damage](err); ok {
		return true
	}
	c := codeOf(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// Unwritten is the fault of a write that did not reach the disk.
func Unwritten(err error, file string) error {
	return fault.Wrap(err, fault.Internal, "cannot write %s, so nothing was changed: %v", file, err).
		WithReason(NotDurable).WithHint("make room on the disk or mend it, then call again; the daemon recovers by itself")
}

// explain turns what SQLite says about the disk or the file into a fault, and leaves every other error as it is.
func (s *Store) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case damaged(err):
		return fault.Wrap(err, fault.Internal, "%s is damaged: %v", s.path, err).
			WithReason(Damaged).WithHint("%s sets the file aside and starts an empty one", fault.Do("daemon.restart"))
	case diskError(err):
		return Unwritten(err, s.path)
	}
	return err
}
