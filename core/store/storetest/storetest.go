// Package storetest holds the contract of a database, one suite for every implementation, and gives tests a store.
package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store"
)

// Database is what the suite is about.
type Database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// New gives an empty store that ends with the test.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, filepath.Join(t.TempDir(), "omnitron.db"))
}

// Open gives the store at path; it ends with the test.
func Open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, slog.New(slog.DiscardHandler))
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

// Run checks that the databases which open gives keep the contract.
func Run(t *testing.T, open func(t *testing.T) Database) {
	for name, check := range map[string]func(*testing.T, Database){
		"an update is seen by the next view":             seen,
		"an error rolls back":                            rolledBack,
		"a view changes nothing":                         readOnly,
		"a view sees one moment":                         oneMoment,
		"concurrent updates all count":                   concurrent,
		"one error takes back its own part only":         ownPart,
		"a cancelled caller harms nobody":                cancelled,
		"a panic reaches its own caller and nobody else": panics,
		"the error of the function comes back":           sameError,
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			exec(t, db, "CREATE TABLE suite (n INTEGER PRIMARY KEY)")
			check(t, db)
		})
	}
}

func exec(t *testing.T, db Database, query string, args ...any) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx *sql.Tx) error { return run(tx, query, args...) }); err != nil {
		t.Fatal(err)
	}
}

func run(tx *sql.Tx, query string, args ...any) error {
	_, err := tx.Exec(query, args...)
	return err
}

func insert(tx *sql.Tx, n int) error { return run(tx, "INSERT INTO suite VALUES (?)", n) }

func count(t *testing.T, db Database) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM suite").Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func want(t *testing.T, db Database, n int) {
	t.Helper()
	if got := count(t, db); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
}

func seen(t *testing.T, db Database) {
	exec(t, db, "INSERT INTO suite VALUES (1)")
	want(t, db, 1)
}

var errMine = errors.New("mine")

func rolledBack(t *testing.T, db Database) {
	err := db.Update(t.Context(), func(tx *sql.Tx) error { return errors.Join(insert(tx, 1), errMine) })
	if !errors.Is(err, errMine) {
		t.Errorf("got %v, want the error of the function", err)
	}
	want(t, db, 0)
}

func sameError(t *testing.T, db Database) {
	if err := db.View(t.Context(), func(*sql.Tx) error { return errMine }); err != errMine {
		t.Errorf("view gave %v", err)
	}
	if err := db.Update(t.Context(), func(*sql.Tx) error { return errMine }); err != errMine {
		t.Errorf("update gave %v", err)
	}
}

func readOnly(t *testing.T, db Database) {
	if err := db.View(t.Context(), func(tx *sql.Tx) error { return insert(tx, 1) }); err == nil {
		t.Error("a view could insert")
	}
	want(t, db, 0)
}

func oneMoment(t *testing.T, db Database) {
	exec(t, db, "INSERT INTO suite VALUES (1)")
	err := db.View(t.Context(), func(tx *sql.Tx) error {
		var before, after int
		if err := tx.QueryRow("SELECT count(*) FROM suite").Scan(&before); err != nil {
			return err
		}
		exec(t, db, "INSERT INTO suite VALUES (2)") // a reader does not hold up a writer
		if err := tx.QueryRow("SELECT count(*) FROM suite").Scan(&after); err != nil {
			return err
		}
		if before != 1 || after != 1 {
			t.Errorf("the view saw %d, then %d rows", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want(t, db, 2)
}

// together runs fn n times at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

const many = 60

func concurrent(t *testing.T, db Database) {
	together(many, func(i int) {
		if err := db.Update(t.Context(), func(tx *sql.Tx) error { return insert(tx, i) }); err != nil {
			t.Error(err)
		}
	})
	want(t, db, many)
}

func ownPart(t *testing.T, db Database) {
	together(many, func(i int) {
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			if err := insert(tx, i); err != nil {
				return err
			}
			if i%2 == 1 {
				return errMine
			}
			return nil
		})
		if (err == errMine) != (i%2 == 1) {
			t.Errorf("update %d gave %v", i, err)
		}
	})
	want(t, db, many/2)
}

func cancelled(t *testing.T, db Database) {
	together(many, func(i int) {
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			if err := insert(tx, i); err != nil {
				return err
			}
			if i%10 != 1 {
				return nil
			}
			// The end comes while a statement writes: SQLite then rolls the whole transaction back.
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			defer cancel()
			_, err := tx.ExecContext(ctx, "INSERT INTO suite WITH RECURSIVE c(x) AS (SELECT 1000 UNION ALL SELECT x+1 FROM c LIMIT 1000000) SELECT x FROM c")
			return err
		})
		if (err != nil) != (i%10 == 1) {
			t.Errorf("update %d gave %v", i, err)
		}
	})
	want(t, db, many-many/10)
}

func panics(t *testing.T, db Database) {
	together(many, func(i int) {
		defer func() {
			p := recover()
			if (p != nil) != (i%10 == 1) {
				t.Errorf("update %d panicked: %v", i, p)
			}
		}()
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			if err := insert(tx, i); err != nil {
				return err
			}
			if i%10 == 1 {
				panic(fmt.Sprint("update ", i))
			}
			return nil
		})
		if err != nil {
			t.Errorf("update %d gave %v", i, err)
		}
	})
	want(t, db, many-many/10)
}
