package token_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/core/token/password"
)

func address(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}) }

// flood guesses n times and says how many were checked.
func (w *world) flood(name string, n int, from func(int) netip.Addr) (checked int) {
	for i := range n {
		switch _, err := w.Check(w.t.Context(), name, fmt.Sprint("not this one ", i), from(i), false); {
		case fault.Is(err, fault.Unauthenticated):
			checked++
		case reason(err) != "too_many_guesses" || fault.From(err).RetryAfter <= 0:
			w.t.Fatal(err)
		}
	}
	return checked
}

// TestAHundredThousandGuesses is row I3 of the reliability bar: from one address and from 200.
func TestAHundredThousandGuesses(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	for what, from := range map[string]func(int) netip.Addr{
		"one address":   func(int) netip.Addr { return address(1) },
		"200 addresses": func(i int) netip.Addr { return address(i % 200) },
		"one network":   func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)}) },
	} {
		w := newWorld(t)
		w.user("alice", op.Admin)
		if checked := w.flood("alice", n, from); checked != 10 {
			t.Errorf("%s: %d guesses were checked", what, checked)
		}
		if _, err := w.Check(t.Context(), "alice", good, address(9999), false); reason(err) != "too_many_guesses" {
			t.Errorf("%s: the right one meanwhile: %v", what, err)
		}
		if a, err := w.Check(t.Context(), "alice", good, netip.Addr{}, true); err != nil || a.Name != "alice" {
			t.Errorf("%s: the owner's socket is limited: %v", what, err)
		}
		w.pass(15 * time.Minute)
		if _, err := w.Check(t.Context(), "alice", good, address(9999), false); err != nil {
			t.Errorf("%s: the right one afterwards: %v", what, err)
		}
	}
}

func TestAHundredInARowNeedAPerson(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	checked := 0
	for range 15 {
		checked += w.flood("alice", 12, address)
		w.pass(15 * time.Minute)
		w.again() // who is killed forgets none
	}
	if a := must(w.Account("alice"))(t); checked != 150 || !a.Locked() || a.Failures != 150 {
		t.Errorf("%d were checked: %+v", checked, a)
	}
	// From outside it is as if there were no such account: with the right password, with another, and when it was asked too often.
	for i := range 12 {
		_, there := w.Check(t.Context(), "alice", []string{good, "wrong wrong wrong"}[i%2], address(1+i), false)
		_, nobody := w.Check(t.Context(), "nobody", good, address(100+i), false)
		a, b := fault.From(there), fault.From(nobody)
		if want := map[bool]string{true: "bad_credentials", false: "too_many_guesses"}[i < 10]; a.Reason != want || a.Code != b.Code || a.Error() != b.Error() || a.Hint != b.Hint || a.RetryAfter != b.RetryAfter {
			t.Errorf("%d: %+v, of nobody %+v", i, a, b)
		}
	}
	w.pass(15 * time.Minute)
	if _, err := w.Check(t.Context(), "alice", good, netip.Addr{}, true); err != nil {
		t.Errorf("on the owner's socket: %v", err)
	}
	if a := must(w.Update(t.Context(), "alice", token.Change{Unlock: true}))(t); a.Locked() {
		t.Error("it is still locked")
	}
	if _, err := w.Check(t.Context(), "alice", good, address(1), false); err != nil {
		t.Errorf("unlocked: %v", err)
	}
	w.in("alice")
	if a := must(w.Account("alice"))(t); a.Failures != 0 {
		t.Errorf("%+v", a)
	}
}

func TestAnAddressIsLimitedWhateverItGuesses(t *testing.T) {
	w := newWorld(t)
	checked := 0
	for i := range 50 {
		checked += w.flood(fmt.Sprint("user", i), 1, func(int) netip.Addr { return address(1) })
	}
	if checked != 30 {
		t.Errorf("%d were checked", checked)
	}
	if w.flood("user99", 1, func(int) netip.Addr { return address(2) }) != 1 {
		t.Error("another address is limited too")
	}
}

func TestABearerThatIsGoodIsNeverLimited(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	text, _ := w.issue(named("alice"))
	limited := 0
	for i := range 150 {
		if _, err := w.Admit(t.Context(), fmt.Sprint("guess", i), here, ""); fault.Is(err, fault.Limited) {
			limited++
		}
	}
	if limited != 50 {
		t.Errorf("%d were limited", limited)
	}
	w.admit(text)
	if _, err := w.Owner(t.Context(), "omr_x", here, false); !fault.Is(err, fault.Limited) {
		t.Errorf("refresh tokens are guessed without limit: %v", err)
	}
}

// TestANameThatThereIsNotTakesAsLong counts instead of timing: whoever guesses has the same hashes made and the same number of
// transactions, whether or not there is such a name. How long that takes is BenchmarkCheck's.
func TestANameThatThereIsNotTakesAsLong(t *testing.T) {
	w := newWorld(t)
	var hashed []string
	h := password.NewHasher()
	argon := h.Sum
	h.Sum = func(text, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte {
		hashed = append(hashed, fmt.Sprintf("%d bytes with %d of salt: m=%d t=%d p=%d, %d bytes", len(text), len(salt), memory, passes, lanes, size))
		return argon(text, salt, passes, memory, lanes, size)
	}
	db := &counted{Store: w.db}
	var err error
	if w.Tokens, err = token.Open(t.Context(), token.Options{DB: db, Vault: w.keys, Home: "abc123", Log: slog.New(slog.DiscardHandler), Now: w.clock, Hasher: h}); err != nil {
		t.Fatal(err)
	}
	w.user("alice", op.Admin)
	w.user("carol", op.Viewer)
	off := true
	must(w.Update(t.Context(), "carol", token.Change{Disabled: &off}))(t)
	for _, local := range []bool{false, true} {
		work := map[string]string{}
		for _, name := range []string{"alice", "carol", "nobody"} {
			hashed, db.updates = nil, 0
			if _, err := w.Check(t.Context(), name, "not this one either", here, local); reason(err) != "bad_credentials" || err.Error() != "the name or the password is wrong" {
				t.Fatal(name, err)
			}
			if work[name] = fmt.Sprint(hashed, db.updates); len(hashed) != 1 || work[name] != work["alice"] {
				t.Errorf("local %v: %s costs %s, alice %s", local, name, work[name], work["alice"])
			}
		}
	}
}

// counted is a store that counts what changes in it.
type counted struct {
	*store.Store
	updates int
}

func (c *counted) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	c.updates++
	return c.Store.Update(ctx, fn)
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.user("alice", op.Admin)
	for want, c := range map[string]struct {
		name   string
		role   op.Role
		secret string
	}{
		"user_exists": {"alice", op.Viewer, good}, "bad_user": {"Not A Name", op.Viewer, good}, "bad_role": {"bob", op.Node, good}, "weak_password": {"bob", op.Viewer, "password"},
	} {
		if _, err := w.Create(ctx, c.name, c.role, c.secret); reason(err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	viewer, off := op.Viewer, true
	for what, do := range map[string]func() error{
		"deleted":  func() error { _, err := w.Delete(ctx, "alice", false); return err },
		"demoted":  func() error { _, err := w.Update(ctx, "alice", token.Change{Role: &viewer}); return err },
		"disabled": func() error { _, err := w.Update(ctx, "alice", token.Change{Disabled: &off}); return err },
	} {
		if err := do(); !fault.Is(err, fault.Conflict) || reason(err) != "last_admin" {
			t.Errorf("the last admin was %s: %v", what, err)
		}
	}
	w.user("bob", op.Admin)
	if a := must(w.Update(ctx, "alice", token.Change{Role: &viewer}))(t); a.Role != op.Viewer {
		t.Errorf("%+v", a)
	}
	if _, err := w.Delete(ctx, "bob", true); err != nil {
		t.Errorf("on purpose: %v", err)
	}
	if _, err := w.Account("alicia"); reason(err) != "user_unknown" || len(fault.From(err).Candidates) != 1 {
		t.Errorf("%v", err)
	}
	id := must(w.Account("alice"))(t).ID
	w.again()
	if all := w.Accounts(); len(all) != 1 || all[0].ID != id || all[0].Role != op.Viewer {
		t.Errorf("%+v", all)
	}
	c := w.in("alice")
	stays, goes := w.admit(c.Access), w.admit(w.in("alice").Access)
	if err := w.SetPassword(ctx, c.Session, "wrong one, is it", other, here); reason(err) != "bad_credentials" {
		t.Error(err)
	}
	if err := w.SetPassword(ctx, c.Session, good, "short", here); reason(err) != "weak_password" {
		t.Error(err)
	}
	if err := w.SetPassword(ctx, c.Session, good, other, here); err != nil || over(stays) || !over(goes) {
		t.Errorf("%v: %v %v", err, over(stays), over(goes))
	}
	if _, err := w.Check(ctx, "alice", good, here, false); reason(err) != "bad_credentials" {
		t.Errorf("the former password: %v", err)
	}
	if _, err := w.Check(ctx, "alice", other, here, false); err != nil {
		t.Error(err)
	}
}

// TestWhoComesFromEverywhereFillsNothing: 100 000 names and addresses take no more room than some thousands.
func TestWhoComesFromEverywhereFillsNothing(t *testing.T) {
	w := newWorld(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100_000 {
		a := netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 16), byte(i >> 8), byte(i)})
		if _, err := w.Admit(t.Context(), fmt.Sprint("guess ", i), a, ""); err == nil {
			t.Fatal("it is let in")
		}
		w.log.Reset()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("it grew by %d bytes", grown)
	}
	runtime.KeepAlive(w)
}
