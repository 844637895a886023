package ledger

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of rows.
const (
	intent  = "intent"  // a changing call, before its effect
	legacy  = "begin"   // what an intent was called before rows were sealed
	settle  = "settle"  // how that ended
	read    = "read"    // a call that is over and changed nothing
	refusal = "refusal" // one that was turned away, or count of them
	gap     = "gap"     // count calls are not on record, or count rows are not sealed
	cut     = "cut"     // count rows were retired
)

// row is what is stored and sealed.
type row struct {
	seq                                                           int64
	kind                                                          string
	ref, at                                                       int64
	call, user                                                    string
	uid                                                           int64
	channel, client, session, plane, trace, method, targets, args string
	decision, code, reason                                        string
	took, count                                                   int64
	address, credential                                           string
}

const columns = "seq, kind, ref, at, call, user, uid, channel, client, session, plane, trace, method, targets, args, decision, code, reason, took, count, address, credential"

// fields appends the columns in order, for the statement.
func (r *row) fields(to []any) []any {
	return append(to, r.seq, r.kind, r.ref, r.at, r.call, r.user, r.uid, r.channel, r.client, r.session, r.plane, r.trace,
		r.method, r.targets, r.args, r.decision, r.code, r.reason, r.took, r.count, r.address, r.credential)
}

// sealed are those of the fields that a mac covers: where a row came from is not among them when nothing is said of it, so that
// rows from before it was kept are what they were. As every field goes in with its kind and length, no row with one reads like
// a row without.
func sealed(fields []any) []any {
	if n := len(fields) - 2; fields[n] == "" && fields[n+1] == "" {
		return fields[:n]
	}
	return fields
}

func (r *row) pointers() []any {
	return []any{&r.seq, &r.kind, &r.ref, &r.at, &r.call, &r.user, &r.uid, &r.channel, &r.client, &r.session, &r.plane, &r.trace,
		&r.method, &r.targets, &r.args, &r.decision, &r.code, &r.reason, &r.took, &r.count, &r.address, &r.credential}
}

// text is what a mac covers: the mac before and the columns that are sealed, each with its length, so that text cannot move from one to
// the next.
func text(before []byte, fields []any) []byte {
	return appendText(make([]byte, 0, 1024), before, fields)
}

func appendText(buf, before []byte, fields []any) []byte {
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
	return buf
}

// seal is the key that rows are sealed with, and the name by which a row says so. A nil one seals nothing: a plain hash
// takes the place of the mac.
type seal struct {
	key []byte
	id  string

	last, insert *sql.Stmt // of one row; nil where they are made each time
}

func newSeal(key []byte) *seal {
	s := &seal{key: key}
	s.id = hex.EncodeToString(s.mac([]byte("the name of this key"))[:8])
	return s
}

func (s *seal) name() string {
	if s == nil {
		return ""
	}
	return s.id
}

func (s *seal) mac(text []byte) []byte {
	if s == nil {
		sum := sha256.Sum256(text)
		return sum[:]
	}
	h := hmac.New(sha256.New, s.key)
	h.Write(text)
	return h.Sum(nil)
}

// macs gives mac for many texts, one after the other.
func (s *seal) macs() func(text []byte) []byte {
	if s == nil {
		return s.mac
	}
	h := hmac.New(sha256.New, s.key)
	return func(text []byte) []byte {
		h.Reset()
		h.Write(text)
		return h.Sum(nil)
	}
}

// position is a place in the chain: a row's number and its mac.
type position struct {
	seq int64
	mac []byte
}

func rowOf(kind string, e Entry) row {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r := row{kind: kind, at: e.Time.UnixNano(), call: e.Call, user: e.User, uid: int64(e.UID), channel: e.Channel, client: e.Client,
		session: e.Session, plane: e.Plane, trace: e.Trace, method: e.Method, args: string(e.Args),
		decision: e.Decision, code: e.Code, reason: e.Reason, took: int64(e.Took), count: e.Count, targets: "[]", address: e.Address, credential: e.Credential}
	if len(e.Targets) > 0 {
		if text, err := json.Marshal(e.Targets); err == nil { // strings always encode
			r.targets = string(text)
		}
	}
	return r
}

// own is a row of the record about itself.
func own(kind, reason string, count int64, args string) row {
	return rowOf(kind, Entry{Method: "(" + kind + ")", Reason: reason, Count: count, Args: json.RawMessage(args)})
}

// prepare has the statements of a row ready, where the store keeps some: nearly every call of a person has one row.
func (s *seal) prepare(ctx context.Context, db database) (err error) {
	p, ok := db.(interface {
		Prepare(ctx context.Context, query string) (*sql.Stmt, error)
	})
	if !ok {
		return nil
	}
	if s.last, err = p.Prepare(ctx, selectLast); err == nil {
		s.insert, err = p.Prepare(ctx, insertion(1))
	}
	return err
}

const selectLast = "SELECT seq, mac, key FROM calls ORDER BY seq DESC LIMIT 1"

// last gives the newest row's place, and the key that sealed it. Without rows it gives 0.
func last(tx *sql.Tx) (p position, key string, err error) { return scanLast(tx.QueryRow(selectLast)) }

func scanLast(row *sql.Row) (p position, key string, err error) {
	err = row.Scan(&p.seq, &p.mac, &key)
	if errors.Is(err, sql.ErrNoRows) {
		return position{}, "", nil
	}
	return p, key, err
}

// together is how many rows one statement takes: executing a statement costs more than one more row in it. SQLite allows
// far more parameters than that.
const together = 32

// insertion is the statement that adds so many rows.
func insertion(rows int) string {
	const row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	return "INSERT INTO calls (" + columns + ", key, mac) VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// add adds rows behind what is there, or behind known where that is further: a record that was cut short is not written
// over, so that the hole stays.
func (s *seal) add(tx *sql.Tx, known position, rows []row) (end position, err error) {
	if s != nil && s.last != nil {
		end, _, err = scanLast(tx.Stmt(s.last).QueryRow())
	} else {
		end, _, err = last(tx)
	}
	if err != nil {
		return end, fmt.Errorf("cannot read the record of calls: %w", err)
	}
	if known.seq > end.seq {
		end = known
	}
	var insert *sql.Stmt
	var prepared int
	values, covered, mac := make([]any, 0, min(len(rows), together)*24), make([]byte, 0, 1024), s.macs()
	for batch := range slices.Chunk(rows, together) {
		values = values[:0]
		for _, r := range batch {
			end.seq++
			r.seq = end.seq
			own := len(values)
			values = r.fields(values)
			covered = appendText(covered[:0], end.mac, sealed(values[own:]))
			end.mac = mac(covered)
			values = append(values, s.name(), end.mac)
		}
		if len(batch) == 1 && s != nil && s.insert != nil {
			if _, err := tx.Stmt(s.insert).Exec(values...); err != nil {
				return end, fmt.Errorf("cannot record calls: %w", err)
			}
			continue
		}
		if len(batch) != prepared {
			if insert, err = tx.Prepare(insertion(len(batch))); err != nil {
				return end, fmt.Errorf("cannot record calls: %w", err)
			}
			defer insert.Close() //nolint:errcheck // the transaction ends it anyway
			prepared = len(batch)
		}
		if _, err := insert.Exec(values...); err != nil {
			return end, fmt.Errorf("cannot record calls: %w", err)
		}
	}
	return end, nil
}
