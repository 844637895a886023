package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// keyName is the vault's name of the key that rows are sealed with.
const keyName = "audit"

// Keys gives the daemon's own keys; *vault.Vault is one.
type Keys interface {
	// Key gives the key of a name. Faults: unavailable, while it cannot be had.
	Key(name string) ([]byte, error)
}

// span says which rows a gap is about, or up to which a cut has taken them.
type span struct {
	From    int64     `json:"from"`
	Through int64     `json:"through"`
	MAC     []byte    `json:"mac,omitempty"`   // cut: of the row through
	Before  time.Time `json:"before,omitzero"` // cut: older rows were retired
}

func (s span) encode() string {
	text, _ := json.Marshal(s) // it always encodes
	return string(text)
}

const (
	notSealed = "not_sealed" // reason of a gap about rows that nothing protected
	notWhole  = "not_whole"  // reason of a gap that says what was wrong with the record when a daemon started
	retired   = "retention"  // reason of a cut
)

// open has rows sealed from now on, once the key can be had. Until then they are kept without a seal, because a home whose
// vault is sealed still has to be operated; that is on record afterwards, and seals what was written meanwhile.
func (l *Ledger) open(ctx context.Context) error {
	if l.opened.Load() {
		return nil
	}
	key, err := l.keys.Key(keyName)
	if fault.Is(err, fault.Unavailable) {
		l.unsealed.Store(&err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot get the key of the record: %w", err)
	}
	l.mode.Lock()
	defer l.mode.Unlock()
	if l.seal != nil {
		return nil
	}
	s := newSeal(key)
	h := &head{path: l.path(HeadFile), seal: s, sync: l.sync}
	a := &anchors{path: l.path(AnchorFile), seal: s}
	end, err := l.takeOver(ctx, s, h, a)
	if err == nil {
		err = h.begin(end)
	}
	if err == nil {
		err = s.prepare(context.WithoutCancel(ctx), l.db)
	}
	if err != nil {
		return fmt.Errorf("cannot take over the record of calls: %w", err)
	}
	l.seal, l.head, l.anchors = s, h, a
	l.unsealed.Store(nil)
	l.opened.Store(true)
	return nil
}

// takeOver compares the record with its head and its anchors, says what it finds, on record too, and gives the place from
// which the chain goes on.
func (l *Ledger) takeOver(ctx context.Context, s *seal, h *head, a *anchors) (end position, err error) {
	p, other, headErr := h.load()
	if headErr != nil && !errors.Is(headErr, fs.ErrNotExist) && !errors.Is(headErr, errForeign) && !errors.Is(headErr, errForged) {
		return end, headErr
	}
	marks, others, anchorErr := a.load()
	if errors.Is(headErr, errForeign) { // the vault was begun anew
		if err := setAside(other, others, h, a); err != nil {
			return end, err
		}
	}
	ours, err := l.sealedBy(ctx, s)
	if err != nil {
		return end, err
	}
	if !ours && len(marks) == 0 && headErr != nil && !errors.Is(headErr, errForged) { // a head before the first row that it vouches for
		if headErr = h.make(position{}); headErr != nil {
			return end, headErr
		}
	}
	var found *Broken
	var ahead int64
	err = l.db.Update(ctx, func(tx *sql.Tx) error {
		t := &taking{walk: walk{seal: s}}
		if err := t.look(ctx, tx, p, headErr, marks, anchorErr); err != nil {
			return err
		}
		found, ahead = t.found, t.ahead
		end, err = s.add(tx, t.known, t.rows)
		return err
	})
	if err != nil {
		return end, err
	}
	if found != nil {
		l.log.Error("the record of calls is not whole", "row", found.Seq, "why", found.Why)
		l.trouble.Store(found)
	} else if ahead > 0 {
		l.log.Warn("the record of calls was ahead of its head, as a death of the daemon leaves it: its last rows were verified", "rows", ahead)
	}
	l.ahead.Store(ahead)
	return end, nil
}

// sealedBy reports whether there are rows that a key has sealed.
func (l *Ledger) sealedBy(ctx context.Context, s *seal) (yes bool, err error) {
	err = l.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRow("SELECT EXISTS (SELECT 1 FROM calls WHERE key = ?)", s.id).Scan(&yes)
	})
	return yes, err
}

// setAside moves away what another key has sealed.
func setAside(key string, anchored bool, h *head, a *anchors) error {
	if err := os.Rename(h.path, h.path+"."+key); err != nil {
		return err
	}
	if !anchored {
		return nil
	}
	return os.Rename(a.path, a.path+"."+key)
}

// taking is the look at a record that a new daemon takes over.
type taking struct {
	walk
	found *Broken
	ahead int64    // sound rows behind the head
	known position // the furthest place that anything says the record has
	rows  []row    // what is to be on record about it
}

func (t *taking) look(ctx context.Context, tx *sql.Tx, p position, headErr error, marks []anchor, anchorErr error) error {
	start, former, err := beginning(tx)
	if err != nil {
		return err
	}
	t.at, t.known = start, p
	if headErr == nil {
		if t.found, err = t.from(tx, p); err != nil {
			return err
		}
	} else {
		t.found = &Broken{0, "nothing vouches for its end: " + HeadFile + ": " + headErr.Error()}
	}
	broken, err := t.walk.rows(ctx, tx, t.at.seq, nil)
	if err != nil {
		return err
	}
	t.ahead = t.sound
	if t.found == nil {
		t.found = broken
	}
	for _, m := range marks {
		if m.seq > t.known.seq {
			t.known = m.position
		}
	}
	tip, _, err := last(tx)
	if err != nil {
		return err
	}
	switch {
	case t.found != nil:
	case t.known.seq > tip.seq:
		t.found = &Broken{tip.seq + 1, fmt.Sprintf("it is missing, and all up to %d: the record was cut off at its end, and its head with it", t.known.seq)}
	case anchorErr != nil:
		t.found = &Broken{0, AnchorFile + ": " + anchorErr.Error()}
	}
	if broken == nil && t.loose != 0 {
		t.say(gap, notSealed, t.at.seq-t.loose+1, span{From: t.loose, Through: t.at.seq}.encode())
	}
	if former != nil {
		t.say(cut, retired, former.Through, former.encode())
		if _, err := tx.Exec("DELETE FROM settings WHERE name = ?", formerAnchor); err != nil {
			return err
		}
	}
	if t.found != nil {
		t.say(gap, notWhole, 0, jsonOf(t.found))
	}
	return nil
}

func (t *taking) say(kind, reason string, count int64, args string) {
	t.rows = append(t.rows, own(kind, reason, count, args))
}

func jsonOf(b *Broken) string {
	text, _ := json.Marshal(b) // it always encodes
	return string(text)
}

// formerAnchor is the setting in which schemas before 3 kept the row before the first one.
const formerAnchor = "ledger.anchor"

// beginning is what the first row follows: nothing, or the last row that was retired. former is a cut from before cuts were
// on record.
func beginning(tx *sql.Tx) (p position, former *span, err error) {
	var text string
	err = tx.QueryRow("SELECT args FROM calls WHERE kind = ? ORDER BY seq DESC LIMIT 1", cut).Scan(&text)
	if err == nil {
		var s span
		if json.Unmarshal([]byte(text), &s) != nil {
			return p, nil, nil // it does not follow then, and is found
		}
		return position{s.Through, s.MAC}, nil, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return p, nil, err
	}
	var value []byte
	err = tx.QueryRow("SELECT value FROM settings WHERE name = ?", formerAnchor).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(value) != 8+32 {
		return p, nil, nil
	}
	if err != nil {
		return p, nil, err
	}
	for _, b := range value[:8] {
		p.seq = p.seq<<8 | int64(b)
	}
	p.mac = value[8:]
	return p, &span{From: 1, Through: p.seq, MAC: p.mac}, nil
}
