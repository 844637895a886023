// Package records is what the services keep in the database: definitions as numbered revisions, with their copies and seals; events;
// and the answers to calls with an idempotency key.
package records

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// database is what the repositories need of a Store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// KeepRevisions is how many revisions of a stack are kept beyond those that are in use.
const KeepRevisions = 50

// Revision is one resolved definition of a stack, with what it was made from. Env may hold secrets: it never leaves the
// daemon unmasked.
type Revision struct {
	Project    string
	Stack      string
	Rev        int64 // given by Add, counts from 1 within the stack
	Created    time.Time
	By         string
	Definition json.RawMessage
	Files      json.RawMessage
	Env        json.RawMessage

	Unreadable error // why a sealed one could not be opened; Definition, Files and Env are then missing
}

// Revisions is the repository of numbered definitions.
type Revisions struct {
	db     database
	copies copies
	sealer Sealer // nil: they are kept as they are

	turn sync.RWMutex // held alone by whoever seals everything anew, so that nothing comes in under a key that goes
}

// NewRevisions gives the repository in db. The revisions in use have copies below dir, from which they come back when
// the database was damaged; "" keeps none.
func NewRevisions(db database, dir string) *Revisions { return &Revisions{db: db, copies: copies{dir}} }

// Add keeps r under the next number of its stack and returns that once it and its copy are durable. When the newest one
// has the same definition it returns the number of that, and keeps nothing: so of several who come at once with the same,
// one is kept. It retires what is older than the newest KeepRevisions and not in use, and the copies of what is not in
// use. A missing Files or Env is kept as null.
//
// Faults: internal with reason state_not_durable; then nothing was kept.
func (r *Revisions) Add(ctx context.Context, rev Revision, used ...int64) (int64, error) {
	keep, err := json.Marshal(used)
	if err != nil {
		return 0, fmt.Errorf("cannot keep a revision: %w", err)
	}
	if used == nil {
		keep = []byte("[]")
	}
	r.turn.RLock()
	defer r.turn.RUnlock()
	plain := rev.Definition
	if rev, err = r.seal(rev); err != nil {
		return 0, err
	}
	var n int64
	err = r.db.Update(ctx, func(tx *sql.Tx) error {
		last := Revision{Project: rev.Project, Stack: rev.Stack}
		err := tx.QueryRowContext(ctx, `SELECT rev, definition FROM revisions WHERE project = ? AND stack = ? ORDER BY rev DESC LIMIT 1`, rev.Project, rev.Stack).Scan(&n, (*[]byte)(&last.Definition))
		switch {
		case err == nil:
			if r.open(&last); len(plain) > 0 && bytes.Equal(last.Definition, plain) {
				return nil
			}
		case !errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("cannot read the newest revision: %w", err)
		}
		err = tx.QueryRowContext(ctx, `INSERT INTO revisions (project, stack, rev, created, author, definition, files, env)
			SELECT ?1, ?2, coalesce(max(rev), 0) + 1, ?3, ?4, ?5, ?6, ?7 FROM revisions WHERE project = ?1 AND stack = ?2 RETURNING rev`,
			rev.Project, rev.Stack, rev.Created.UnixNano(), rev.By, orNull(rev.Definition), orNull(rev.Files), orNull(rev.Env)).Scan(&n)
		if err != nil {
			return fmt.Errorf("cannot keep a revision: %w", err)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM revisions WHERE project = ? AND stack = ? AND rev <= ? AND rev NOT IN (SELECT value FROM json_each(?))`,
			rev.Project, rev.Stack, n-KeepRevisions, string(keep))
		if err != nil {
			return fmt.Errorf("cannot retire revisions: %w", err)
		}
		rev.Rev = n
		return r.copies.write(rev) // one that is never committed is replaced by the next of its number
	})
	if err == nil {
		r.copies.retain(rev.Project, rev.Stack, append(slices.Clone(used), n))
	}
	return n, err
}

func orNull(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

const revisionColumns = "project, stack, rev, created, author, definition, files, env"

// Get gives one revision. One that the database has lost comes back from its copy.
//
// Faults: not_found.
func (r *Revisions) Get(ctx context.Context, project, stack string, rev int64) (Revision, error) {
	found, err := r.one(ctx, fmt.Sprintf("revision %d of %s/%s", rev, project, stack),
		`SELECT `+revisionColumns+` FROM revisions WHERE project = ? AND stack = ? AND rev = ?`, project, stack, rev)
	if !fault.Is(err, fault.NotFound) {
		return found, err
	}
	r.turn.RLock()
	defer r.turn.RUnlock()
	back, cerr := r.copies.read(project, stack, rev)
	if cerr != nil {
		return found, err
	}
	_ = r.db.Update(ctx, func(tx *sql.Tx) error { // it is known whether or not the disk takes it; the copy stays
		_, err := tx.ExecContext(ctx, `INSERT OR IGNORE INTO revisions (`+revisionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			back.Project, back.Stack, back.Rev, back.Created.UnixNano(), back.By, orNull(back.Definition), orNull(back.Files), orNull(back.Env))
		return err
	})
	r.open(&back)
	return back, nil
}

// Latest gives the newest revision of a stack.
//
// Faults: not_found.
func (r *Revisions) Latest(ctx context.Context, project, stack string) (Revision, error) {
	return r.one(ctx, fmt.Sprintf("revision of %s/%s", project, stack),
		`SELECT `+revisionColumns+` FROM revisions WHERE project = ? AND stack = ? ORDER BY rev DESC LIMIT 1`, project, stack)
}

// Heads gives the newest revision of every stack, in the order of their names: what a boot starts from.
func (r *Revisions) Heads(ctx context.Context) ([]Revision, error) {
	return r.query(ctx, `SELECT `+revisionColumns+` FROM revisions r
		WHERE rev = (SELECT max(rev) FROM revisions WHERE project = r.project AND stack = r.stack) ORDER BY project, stack`)
}

// List gives the revisions of a stack, newest first, from below the number before (0: from the newest) and at most limit
// of them (1 to 1000; 0: 20). Definition, Files and Env are left out.
func (r *Revisions) List(ctx context.Context, project, stack string, before int64, limit int) ([]Revision, error) {
	return r.query(ctx, `SELECT project, stack, rev, created, author, NULL, NULL, NULL FROM revisions
		WHERE project = ? AND stack = ? AND (? = 0 OR rev < ?) ORDER BY rev DESC LIMIT ?`, project, stack, before, before, pageSize(limit))
}

// Delete forgets every revision of a stack.
func (r *Revisions) Delete(ctx context.Context, project, stack string) error {
	r.turn.RLock()
	defer r.turn.RUnlock()
	err := r.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM revisions WHERE project = ? AND stack = ?`, project, stack); err != nil {
			return fmt.Errorf("cannot delete revisions: %w", err)
		}
		return nil
	})
	if err == nil {
		r.copies.retain(project, stack, nil)
	}
	return err
}

func (r *Revisions) one(ctx context.Context, what, query string, args ...any) (Revision, error) {
	found, err := r.query(ctx, query, args...)
	if err != nil {
		return Revision{}, err
	}
	if len(found) == 0 {
		return Revision{}, fault.New(fault.NotFound, "there is no %s", what)
	}
	return found[0], nil
}

func (r *Revisions) query(ctx context.Context, query string, args ...any) (found []Revision, err error) {
	err = r.db.View(ctx, func(tx *sql.Tx) error {
		found, err = collect(ctx, tx, func(rows *sql.Rows) (r Revision, err error) {
			var created int64
			err = rows.Scan(&r.Project, &r.Stack, &r.Rev, &created, &r.By, (*[]byte)(&r.Definition), (*[]byte)(&r.Files), (*[]byte)(&r.Env))
			r.Created = time.Unix(0, created)
			return r, err
		}, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read revisions: %w", err)
	}
	for i := range found {
		r.open(&found[i])
	}
	return found, nil
}

// collect runs a query and gathers its rows.
func collect[T any](ctx context.Context, tx *sql.Tx, scan func(*sql.Rows) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, errors.Join(rows.Err(), rows.Close())) }()
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

// pageSize is how many rows a list answers at most.
func pageSize(limit int) int { return min(cmp.Or(max(limit, 0), 20), 1000) }
