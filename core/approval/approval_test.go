package approval

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func call() policy.Binding {
	return policy.Binding{
		Caller: op.Caller{User: "ann", Channel: op.Agent, Client: "claude 1", Session: "s1"},
		Method: "logs.purge", Digest: "sha256:1", Args: json.RawMessage(`{"names":["api"]}`), Why: "what is destroyed cannot be brought back",
		Targets: []op.Target{{Key: "shop/dev/api", Generation: 3}},
	}
}

func plan() *op.Plan {
	return &op.Plan{Items: []op.Item{{Target: "shop/dev/api", From: "3 MB", To: "nothing"}}, Digest: "d"}
}

func hold(t *testing.T, a *Approvals, b policy.Binding, p *op.Plan) op.ApprovalRef {
	t.Helper()
	ref, err := a.Hold(t.Context(), b, p)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func list(t *testing.T, a *Approvals) []Held {
	t.Helper()
	held, more, err := a.List(t.Context(), time.Time{}, 0)
	if err != nil || more {
		t.Fatal(err, more)
	}
	return held
}

func TestEqualCallsShareAnApproval(t *testing.T) {
	a := New(storetest.New(t))
	first := hold(t, a, call(), plan())
	if left := time.Until(first.ExpiresAt); left > Patience || left < Patience-time.Minute || !strings.HasPrefix(first.ID, "ap-") {
		t.Errorf("got %+v", first)
	}
	same := call()
	same.Caller.Session, same.Args, same.Why = "s2", nil, ""
	if again := hold(t, a, same, plan()); again.ID != first.ID || !again.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("the equal call got %+v, want %+v", again, first)
	}
	seen := map[string]string{first.ID: "first"}
	for name, change := range map[string]func(*policy.Binding, *op.Plan){
		"user":       func(b *policy.Binding, _ *op.Plan) { b.Caller.User = "bob" },
		"method":     func(b *policy.Binding, _ *op.Plan) { b.Method = "apps.remove" },
		"arguments":  func(b *policy.Binding, _ *op.Plan) { b.Digest = "sha256:2" },
		"generation": func(b *policy.Binding, _ *op.Plan) { b.Targets[0].Generation++ },
		"plan":       func(_ *policy.Binding, p *op.Plan) { p.Items[0].From = "4 MB" },
	} {
		b, p := call(), plan()
		change(&b, p)
		ref := hold(t, a, b, p)
		if with := seen[ref.ID]; with != "" {
			t.Errorf("another %s shares the approval of %s", name, with)
		}
		seen[ref.ID] = name
	}
	if n := len(list(t, a)); n != 6 {
		t.Errorf("%d calls wait, want 6", n)
	}
}

func TestListShowsWhatAPersonNeeds(t *testing.T) {
	a := New(storetest.New(t))
	ref := hold(t, a, call(), plan())
	want := Held{ID: ref.ID, Method: "logs.purge", Args: json.RawMessage(`{"names":["api"]}`), User: "ann", Channel: "agent", Client: "claude 1", Session: "s1",
		Plan: *plan(), Why: call().Why, Expires: ref.ExpiresAt, Created: ref.ExpiresAt.Add(-Patience)}
	if diff := cmp.Diff([]Held{want}, list(t, a)); diff != "" {
		t.Error(diff)
	}
	for i := range 5 {
		b := call()
		b.Method = fmt.Sprint("new.m", i)
		hold(t, a, b, nil)
	}
	page, more, err := a.List(t.Context(), time.Time{}, 4)
	if err != nil || !more || len(page) != 4 || page[0].Method != "new.m4" || page[0].Plan.Items == nil {
		t.Fatalf("first page: %+v, %v, %v", page, more, err)
	}
	rest, more, err := a.List(t.Context(), page[3].Created, 4)
	if err != nil || more || len(rest) != 2 || rest[1].ID != ref.ID {
		t.Errorf("the rest: %+v, %v, %v", rest, more, err)
	}
}

// age moves all approvals into the past.
func age(t *testing.T, db *store.Store, d time.Duration) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE approvals SET created = created - ?1, expires = expires - ?1", d.Nanoseconds())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSilenceIsNo(t *testing.T) {
	db := storetest.New(t)
	a := New(db)
	first := hold(t, a, call(), plan())
	age(t, db, Patience+time.Second)
	if held := list(t, a); len(held) != 0 {
		t.Errorf("after 30 minutes %+v waits", held)
	}
	second := hold(t, a, call(), plan())
	if second.ID == first.ID {
		t.Error("the call made again has the id of the one that ended")
	}
	age(t, db, 8*24*time.Hour)
	hold(t, a, call(), plan())
	var n int
	if err := db.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM approvals").Scan(&n) }); err != nil || n != 1 {
		t.Errorf("%d are kept, %v", n, err)
	}
}

func TestEqualCallsAtOnce(t *testing.T) {
	a := New(storetest.New(t))
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			if _, err := a.Hold(t.Context(), call(), plan()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(list(t, a)); n != 1 {
		t.Errorf("%d wait", n)
	}
}

func TestHoldIsDurableOrFails(t *testing.T) {
	db := faulty.Wrap(storetest.New(t))
	a := New(db)
	full := errors.New("full")
	db.FailAt(1, full)
	if ref, err := a.Hold(t.Context(), call(), plan()); !errors.Is(err, full) || ref.ID != "" {
		t.Errorf("on a full disk: %+v, %v", ref, err)
	}
	if n := len(list(t, a)); n != 0 {
		t.Errorf("%d wait", n)
	}
}
