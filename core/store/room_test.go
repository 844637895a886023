package store

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// put stores a value for each of a range of names.
func put(t *testing.T, s *Store, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		err := s.Update(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO settings VALUES (?, ?)", fmt.Sprint("n", i), fmt.Sprint("v", i))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// has fails the test unless a database has these values, and no others.
func has(t *testing.T, s *Store, n int) {
	t.Helper()
	var rows, sound int
	err := s.View(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow("SELECT count(*), coalesce(sum(value = 'v' || substr(name, 2)), 0) FROM settings WHERE name GLOB 'n[0-9]*'").Scan(&rows, &sound)
	})
	if err != nil || rows != n || sound != n {
		t.Errorf("%d values, %d of them sound, %v; want %d", rows, sound, err, n)
	}
}

// died gives the path of what a death leaves of a database at this moment.
func died(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "omnitron.db")
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestCommitsTakeNoRoom: the write-ahead log is as long as it gets from the first commit on, of a new database and of one that
// is opened again, so that no commit lengthens it.
func TestCommitsTakeNoRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "omnitron.db")
	n := 0
	for range 2 {
		s, err := Open(path, quiet)
		if err != nil {
			t.Fatal(err)
		}
		before := size(t, path+"-wal")
		put(t, s, n, n+600) // more than there is room for: it begins at its front again
		n += 600
		if after := size(t, path+"-wal"); before < walRoom || after != before {
			t.Errorf("the log had %d bytes and has %d", before, after)
		}
		has(t, s, n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestADeathInTheRoom: whatever a death leaves of the log and of the zeros behind it, every commit is there, and the next
// ones are too.
func TestADeathInTheRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "omnitron.db")
	s := openAt(t, path)
	for n := range 12 {
		put(t, s, n*90, n*90+90)
		left := died(t, path)
		again := openAt(t, left)
		if w := again.Warnings(); len(w) > 0 {
			t.Errorf("after %d: %v", n, w)
		}
		has(t, again, n*90+90)
		put(t, again, n*90+90, n*90+100)
		has(t, again, n*90+100)
	}
	for name, wal := range map[string][]byte{"only zeros": make([]byte, walRoom), "zeros, cut short": make([]byte, 5000), "nothing": {}} {
		closed := filled(t)
		if err := os.WriteFile(closed+"-wal", wal, 0o600); err != nil {
			t.Fatal(err)
		}
		again := openAt(t, closed)
		if w := again.Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", name, w)
		}
		put(t, again, 0, 5)
		has(t, openAt(t, died(t, closed)), 5)
	}
}
