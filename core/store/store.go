// Package store keeps what has to outlive the daemon: omnitron.db, an SQLite file behind typed repositories, and
// state.json, the durable intent and last status of every app.
//
// Writers share their fsync. The first caller of Update (or StateFile.Put) leads and commits for everyone who waits at
// that moment; the others come next together. One caller alone pays one fsync, a hundred at once pay two.
//
// What a call has been promised is on disk before the call returns. A write that the disk refuses is undone, answers
// internal with the reason state_not_durable, and works again as soon as the disk does.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Store is omnitron.db. It is safe for concurrent use.
type Store struct {
	path     string
	log      *slog.Logger
	w        *sql.DB // one connection, which all writes go through
	r        *sql.DB // readers see the last commit and wait for nobody
	commits  group[change]
	warnings []string

	mu     sync.Mutex
	health error
}

// change is one caller's part of a transaction.
type change struct {
	ctx context.Context
	fn  func(*sql.Tx) error
}

// Path is where the database lies.
func (s *Store) Path() string { return s.path }

// Warnings says what went wrong when the database was opened and what was done about it, for status and doctor.
func (s *Store) Warnings() []string { return s.warnings }

// Health is the error of the last write if that failed, else nil.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Close ends all connections; SQLite folds the write-ahead log into the file.
func (s *Store) Close() error { return errors.Join(s.r.Close(), s.w.Close()) }

// View runs fn in a transaction that sees one moment and can change nothing.
//
// Faults: internal (reason database_damaged, or state_not_durable when the file cannot be read); else fn's own error.
func (s *Store) View(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s.explain(err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was changed, so there is nothing to lose
	return s.explain(fn(tx))
}

// Prepare gives a statement for transactions of Update (tx.Stmt), where making it each time would cost as much as what it does. It
// lasts until Close. It waits for the transaction under way.
func (s *Store) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	stmt, err := s.w.PrepareContext(ctx, query)
	if err != nil {
		return nil, s.explain(fmt.Errorf("cannot prepare a statement: %w", err))
	}
	return stmt, nil
}

// Update runs fn in a transaction and returns when it is durable. Concurrent calls share a transaction and its fsync;
// each is a part of it that can be rolled back alone, in the order of the calls. fn may run on the goroutine of another
// caller, and again if the part of somebody else took the transaction down, so it must change nothing but the database
// and variables of its own.
//
// Faults: internal with reason state_not_durable (nothing was changed) or database_damaged; else fn's own error, and
// then nothing of fn was kept.
func (s *Store) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.commits.do(ctx, change{ctx, fn}, s.commit)
}

func (s *Store) commit(batch []*member[change]) {
	for len(batch) > 0 {
		batch = s.attempt(batch)
	}
}

// attempt runs one transaction over the batch. It gives back the parts that have to run again, because a part before or
// after them took the transaction with it (SQLite rolls everything back when an interrupted statement had written).
func (s *Store) attempt(batch []*member[change]) (again []*member[change]) {
	// No caller's context may end the transaction of the others.
	tx, err := s.w.BeginTx(context.Background(), nil)
	if err != nil {
		s.finish(batch, fmt.Errorf("cannot begin: %w", err))
		return nil
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing

	shared := len(batch) > 1
	kept := make([]*member[change], 0, len(batch))
	for i, m := range batch {
		if m.err = m.part.ctx.Err(); m.err != nil {
			continue
		}
		lost, err := s.runPart(tx, m, shared)
		switch {
		case err == nil:
			kept = append(kept, m)
		case diskError(err):
			m.err = s.noteHealth(s.explain(err))
			s.finish(kept, err)
			s.finish(batch[i+1:], err)
			return nil
		default:
			m.err = s.explain(err)
			if lost {
				return append(kept, batch[i+1:]...)
			}
		}
	}
	if len(kept) == 0 {
		return nil
	}
	s.finish(kept, tx.Commit())
	return nil
}

// runPart runs one part; lost says that the whole transaction is gone.
func (s *Store) runPart(tx *sql.Tx, m *member[change], shared bool) (lost bool, err error) {
	if !shared {
		return true, m.try(func() error { return m.part.fn(tx) })
	}
	if _, err := tx.Exec("SAVEPOINT part"); err != nil {
		return true, err
	}
	if err = m.try(func() error { return m.part.fn(tx) }); err == nil {
		_, err = tx.Exec("RELEASE part")
		return err != nil, err
	}
	_, undo := tx.Exec("ROLLBACK TO part; RELEASE part")
	return undo != nil, err
}

// finish gives every member the outcome of the transaction.
func (s *Store) finish(ms []*member[change], err error) {
	err = s.noteHealth(s.explain(err))
	for _, m := range ms {
		m.err = err
	}
}

func (s *Store) noteHealth(err error) error {
	s.mu.Lock()
	was := s.health
	s.health = err
	s.mu.Unlock()
	switch {
	case err != nil && was == nil:
		s.log.Error("cannot write the database", "file", s.path, "err", errors.Unwrap(fault.From(err)))
	case err == nil && was != nil:
		s.log.Info("the database can be written again", "file", s.path)
	}
	return err
}
