package records

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// keyLife is how long the answer to a call with an idempotency key is remembered.
const keyLife = 24 * time.Hour

// Claim names one changing call that carries an idempotency key.
type Claim struct {
	Principal string
	Method    string
	Key       string
	Digest    string // of the canonical arguments
}

// Keys is the repository of idempotency keys.
type Keys struct {
	db   database
	life string // tells the claims of this run of the daemon from those that a death has left open
}

// NewKeys gives the repository in db.
func NewKeys(db database) *Keys { return &Keys{db, rand.Text()} }

// Take takes the call on: found is false if it is to be done now, and must then end in Finish or Release. If the same
// call was made before, answer is what it was told.
//
// Faults: conflict with the reason key_reused (same key, other arguments), in_progress (retry_after_s is set), or
// outcome_unknown (the daemon ended while the call ran).
func (k *Keys) Take(ctx context.Context, c Claim) (answer json.RawMessage, found bool, err error) {
	now := time.Now()
	err = k.db.Update(ctx, func(tx *sql.Tx) error {
		answer, found = nil, false
		if _, err := tx.ExecContext(ctx, `DELETE FROM idempotency WHERE expires <= ?`, now.UnixNano()); err != nil {
			return fmt.Errorf("cannot retire idempotency keys: %w", err)
		}
		var digest, life string
		err := tx.QueryRowContext(ctx, `SELECT digest, life, answer FROM idempotency WHERE principal = ? AND method = ? AND key = ?`,
			c.Principal, c.Method, c.Key).Scan(&digest, &life, (*[]byte)(&answer))
		if errors.Is(err, sql.ErrNoRows) {
			_, err = tx.ExecContext(ctx, `INSERT INTO idempotency (principal, method, key, digest, life, expires) VALUES (?, ?, ?, ?, ?, ?)`,
				c.Principal, c.Method, c.Key, c.Digest, k.life, now.Add(keyLife).UnixNano())
			return err
		}
		if err != nil {
			return fmt.Errorf("cannot read idempotency keys: %w", err)
		}
		found = true
		switch {
		case digest != c.Digest:
			answer = nil // it belongs to the other call
			return fault.New(fault.Conflict, "idempotency_key %q was used for %s with other arguments", c.Key, c.Method).
				WithReason("key_reused").WithHint("use a new key for a new call")
		case answer != nil:
			return nil
		case life == k.life:
			return fault.New(fault.Conflict, "the call of %s with idempotency_key %q is still running", c.Method, c.Key).
				WithReason("in_progress").WithRetryAfter(1)
		}
		return fault.New(fault.Conflict, "the daemon ended while the call of %s with idempotency_key %q ran; whether it had its effect is not known", c.Method, c.Key).
			WithReason("outcome_unknown").WithHint("look at the state, then call again with a new key if that is needed")
	})
	return answer, found, err
}

// Finish remembers the answer of a call that was taken on, for 24 hours.
func (k *Keys) Finish(ctx context.Context, c Claim, answer json.RawMessage) error {
	return k.exec(ctx, `UPDATE idempotency SET answer = ?, expires = ? WHERE principal = ? AND method = ? AND key = ? AND life = ?`,
		orNull(answer), time.Now().Add(keyLife).UnixNano(), c.Principal, c.Method, c.Key, k.life)
}

// Release forgets a call that was taken on and had no effect: refused, held, waiting for confirmation.
func (k *Keys) Release(ctx context.Context, c Claim) error {
	return k.exec(ctx, `DELETE FROM idempotency WHERE principal = ? AND method = ? AND key = ? AND life = ? AND answer IS NULL`,
		c.Principal, c.Method, c.Key, k.life)
}

func (k *Keys) exec(ctx context.Context, query string, args ...any) error {
	return k.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("cannot write an idempotency key: %w", err)
		}
		return nil
	})
}
