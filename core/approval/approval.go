// Package approval keeps the calls that wait for a person. Holding one does nothing else: when a person has said yes,
// the identical call, made again, goes through once.
package approval

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

const (
	// Patience is how long a call waits; silence is no.
	Patience = 30 * time.Minute
	memory   = 7 * 24 * time.Hour // how long one that nobody answered is kept
)

// database is what approvals need of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Held is a call that waits.
type Held struct {
	ID      string          `json:"id" table:"1" jsonschema:"approval id"`
	Method  string          `json:"method" table:"2" jsonschema:"method that was called"`
	Args    json.RawMessage `json:"args,omitempty" jsonschema:"its arguments, without secrets"`
	User    string          `json:"user" table:"3" jsonschema:"who called"`
	Channel string          `json:"channel" table:"4" jsonschema:"person, agent, app or node"`
	Client  string          `json:"client,omitempty" table:"5" jsonschema:"what the client calls itself"`
	Session string          `json:"session,omitempty" jsonschema:"connection that the call came over"`
	Plan    op.Plan         `json:"plan" jsonschema:"what it would change"`
	Why     string          `json:"why,omitempty" jsonschema:"why it waits"`
	Created time.Time       `json:"created" unit:"time" jsonschema:"when it was first called"`
	Expires time.Time       `json:"expires_at" table:"6" unit:"time" jsonschema:"when silence becomes no"`
}

// Approvals is the repository of held calls.
type Approvals struct{ db database }

// New gives the repository in db.
func New(db database) *Approvals { return &Approvals{db} }

// Hold has the call b wait for a person. A call that waits already, the same principal's same arguments on the same
// state of the targets with the same plan, keeps its id and its end.
func (a *Approvals) Hold(ctx context.Context, b policy.Binding, plan *op.Plan) (ref op.ApprovalRef, err error) {
	if plan == nil {
		plan = &op.Plan{Items: []op.Item{}}
	}
	planText, err := json.Marshal(plan)
	if err != nil {
		return ref, fmt.Errorf("cannot hold the call: %w", err)
	}
	caller, err := json.Marshal(who{b.Caller.User, b.Caller.Channel, b.Caller.Client, b.Caller.Session})
	if err != nil {
		return ref, fmt.Errorf("cannot hold the call: %w", err)
	}
	now, same := time.Now(), match(b, planText)
	err = a.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM approvals WHERE expires <= ?", now.Add(-memory).UnixNano()); err != nil {
			return err
		}
		var expires int64
		err := tx.QueryRowContext(ctx, "SELECT id, expires FROM approvals WHERE match = ? AND expires > ?", same, now.UnixNano()).Scan(&ref.ID, &expires)
		if err == nil {
			ref.ExpiresAt = time.Unix(0, expires)
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		ref = op.ApprovalRef{ID: newID(), ExpiresAt: now.Add(Patience).Round(0)}
		_, err = tx.ExecContext(ctx, `INSERT INTO approvals (id, principal, match, caller, method, args, plan, why, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			ref.ID, b.Caller.Principal(), same, string(caller), b.Method, string(b.Args), string(planText), b.Why, now.UnixNano(), ref.ExpiresAt.UnixNano())
		return err
	})
	if err != nil {
		return op.ApprovalRef{}, fmt.Errorf("cannot hold the call: %w", err)
	}
	return ref, nil
}

// List gives the calls that wait now, newest first, at most limit of them (1 to 1000; 0: 20), those made before the time
// before if that is set. more says that there are others.
func (a *Approvals) List(ctx context.Context, before time.Time, limit int) (held []Held, more bool, err error) {
	limit = min(cmp.Or(max(limit, 0), 20), 1000)
	until := int64(1<<63 - 1)
	if !before.IsZero() {
		until = before.UnixNano()
	}
	err = a.db.View(ctx, func(tx *sql.Tx) (err error) {
		rows, err := tx.QueryContext(ctx, `SELECT id, method, args, caller, plan, why, created, expires FROM approvals
			WHERE expires > ? AND created < ? ORDER BY created DESC, id LIMIT ?`, time.Now().UnixNano(), until, limit+1)
		if err != nil {
			return err
		}
		defer func() { err = cmp.Or(err, errors.Join(rows.Err(), rows.Close())) }()
		for rows.Next() {
			h, err := scan(rows)
			if err != nil {
				return err
			}
			held = append(held, h)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("cannot read the held calls: %w", err)
	}
	if len(held) > limit {
		return held[:limit], true, nil
	}
	return held, false, nil
}

// who is the part of a caller that people are shown.
type who struct {
	User    string     `json:"user"`
	Channel op.Channel `json:"channel"`
	Client  string     `json:"client"`
	Session string     `json:"session"`
}

func scan(rows *sql.Rows) (h Held, err error) {
	var args, caller, plan string
	var created, expires int64
	if err := rows.Scan(&h.ID, &h.Method, &args, &caller, &plan, &h.Why, &created, &expires); err != nil {
		return h, err
	}
	var w who
	if err := errors.Join(json.Unmarshal([]byte(caller), &w), json.Unmarshal([]byte(plan), &h.Plan)); err != nil {
		return h, err
	}
	h.User, h.Channel, h.Client, h.Session = w.User, string(w.Channel), w.Client, w.Session
	h.Created, h.Expires = time.Unix(0, created), time.Unix(0, expires)
	if args != "" {
		h.Args = json.RawMessage(args)
	}
	return h, nil
}

// match is the same for two calls that one answer fits.
func match(b policy.Binding, plan []byte) string {
	h := sha256.New()
	h.Write(b.Identity())
	h.Write(b.World())
	h.Write(plan)
	return hex.EncodeToString(h.Sum(nil))
}

// newID is short enough to be typed: 50 random bits, more than the life of an approval needs.
func newID() string { return "ap-" + strings.ToLower(rand.Text()[:10]) }
