// Package token says who a credential stands for: it keeps accounts and their passwords, the sessions of those who signed
// in with one, and the tokens of programs. It answers the network planes (Authority) and the services auth, users and
// tokens; nobody signs in on the daemon's own socket.
//
// Each credential is of one kind and use. An access token (a JWT, a quarter of an hour) and a named token (omt_…) are what
// a bearer shows. A refresh token (omr_…) is good once, for the next access token. A browser has a cookie and a key. What
// a bearer may do is in none of them: it is looked up, and so what is taken away is gone at once.
package token

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token/password"
)

// Identity is who a credential stands for.
type Identity struct {
	Caller  op.Caller       // without Plane, Session and Client, which the plane adds
	Expires time.Time       // when the credential ends by itself
	Revoked <-chan struct{} // closed once it counts no more: its token, session, family, user or role was ended or changed
}

// Authority tells bearers apart. The network planes ask it; everything else they do is theirs.
type Authority interface {
	// Admit gives the identity that a bearer (an access token or a named token) stands for. from is where it came from; a
	// channel that is not "" lowers the identity's to it. The faults are unauthenticated (no_token, bad_token, expired,
	// revoked), denied (channel_raised), limited (too_many_guesses) and unavailable (vault_sealed).
	Admit(ctx context.Context, bearer string, from netip.Addr, lower op.Channel) (*Identity, error)
}

// database is what accounts and tokens need of a store.
type database interface {
	View(ctx context.Context, fn func(*sql.Tx) error) error
	Update(ctx context.Context, fn func(*sql.Tx) error) error
}

// Vault has the keys; *vault.Vault is one.
type Vault interface {
	Key(name string) ([]byte, error)
	DropKey(name string) error
}

// Options say what accounts and tokens live on.
type Options struct {
	DB    database
	Vault Vault
	Home  string // id of the home: tokens of another are none here
	Log   *slog.Logger
	Now   func() time.Time

	Hasher *password.Hasher // nil: one of its own
	Users  []string         // who may use the daemon's socket: accounts of such a name are told apart from them
}

// Tokens is every account, session and token of a home. It is safe for concurrent use. All of it is in memory, so asking
// waits for no disk; what changes is on disk first.
type Tokens struct {
	db     database
	vault  Vault
	home   string // issuer and audience of every access token
	log    *slog.Logger
	now    func() time.Time
	hasher *password.Hasher
	guard  *guard
	users  []string
	keys   keyring

	write sync.Mutex // one change at a time; taken before mu

	mu       sync.RWMutex
	accounts map[string]*account // by id
	names    map[string]*account
	sessions map[string]*session
	cookies  map[[32]byte]*session
	named    map[string]*named
}

// bond ties those who were admitted to what they were admitted with.
type bond struct {
	session bool          // else it is a named token's
	account *account      // that it acts for
	over    chan struct{} // closed when what was said of it is not true any more
}

// cut tells everybody who was admitted that he has to ask again; mu is held.
func (b *bond) cut() {
	close(b.over)
	b.over = make(chan struct{})
}

// Open gives the accounts and tokens in the database. It needs no keys: those are looked for by Ready.
func Open(ctx context.Context, o Options) (*Tokens, error) {
	t := &Tokens{db: o.DB, vault: o.Vault, home: "omnitron:" + o.Home, log: o.Log, now: o.Now, hasher: cmp.Or(o.Hasher, password.NewHasher()), guard: newGuard(o.Now), users: o.Users,
		accounts: map[string]*account{}, names: map[string]*account{}, sessions: map[string]*session{}, cookies: map[[32]byte]*session{}, named: map[string]*named{}}
	err := t.db.View(ctx, func(tx *sql.Tx) error {
		for _, read := range []func(context.Context, *sql.Tx) error{t.readAccounts, t.readSessions, t.readNamed} {
			if err := read(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the accounts: %w", err)
	}
	return t, nil
}

// update makes a change durable.
func (t *Tokens) update(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := t.db.Update(context.WithoutCancel(ctx), fn); err != nil {
		if _, ok := err.(*fault.Error); ok { //nolint:errorlint // a fault of ours comes as it is
			return err
		}
		return fmt.Errorf("cannot write the accounts: %w", err)
	}
	return nil
}

func (t *Tokens) exec(ctx context.Context, query string, args ...any) error {
	return t.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	})
}

// bounce tells those who were admitted with what is chosen that they have to ask again.
func (t *Tokens) bounce(chosen func(*bond) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sessions {
		if chosen(&s.bond) {
			s.cut()
		}
	}
	for _, n := range t.named {
		if chosen(&n.bond) {
			n.cut()
		}
	}
}

// Admit implements Authority. Why a bearer is none is in the log only: the answer says as much as the bearer may know.
func (t *Tokens) Admit(ctx context.Context, bearer string, from netip.Addr, lower op.Channel) (*Identity, error) {
	if bearer == "" {
		return nil, fault.New(fault.Unauthenticated, "nobody has signed in").WithReason("no_token").WithHint("send a token; an admin makes one: %s", fault.Do("tokens.create", "name", "laptop"))
	}
	id, err := t.identify(ctx, bearer)
	if err == nil {
		return id.lowered(lower)
	}
	if !fault.Is(err, fault.Unauthenticated) {
		return nil, err
	}
	t.log.Debug("a bearer was refused", "from", from, "err", err, "cause", fault.From(err).Unwrap())
	if limited := t.guard.bearer(from); limited != nil {
		return nil, limited
	}
	return nil, err
}

// identify gives who a bearer is.
func (t *Tokens) identify(ctx context.Context, bearer string) (*Identity, error) {
	if id, ok := namedID(bearer); ok {
		return t.identifyNamed(id, bearer)
	}
	if err := t.Ready(ctx); err != nil {
		return nil, err
	}
	now := t.now()
	c, err := t.keys.verify(bearer, t.home, now)
	if err != nil {
		if outlived(err) {
			return nil, fault.Wrap(err, fault.Unauthenticated, "the token has ended").WithReason("expired").WithHint("renew it: %s", fault.Do("auth.refresh"))
		}
		return nil, fault.Wrap(err, fault.Unauthenticated, "the token is not good here").WithReason("bad_token").WithHint("sign in again")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[c.session]
	if s == nil || s.account.ID != c.subject || !now.Before(s.Expires) {
		return nil, fault.New(fault.Unauthenticated, "the session was ended").WithReason("revoked").WithHint("sign in again")
	}
	s.Seen = now
	return t.identity(s, c.expires), nil
}

var ranks = map[op.Channel]int{op.Person: 3, op.App: 2, op.Agent: 1}

// lowered gives the identity with less: what a person may do an agent may do as well, but not the other way round.
func (id *Identity) lowered(to op.Channel) (*Identity, error) {
	if to == "" || to == id.Caller.Channel {
		return id, nil
	}
	if ranks[to] == 0 || ranks[to] > ranks[id.Caller.Channel] {
		return nil, fault.New(fault.Denied, "the token is of the channel %s, and nothing makes it %q", id.Caller.Channel, string(to)).WithReason("channel_raised").
			WithHint("sign in with a password, or have a token made for that channel")
	}
	id.Caller.Channel, id.Caller.Console = to, false
	id.Caller.Role = acting(to, id.Caller.Ceiling)
	return id, nil
}

// acting is the role that a channel acts with: above it an agent is held.
func acting(ch op.Channel, ceiling op.Role) op.Role {
	if ch == op.Agent {
		return min(ceiling, op.Operator)
	}
	return ceiling
}

// Sweep writes down who was seen, and forgets what has ended; it also takes a new signing key when it is time.
func (t *Tokens) Sweep(ctx context.Context) error {
	t.write.Lock()
	now := t.now()
	err := t.sweepSessions(ctx, now)
	if err == nil {
		err = t.sweepNamed(ctx, now)
	}
	rotate := false
	if err == nil && t.keys.loaded() {
		err = t.retireKeys(ctx, now)
		t.keys.mu.RLock()
		rotate = now.Sub(t.keys.keys[len(t.keys.keys)-1].created) >= keyLife
		t.keys.mu.RUnlock()
	}
	t.write.Unlock()
	if rotate {
		_, err = t.Rotate(ctx, false)
	}
	return err
}
