package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

var quiet = slog.New(slog.DiscardHandler)

// vault gives the key, or says why not.
type vault struct {
	mu  sync.Mutex
	key []byte
	err error
}

func (v *vault) Key(string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key, v.err
}

func (v *vault) set(key string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key, v.err = []byte(key), err
}

var errSealed = fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")

// newLedger gives one in a folder of its own.
func newLedger(t testing.TB, db database) *Ledger {
	return New(db, Options{Home: t.TempDir(), Keys: &vault{key: []byte("key")}, Log: quiet})
}

func entry(n int) Entry {
	e := Entry{Time: time.Unix(int64(1000+n), 5), Call: fmt.Sprint("c", n), User: "ann", UID: 1000, Channel: "agent", Client: "claude 1", Session: "s1",
		Plane: "unix", Trace: "t", Method: "apps.stop", Targets: []string{"shop/dev/api"}, Args: json.RawMessage(`{"names":["api"]}`)}
	if n%2 == 1 {
		e.Plane, e.Address, e.Credential = "tcp", "192.0.2.7", "token:k1"
	}
	return e
}

func begun(t *testing.T, l *Ledger, e Entry) int64 {
	t.Helper()
	seq, err := l.Begin(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func list(t *testing.T, l *Ledger, f Filter) []Entry {
	t.Helper()
	calls, _, err := l.List(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

func verify(t *testing.T, l *Ledger, wantSound int64) {
	t.Helper()
	t.Helper()
	if v, err := l.Verify(t.Context(), ""); err != nil || v.Broken != nil || v.Sound != wantSound || v.Unprotected != 0 {
		t.Errorf("%+v %+v, %v; want %d sound rows", v, v.Broken, err, wantSound)
	}
}

func TestCallIsRecordedFromBeginToEnd(t *testing.T) {
	l := newLedger(t, storetest.New(t))
	seq := begun(t, l, entry(1))
	want := entry(1)
	want.Seq, want.Changes, want.Open = seq, true, true
	if diff := cmp.Diff([]Entry{want}, list(t, l, Filter{})); diff != "" {
		t.Errorf("while it runs:\n%s", diff)
	}
	l.Settle(seq, Result{Decision: "allow", Code: "failed", Reason: "exec_not_found", Took: 5 * time.Second})
	want.Open, want.Decision, want.Code, want.Reason, want.Took = false, "allow", "failed", "exec_not_found", 5*time.Second
	if diff := cmp.Diff([]Entry{want}, list(t, l, Filter{})); diff != "" {
		t.Errorf("after its end:\n%s", diff)
	}
	read := entry(2)
	read.Method, read.Decision, read.Took, read.Targets, read.Args = "apps.list", "allow", time.Millisecond, nil, nil
	l.Read(read)
	read.Seq = seq + 2
	if diff := cmp.Diff([]Entry{read, want}, list(t, l, Filter{})); diff != "" {
		t.Errorf("with a read:\n%s", diff)
	}
	verify(t, l, 3)
	if again := begun(t, l, entry(3)); again <= seq {
		t.Errorf("the later command has the number %d after %d", again, seq)
	}
}

func TestFilters(t *testing.T) {
	l := newLedger(t, storetest.New(t))
	var seqs []int64
	for n := range 4 {
		e := entry(n)
		e.User, e.Channel, e.Session = []string{"ann", "bob"}[n%2], []string{"agent", "person"}[n/2], fmt.Sprint("s", n)
		e.Method = []string{"apps.stop", "apps.start", "app.stop", "daemon.reload"}[n]
		e.Targets = [][]string{{"shop/dev/api"}, {"shop/dev/api2", "shop/dev/web:p#1"}, nil, {"shop/dev/web"}}[n]
		seq := begun(t, l, e)
		seqs = append(seqs, seq)
		if n < 3 {
			l.Settle(seq, Result{Decision: []string{"allow", "hold", "allow"}[n], Code: []string{"", "", "failed"}[n]})
		}
	}
	refused := entry(4)
	refused.Method, refused.Decision, refused.Code, refused.Targets = "apps.list", "deny", "denied", nil
	l.Read(refused)
	for name, c := range map[string]struct {
		filter Filter
		want   string
	}{
		"all":         {Filter{}, "[c4 c3 c2 c1 c0]"},
		"user":        {Filter{Who: "bob"}, "[c3 c1]"},
		"channel":     {Filter{Channel: "person"}, "[c3 c2]"},
		"session":     {Filter{Session: "s2"}, "[c2]"},
		"credential":  {Filter{Who: "token:k1"}, "[c3 c1]"},
		"call":        {Filter{Call: "c2"}, "[c2]"},
		"method":      {Filter{Method: "apps.stop"}, "[c0]"},
		"service":     {Filter{Method: "apps.*"}, "[c4 c1 c0]"},
		"decision":    {Filter{Decision: "hold"}, "[c1]"},
		"decision 2":  {Filter{Decision: "deny"}, "[c4]"},
		"code":        {Filter{Code: "failed"}, "[c2]"},
		"success":     {Filter{Code: "ok"}, "[c1 c0]"},
		"target":      {Filter{Target: "shop/dev/api"}, "[c0]"},
		"target 2":    {Filter{Target: "shop/dev/web"}, "[c3 c1]"},
		"changes":     {Filter{Changes: true}, "[c3 c2 c1 c0]"},
		"time":        {Filter{Since: time.Unix(1001, 5), Until: time.Unix(1003, 5)}, "[c2 c1]"},
		"together":    {Filter{Who: "ann", Method: "apps.*", Changes: true}, "[c0]"},
		"page":        {Filter{Limit: 2}, "[c4 c3]"},
		"second page": {Filter{Limit: 2, Before: seqs[3]}, "[c2 c1]"},
		"gaps":        {Filter{Method: "(gap)"}, "[]"},
		"forward":     {Filter{Forward: true, Limit: 2}, "[c0 c1]"},
		"its second":  {Filter{Forward: true, Limit: 2, After: seqs[1]}, "[c2 c3]"},
		"none":        {Filter{Who: "eve"}, "[]"},
	} {
		calls := []string{}
		for _, e := range list(t, l, c.filter) {
			calls = append(calls, e.Call)
		}
		if got := fmt.Sprint(calls); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if _, next, err := l.List(t.Context(), Filter{Limit: 2}); err != nil || next != seqs[3] {
		t.Errorf("the next page begins before %d, %v; want %d", next, err, seqs[3])
	}
	if _, next, err := l.List(t.Context(), Filter{Limit: 5}); err != nil || next != 0 {
		t.Errorf("after the last page comes %d, %v", next, err)
	}
}

func TestNoRecordNoCall(t *testing.T) {
	db := faulty.Wrap(storetest.New(t))
	l := newLedger(t, db)
	full := errors.New("full")
	db.FailAll(full)
	seq, err := l.Begin(t.Context(), entry(1))
	if f := fault.From(err); f == nil || f.Code != fault.Internal || f.Reason != Unrecorded || f.Hint == "" || !errors.Is(err, full) || seq != 0 {
		t.Errorf("got %d, %v", seq, err)
	}
	l.Read(entry(2)) // reads go on
	if calls := list(t, l, Filter{}); len(calls) != 0 || l.Health() == nil {
		t.Errorf("on a full disk the record shows %+v, health %v", calls, l.Health())
	}
	db.FailAll(nil)
	begun(t, l, entry(3))
	if calls := list(t, l, Filter{}); len(calls) != 2 || l.Health() != nil {
		t.Errorf("with room again it shows %+v, health %v", calls, l.Health())
	}
	verify(t, l, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Begin(ctx, entry(4)); !errors.Is(err, context.Canceled) || fault.From(err).Reason == Unrecorded {
		t.Errorf("a caller that is gone: %v", err)
	}
}

// memory stands in for a store where time is not real; it keeps no rows.
type memory struct{ n atomic.Int64 }

func (m *memory) updates() int64 { return m.n.Load() }

func (m *memory) View(context.Context, func(*sql.Tx) error) error { return nil }
func (m *memory) Update(context.Context, func(*sql.Tx) error) error {
	m.n.Add(1)
	return nil
}

func TestRunWritesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		db := faulty.Wrap(m)
		l := New(db, Options{Keys: &vault{err: errSealed}, Log: quiet}) // no file of its own either
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		wait := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		wait(time.Second)
		for range 100 {
			l.Read(entry(1))
		}
		l.Settle(1, Result{})
		wait(90 * time.Millisecond)
		if m.updates() != 0 {
			t.Errorf("%d writes before 100 ms", m.updates())
		}
		wait(20 * time.Millisecond)
		if m.updates() != 1 {
			t.Errorf("%d writes after 100 ms, want 1 for all", m.updates())
		}
		for range burst + 1 {
			l.Read(entry(1))
		}
		wait(time.Millisecond)
		if m.updates() != 2 {
			t.Errorf("a burst waits: %d writes", m.updates())
		}
		db.FailAll(errors.New("full"))
		l.Read(entry(1))
		wait(10 * time.Second)
		if n := db.Calls(); l.Health() == nil || n > 2+12 {
			t.Errorf("on a full disk: health %v, %d tries", l.Health(), n)
		}
		db.FailAll(nil)
		wait(2 * time.Second)
		if l.Health() != nil || m.updates() != 3 {
			t.Errorf("with room again: health %v, %d writes", l.Health(), m.updates())
		}
		l.Settle(2, Result{})
		cancel()
		wg.Wait()
		if m.updates() != 4 {
			t.Errorf("the end was not written: %d", m.updates())
		}
	})
}

func TestLossIsOnRecord(t *testing.T) {
	db := faulty.Wrap(storetest.New(t))
	l := newLedger(t, db)
	seq := begun(t, l, entry(0))
	db.FailAll(errors.New("full"))
	for n := range room + 7 {
		l.Read(Entry{Method: "apps.list", Call: fmt.Sprint("r", n)})
	}
	l.Settle(seq, Result{Decision: "allow"}) // is never left out
	if err := l.Flush(t.Context()); err == nil {
		t.Fatal("the full disk took it")
	}
	db.FailAll(nil)
	calls := list(t, l, Filter{Limit: 2})
	if calls[0].Method != "(gap)" || calls[0].Reason != "7 calls are not on record" || calls[1].Call != fmt.Sprint("r", room-1) {
		t.Errorf("the newest are %+v", calls)
	}
	if begun := list(t, l, Filter{Changes: true}); len(begun) != 1 || begun[0].Open {
		t.Errorf("the end of the call is not on record: %+v", begun)
	}
	if calls := list(t, l, Filter{Code: "ok", Limit: 1}); calls[0].Method == "(gap)" {
		t.Error("a gap counts as a success")
	}
	verify(t, l, int64(1+room+1+1))
}

func TestManyAtOnceKeepTheChain(t *testing.T) {
	l := newLedger(t, storetest.New(t))
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for range 5 {
				seq, err := l.Begin(t.Context(), entry(i))
				if err != nil {
					t.Error(err)
					return
				}
				l.Read(entry(i))
				l.Settle(seq, Result{Decision: "allow"})
				mu.Lock()
				if seen[seq] {
					t.Errorf("two calls have the number %d", seq)
				}
				seen[seq] = true
				mu.Unlock()
			}
			if err := l.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	verify(t, l, 600)
}

func TestRetireKeepsTheRestSound(t *testing.T) {
	l := newLedger(t, storetest.New(t))
	for n := range 10 {
		begun(t, l, entry(n))
	}
	if n, err := l.Retire(t.Context(), time.Unix(1004, 5)); err != nil || n != 4 {
		t.Errorf("retired %d, %v", n, err)
	}
	verify(t, l, 6+1)
	if n, err := l.Retire(t.Context(), time.Unix(1004, 5)); err != nil || n != 0 {
		t.Errorf("then retired %d, %v", n, err)
	}
	if n, err := l.Retire(t.Context(), time.Unix(9999, 0)); err != nil || n != 6 {
		t.Errorf("then the rest but for the cut: %d, %v", n, err)
	}
	if n, err := l.Retire(t.Context(), time.Now().Add(time.Hour)); err != nil || n != 2 {
		t.Errorf("at last retired %d, %v", n, err)
	}
	if seq := begun(t, l, entry(11)); seq != 14 {
		t.Errorf("a number was given twice: %d", seq)
	}
	verify(t, l, 1+1)
}

func benchLedger(b *testing.B) (*Ledger, *store.Store) {
	db := storetest.New(b)
	return newLedger(b, db), db
}

func BenchmarkBegin(b *testing.B) {
	l, _ := benchLedger(b)
	for b.Loop() {
		if _, err := l.Begin(b.Context(), entry(1)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBegin32Concurrent(b *testing.B) {
	l, _ := benchLedger(b)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Begin(b.Context(), entry(1)); err != nil {
				b.Error(err)
			}
		}
	})
}

// What a read costs the caller, and what its record costs the machine.
func BenchmarkRead(b *testing.B) {
	l, _ := benchLedger(b)
	e := entry(1)
	for b.Loop() {
		l.Read(e)
		if l.gap > 0 || len(l.waiting) == room {
			b.StopTimer()
			l.waiting = nil
			b.StartTimer()
		}
	}
}

func BenchmarkReadAndFlush(b *testing.B) {
	l, _ := benchLedger(b)
	e := entry(1)
	n := 0
	for b.Loop() {
		l.Read(e)
		if n++; n%burst == 0 {
			if err := l.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
