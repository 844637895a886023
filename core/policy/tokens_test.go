package policy

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func openTokens(t *testing.T, db database) *Tokens {
	t.Helper()
	tokens, err := OpenTokens(db, StoredKeys(db))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func stopCall() Binding {
	return Binding{Caller: agent, Method: "apps.stop", Digest: "sha256:1",
		Targets: []op.Target{{Key: "shop/dev/api", Generation: 4}, {Key: "shop/dev/web", Generation: 2, Slots: []string{"web:web#1"}}}}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

func TestTokenIsGoodOnceForTheSameCall(t *testing.T) {
	db := storetest.New(t)
	tokens := openTokens(t, db)
	token, expires := tokens.Mint(stopCall())
	if left := time.Until(expires); left > TokenLife || left < TokenLife-2*time.Second {
		t.Errorf("it ends in %s", left)
	}
	again := stopCall()
	again.Caller.Session, again.Caller.Client = "another connection", "x"
	again.Targets[0], again.Targets[1] = again.Targets[1], again.Targets[0]
	if err := openTokens(t, db).Redeem(t.Context(), token, again); err != nil { // after a restart, too
		t.Errorf("the same call: %v", err)
	}
	for _, tk := range []*Tokens{tokens, openTokens(t, db)} {
		if err := tk.Redeem(t.Context(), token, stopCall()); reason(err) != "confirm_used" || !fault.Is(err, fault.Conflict) {
			t.Errorf("a second time: %v", err)
		}
	}
	other, _ := tokens.Mint(stopCall())
	if err := openTokens(t, storetest.New(t)).Redeem(t.Context(), other, stopCall()); reason(err) != "confirm_invalid" {
		t.Errorf("in another home: %v", err)
	}
}

func TestTokenIsBound(t *testing.T) {
	tokens := openTokens(t, storetest.New(t))
	token, _ := tokens.Mint(stopCall())
	for name, c := range map[string]struct {
		change func(*Binding)
		want   string
	}{
		"user":       {func(b *Binding) { b.Caller.User = "bob" }, "confirm_invalid"},
		"channel":    {func(b *Binding) { b.Caller.Channel = op.Person }, "confirm_invalid"},
		"method":     {func(b *Binding) { b.Method = "apps.signal" }, "confirm_invalid"},
		"arguments":  {func(b *Binding) { b.Digest = "sha256:2" }, "confirm_invalid"},
		"shifted":    {func(b *Binding) { b.Method, b.Digest = "apps.stops", "ha256:1" }, "confirm_invalid"},
		"generation": {func(b *Binding) { b.Targets[0].Generation++ }, "target_changed"},
		"target":     {func(b *Binding) { b.Targets[0].Key = "shop/dev/db" }, "target_changed"},
		"process":    {func(b *Binding) { b.Targets[0].Process = "worker" }, "target_changed"},
		"instance":   {func(b *Binding) { b.Targets[0].Instance = 2 }, "target_changed"},
		"slots":      {func(b *Binding) { b.Targets[1].Slots = []string{"web:web#1", "web:web#2"} }, "target_changed"},
		"one less":   {func(b *Binding) { b.Targets = b.Targets[:1] }, "target_changed"},
	} {
		b := stopCall()
		c.change(&b)
		for _, err := range []error{tokens.Check(t.Context(), token, b), tokens.Redeem(t.Context(), token, b)} {
			if reason(err) != c.want || fault.From(err).Hint == "" {
				t.Errorf("another %s: %v", name, err)
			}
		}
	}
	if err := tokens.Check(t.Context(), token, stopCall()); err != nil {
		t.Errorf("the right call: %v", err)
	}
	if err := tokens.Redeem(t.Context(), token, stopCall()); err != nil { // what was refused, or only looked at, did not use it up
		t.Errorf("the right call afterwards: %v", err)
	}
	if err := tokens.Check(t.Context(), token, stopCall()); reason(err) != "confirm_used" {
		t.Errorf("when it was used: %v", err)
	}
}

func TestAlteredTokens(t *testing.T) {
	tokens := openTokens(t, storetest.New(t))
	token, _ := tokens.Mint(stopCall())
	raw, err := base64.RawURLEncoding.DecodeString(token[len(tokenForm):])
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(raw) * 8 {
		raw[bit/8] ^= 1 << (bit % 8)
		altered := tokenForm + base64.RawURLEncoding.EncodeToString(raw)
		raw[bit/8] ^= 1 << (bit % 8)
		if err := tokens.Redeem(t.Context(), altered, stopCall()); reason(err) != "confirm_invalid" || !fault.Is(err, fault.Denied) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
	for _, text := range []string{"", "oc1.", "x", token + "A", token[:len(token)-1], token[4:], "oc1.!!"} {
		if err := tokens.Redeem(t.Context(), text, stopCall()); reason(err) != "confirm_invalid" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// noDatabase lets tests with unreal time run without a real file.
type noDatabase struct{}

func (noDatabase) View(context.Context, func(*sql.Tx) error) error { return nil }
func (noDatabase) Update(context.Context, func(*sql.Tx) error) error {
	return errors.New("not reached")
}

func TestTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := &Tokens{db: noDatabase{}, key: []byte("key")}
		token, _ := tokens.Mint(stopCall())
		<-time.After(TokenLife - 2*time.Second)
		if err := tokens.Redeem(t.Context(), token, stopCall()); reason(err) != "" && fault.Is(err, fault.Conflict) {
			t.Errorf("before its end: %v", err)
		}
		<-time.After(2 * time.Second)
		if err := tokens.Redeem(t.Context(), token, stopCall()); reason(err) != "confirm_expired" {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestTokenIsNotUsedWithoutRecord(t *testing.T) {
	db := faulty.Wrap(storetest.New(t))
	tokens := openTokens(t, db)
	token, _ := tokens.Mint(stopCall())
	full := errors.New("full")
	db.FailAt(1, full)
	if err := tokens.Redeem(t.Context(), token, stopCall()); !errors.Is(err, full) {
		t.Errorf("on a full disk: %v", err)
	}
	if err := tokens.Redeem(t.Context(), token, stopCall()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestOneOfManyRedeems(t *testing.T) {
	tokens := openTokens(t, storetest.New(t))
	token, _ := tokens.Mint(stopCall())
	var mu sync.Mutex
	through := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if tokens.Redeem(t.Context(), token, stopCall()) == nil {
				mu.Lock()
				through++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if through != 1 {
		t.Errorf("%d went through", through)
	}
}
