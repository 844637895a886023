package token

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

const (
	sessionIdle = 30 * 24 * time.Hour // a session that is not refreshed for so long ends
	sessionLife = 90 * 24 * time.Hour // and each ends after so long
	grace       = 10 * time.Second    // in which a refresh made twice is the same one
	maxSessions = 64                  // of one account; the one seen longest ago makes room
)

// Session is what a sign-in by password began.
type Session struct {
	ID      string
	User    string // name of the account
	Created time.Time
	Seen    time.Time // when it was used last
	Expires time.Time
	Address string
	Client  string // foreign text
	Browser bool   // it has a cookie
}

type session struct {
	Session
	bond
	cookie, key [32]byte // zero without a browser
}

// Credentials are what a sign-in or a refresh gives.
type Credentials struct {
	Session string
	User    string
	Role    op.Role
	Access  string    // the bearer
	Expires time.Time // of it
	Refresh string    // good once, for the next pair
	Until   time.Time // of that
}

func (t *Tokens) readSessions(ctx context.Context, tx *sql.Tx) (err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, account, created, seen, expires, address, client, cookie, key FROM sessions")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		s := &session{bond: bond{session: true, over: make(chan struct{})}}
		var owner string
		var created, seen, expires int64
		var cookie, key []byte
		if err := rows.Scan(&s.ID, &owner, &created, &seen, &expires, &s.Address, &s.Client, &cookie, &key); err != nil {
			return err
		}
		if s.account = t.accounts[owner]; s.account == nil {
			continue
		}
		s.Created, s.Seen, s.Expires, s.Browser = moment(created), moment(seen), moment(expires), cookie != nil
		copy(s.cookie[:], cookie)
		copy(s.key[:], key)
		t.sessions[s.ID] = s
		if s.Browser {
			t.cookies[s.cookie] = s
		}
	}
	return nil
}

// show is the session as others see it; mu is held.
func (s *session) show() Session {
	out := s.Session
	out.User = s.account.Name
	return out
}

func (t *Tokens) identity(s *session, expires time.Time) *Identity {
	a := s.account
	return &Identity{Expires: expires, Revoked: s.over,
		Caller: op.Caller{User: a.Name, UID: -1, Twin: t.twin(a), Channel: op.Person, Token: sessionToken + s.ID, Console: true, Ceiling: a.Role, Role: a.Role}}
}

// twin reports whether an account is called like a user of the daemon's socket.
func (t *Tokens) twin(a *account) bool { return slices.Contains(t.users, a.Name) }

// What the Token of a caller begins with.
const (
	sessionToken = "session:"
	namedToken   = "token:"
)

// SignIn begins a session of an account whose password was checked. Faults: not_found (user_unknown), unavailable
// (vault_sealed, vault_damaged), internal (state_not_durable).
func (t *Tokens) SignIn(ctx context.Context, name string, from netip.Addr, client string) (Credentials, error) {
	t.write.Lock()
	defer t.write.Unlock()
	if err := t.load(ctx); err != nil {
		return Credentials{}, err
	}
	if _, err := t.Account(name); err != nil {
		return Credentials{}, err
	}
	a, now := t.names[name], t.now()
	s := &session{Session: Session{ID: "s" + newID() + newID(), Created: now, Seen: now, Expires: now.Add(sessionIdle), Client: client}, bond: bond{session: true, account: a, over: make(chan struct{})}}
	if from.IsValid() {
		s.Address = from.Unmap().String()
	}
	refresh := newRefresh()
	most := t.tooMany(a)
	err := t.update(ctx, func(tx *sql.Tx) error {
		for _, old := range most {
			if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE id = ?", old); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE accounts SET failures = 0 WHERE id = ?", a.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO sessions (id, account, created, seen, expires, address, client) VALUES (?, ?, ?, ?, ?, ?, ?)",
			s.ID, a.ID, now.UnixNano(), now.UnixNano(), s.Expires.UnixNano(), s.Address, client); err != nil {
			return err
		}
		return keepRefresh(ctx, tx, refresh, s)
	})
	if err != nil {
		return Credentials{}, err
	}
	t.mu.Lock()
	a.Failures = 0
	t.sessions[s.ID] = s
	t.endSessions(func(s *session) bool { return slices.Contains(most, s.ID) })
	t.mu.Unlock()
	return t.credentials(s, refresh)
}

// tooMany gives the sessions that have to make room for another one of the account; write is held.
func (t *Tokens) tooMany(a *account) []string {
	var all []Session
	for _, s := range t.Sessions(a.Name) {
		all = append(all, s)
	}
	if len(all) < maxSessions {
		return nil
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Seen.Compare(b.Seen) })
	var ids []string
	for _, s := range all[:len(all)-maxSessions+1] {
		ids = append(ids, s.ID)
	}
	return ids
}

func keepRefresh(ctx context.Context, tx *sql.Tx, text string, s *session) error {
	hash := digest(text)
	_, err := tx.ExecContext(ctx, "INSERT INTO refresh_tokens (hash, session, expires, used) VALUES (?, ?, ?, 0)", hash[:], s.ID, s.Expires.UnixNano())
	return err
}

func (t *Tokens) credentials(s *session, refresh string) (Credentials, error) {
	now := t.now().Truncate(time.Second)
	c := claims{issuer: t.home, audience: t.home, subject: s.account.ID, session: s.ID, id: newID() + newID(), issued: now, expires: now.Add(accessLife)}
	access, err := t.keys.sign(c)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{s.ID, s.account.Name, s.account.Role, access, c.expires, refresh, s.Expires}, nil
}

// unusable is what every refresh token that is not good answers.
func unusable(why string) *fault.Error {
	return fault.New(fault.Unauthenticated, "%s", why).WithHint("sign in again")
}

// Owner gives whose refresh token this is, whether or not it still can be used. Faults: unauthenticated (bad_token),
// limited (too_many_guesses).
func (t *Tokens) Owner(ctx context.Context, refresh string, from netip.Addr, local bool) (Account, error) {
	s, _, err := t.find(ctx, refresh)
	if err != nil {
		return Account{}, err
	}
	if s == nil {
		if err := t.guard.bearer(from); err != nil && !local {
			return Account{}, err
		}
		return Account{}, unusable("the refresh token is not good here").WithReason("bad_token")
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return s.account.Account, nil
}

// find gives the session of a refresh token, and when it was used; nil for none.
func (t *Tokens) find(ctx context.Context, refresh string) (*session, time.Time, error) {
	if !isRefresh(refresh) {
		return nil, time.Time{}, nil
	}
	hash := digest(refresh)
	var id string
	var used int64
	err := t.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT session, used FROM refresh_tokens WHERE hash = ?", hash[:]).Scan(&id, &used)
	})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if s := t.sessions[id]; s != nil && t.now().Before(s.Expires) && !s.account.Disabled {
		return s, moment(used), nil
	}
	return nil, time.Time{}, nil
}

// Renew uses a refresh token up. The same one within 10 seconds gives the same successor: an answer may get lost. Later it
// was stolen, from one side or the other, and its session ends. Faults: unauthenticated (bad_token, refresh_reused),
// unavailable (vault_sealed, vault_damaged), internal (state_not_durable).
func (t *Tokens) Renew(ctx context.Context, refresh string) (Credentials, error) {
	t.write.Lock()
	defer t.write.Unlock()
	if err := t.load(ctx); err != nil {
		return Credentials{}, err
	}
	s, used, err := t.find(ctx, refresh)
	switch {
	case err != nil:
		return Credentials{}, err
	case s == nil:
		return Credentials{}, unusable("the refresh token is not good here").WithReason("bad_token")
	}
	now, next := t.now(), t.keys.follow(refresh)
	switch {
	case !used.IsZero() && now.Sub(used).Abs() < grace: // both ways: a clock that was set back makes no old one good
		return t.credentials(s, next)
	case !used.IsZero():
		if err := t.end(ctx, s.ID); err != nil {
			return Credentials{}, err
		}
		t.log.Warn("a refresh token was used twice: its session is over", "user", s.account.Name, "session", s.ID)
		return Credentials{}, unusable("the refresh token was used already, so somebody has a copy of it: its session is over").WithReason("refresh_reused")
	}
	renewed := *s
	renewed.Seen, renewed.Expires = now, now.Add(sessionIdle)
	if last := s.Created.Add(sessionLife); renewed.Expires.After(last) {
		renewed.Expires = last
	}
	hash := digest(refresh)
	err = t.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE refresh_tokens SET used = ? WHERE hash = ?", now.UnixNano(), hash[:]); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE sessions SET seen = ?, expires = ? WHERE id = ?", now.UnixNano(), renewed.Expires.UnixNano(), s.ID); err != nil {
			return err
		}
		return keepRefresh(ctx, tx, next, &renewed)
	})
	if err != nil {
		return Credentials{}, err
	}
	t.mu.Lock()
	s.Seen, s.Expires = renewed.Seen, renewed.Expires
	t.mu.Unlock()
	return t.credentials(s, next)
}
