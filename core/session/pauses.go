package session

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

const pausedPrefix = "paused/" // settings: the principals that are paused, since when

// database is what pauses need of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Pauses remembers who is paused beyond the daemon's life, so that its death lifts no pause. Principals are remembered; a
// session ends with its daemon.
type Pauses struct{ db database }

// OpenPauses gives the pauses in db, and pauses in s whoever was paused when they were last written.
func OpenPauses(ctx context.Context, db database, s *Sessions) (*Pauses, error) {
	err := db.View(ctx, func(tx *sql.Tx) (err error) {
		rows, err := tx.QueryContext(ctx, "SELECT name FROM settings WHERE name GLOB ?", pausedPrefix+"*")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			if _, err := s.Pause(strings.TrimPrefix(name, pausedPrefix)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read who is paused: %w", err)
	}
	return &Pauses{db}, nil
}

// Keep remembers that a principal is paused, or is not any more. It does nothing for a session.
func (p *Pauses) Keep(ctx context.Context, name string, paused bool) error {
	if !strings.Contains(name, "/") {
		return nil
	}
	err := p.db.Update(ctx, func(tx *sql.Tx) error {
		if !paused {
			_, err := tx.ExecContext(ctx, "DELETE FROM settings WHERE name = ?", pausedPrefix+name)
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO settings (name, value) VALUES (?, ?)", pausedPrefix+name, []byte(time.Now().UTC().Format(time.RFC3339)))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot remember who is paused: %w", err)
	}
	return nil
}
