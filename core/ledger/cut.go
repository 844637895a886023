package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"
)

// Retire deletes rows that are older than before, from the oldest on. A row of the kind cut says which, and what the rest
// follows; it is sealed as all others. What is not sound is not deleted, and nothing is while rows cannot be sealed.
func (l *Ledger) Retire(ctx context.Context, before time.Time) (deleted int64, err error) {
	if err := l.open(ctx); err != nil || l.Unsealed() != nil {
		return 0, err
	}
	l.mode.RLock()
	defer l.mode.RUnlock()
	known, _ := l.head.ends()
	var end position
	err = l.db.Update(ctx, func(tx *sql.Tx) error {
		var through position
		err := tx.QueryRowContext(ctx, `SELECT seq, mac FROM calls WHERE seq < coalesce((SELECT min(seq) FROM calls WHERE at >= ?), 1 << 62) ORDER BY seq DESC LIMIT 1`,
			before.UnixNano()).Scan(&through.seq, &through.mac)
		if errors.Is(err, sql.ErrNoRows) {
			end, deleted = position{}, 0
			return nil
		}
		if err != nil {
			return err
		}
		start, _, err := beginning(tx)
		if err != nil {
			return err
		}
		errDone := &Broken{}
		w := &walk{seal: l.seal, at: start}
		broken, err := w.rows(ctx, tx, math.MinInt64, func(at position) *Broken {
			if at.seq == through.seq {
				return errDone
			}
			return nil
		})
		if err != nil {
			return err
		}
		if broken != errDone && broken != nil {
			return fmt.Errorf("row %d: %s", broken.Seq, broken.Why)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM calls WHERE seq <= ?", through.seq); err != nil {
			return err
		}
		deleted = through.seq - start.seq
		end, err = l.seal.add(tx, known, []row{own(cut, retired, deleted,
			span{From: start.seq + 1, Through: through.seq, MAC: through.mac, Before: before.UTC()}.encode())})
		return err
	})
	if err == nil {
		err = l.head.advance(end)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot retire the record of calls: %w", err)
	}
	return deleted, nil
}

// Anchor writes where the chain stands into a file of its own, unless that says so already. It costs nothing to keep that
// file elsewhere too: who can roll the record and its head back cannot reach it there.
func (l *Ledger) Anchor(ctx context.Context) error {
	if err := l.open(ctx); err != nil || l.Unsealed() != nil {
		return err
	}
	l.anchoring.Lock()
	defer l.anchoring.Unlock()
	_, at := l.head.ends()
	found, _, err := l.anchors.load()
	if n := len(found); err != nil || n > 0 && found[n-1].seq >= at.seq || at.seq == 0 {
		return nil // what is wrong with it Verify says
	}
	return l.anchors.add(at, time.Now())
}
