package ledger

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Broken is the first row that does not follow from those before it, or is not what was said of it elsewhere. Seq is 0
// when no row is to blame.
type Broken struct {
	Seq int64  `json:"seq"`
	Why string `json:"why"`
}

// Verdict is what Verify has found.
type Verdict struct {
	At          time.Time
	First, Last int64 // rows that are kept; 0 for none
	Sound       int64 // rows whose seal fits
	Unprotected int64 // rows without a seal of ours, which the record itself says
	Anchored    time.Time
	Head        string  // to be kept elsewhere, and given to a later Verify
	Broken      *Broken // nil: all is well
}

// walk follows the chain.
type walk struct {
	seal  *seal
	at    position // the row before
	sound int64
	all   int64
	loose int64   // the first row of a stretch that our key has not sealed; 0: none
	told  *Broken // what a daemon has found at its start, and put on record
}

// step looks at the next row.
func (w *walk) step(r *row, key string, stored []byte) *Broken {
	if r.seq <= w.at.seq {
		return &Broken{r.seq, fmt.Sprintf("it was put in: all up to %d were retired, or are before it", w.at.seq)}
	}
	if r.seq != w.at.seq+1 {
		return &Broken{w.at.seq + 1, fmt.Sprintf("it is missing: number %d follows %d", r.seq, w.at.seq)}
	}
	var by *seal
	if key == w.seal.id {
		by = w.seal
	}
	if (by != nil || key == "") && !bytes.Equal(stored, by.mac(text(w.at.mac, sealed(r.fields(nil))))) {
		return &Broken{r.seq, "its content, or that of the row before it, was changed"}
	}
	switch {
	case by == nil:
		w.loose = cmp.Or(w.loose, r.seq)
	case w.loose != 0:
		var s span
		if r.kind != gap || r.reason != notSealed || json.Unmarshal([]byte(r.args), &s) != nil || s.From > w.loose || s.Through != w.at.seq {
			return &Broken{w.loose, fmt.Sprintf("it has no seal, nor has any up to %d, and nothing on record says why", w.at.seq)}
		}
		w.loose = 0
	}
	if by != nil {
		w.sound++
		w.listen(r)
	}
	w.all++
	w.at = position{r.seq, stored}
	return nil
}

// listen keeps what a row says of the record itself.
func (w *walk) listen(r *row) {
	var b Broken
	if w.told == nil && r.kind == gap && r.reason == notWhole && json.Unmarshal([]byte(r.args), &b) == nil {
		b.Why += fmt.Sprintf(" (found at a start of the daemon, on record as %d)", r.seq)
		w.told = &b
	}
}

// from goes on behind a place that the head names, if the record has it.
func (w *walk) from(tx *sql.Tx, p position) (*Broken, error) {
	if p.seq <= w.at.seq { // of an empty record
		return nil, nil
	}
	var mac []byte
	err := tx.QueryRow("SELECT mac FROM calls WHERE seq = ?", p.seq).Scan(&mac)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		tip, _, err := last(tx)
		w.at = tip
		return &Broken{min(tip.seq+1, p.seq), fmt.Sprintf("it is missing: the head says that the record goes up to %d", p.seq)}, err
	case err != nil:
		return nil, err
	case !bytes.Equal(mac, p.mac):
		w.at = position{p.seq, mac}
		return &Broken{p.seq, "it is not the row that the head names"}, nil
	}
	w.at = p
	return nil, nil
}

// rows walks over the rows beyond after. each is called after every sound row, and may find fault with it.
func (w *walk) rows(ctx context.Context, tx *sql.Tx, after int64, each func(position) *Broken) (broken *Broken, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+", key, mac FROM calls WHERE seq > ? ORDER BY seq", after)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for rows.Next() {
		var r row
		var key string
		var stored []byte
		if err := rows.Scan(append(r.pointers(), &key, &stored)...); err != nil {
			return &Broken{w.at.seq + 1, "it cannot be read: " + err.Error()}, nil
		}
		if b := w.step(&r, key, stored); b != nil {
			return b, nil
		}
		if each != nil {
			if b := each(w.at); b != nil {
				return b, nil
			}
		}
	}
	return nil, rows.Err()
}

// mark is a place that the chain must have, because somebody else says so.
type mark struct {
	position
	who string
}

// Verify walks the whole chain, from the oldest row that is kept, and compares it with the head, the anchors, what this
// daemon knows itself, and with a head that an earlier Verify gave and that was kept elsewhere, if one is given.
//
// Faults: unavailable (vault_sealed, vault_damaged); invalid (bad_head).
func (l *Ledger) Verify(ctx context.Context, against string) (v Verdict, err error) {
	_ = l.Flush(ctx) // noted in Health; what is there can be verified all the same
	if err := l.open(ctx); err != nil {
		return v, err
	}
	if why := l.unsealed.Load(); why != nil {
		return v, *why
	}
	marks, anchored, broken, err := l.marks(against)
	if err != nil {
		return v, err
	}
	v.At, v.Anchored = time.Now(), anchored
	var found *Broken
	err = l.db.View(ctx, func(tx *sql.Tx) error {
		start, former, err := beginning(tx)
		if err != nil {
			return err
		}
		if former != nil { // it counts only until the first seal
			start = position{}
		}
		w := &walk{seal: l.seal, at: start}
		next := 0
		for next < len(marks) && marks[next].seq < start.seq {
			next++
		}
		look := func(at position) *Broken {
			for ; next < len(marks) && marks[next].seq <= at.seq; next++ {
				if m := marks[next]; m.seq == at.seq && !bytes.Equal(m.mac, at.mac) {
					return &Broken{cmp.Or(w.loose, at.seq), "it, or one before it, is not the row that was there: " + m.who + " says so"}
				}
			}
			return nil
		}
		if found = look(start); found == nil {
			found, err = w.rows(ctx, tx, math.MinInt64, look)
		}
		if err != nil {
			return err
		}
		switch {
		case found != nil:
		case next < len(marks):
			found = &Broken{w.at.seq + 1, fmt.Sprintf("it is missing: the record ends at %d, and %s says that there is a row %d", w.at.seq, marks[next].who, marks[next].seq)}
		case w.loose != 0:
			found = &Broken{w.loose, "it has no seal"}
		default:
			found = w.told
		}
		v.Last, v.Sound, v.Unprotected, v.Head = w.at.seq, w.sound, w.all-w.sound, w.at.String()
		if w.all > 0 {
			v.First = start.seq + 1
		}
		return nil
	})
	if err != nil {
		return v, fmt.Errorf("cannot verify the record of calls: %w", err)
	}
	if v.Broken = found; found == nil {
		v.Broken = broken
	}
	l.trouble.Store(v.Broken)
	return v, nil
}

// marks gives the places that the chain must have, in order. They are read before the record is: it can only have grown.
func (l *Ledger) marks(against string) (marks []mark, anchored time.Time, broken *Broken, err error) {
	if against != "" {
		p, err := parsePosition(against)
		if err != nil {
			return nil, anchored, nil, err
		}
		marks = append(marks, mark{p, "the head that was kept elsewhere"})
	}
	want, synced := l.head.ends()
	marks = append(marks, mark{want, "what this daemon has written"})
	p, err := l.head.now()
	switch {
	case err != nil:
		broken = &Broken{0, HeadFile + ": " + err.Error()}
	case p.seq < synced.seq || p.seq == synced.seq && !bytes.Equal(p.mac, synced.mac):
		broken = &Broken{0, fmt.Sprintf("%s says that the record goes up to %d, and this daemon has written %d into it: it was replaced", HeadFile, p.seq, synced.seq)}
	default:
		marks = append(marks, mark{p, "its head"})
	}
	l.anchoring.Lock()
	found, _, err := l.anchors.load()
	l.anchoring.Unlock()
	if err != nil && broken == nil {
		broken = &Broken{0, AnchorFile + ": " + err.Error()}
	}
	for _, a := range found {
		marks = append(marks, mark{a.position, "the anchor of " + a.at.Format(time.RFC3339)})
		anchored = a.at
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.seq, b.seq) })
	return marks, anchored, broken, nil
}

func parsePosition(text string) (p position, err error) {
	seq, mac, _ := strings.Cut(strings.TrimSpace(text), ":")
	p.seq, err = strconv.ParseInt(seq, 10, 64)
	if mac != "-" && err == nil {
		p.mac, err = hex.DecodeString(mac)
	}
	if err != nil || p.seq < 0 || (mac == "-") != (p.seq == 0) || mac != "-" && len(p.mac) != 32 {
		return p, fault.New(fault.Invalid, "%q is no head of a record", text).WithReason("bad_head").WithHint("%s gives one", fault.Do("audit.verify"))
	}
	return p, nil
}

// Trouble is what the last look at the whole record, or the one at the start, has found; nil: nothing.
func (l *Ledger) Trouble() *Broken { return l.trouble.Load() }

// Ahead is how many sound rows the record had beyond its head when this daemon began.
func (l *Ledger) Ahead() int64 { return l.ahead.Load() }

// Unsealed says why rows are kept without a seal now; nil: they are sealed.
func (l *Ledger) Unsealed() error {
	if err := l.unsealed.Load(); err != nil {
		return *err
	}
	return nil
}
