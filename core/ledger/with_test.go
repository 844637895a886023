package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestTogether: what is done in the transaction of a record is kept with it, or neither is.
func TestTogether(t *testing.T) {
	db := faulty.Wrap(storetest.New(t))
	l := newLedger(t, db)
	kept := func() (n int) {
		t.Helper()
		if err := db.View(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow("SELECT count(*) FROM settings WHERE name = 'kept'").Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	keep := func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO settings (name, value) VALUES ('kept', x'00')")
		return err
	}
	no := fault.New(fault.Limited, "too many").WithReason("too_many_held")
	if _, err := l.Begin(t.Context(), entry(1), keep, func(*sql.Tx) error { return no }); fault.From(err).Reason != "too_many_held" || kept() != 0 {
		t.Errorf("a function that says no: %v, %d", err, kept())
	}
	if _, err := l.Begin(t.Context(), entry(1), func(*sql.Tx) error { return errors.New("broken") }); fault.From(err).Reason != Unrecorded {
		t.Errorf("a function that fails: %v", err)
	}
	db.FailAt(1, errors.New("full"))
	if _, err := l.Begin(t.Context(), entry(1), keep); fault.From(err).Reason != Unrecorded || kept() != 0 {
		t.Errorf("a record that cannot be kept: %v, %d", err, kept())
	}
	if calls := list(t, l, Filter{}); len(calls) != 0 {
		t.Errorf("on record: %+v", calls)
	}
	if _, err := l.Begin(t.Context(), entry(1), keep); err != nil || kept() != 1 || len(list(t, l, Filter{})) != 1 {
		t.Errorf("%v, %d", err, kept())
	}
}

// cancelling ends the context of who writes while the write is on its way.
type cancelling struct {
	database
	cancel context.CancelFunc
}

func (c cancelling) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	c.cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.database.Update(ctx, fn)
}

// TestEndWhileItIsWritten: a daemon, or a caller, that ends in the middle of a write is no trouble of the record's.
func TestEndWhileItIsWritten(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	l := New(cancelling{storetest.New(t), cancel}, Options{Home: t.TempDir(), Keys: &vault{key: []byte("key")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	l.Read(entry(1))
	if err := l.Flush(ctx); err != nil || ctx.Err() == nil || l.Health() != nil || log.Len() > 0 {
		t.Errorf("%v, the context: %v, health: %v\n%s", err, ctx.Err(), l.Health(), &log)
	}
	if all := list(t, l, Filter{}); len(all) != 1 {
		t.Errorf("%d rows", len(all))
	}
}
