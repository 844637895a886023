package token

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token/password"
)

// Account is somebody who may sign in.
type Account struct {
	ID       string
	Name     string
	Role     op.Role
	Disabled bool
	Failures int // wrong passwords in a row
	Created  time.Time
	Changed  time.Time // when the password was set
}

// Locked reports whether so many wrong passwords came in a row that a person has to unlock it.
func (a Account) Locked() bool { return a.Failures >= guessesInARow }

type account struct {
	Account
	hash string
}

// NamePattern is what the name of an account looks like, for schemas.
const NamePattern = `^[a-z0-9][a-z0-9._-]{0,62}$`

var accountName = regexp.MustCompile(NamePattern)

func (t *Tokens) readAccounts(ctx context.Context, tx *sql.Tx) (err error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, name, role, hash, disabled, failures, created, changed FROM accounts")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		a := &account{}
		var role string
		var created, changed int64
		if err := rows.Scan(&a.ID, &a.Name, &role, &a.hash, &a.Disabled, &a.Failures, &created, &changed); err != nil {
			return err
		}
		a.Role, a.Created, a.Changed = op.ParseRole(role), moment(created), moment(changed)
		t.accounts[a.ID], t.names[a.Name] = a, a
	}
	return nil
}

// Accounts gives every account by name.
func (t *Tokens) Accounts() []Account {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]Account, 0, len(t.accounts))
	for _, a := range t.accounts {
		all = append(all, a.Account)
	}
	slices.SortFunc(all, func(a, b Account) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Account gives the account of a name. Faults: not_found (user_unknown).
func (t *Tokens) Account(name string) (Account, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a := t.names[name]; a != nil {
		return a.Account, nil
	}
	names := make([]string, 0, len(t.names))
	for n := range t.names {
		names = append(names, n)
	}
	slices.Sort(names)
	f := fault.New(fault.NotFound, "there is no user %q", name).WithReason("user_unknown").WithHint("%s", fault.Do("users.list"))
	if near := fault.Near(name, names); near != "" {
		f = f.WithCandidates(near)
	}
	return Account{}, f
}

// CheckName says whether an account may have a name. Faults: invalid (bad_user).
func CheckName(name string) error {
	if accountName.MatchString(name) {
		return nil
	}
	return fault.New(fault.Invalid, "%.80q cannot be the name of a user: lower case letters, digits, dots, dashes and underscores, at most 63", name).WithReason("bad_user")
}

// CheckPassword says whether an account may have a password. Faults: invalid (weak_password).
func CheckPassword(name, secret string) error { return password.Check(secret, name) }

func checkRole(role op.Role) error {
	if role == op.Viewer || role == op.Operator || role == op.Admin {
		return nil
	}
	return fault.New(fault.Invalid, "the role is viewer, operator or admin").WithReason("bad_role")
}

// Create makes an account. Faults: invalid (bad_user, bad_role, weak_password), conflict (user_exists), limited
// (sign_in_busy), internal (state_not_durable).
func (t *Tokens) Create(ctx context.Context, name string, role op.Role, secret string) (Account, error) {
	if err := errors.Join(CheckName(name), checkRole(role)); err != nil {
		return Account{}, fault.From(err)
	}
	if err := password.Check(secret, name); err != nil {
		return Account{}, err
	}
	hash, err := t.hasher.Hash(ctx, secret)
	if err != nil {
		return Account{}, err
	}
	t.write.Lock()
	defer t.write.Unlock()
	if t.names[name] != nil {
		return Account{}, fault.New(fault.Conflict, "there is a user %q already", name).WithReason("user_exists").WithHint("%s", fault.Do("users.get", "name", name))
	}
	now := t.now()
	a := &account{Account{ID: "u" + newID(), Name: name, Role: role, Created: now, Changed: now}, hash}
	err = t.exec(ctx, "INSERT INTO accounts (id, name, role, hash, disabled, failures, created, changed) VALUES (?, ?, ?, ?, 0, 0, ?, ?)",
		a.ID, a.Name, role.String(), hash, now.UnixNano(), now.UnixNano())
	if err != nil {
		return Account{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accounts[a.ID], t.names[a.Name] = a, a
	return a.Account, nil
}

// Change says what is to be different of an account; nil leaves it.
type Change struct {
	Role     *op.Role
	Password *string
	Disabled *bool
	Unlock   bool
}

// Update changes an account. A role or a password that is another ends what was admitted by the former one: with another
// role its sessions and tokens go on, and have less or more; another password ends its sessions; who is disabled has
// neither. Faults: not_found (user_unknown), invalid (bad_role, weak_password), conflict (last_admin), limited
// (sign_in_busy), internal (state_not_durable).
func (t *Tokens) Update(ctx context.Context, name string, c Change) (Account, error) {
	hash := ""
	if c.Role != nil {
		if err := checkRole(*c.Role); err != nil {
			return Account{}, err
		}
	}
	if c.Password != nil {
		if err := password.Check(*c.Password, name); err != nil {
			return Account{}, err
		}
		var err error
		if hash, err = t.hasher.Hash(ctx, *c.Password); err != nil {
			return Account{}, err
		}
	}
	t.write.Lock()
	defer t.write.Unlock()
	if _, err := t.Account(name); err != nil {
		return Account{}, err
	}
	a := t.names[name]
	next := *a
	if c.Role != nil {
		next.Role = *c.Role
	}
	if c.Disabled != nil {
		next.Disabled = *c.Disabled
	}
	if c.Password != nil {
		next.hash, next.Changed, next.Failures = hash, t.now(), 0
	}
	if c.Unlock {
		next.Failures = 0
	}
	if a.admin() && !next.admin() {
		if err := t.lastAdmin(a); err != nil {
			return Account{}, err
		}
	}
	ends := c.Password != nil || next.Disabled && !a.Disabled
	err := t.update(ctx, func(tx *sql.Tx) error {
		if ends {
			if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE account = ?", a.ID); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET role = ?, hash = ?, disabled = ?, failures = ?, changed = ? WHERE id = ?",
			next.Role.String(), next.hash, next.Disabled, next.Failures, next.Changed.UnixNano(), a.ID)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	if next.Failures == 0 {
		t.guard.unlock(name)
	}
	t.mu.Lock()
	moved := a.Role != next.Role || a.Disabled != next.Disabled
	*a = next
	if ends {
		t.endSessions(func(s *session) bool { return s.account == a })
	}
	t.mu.Unlock()
	if moved {
		t.bounce(func(b *bond) bool { return b.account == a })
	}
	return next.Account, nil
}

func (a *account) admin() bool { return a.Role == op.Admin && !a.Disabled }

// lastAdmin refuses to go without an admin; write is held.
func (t *Tokens) lastAdmin(a *account) error {
	for _, other := range t.accounts {
		if other != a && other.admin() {
			return nil
		}
	}
	return fault.New(fault.Conflict, "%s is the last admin", a.Name).WithReason("last_admin").WithHint("make another one first: %s", fault.Do("users.create", "name", "somebody", "role", "admin"))
}

// Delete ends an account with its sessions and tokens. last lets the last admin go. Faults: not_found (user_unknown),
// conflict (last_admin), internal (state_not_durable).
func (t *Tokens) Delete(ctx context.Context, name string, last bool) (Account, error) {
	t.write.Lock()
	defer t.write.Unlock()
	if err := t.deletable(name, last); err != nil {
		return Account{}, err
	}
	a := t.names[name]
	if err := t.exec(ctx, "DELETE FROM accounts WHERE id = ?", a.ID); err != nil { // the rest goes with it
		return Account{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.accounts, a.ID)
	delete(t.names, name)
	t.endSessions(func(s *session) bool { return s.account == a })
	for id, n := range t.named {
		if n.account == a {
			delete(t.named, id)
			n.cut()
		}
	}
	return a.Account, nil
}

// Deletable says what is in the way of Delete. Faults: as those of Delete.
func (t *Tokens) Deletable(name string, last bool) error {
	t.write.Lock()
	defer t.write.Unlock()
	return t.deletable(name, last)
}

func (t *Tokens) deletable(name string, last bool) error {
	if _, err := t.Account(name); err != nil {
		return err
	}
	if a := t.names[name]; a.admin() && !last {
		return t.lastAdmin(a)
	}
	return nil
}

// Check says whose name and password these are. Unless from is local, on the daemon's own socket, guesses are limited
// before anything is hashed; a name that there is not takes as long as a wrong password. Faults: unauthenticated
// (bad_credentials; a locked account answers the same, also to the right one), limited (too_many_guesses, sign_in_busy), internal (state_not_durable).
func (t *Tokens) Check(ctx context.Context, name, secret string, from netip.Addr, local bool) (Account, error) {
	right := func() {}
	t.mu.RLock()
	a, hash, locked, id := t.names[name], "", false, ""
	if a != nil {
		hash, locked, id = a.hash, a.Locked() && !local, a.ID
	}
	t.mu.RUnlock()
	if !local {
		var err error
		if right, err = t.guard.password(name, from); err != nil {
			return Account{}, err
		}
		if err := t.count(ctx, id); err != nil { // before it is known, so that a death in between forgets no guess
			return Account{}, err
		}
	}
	ok, err := t.hasher.Verify(ctx, hash, secret)
	if err != nil {
		right() // nothing was learnt
		return Account{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if a = t.accounts[id]; !ok || locked || a == nil || a.Disabled || a.hash != hash { // all of them look the same from outside
		return Account{}, fault.New(fault.Unauthenticated, "the name or the password is wrong").WithReason("bad_credentials").
			WithHint("if neither is, %d wrong ones in a row may have locked the account: somebody on the daemon's own socket looks with %s", guessesInARow, fault.Do("users.list"))
	}
	right()
	return a.Account, nil
}

// count counts a guess that is about to be checked, of an account or of nobody's.
func (t *Tokens) count(ctx context.Context, id string) error {
	query, args := "UPDATE strangers SET failures = failures + 1", []any{}
	if id != "" {
		query, args = "UPDATE accounts SET failures = failures + 1 WHERE id = ?", []any{id}
	}
	if err := t.exec(ctx, query, args...); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.accounts[id]; a != nil {
		a.Failures++
	}
	return nil
}
