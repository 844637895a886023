package token_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

func TestRefreshTokensAreGoodOnce(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	first := w.in("alice")
	id := w.admit(first.Access)
	second := must(w.Renew(t.Context(), first.Refresh))(t)
	if second.Refresh == first.Refresh || second.Access == first.Access || second.Session != first.Session {
		t.Fatalf("%+v", second)
	}
	w.pass(9 * time.Second)
	w.again() // the answer got lost, and the daemon was replaced
	id = w.admit(first.Access)
	if again := must(w.Renew(t.Context(), first.Refresh))(t); again.Refresh != second.Refresh {
		t.Error("the same refresh within 10 seconds has another successor")
	}
	third := must(w.Renew(t.Context(), second.Refresh))(t)
	if over(id) {
		t.Error("a refresh cuts off who is there")
	}
	w.pass(11 * time.Second)
	if _, err := w.Renew(t.Context(), second.Refresh); reason(err) != "refresh_reused" {
		t.Errorf("used twice: %v", err)
	}
	if !over(id) {
		t.Error("the family lives on")
	}
	w.refused(third.Access, "revoked")
	if _, err := w.Renew(t.Context(), third.Refresh); reason(err) != "bad_token" {
		t.Errorf("the newest of a family that is over: %v", err)
	}
}

// TestAClockSetBackMakesNoOldRefreshGood: what was used in what is now the future was used.
func TestAClockSetBackMakesNoOldRefreshGood(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	first := w.in("alice")
	second := must(w.Renew(t.Context(), first.Refresh))(t)
	w.pass(-5 * time.Second)
	if again := must(w.Renew(t.Context(), first.Refresh))(t); again.Refresh != second.Refresh {
		t.Error("a clock that was set right ends a session whose answer got lost")
	}
	w.pass(-time.Hour)
	if _, err := w.Renew(t.Context(), first.Refresh); reason(err) != "refresh_reused" {
		t.Errorf("used twice, with the clock set back: %v", err)
	}
}

func TestOneRefreshMadeByManyIsOne(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	first := w.in("alice")
	var mu sync.Mutex
	next := map[string]int{}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			c, err := w.Renew(context.Background(), first.Refresh)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			next[c.Refresh]++
		})
	}
	all.Wait()
	if len(next) != 1 {
		t.Errorf("%d successors", len(next))
	}
}

func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	c := w.in("alice")
	for range 4 { // refreshed all the time, it goes on for 90 days
		w.pass(20 * 24 * time.Hour)
		c = must(w.Renew(t.Context(), c.Refresh))(t)
	}
	w.pass(11 * 24 * time.Hour)
	if _, err := w.Renew(t.Context(), c.Refresh); reason(err) != "bad_token" {
		t.Errorf("after 91 days: %v", err)
	}
	idle := w.in("alice")
	w.pass(31 * 24 * time.Hour)
	if _, err := w.Renew(t.Context(), idle.Refresh); reason(err) != "bad_token" {
		t.Errorf("after 31 idle days: %v", err)
	}
	if err := w.Sweep(t.Context()); err != nil || len(w.Sessions("")) != 0 {
		t.Errorf("they are kept: %v %v", err, w.Sessions(""))
	}
	for range 70 {
		w.pass(time.Second)
		c = w.in("alice")
	}
	if n := len(w.Sessions("alice")); n != 64 || w.Sessions("alice")[0].ID != c.Session {
		t.Errorf("%d sessions", n)
	}
}

// TestNothingThatOpensIsKept looks for credentials in the bytes of the database.
func TestNothingThatOpensIsKept(t *testing.T) {
	w := newWorld(t)
	w.user("alice", op.Admin)
	c := w.in("alice")
	text, _ := w.issue(named("alice"))
	cookie, key, err := w.Browse(t.Context(), c.Session)
	if err != nil {
		t.Fatal(err)
	}
	c2 := must(w.Renew(t.Context(), c.Refresh))(t)
	dump := ""
	err = w.db.View(t.Context(), func(tx *sql.Tx) error {
		for _, table := range []string{"accounts", "sessions", "refresh_tokens", "named_tokens", "signing_keys", "settings"} {
			rows, err := tx.Query("SELECT * FROM " + table)
			if err != nil {
				return err
			}
			names, _ := rows.Columns()
			for rows.Next() {
				row := make([]any, len(names))
				at := make([]any, len(names))
				for i := range row {
					at[i] = &row[i]
				}
				if err := rows.Scan(at...); err != nil {
					return err
				}
				for _, v := range row {
					switch v := v.(type) {
					case []byte:
						dump += string(v) + "\n"
					case string:
						dump += v + "\n"
					}
				}
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !strings.Contains(dump, "alice") {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{"password": good, "refresh": c.Refresh, "successor": c2.Refresh, "access": c.Access, "named": text, "cookie": cookie, "key": key} {
		if strings.Contains(dump, secret) {
			t.Errorf("the %s is in the database", what)
		}
	}
	for name, seed := range w.keys.all {
		if strings.Contains(dump, string(seed)) {
			t.Errorf("%s is in the database", name)
		}
	}
}
