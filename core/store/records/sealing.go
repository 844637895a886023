package records

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// Sealer seals texts; *vault.Box is one.
type Sealer interface {
	// Seal gives a text that only Open with the same binding understands.
	Seal(text, binding []byte) ([]byte, error)
	// Open fails for what was changed, or sealed with another binding or key.
	Open(sealed, binding []byte) ([]byte, error)
}

// SealWith has revisions sealed before they reach the disk: a definition holds what files and shell gave as environment,
// passwords among it. Those that were kept before stay readable. It gives r.
func (r *Revisions) SealWith(s Sealer) *Revisions {
	r.sealer = s
	return r
}

// sealed is how a sealed text stands in its column.
type sealed struct {
	Sealed []byte `json:"sealed"`
}

var sealedStart = []byte(`{"sealed":"`)

// texts are the parts of a revision that are sealed, with what each is bound to.
func (v *Revision) texts() map[string]*json.RawMessage {
	at := v.Project + "/" + v.Stack + "/"
	return map[string]*json.RawMessage{at + "definition": &v.Definition, at + "files": &v.Files, at + "env": &v.Env}
}

// seal gives the revision as the disk gets it.
func (r *Revisions) seal(v Revision) (Revision, error) {
	if r.sealer == nil {
		return v, nil
	}
	for binding, text := range v.texts() {
		b, err := r.sealer.Seal(orNull(*text), []byte(binding))
		if err == nil {
			*text, err = json.Marshal(sealed{b})
		}
		if err != nil {
			return v, store.Unwritten(err, "a revision")
		}
	}
	return v, nil
}

// open gives the revision as it was before seal. What cannot be opened is left out, and Unreadable says why.
func (r *Revisions) open(v *Revision) {
	for binding, text := range v.texts() {
		var s sealed
		if !bytes.HasPrefix(*text, sealedStart) || json.Unmarshal(*text, &s) != nil {
			continue
		}
		var plain []byte
		err := fmt.Errorf("it is sealed")
		if r.sealer != nil {
			plain, err = r.sealer.Open(s.Sealed, []byte(binding))
		}
		if *text = plain; err != nil {
			v.Unreadable = fmt.Errorf("cannot read revision %d of %s/%s: %w", v.Rev, v.Project, v.Stack, err)
		}
	}
}

// Renewer is a Sealer whose key can be renewed while what it has sealed stays readable; *vault.Box is one.
type Renewer interface {
	Sealer
	// Renew seals with another key from then on; what the former ones sealed still opens. It reports whether there was a key.
	Renew() (bool, error)
	// Renewing reports whether former keys still open.
	Renewing() bool
	// Retire forgets the former keys.
	Retire() error
}

// atATime is how many revisions are sealed anew in one transaction.
const atATime = 64

// Renew gives revisions another key and seals all that are kept anew, in the database and in their copies; n is how many
// are in the database. What is kept is readable at every moment, and after a death at any: Finish then brings it to its end. What was sealed with
// neither key, or was changed, stays as it is. Faults: internal with reason state_not_durable; the former key is then kept.
func (r *Revisions) Renew(ctx context.Context) (n int, err error) {
	k, ok := r.sealer.(Renewer)
	if !ok {
		return 0, nil
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	if any, err := k.Renew(); err != nil || !any {
		return 0, notSealed(err)
	}
	return r.reseal(ctx, k)
}

// Finish brings to its end what a death has cut short: Renew. Faults: as there.
func (r *Revisions) Finish(ctx context.Context) (n int, err error) {
	k, ok := r.sealer.(Renewer)
	if !ok || !k.Renewing() {
		return 0, nil
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	return r.reseal(ctx, k)
}

func notSealed(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.Internal, "cannot seal the kept revisions anew: %v; all of them stay readable", err).
		WithReason(store.NotDurable).WithHint("make room on the disk or mend it, then call again; the next start of the daemon tries it as well")
}

// reseal seals everything with the key of now, and then lets the former ones go; turn is held.
func (r *Revisions) reseal(ctx context.Context, k Renewer) (n int, err error) {
	if err := r.copies.each(func(v Revision) error { return r.anew(v, r.copies.write) }); err != nil {
		return 0, notSealed(err)
	}
	for last := int64(0); ; {
		sealed, done, next := 0, 0, last
		err := r.db.Update(ctx, func(tx *sql.Tx) error {
			sealed, done, next = 0, 0, last // it may run more than once
			rows, at, err := r.batch(ctx, tx, last)
			if err != nil {
				return err
			}
			for i, v := range rows {
				err := r.anew(v, func(v Revision) error {
					sealed++
					_, err := tx.ExecContext(ctx, `UPDATE revisions SET definition = ?, files = ?, env = ? WHERE rowid = ?`, orNull(v.Definition), orNull(v.Files), orNull(v.Env), at[i])
					return err
				})
				if err != nil {
					return err
				}
				next, done = at[i], done+1
			}
			return nil
		})
		if err != nil {
			return n, notSealed(err)
		}
		n, last = n+sealed, next
		if done < atATime {
			break
		}
	}
	return n, notSealed(k.Retire())
}

// anew opens a revision and gives it to keep as the key of now seals it. One that cannot be opened is left alone.
func (r *Revisions) anew(v Revision, keep func(Revision) error) error {
	if r.open(&v); v.Unreadable != nil {
		return nil
	}
	v, err := r.seal(v)
	if err != nil {
		return err
	}
	return keep(v)
}

// batch gives the next revisions behind a row, as they lie on the disk, and their rows.
func (r *Revisions) batch(ctx context.Context, tx *sql.Tx, after int64) (all []Revision, at []int64, err error) {
	all, err = collect(ctx, tx, func(rows *sql.Rows) (v Revision, err error) {
		var id int64
		err = rows.Scan(&id, &v.Project, &v.Stack, &v.Rev, (*[]byte)(&v.Definition), (*[]byte)(&v.Files), (*[]byte)(&v.Env))
		at = append(at, id)
		return v, err
	}, `SELECT rowid, project, stack, rev, definition, files, env FROM revisions WHERE rowid > ? ORDER BY rowid LIMIT ?`, after, atATime)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read revisions: %w", err)
	}
	return all, at, nil
}
