package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of rows.
const (
	begin  = "begin"  // a changing call, before its effect
	settle = "settle" // how that ended
	read   = "read"   // a call that is over and changed nothing
	gap    = "gap"    // count calls are not on record
)

// row is what is stored and hashed.
type row struct {
	seq                                                           int64
	kind                                                          string
	ref, at                                                       int64
	call, user                                                    string
	uid                                                           int64
	channel, client, session, plane, trace, method, targets, args string
	decision, code, reason                                        string
	took, count                                                   int64
}

const columns = "seq, kind, ref, at, call, user, uid, channel, client, session, plane, trace, method, targets, args, decision, code, reason, took, count"

// fields appends the columns in order; both the statement and the hash are made from them.
func (r *row) fields(to []any) []any {
	return append(to, r.seq, r.kind, r.ref, r.at, r.call, r.user, r.uid, r.channel, r.client, r.session, r.plane, r.trace,
		r.method, r.targets, r.args, r.decision, r.code, r.reason, r.took, r.count)
}

func (r *row) pointers() []any {
	return []any{&r.seq, &r.kind, &r.ref, &r.at, &r.call, &r.user, &r.uid, &r.channel, &r.client, &r.session, &r.plane, &r.trace,
		&r.method, &r.targets, &r.args, &r.decision, &r.code, &r.reason, &r.took, &r.count}
}

// hashOf covers the hash before and every column, each with its length, so that text cannot move from one to the next.
func hashOf(before []byte, fields []any) []byte {
	buf := make([]byte, 0, 1024)
	buf = append(buf, before...)
	for _, f := range fields {
		switch v := f.(type) {
		case int64:
			buf = binary.BigEndian.AppendUint64(append(buf, 'i'), uint64(v))
		case string:
			buf = binary.BigEndian.AppendUint64(append(buf, 's'), uint64(len(v)))
			buf = append(buf, v...)
		}
	}
	sum := sha256.Sum256(buf)
	return sum[:]
}

func rowOf(kind string, e Entry) row {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r := row{kind: kind, at: e.Time.UnixNano(), call: e.Call, user: e.User, uid: int64(e.UID), channel: e.Channel, client: e.Client,
		session: e.Session, plane: e.Plane, trace: e.Trace, method: e.Method, args: string(e.Args),
		decision: e.Decision, code: e.Code, reason: e.Reason, took: int64(e.Took), targets: "[]"}
	if len(e.Targets) > 0 {
		if text, err := json.Marshal(e.Targets); err == nil { // strings always encode
			r.targets = string(text)
		}
	}
	return r
}

const anchor = "ledger.anchor" // setting: the row before the first one that is kept

// head gives the number and the hash that the next row follows.
func head(tx *sql.Tx) (seq int64, hash []byte, err error) {
	err = tx.QueryRow("SELECT seq, hash FROM calls ORDER BY seq DESC LIMIT 1").Scan(&seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return origin(tx)
	}
	return seq, hash, err
}

// origin is what the first row follows: nothing, or the last row that was retired.
func origin(tx *sql.Tx) (seq int64, hash []byte, err error) {
	var value []byte
	err = tx.QueryRow("SELECT value FROM settings WHERE name = ?", anchor).Scan(&value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, nil, nil
	case err != nil:
		return 0, nil, err
	case len(value) != 8+sha256.Size:
		return 0, nil, errors.New("the anchor of the ledger is damaged")
	}
	return int64(binary.BigEndian.Uint64(value)), value[8:], nil
}

// together is how many rows one statement takes: executing a statement costs more than one more row in it. SQLite allows
// far more parameters than that.
const together = 32

// insertion is the statement that adds so many rows.
func insertion(rows int) string {
	const row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	return "INSERT INTO calls (" + columns + ", hash) VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// appendRows adds rows to the chain and gives the number of the last one.
func appendRows(tx *sql.Tx, rows []row) (seq int64, err error) {
	seq, hash, err := head(tx)
	if err != nil {
		return 0, fmt.Errorf("cannot read the record of calls: %w", err)
	}
	var insert *sql.Stmt
	var prepared int
	values := make([]any, 0, min(len(rows), together)*21)
	for batch := range slices.Chunk(rows, together) {
		values = values[:0]
		for _, r := range batch {
			seq++
			r.seq = seq
			own := len(values)
			values = r.fields(values)
			hash = hashOf(hash, values[own:])
			values = append(values, hash)
		}
		if len(batch) != prepared {
			if insert, err = tx.Prepare(insertion(len(batch))); err != nil {
				return 0, fmt.Errorf("cannot record calls: %w", err)
			}
			defer insert.Close() //nolint:errcheck // the transaction ends it anyway
			prepared = len(batch)
		}
		if _, err := insert.Exec(values...); err != nil {
			return 0, fmt.Errorf("cannot record calls: %w", err)
		}
	}
	return seq, nil
}

// Broken is the first row that does not follow from those before it.
type Broken struct {
	Seq int64
	Why string
}

// Verify walks the whole chain, from the oldest row that is kept. It gives how many rows are sound, and the first one
// that is not, or nil.
func (l *Ledger) Verify(ctx context.Context) (sound int64, broken *Broken, err error) {
	err = l.db.View(ctx, func(tx *sql.Tx) error {
		seq, hash, err := origin(tx)
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT "+columns+", hash FROM calls ORDER BY seq")
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
		for rows.Next() {
			var r row
			var stored []byte
			if err := rows.Scan(append(r.pointers(), &stored)...); err != nil {
				broken = &Broken{seq + 1, "it cannot be read: " + err.Error()}
				return nil
			}
			seq++
			if r.seq != seq {
				broken = &Broken{seq, fmt.Sprintf("it is missing: number %d follows %d", r.seq, seq-1)}
				return nil
			}
			if hash = hashOf(hash, r.fields(nil)); !bytes.Equal(hash, stored) {
				broken = &Broken{seq, "its content, or a row before it, was changed"}
				return nil
			}
			sound++
		}
		return rows.Err()
	})
	if err != nil {
		return sound, nil, fmt.Errorf("cannot verify the record of calls: %w", err)
	}
	return sound, broken, nil
}

// Retire deletes rows that are older than before, from the oldest on, and keeps the hash that the rest follows.
func (l *Ledger) Retire(ctx context.Context, before time.Time) (deleted int64, err error) {
	err = l.db.Update(ctx, func(tx *sql.Tx) error {
		var seq int64
		var hash []byte
		err := tx.QueryRowContext(ctx, `SELECT seq, hash FROM calls WHERE seq < coalesce((SELECT min(seq) FROM calls WHERE at >= ?), 1 << 62) ORDER BY seq DESC LIMIT 1`,
			before.UnixNano()).Scan(&seq, &hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		value := append(binary.BigEndian.AppendUint64(nil, uint64(seq)), hash...)
		if _, err := tx.ExecContext(ctx, "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", anchor, value); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM calls WHERE seq <= ?", seq)
		if err != nil {
			return err
		}
		deleted, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot retire the record of calls: %w", err)
	}
	return deleted, nil
}
