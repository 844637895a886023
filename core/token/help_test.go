package token_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
	"github.com/omnitron-dev/omnitron/core/token"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good  = "correct horse battery"
	other = "staple of wet paper"
)

var here = netip.MustParseAddr("192.0.2.7")

// keys is a vault.
type keys struct {
	mu     sync.Mutex
	all    map[string][]byte
	sealed bool
}

func (k *keys) Key(name string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sealed {
		return nil, fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")
	}
	if k.all[name] == nil {
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		k.all[name] = key
	}
	return k.all[name], nil
}

func (k *keys) DropKey(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, name)
	return nil
}

// world is a home with accounts and a clock.
type world struct {
	*token.Tokens
	t    testing.TB
	db   *store.Store
	keys *keys
	log  bytes.Buffer

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, db: storetest.New(t), keys: &keys{all: map[string][]byte{}}, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	w.again()
	return w
}

// again is the next daemon on the same home.
func (w *world) again() {
	w.t.Helper()
	var err error
	log := slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if w.Tokens, err = token.Open(w.t.Context(), token.Options{DB: w.db, Vault: w.keys, Home: "abc123", Log: log, Now: w.clock, Users: []string{"root"}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// user makes an account.
func (w *world) user(name string, role op.Role) token.Account {
	w.t.Helper()
	a, err := w.Create(w.t.Context(), name, role, good)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// in signs in.
func (w *world) in(name string) token.Credentials {
	w.t.Helper()
	c, err := w.SignIn(w.t.Context(), name, here, "a test")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// issue makes a named token.
func (w *world) issue(n token.Named) (string, token.Named) {
	w.t.Helper()
	text, n, err := w.Issue(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return text, n
}

// admit has to let a bearer in.
func (w *world) admit(bearer string) *token.Identity {
	w.t.Helper()
	id, err := w.Admit(w.t.Context(), bearer, here, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// refused has to refuse one, for a reason.
func (w *world) refused(bearer, reason string) {
	w.t.Helper()
	id, err := w.Admit(w.t.Context(), bearer, here, "")
	if id != nil || fault.From(err) == nil || fault.From(err).Reason != reason {
		w.t.Errorf("%.40q: want %s, got %v %v", bearer, reason, id, err)
	}
}

func reason(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) {
		return ""
	}
	return f.Reason
}

func over(id *token.Identity) bool {
	select {
	case <-id.Revoked:
		return true
	default:
		return false
	}
}

var _ token.Authority = (*token.Tokens)(nil)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
