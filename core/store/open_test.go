package store

import (
	"bytes"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
)

var quiet = slog.New(slog.DiscardHandler)

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// filled makes a database with a few thousand rows and closes it.
func filled(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "omnitron.db")
	s, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(tx *sql.Tx) error {
		for i := range 3000 {
			if _, err := tx.Exec("INSERT INTO settings VALUES (?, ?)", fmt.Sprint("name", i), strings.Repeat("x", 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func rows(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	if err := s.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM " + table).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpenInAnyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c=d%41#é")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	openAt(t, filepath.Join(dir, "omnitron.db"))
	names, err := filepath.Glob(strings.NewReplacer("?", "\\?").Replace(dir) + "/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Error("the database is somewhere else")
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestWritesAreDurableAndWAL(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "omnitron.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := s.w.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
}

func TestReopenKeepsContent(t *testing.T) {
	path := filled(t)
	s := openAt(t, path)
	if n := rows(t, s, "settings"); n != 3000 || len(s.Warnings()) != 0 {
		t.Errorf("%d rows, warnings %q", n, s.Warnings())
	}
}

func TestDamagedDatabaseIsSetAside(t *testing.T) {
	for name, harm := range map[string]func([]byte) []byte{
		"no database":        func([]byte) []byte { return []byte("this was a database, once upon a time, and is none now") },
		"zeroed header":      func(b []byte) []byte { return append(make([]byte, 100), b[100:]...) },
		"cut in the middle":  func(b []byte) []byte { return b[:len(b)/2] },
		"zeroed second page": func(b []byte) []byte { clear(b[4096:8192]); return b },
		"noise in the middle": func(b []byte) []byte {
			copy(b[len(b)/2/4096*4096:], bytes.Repeat([]byte{0xa5, 0x5a}, 2048))
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data = harm(data)
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openAt(t, path)
			if n := rows(t, s, "settings"); n != 0 {
				t.Errorf("%d rows in a new database", n)
			}
			aside, err := filepath.Glob(path + ".corrupt-*Z")
			if err != nil || len(aside) != 1 || len(s.Warnings()) != 1 || !strings.Contains(s.Warnings()[0], aside[0]) {
				t.Fatalf("aside %q, %v, warnings %q", aside, err, s.Warnings())
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, data) {
				t.Errorf("what was set aside is not what was there: %v", err)
			}
			if err := s.Update(t.Context(), func(tx *sql.Tx) error { return probe(tx) }); err != nil {
				t.Errorf("the new database cannot be written: %v", err)
			}
		})
	}
}

// probe writes a row of the current schema.
func probe(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO settings VALUES ('probe', 'x')")
	return err
}

func TestLaterSchemaIsRefusedUntouched(t *testing.T) {
	killed := filled(t)
	s := openAt(t, killed)
	if err := s.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(t.TempDir(), "omnitron.db")
	if err := s.copyTo(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "omnitron.db") // as a kill leaves it: the version stands in the write-ahead log only
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(killed + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{closed, copied} {
		before := contents(t, path)
		_, err := Open(path, quiet)
		if f := fault.From(err); f == nil || f.Code != fault.Conflict || f.Reason != TooNew || !strings.Contains(f.Message, "999") {
			t.Fatalf("got %v", err)
		}
		after := contents(t, path)
		delete(after, path+"-shm") // an index of the write-ahead log that SQLite makes anew whenever it likes
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s was touched", path)
		}
	}
}

func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(data)
	}
	return all
}

// with gives the real migrations and one more.
func with(t *testing.T, name, text string) fs.FS {
	t.Helper()
	all := fstest.MapFS{name: {Data: []byte(text)}}
	base, err := fs.Sub(embedded, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(base, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		data, err := fs.ReadFile(base, n)
		if err != nil {
			t.Fatal(err)
		}
		all[n] = &fstest.MapFile{Data: data}
	}
	return all
}

// TestAskersAreToldApart: approvals of before say afterwards what kind of identity asked.
func TestAskersAreToldApart(t *testing.T) {
	all := with(t, "unused.txt", "").(fstest.MapFS)
	for name := range all {
		if name >= "0006" {
			delete(all, name)
		}
	}
	path := filepath.Join(t.TempDir(), "omnitron.db")
	old, err := open(path, quiet, all)
	if err != nil {
		t.Fatal(err)
	}
	err = old.Update(t.Context(), func(tx *sql.Tx) error {
		for id, row := range map[string][2]string{
			"socket": {"root/agent", `{"user":"root","channel":"agent","client":"c","session":"s","plane":"stdio"}`},
			"http":   {"root/agent", `{"user":"root","channel":"agent","client":"c","session":"s","plane":"http"}`},
			"tcp":    {"account:root/app", `{"user":"root","channel":"app","client":"c","session":"s","plane":"tcp"}`},
		} {
			if _, err := tx.Exec(`INSERT INTO approvals (id, seal, principal, caller, method, args, targets, plan, rule, why, created, expires, status)
				VALUES (?, 'x', ?, ?, 'm', '', '[]', '[]', '', '', 1, 2, 'pending')`, id, row[0], row[1]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	got := map[string]string{}
	err = s.View(t.Context(), func(tx *sql.Tx) error {
		for id := range map[string]bool{"socket": true, "http": true, "tcp": true} {
			var principal, kind string
			if err := tx.QueryRow("SELECT principal, json_extract(caller, '$.kind') FROM approvals WHERE id = ?", id).Scan(&principal, &kind); err != nil {
				return err
			}
			got[id] = kind + " " + principal
		}
		return nil
	})
	want := map[string]string{"socket": "socket socket:root/agent", "http": "account account:root/agent", "tcp": "account account:root/app"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestMigrationKeepsACopy(t *testing.T) {
	path := filled(t)
	s, err := open(path, quiet, with(t, "9000_more.sql", "-- +goose Up\nCREATE TABLE more (x INTEGER);\nDELETE FROM settings;\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n := rows(t, s, "more"); n != 0 {
		t.Errorf("%d rows", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copies, err := filepath.Glob(path + ".v*")
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies %q, %v", copies, err)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	old := openAt(t, copies[0])
	if n := rows(t, old, "settings"); n != 3000 {
		t.Errorf("the copy has %d rows, want all 3000", n)
	}
}

func TestFailingMigrationChangesNothing(t *testing.T) {
	path := filled(t)
	if _, err := open(path, quiet, with(t, "9000_bad.sql", "-- +goose Up\nDELETE FROM settings;\nCREATE TABLE settings (x);\n")); err == nil || !strings.Contains(err.Error(), "9000") {
		t.Fatalf("got %v", err)
	}
	s := openAt(t, path)
	if n := rows(t, s, "settings"); n != 3000 {
		t.Errorf("%d rows, want all 3000", n)
	}
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "omnitron.db"))
	limit := func(pages int) {
		t.Helper()
		if _, err := s.w.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // SQLite answers FULL as soon as the file would have to grow
	grow := func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO settings VALUES ('big', zeroblob(1000000))")
		return err
	}
	err := s.Update(t.Context(), grow)
	if f := fault.From(err); f == nil || f.Code != fault.Internal || f.Reason != NotDurable || f.Hint == "" {
		t.Fatalf("got %v", err)
	}
	if s.Health() == nil {
		t.Error("Health says that all is well")
	}
	if n := rows(t, s, "settings"); n != 0 {
		t.Errorf("%d rows were kept", n)
	}
	limit(1 << 20)
	if err := s.Update(t.Context(), grow); err != nil || s.Health() != nil {
		t.Errorf("with room again: %v, health %v", err, s.Health())
	}
}

// In a shared transaction a full disk is told to everyone, and nothing of anyone is kept.
func TestFullDiskIsToldToAll(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "omnitron.db"))
	if _, err := s.w.Exec("PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	part := func(query string) *member[change] {
		return &member[change]{part: change{t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query); return err }}}
	}
	batch := []*member[change]{part("INSERT INTO settings VALUES ('a', 1)"), part("INSERT INTO settings VALUES ('big', zeroblob(1000000))"), part("INSERT INTO settings VALUES ('c', 1)")}
	s.commit(batch)
	for i, m := range batch {
		if f := fault.From(m.err); f == nil || f.Reason != NotDurable {
			t.Errorf("part %d gave %v", i, m.err)
		}
	}
	if n := rows(t, s, "settings"); n != 0 {
		t.Errorf("%d rows were kept", n)
	}
}
