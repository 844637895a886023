package durability_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// database is what there is of omnitron.db.
var database = []string{"omnitron.db", "omnitron.db-wal", "omnitron.db-shm"}

func TestDamagedDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("c")))
	w.OK("stop", "c")
	was := w.pids("a", "b")
	for i, h := range []struct {
		name string
		do   func(text string) string
	}{
		{"garbage", func(s string) string { return strings.Repeat("garbage ", len(s)/8) }},
		{"truncated", func(s string) string { return s[:len(s)/2+100] }},
		{"zeroed", func(s string) string { return strings.Repeat("\x00", len(s)) }},
		{"a page of it", func(s string) string { return s[:4096] + strings.Repeat("\xa5", 4096) + s[8192:] }},
	} {
		t.Run(h.name, func(t *testing.T) {
			w.fold()
			bad := h.do(w.read("omnitron.db"))
			for _, name := range database {
				_ = os.Remove(filepath.Join(w.Home, name)) // not there, if it was folded
			}
			w.put("omnitron.db", bad)
			w.OK("start", "a")
			w.same(was)
			w.says("omnitron.db was damaged")
			if got := w.App("c").State; got != "stopped" {
				t.Errorf("c, which was stopped, is %s", got)
			}
			aside := w.aside("omnitron.db")
			if len(aside) != i+1 || aside[i] != bad {
				t.Errorf("%d damaged files are kept, not %d, or with other bytes", len(aside), i+1)
			}
			for _, cmd := range [][]string{{"start", "c"}, {"stop", "c"}, {"scale", "b", "2"}, {"scale", "b", "1"}, {"up"}, {"stop", "c"}} { // it obeys
				w.OK(cmd...)
			}
			if got := w.App("c").State; got != "stopped" {
				t.Errorf("c is %s", got)
			}
			w.same(was)
			w.OK("daemon", "reload") // the files of the project are known
		})
	}
	w.murder()
	w.same(was)
	if got := w.warnings(); got != "" {
		t.Errorf("a sound start still warns: %s", got)
	}
}

// fold kills the daemon and has everything that the database's log holds put into the database itself.
func (w world) fold() {
	w.T.Helper()
	w.kill()
	w.sql("PRAGMA wal_checkpoint(TRUNCATE)")
}

// sql changes the database of a daemon that does not run.
func (w world) sql(statement string) {
	w.T.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.Home, "omnitron.db"))
	if err == nil {
		_, err = db.ExecContext(context.Background(), statement)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		w.T.Fatal(err)
	}
}

// State and database are both gone: what lives is kept all the same.
func TestDamagedStateAndDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a"), w.sitter("b", "instances: 2")))
	was := w.pids("a", "b")
	w.kill()
	for _, name := range append([]string{"state.json", "state.json.bak"}, database...) {
		w.put(name, "garbage")
	}
	w.OK("start", "a")
	w.same(was)
	w.says("omnitron.db was damaged", "what lives is kept")
	w.OK("up")
	w.same(was)
	w.murder()
	w.same(was)
}

// Nothing is left that says what an app is: it is left alone, said so, and taken over when it is declared again.
func TestNoDefinitionLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Up(w.project(w.sitter("a"), w.sitter("b")))
	w.OK("stop", "b")
	w.OK("restart", "a")
	w.Up(w.project(w.sitter("a"), w.sitter("b"), w.sitter("c")))
	w.OK("stop", "b")
	was := w.pids("a")
	w.kill()
	for _, name := range database {
		w.put(name, "garbage")
	}
	if err := os.RemoveAll(filepath.Join(w.Home, "revisions")); err != nil {
		t.Fatal(err)
	}
	if ran := w.Run("start", "a"); ran.Code == 0 {
		t.Errorf("an app that nobody knows was started: %s", ran.Out)
	}
	w.live(was)
	w.says("omnitron.db was damaged", w.Name()+"/dev/a is not looked after")
	w.OK("up")
	w.same(was)
	if got := w.App("b").State; got != "running" {
		t.Errorf("b is %s", got)
	}
	w.OK("stop", "a")
	for _, pid := range was["a"] {
		if alive(pid) {
			t.Errorf("pid %d lives after stop", pid)
		}
	}
}

func TestNewerDatabase(t *testing.T) {
	ofLaterVersion(t, func(w world) {
		w.fold()
		w.sql("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
	}, func(w world) { // a sound one of this version is as good
		if err := os.Remove(filepath.Join(w.Home, "omnitron.db")); err != nil {
			t.Error(err)
		}
	})
}
