package token

import (
	"context"
	"database/sql"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/token/password"
)

// Sessions gives the sessions of an account, or all with the name "", the newest first.
func (t *Tokens) Sessions(name string) []Session {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := []Session{}
	for _, s := range t.sessions {
		if name == "" || s.account.Name == name {
			all = append(all, s.show())
		}
	}
	slices.SortFunc(all, func(a, b Session) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// End ends a session and its refresh tokens. Faults: not_found (session_unknown), internal (state_not_durable).
func (t *Tokens) End(ctx context.Context, id string) error {
	t.write.Lock()
	defer t.write.Unlock()
	if t.sessions[id] == nil {
		return fault.New(fault.NotFound, "there is no session %q", id).WithReason("session_unknown").WithHint("%s", fault.Do("auth.sessions"))
	}
	return t.end(ctx, id)
}

// end is End with write held.
func (t *Tokens) end(ctx context.Context, ids ...string) error {
	err := t.update(ctx, func(tx *sql.Tx) error {
		return each(ctx, tx, "DELETE FROM sessions WHERE id = ?", ids)
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endSessions(func(s *session) bool { return slices.Contains(ids, s.ID) })
	return nil
}

// endSessions forgets sessions; mu is held.
func (t *Tokens) endSessions(chosen func(*session) bool) {
	for id, s := range t.sessions {
		if chosen(s) {
			delete(t.sessions, id)
			delete(t.cookies, s.cookie)
			s.cut()
		}
	}
}

// SetPassword gives the account of a session another password, and ends its other sessions. Faults: as Check, and invalid
// (weak_password).
func (t *Tokens) SetPassword(ctx context.Context, id, former, next string, from netip.Addr) error {
	t.mu.RLock()
	s := t.sessions[id]
	t.mu.RUnlock()
	if s == nil {
		return unusable("the session was ended").WithReason("revoked")
	}
	a, err := t.Check(ctx, s.account.Name, former, from, false)
	if err == nil {
		err = password.Check(next, a.Name)
	}
	if err != nil {
		return err
	}
	hash, err := t.hasher.Hash(ctx, next)
	if err != nil {
		return err
	}
	t.write.Lock()
	defer t.write.Unlock()
	now := t.now()
	err = t.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET hash = ?, changed = ?, failures = 0 WHERE id = ?", hash, now.UnixNano(), a.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE account = ? AND id <> ?", a.ID, id)
		return err
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.account.hash, s.account.Changed, s.account.Failures = hash, now, 0
	t.endSessions(func(o *session) bool { return o.account == s.account && o != s })
	return nil
}

// sweepSessions writes down who was seen, and forgets the sessions that have ended; write is held.
func (t *Tokens) sweepSessions(ctx context.Context, now time.Time) error {
	var over []string
	seen := map[string]int64{}
	t.mu.RLock()
	for id, s := range t.sessions {
		if now.Before(s.Expires) {
			seen[id] = s.Seen.UnixNano()
		} else {
			over = append(over, id)
		}
	}
	t.mu.RUnlock()
	if len(seen) > 0 {
		err := t.update(ctx, func(tx *sql.Tx) error {
			for id, at := range seen {
				if _, err := tx.ExecContext(ctx, "UPDATE sessions SET seen = ? WHERE id = ? AND seen < ?", at, id, at); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, "DELETE FROM refresh_tokens WHERE expires <= ?", now.UnixNano())
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(over) == 0 {
		return nil
	}
	return t.end(ctx, over...)
}

// each runs a statement on every one of some ids.
func each(ctx context.Context, tx *sql.Tx, statement string, ids []string) error {
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}
