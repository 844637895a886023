package token

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

const (
	// NamedLife is how long a named token is good when nothing is said.
	NamedLife = 90 * 24 * time.Hour
	// MaxNamedLife is how long it may be good at most.
	MaxNamedLife = 10 * 365 * 24 * time.Hour

	maxNamed  = 1000                // of all accounts
	graveTime = 30 * 24 * time.Hour // how long it is known of one that ended that it was one
)

// Named is a token for a program.
type Named struct {
	ID      string
	Name    string // what for: foreign text
	User    string // name of the account that it acts for
	Role    op.Role
	Scope   op.Scope
	Channel op.Channel // agent or app
	Created time.Time
	Expires time.Time
	Used    time.Time // when it was shown last; zero: never
	Revoked time.Time // zero: it was not
}

type named struct {
	Named
	bond
	hash    [32]byte
	written time.Time // the Used that is on disk
}

func (t *Tokens) readNamed(ctx context.Context, tx *sql.Tx) (err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, hash, account, name, role, scope, channel, created, expires, used, revoked FROM named_tokens")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		n := &named{bond: bond{over: make(chan struct{})}}
		var owner, role, scope string
		var hash []byte
		var created, expires, used, revoked int64
		if err := rows.Scan(&n.ID, &hash, &owner, &n.Name, &role, &scope, &n.Channel, &created, &expires, &used, &revoked); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(scope), &n.Scope); err != nil { // what it is limited to must not get lost
			return err
		}
		if n.account = t.accounts[owner]; n.account == nil {
			continue
		}
		copy(n.hash[:], hash)
		n.Role, n.Created, n.Expires, n.Used, n.Revoked = op.ParseRole(role), moment(created), moment(expires), moment(used), moment(revoked)
		n.written = n.Used
		t.named[n.ID] = n
	}
	return nil
}

// show is the token as others see it; mu is held.
func (n *named) show() Named {
	out := n.Named
	out.User = n.account.Name
	return out
}

// identifyNamed gives who a named token stands for.
func (t *Tokens) identifyNamed(id, text string) (*Identity, error) {
	hash, now := digest(text), t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.named[id]
	switch {
	case n == nil || subtle.ConstantTimeCompare(n.hash[:], hash[:]) != 1:
		return nil, fault.New(fault.Unauthenticated, "the token is not good here").WithReason("bad_token").WithHint("have one made: %s", fault.Do("tokens.create", "name", "laptop"))
	case !n.Revoked.IsZero() || n.account.Disabled:
		return nil, fault.New(fault.Unauthenticated, "the token was revoked").WithReason("revoked").WithHint("have another one made: %s", fault.Do("tokens.create", "name", n.Name))
	case !now.Before(n.Expires):
		return nil, fault.New(fault.Unauthenticated, "the token ended at %s", n.Expires.UTC().Format(time.RFC3339)).WithReason("expired").
			WithHint("have another one made: %s", fault.Do("tokens.create", "name", n.Name))
	}
	n.Used = now
	ceiling := min(n.Role, n.account.Role)
	return &Identity{Expires: n.Expires, Revoked: n.over, Caller: op.Caller{User: n.account.Name, UID: -1, Twin: t.twin(n.account), Channel: n.Channel, Token: namedToken + n.ID,
		Ceiling: ceiling, Role: acting(n.Channel, ceiling), Scope: n.Scope}}, nil
}

// Named gives the named tokens, the newest first.
func (t *Tokens) Named() []Named {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]Named, 0, len(t.named))
	for _, n := range t.named {
		all = append(all, n.show())
	}
	slices.SortFunc(all, func(a, b Named) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// Issue makes a named token of what n says: name, user, role, scope, channel, and expires unless that is zero. Its text is
// given once and not kept. Faults: not_found (user_unknown), invalid (bad_role, bad_channel, bad_life), denied (role: above that of
// the user), limited (too_many_tokens), internal (state_not_durable).
func (t *Tokens) Issue(ctx context.Context, n Named) (text string, made Named, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	account, err := t.Account(n.User)
	if err != nil {
		return "", Named{}, err
	}
	if err := t.fit(&n, account); err != nil {
		return "", Named{}, err
	}
	one := &named{Named: n, bond: bond{account: t.names[n.User], over: make(chan struct{})}}
	text = newNamed(n.ID)
	one.hash = digest(text)
	scope, err := json.Marshal(n.Scope)
	if err != nil {
		return "", Named{}, err
	}
	err = t.exec(ctx, "INSERT INTO named_tokens (id, hash, account, name, role, scope, channel, created, expires, used, revoked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
		n.ID, one.hash[:], account.ID, n.Name, n.Role.String(), string(scope), string(n.Channel), n.Created.UnixNano(), n.Expires.UnixNano())
	if err != nil {
		return "", Named{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.named[n.ID] = one
	return text, one.show(), nil
}

// fit fills in what nobody said, and says what is wrong with the rest.
func (t *Tokens) fit(n *Named, a Account) error {
	if err := checkRole(n.Role); err != nil {
		return err
	}
	n.ID, n.Created, n.Used, n.Revoked = newID(), t.now(), time.Time{}, time.Time{}
	if n.Expires.IsZero() {
		n.Expires = n.Created.Add(NamedLife)
	}
	life := n.Expires.Sub(n.Created)
	switch {
	case n.Channel != op.Agent && n.Channel != op.App:
		return fault.New(fault.Invalid, "a token is of the channel agent or app; only a password makes a person").WithReason("bad_channel")
	case life <= 0 || life > MaxNamedLife:
		return fault.New(fault.Invalid, "a token is good for at most %d days", MaxNamedLife/(24*time.Hour)).WithReason("bad_life")
	case !a.Role.Covers(n.Role):
		return fault.New(fault.Denied, "%s is %s, and a token has no more than its user", a.Name, a.Role).WithReason("role")
	case len(t.named) >= maxNamed:
		return fault.New(fault.Limited, "there are %d tokens, and no more are made", len(t.named)).WithReason("too_many_tokens").WithHint("revoke those that nobody uses: %s", fault.Do("tokens.list"))
	}
	return nil
}

// Token gives a named token by its id, or by its name where only one that counts has it. Faults: not_found (token_unknown),
// invalid (ambiguous).
func (t *Tokens) Token(idOrName string) (Named, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n := t.named[idOrName]; n != nil {
		return n.show(), nil
	}
	var hits []*named
	var names, ids []string
	for _, n := range t.named {
		if !n.Revoked.IsZero() {
			continue
		}
		if names = append(names, n.Name); n.Name == idOrName {
			hits, ids = append(hits, n), append(ids, n.ID)
		}
	}
	slices.Sort(ids)
	switch {
	case len(hits) == 1:
		return hits[0].show(), nil
	case len(hits) > 1:
		return Named{}, fault.New(fault.Invalid, "%d tokens are called %q: say which one", len(hits), idOrName).WithReason("ambiguous").WithCandidates(ids...)
	}
	slices.Sort(names)
	f := fault.New(fault.NotFound, "there is no token %q", idOrName).WithReason("token_unknown").WithHint("%s", fault.Do("tokens.list"))
	if near := fault.Near(idOrName, names); near != "" {
		f = f.WithCandidates(near)
	}
	return Named{}, f
}

// Revoke ends a named token; one that was revoked stays so. Faults: as Token, and internal (state_not_durable).
func (t *Tokens) Revoke(ctx context.Context, idOrName string) (Named, error) {
	t.write.Lock()
	defer t.write.Unlock()
	found, err := t.Token(idOrName)
	if err != nil || !found.Revoked.IsZero() {
		return found, err
	}
	now := t.now()
	if err := t.exec(ctx, "UPDATE named_tokens SET revoked = ? WHERE id = ?", now.UnixNano(), found.ID); err != nil {
		return Named{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.named[found.ID]
	n.Revoked = now
	n.cut()
	return n.show(), nil
}

// RevokeUser ends every session and named token of an account. Faults: not_found (user_unknown), internal
// (state_not_durable).
func (t *Tokens) RevokeUser(ctx context.Context, name string) (sessions, tokens int, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	if _, err := t.Account(name); err != nil {
		return 0, 0, err
	}
	a, now := t.names[name], t.now()
	err = t.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE account = ?", a.ID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE named_tokens SET revoked = ? WHERE account = ? AND revoked = 0", now.UnixNano(), a.ID)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.sessions)
	t.endSessions(func(s *session) bool { return s.account == a })
	for _, n := range t.named {
		if n.account == a && n.Revoked.IsZero() {
			n.Revoked = now
			n.cut()
			tokens++
		}
	}
	return before - len(t.sessions), tokens, nil
}

// sweepNamed writes down which tokens were used, and forgets those that ended long ago; write is held.
func (t *Tokens) sweepNamed(ctx context.Context, now time.Time) error {
	used := map[string]time.Time{}
	var over []string
	t.mu.RLock()
	for id, n := range t.named {
		if n.Used.After(n.written) {
			used[id] = n.Used
		}
		if n.Expires.Add(graveTime).Before(now) || !n.Revoked.IsZero() && n.Revoked.Add(graveTime).Before(now) {
			over = append(over, id)
		}
	}
	t.mu.RUnlock()
	if len(used)+len(over) == 0 {
		return nil
	}
	err := t.update(ctx, func(tx *sql.Tx) error {
		for id, at := range used {
			if _, err := tx.ExecContext(ctx, "UPDATE named_tokens SET used = ? WHERE id = ?", at.UnixNano(), id); err != nil {
				return err
			}
		}
		return each(ctx, tx, "DELETE FROM named_tokens WHERE id = ?", over)
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, at := range used {
		t.named[id].written = at
	}
	for _, id := range over {
		delete(t.named, id)
	}
	return nil
}

// OwnSession gives the session that a caller signed in with, and OwnUser the name of its account; "" for a caller on the
// daemon's own socket, who has none.
func OwnSession(c op.Caller) string {
	if c.UID >= 0 {
		return ""
	}
	id, ok := strings.CutPrefix(c.Token, sessionToken)
	if !ok {
		return ""
	}
	return id
}

// OwnUser gives the account that a caller acts for, or "" for one on the daemon's own socket.
func OwnUser(c op.Caller) string {
	if c.UID >= 0 || !strings.HasPrefix(c.Token, sessionToken) && !strings.HasPrefix(c.Token, namedToken) {
		return ""
	}
	return c.User
}

// outlived reports whether a token was refused because its time is over.
func outlived(err error) bool { return errors.Is(err, jwt.ErrTokenExpired) }
