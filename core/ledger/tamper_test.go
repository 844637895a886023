package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// Whatever is done to the rows is found, and the first bad one named; only a cut at the end is not, which the chain
// alone cannot see.
func TestTamperingIsFound(t *testing.T) {
	db := storetest.New(t)
	l := New(db, quiet)
	const n = 40
	for i := range n {
		e := entry(i)
		if i%2 == 0 {
			l.Settle(begun(t, l, e), Result{Decision: "allow", Took: time.Second})
		} else {
			l.Read(e)
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const rows = n / 2 * 3
	verify(t, l, rows)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	texts := []string{"kind", "call", "user", "channel", "client", "session", "plane", "trace", "method", "targets", "args", "decision", "code", "reason"}
	numbers := []string{"ref", "at", "uid", "took", "count"}
	undo := errors.New("undo")
	for range 300 {
		at := 1 + random.Int64N(rows-1) // not the last row
		first := at
		var queries []string
		switch random.IntN(6) {
		case 0:
			queries = append(queries, fmt.Sprintf("UPDATE calls SET %s = %[1]s || 'x' WHERE seq = %d", texts[random.IntN(len(texts))], at))
		case 1:
			queries = append(queries, fmt.Sprintf("UPDATE calls SET %s = %[1]s + 1000000 WHERE seq = %d", numbers[random.IntN(len(numbers))], at))
		case 2:
			queries = append(queries, fmt.Sprintf("DELETE FROM calls WHERE seq = %d", at))
		case 3: // delete, and close the hole
			queries = append(queries, fmt.Sprintf("DELETE FROM calls WHERE seq = %d", at),
				"UPDATE calls SET seq = -seq WHERE seq > "+fmt.Sprint(at), "UPDATE calls SET seq = -seq - 1 WHERE seq < 0")
		case 4: // swap two neighbours
			queries = append(queries, fmt.Sprintf("UPDATE calls SET seq = -1 WHERE seq = %d", at),
				fmt.Sprintf("UPDATE calls SET seq = %d WHERE seq = %d", at, at+1), fmt.Sprintf("UPDATE calls SET seq = %d WHERE seq = -1", at+1))
		case 5: // a changed row with a hash that fits: then the next one does not
			queries = append(queries, fmt.Sprintf("UPDATE calls SET user = 'eve' WHERE seq = %d", at))
			first = at + 1
		}
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			for _, q := range queries {
				if _, err := tx.Exec(q); err != nil {
					return fmt.Errorf("%s: %w", q, err)
				}
			}
			if first > at {
				if err := rehash(tx, at); err != nil {
					return err
				}
			}
			_, broken, err := (&Ledger{db: within{tx}}).Verify(t.Context())
			if err != nil || broken == nil || broken.Seq != first {
				t.Errorf("%q: found %+v, %v; want row %d", queries, broken, err, first)
			}
			return undo
		})
		if err != undo {
			t.Fatal(err)
		}
	}
	verify(t, l, rows)
}

// rehash gives a row the hash that follows from the one before it.
func rehash(tx *sql.Tx, seq int64) error {
	var before []byte
	err := tx.QueryRow("SELECT hash FROM calls WHERE seq = ?", seq-1).Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var r row
	if err := tx.QueryRow("SELECT "+columns+" FROM calls WHERE seq = ?", seq).Scan(r.pointers()...); err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE calls SET hash = ? WHERE seq = ?", hashOf(before, r.fields(nil)), seq)
	return err
}

// within lets a ledger read inside a transaction.
type within struct{ tx *sql.Tx }

func (w within) View(_ context.Context, fn func(*sql.Tx) error) error   { return fn(w.tx) }
func (w within) Update(_ context.Context, fn func(*sql.Tx) error) error { return fn(w.tx) }
