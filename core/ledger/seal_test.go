package ledger

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// home is a record whose daemon can be started anew.
type home struct {
	t     *testing.T
	dir   string
	db    database
	vault vault
}

func newHome(t *testing.T) *home {
	h := &home{t: t, dir: t.TempDir(), db: storetest.New(t)}
	h.vault.set("key", nil)
	return h
}

// start gives the ledger of another life of the daemon.
func (h *home) start() *Ledger {
	h.t.Helper()
	l := New(h.db, Options{Home: h.dir, Keys: &h.vault, Log: quiet})
	h.t.Cleanup(func() {
		if l.head != nil {
			l.head.file.Close()
		}
	})
	return l
}

func (h *home) exec(query string, args ...any) {
	h.t.Helper()
	err := h.db.Update(h.t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query, args...); return err })
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

func (h *home) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// whole fails the test unless the record is, with so many rows of both kinds.
func whole(t *testing.T, l *Ledger, sealed, unprotected int64) Verdict {
	t.Helper()
	v, err := l.Verify(t.Context(), "")
	if err != nil || v.Broken != nil || v.Sound != sealed || v.Unprotected != unprotected {
		t.Errorf("%+v %+v, %v; want %d sealed, %d unprotected", v, v.Broken, err, sealed, unprotected)
	}
	return v
}

// broken fails the test unless a row is named as the first bad one.
func broken(t *testing.T, l *Ledger, seq int64, why string) {
	t.Helper()
	v, err := l.Verify(t.Context(), "")
	if err != nil || v.Broken == nil || v.Broken.Seq != seq || !strings.Contains(v.Broken.Why, why) {
		t.Errorf("%+v, %v; want row %d and %q", v.Broken, err, seq, why)
	}
}

// TestSealedVault: a home whose vault is sealed is operated all the same. Its rows have no seal then, which is on record
// once there is a key, and what was written meanwhile is sealed with that.
func TestSealedVault(t *testing.T) {
	h := newHome(t)
	h.vault.set("", errSealed)
	l := h.start()
	l.Settle(begun(t, l, entry(1)), Result{Decision: "allow"})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Verify(t.Context(), ""); fault.From(err).Reason != "vault_sealed" || l.Unsealed() == nil {
		t.Errorf("without a key: %v, %v", err, l.Unsealed())
	}
	if n, err := l.Retire(t.Context(), time.Now()); n != 0 || err != nil || l.Anchor(t.Context()) != nil {
		t.Errorf("retired %d, %v", n, err)
	}
	h.vault.set("key", nil)
	begun(t, l, entry(2)) // the same daemon, once the key is back
	whole(t, l, 2, 2)
	if l.Unsealed() != nil {
		t.Errorf("still %v", l.Unsealed())
	}
	h.vault.set("", errSealed) // a daemon that has the key keeps it
	begun(t, l, entry(3))
	whole(t, l, 3, 2)
	l = h.start()
	begun(t, l, entry(4))
	h.vault.set("key", nil)
	whole(t, l, 4, 3)
	calls := list(t, l, Filter{Limit: 1, Method: "(gap)"})
	if c := calls[0]; c.Method != "(gap)" || c.Reason != notSealed || c.Count != 1 || string(c.Args) != `{"from":6,"through":6}` {
		t.Errorf("on record is %+v", c)
	}
	h.exec("UPDATE calls SET user = 'eve' WHERE seq = 6") // it is sealed by the row that tells of it
	broken(t, l, 6, "changed")
	h.exec("UPDATE calls SET user = 'ann' WHERE seq = 6")
	whole(t, l, 4, 3)

	h.vault.set("", errSealed)
	l = h.start()
	begun(t, l, entry(5))
	h.exec("UPDATE calls SET user = 'eve' WHERE seq = 5") // what was sealed before stays so
	h.vault.set("key", nil)
	broken(t, l, 5, "changed")
}

func TestOtherErrorsOfTheVaultRefuse(t *testing.T) {
	h := newHome(t)
	h.vault.set("", errors.New("the disk is broken"))
	l := h.start()
	if _, err := l.Begin(t.Context(), entry(1)); fault.From(err).Reason != Unrecorded {
		t.Errorf("%v", err)
	}
}

// TestVaultBegunAnew: with another key the record goes on, and says of the former rows that nobody can vouch for them.
func TestVaultBegunAnew(t *testing.T) {
	h := newHome(t)
	l := h.start()
	begun(t, l, entry(1))
	begun(t, l, entry(2))
	if err := l.Anchor(t.Context()); err != nil {
		t.Fatal(err)
	}
	former := h.read(HeadFile)
	h.vault.set("another", nil)
	l = h.start()
	begun(t, l, entry(3))
	whole(t, l, 2, 2)
	if kept, err := filepath.Glob(filepath.Join(h.dir, "audit.*.*")); err != nil || len(kept) != 2 {
		t.Errorf("kept are %v, %v", kept, err)
	}
	whole(t, h.start(), 2, 2)
	h.write(HeadFile, former) // to say once more that the vault was begun anew does not hide anything
	broken(t, h.start(), 0, errForeign.Error())
}

// TestHeadFails: no record, no effect; and no alarm afterwards.
func TestHeadFails(t *testing.T) {
	h := newHome(t)
	l := h.start()
	begun(t, l, entry(1))
	l.head.sync = func(*os.File) error { return errors.New("the medium is broken") }
	if _, err := l.Begin(t.Context(), entry(2)); fault.From(err).Reason != Unrecorded || !strings.Contains(err.Error(), "medium") {
		t.Errorf("%v", err)
	}
	l.Read(entry(3))
	if err := l.Flush(t.Context()); err == nil || l.Health() == nil {
		t.Errorf("%v, %v", err, l.Health())
	}
	l.head.sync = fdatasync
	if err := l.Flush(t.Context()); err != nil || l.Health() != nil {
		t.Errorf("once it works: %v, %v", err, l.Health())
	}
	if calls := list(t, l, Filter{}); len(calls) != 3 || calls[1].Open || calls[1].Reason != Unrecorded {
		t.Errorf("on record is %+v", calls)
	}
	whole(t, l, 4, 0)
	whole(t, h.start(), 4, 0)
}

// TestHeadIsShared: those who come while the head is synced share the next time.
func TestHeadIsShared(t *testing.T) {
	h := newHome(t)
	l := h.start()
	begun(t, l, entry(0))
	var syncs atomic.Int64
	stuck, release := make(chan struct{}), make(chan struct{})
	l.head.sync = func(f *os.File) error {
		if syncs.Add(1) == 1 {
			close(stuck)
			<-release
		}
		return fdatasync(f)
	}
	var wg sync.WaitGroup
	call := func() {
		wg.Go(func() {
			if _, err := l.Begin(t.Context(), entry(1)); err != nil {
				t.Error(err)
			}
		})
	}
	call()
	<-stuck
	for range 31 {
		call()
	}
	for { // until all are in the store
		if p, _ := l.head.ends(); p.seq == 33 {
			break
		}
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	if n := syncs.Load(); n > 2 {
		t.Errorf("32 calls synced the head %d times", n)
	}
	whole(t, h.start(), 33, 0)
}

// TestAheadIsNoAlarm: a death between the row and its head leaves the store ahead.
func TestAheadIsNoAlarm(t *testing.T) {
	h := newHome(t)
	l := h.start()
	begun(t, l, entry(1))
	was := h.read(HeadFile)
	begun(t, l, entry(2))
	begun(t, l, entry(3))
	h.write(HeadFile, was)
	l = h.start()
	whole(t, l, 3, 0)
	if l.Ahead() != 2 || l.Trouble() != nil {
		t.Errorf("%d rows ahead, %v", l.Ahead(), l.Trouble())
	}
	l = h.start()
	if whole(t, l, 3, 0); l.Ahead() != 0 {
		t.Errorf("%d rows ahead of a head that was written since", l.Ahead())
	}
	h.exec("UPDATE calls SET user = 'eve' WHERE seq = 3")
	h.write(HeadFile, was)
	broken(t, h.start(), 3, "changed")
}

// TestKeptElsewhere: a head that the user has kept finds what was rolled back with everything beside it.
func TestKeptElsewhere(t *testing.T) {
	h := newHome(t)
	l := h.start()
	begun(t, l, entry(1))
	was := h.read(HeadFile)
	begun(t, l, entry(2))
	kept := whole(t, l, 2, 0).Head
	begun(t, l, entry(3))
	if v, err := l.Verify(t.Context(), kept); err != nil || v.Broken != nil {
		t.Errorf("%+v, %v", v.Broken, err)
	}
	h.exec("DELETE FROM calls WHERE seq > 1")
	h.write(HeadFile, was)
	l = h.start()
	if v, err := l.Verify(t.Context(), ""); err != nil || v.Broken != nil {
		t.Errorf("nothing here can know it: %+v, %v", v.Broken, err)
	}
	begun(t, l, entry(4))
	begun(t, l, entry(5))
	if v, err := l.Verify(t.Context(), kept); err != nil || v.Broken == nil || v.Broken.Seq != 2 || !strings.Contains(v.Broken.Why, "kept elsewhere") {
		t.Errorf("%+v, %v", v.Broken, err)
	}
	for _, bad := range []string{"x", "1", "1:zz", "0:" + strings.Repeat("00", 32), "-1:-", "2:00"} {
		if _, err := l.Verify(t.Context(), bad); fault.From(err).Reason != "bad_head" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestAnchors: half a line is none, and the same place is anchored once.
func TestAnchors(t *testing.T) {
	h := newHome(t)
	l := h.start()
	anchor := func() {
		t.Helper()
		if err := l.Anchor(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	begun(t, l, entry(1))
	anchor()
	anchor()
	line := h.read(AnchorFile)
	h.write(AnchorFile, line+line[:len(line)/2])
	if v := whole(t, l, 1, 0); time.Since(v.Anchored) > time.Hour {
		t.Errorf("anchored at %s", v.Anchored)
	}
	begun(t, l, entry(2))
	anchor()
	if text := h.read(AnchorFile); !strings.HasPrefix(text, line) || strings.Count(text, "\n") != 2 || text[len(text)-1] != '\n' {
		t.Errorf("the anchors are %q", text)
	}
	whole(t, h.start(), 2, 0)
	h.exec("DELETE FROM calls WHERE seq = 2")
	h.write(HeadFile, "")
	broken(t, h.start(), 2, "missing")
}

// TestOneKeyAtATime: calls that come while the record is taken over are in it once, and sealed.
func TestOneKeyAtATime(t *testing.T) {
	h := newHome(t)
	h.vault.set("", errSealed)
	l := h.start()
	together := make(chan struct{})
	done := make(chan error, 20)
	for i := range 20 {
		go func() {
			<-together
			for n := range 10 {
				if i == 7 && n == 5 {
					h.vault.set("key", nil)
				}
				if _, err := l.Begin(context.Background(), entry(n)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	close(together)
	for range 20 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	v, err := l.Verify(t.Context(), "")
	if err != nil || v.Broken != nil || v.Sound+v.Unprotected != 201 {
		t.Errorf("%+v %+v, %v", v, v.Broken, err)
	}
}
