package records_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"database/sql"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func revision(stack string, n int) records.Revision {
	return records.Revision{Project: "shop", Stack: stack, Created: time.Unix(int64(n), 5), By: "ann",
		Definition: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), Files: json.RawMessage(`["f"]`), Env: json.RawMessage(`{"A":"b"}`)}
}

func TestRevisions(t *testing.T) {
	r := records.NewRevisions(storetest.New(t), "")
	add := func(rev records.Revision, used ...int64) int64 {
		t.Helper()
		n, err := r.Add(t.Context(), rev, used...)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := r.Latest(t.Context(), "shop", "dev"); !fault.Is(err, fault.NotFound) {
		t.Errorf("without any: %v", err)
	}
	for n := 1; n <= 60; n++ {
		if got := add(revision("dev", n), 3, 40); got != int64(n) {
			t.Fatalf("number %d for the one after %d", got, n-1)
		}
	}
	if n := add(revision("prod", 1)); n != 1 {
		t.Errorf("another stack begins with %d", n)
	}
	latest, err := r.Latest(t.Context(), "shop", "dev")
	want := revision("dev", 60)
	want.Rev = 60
	if diff := cmp.Diff(want, latest); err != nil || diff != "" {
		t.Errorf("latest: %v\n%s", err, diff)
	}
	var kept []int64
	for before := int64(0); ; {
		page, err := r.List(t.Context(), "shop", "dev", before, 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, rev := range page {
			kept = append(kept, rev.Rev)
			if rev.Definition != nil || rev.Env != nil {
				t.Fatal("a list carries definitions")
			}
		}
		before = kept[len(kept)-1]
	}
	wantKept := []int64{3}
	for n := int64(11); n <= 60; n++ {
		wantKept = append(wantKept, n)
	}
	slices.Reverse(wantKept)
	if diff := cmp.Diff(wantKept, kept); diff != "" {
		t.Errorf("kept:\n%s", diff)
	}
	if rev, err := r.Get(t.Context(), "shop", "dev", 3); err != nil || string(rev.Definition) != `{"n":3}` {
		t.Errorf("the one in use: %v, %v", rev, err)
	}
	if _, err := r.Get(t.Context(), "shop", "dev", 4); !fault.Is(err, fault.NotFound) {
		t.Errorf("a retired one: %v", err)
	}
	heads, err := r.Heads(t.Context())
	if err != nil || len(heads) != 2 || heads[0].Stack != "dev" || heads[0].Rev != 60 || heads[1].Stack != "prod" {
		t.Errorf("heads: %+v, %v", heads, err)
	}
	if err := r.Delete(t.Context(), "shop", "dev"); err != nil {
		t.Fatal(err)
	}
	if heads, err := r.Heads(t.Context()); err != nil || len(heads) != 1 {
		t.Errorf("after deleting one: %+v, %v", heads, err)
	}
	empty := records.Revision{Project: "p", Stack: "s", Definition: json.RawMessage("{}")}
	add(empty)
	if got, err := r.Latest(t.Context(), "p", "s"); err != nil || string(got.Env) != "null" {
		t.Errorf("without files and environment: %s, %v", got.Env, err)
	}
}

func TestEvents(t *testing.T) {
	e := records.NewEvents(storetest.New(t), quiet)
	if first, err := e.First(t.Context()); err != nil || first != 1 {
		t.Errorf("the first number is %d, %v", first, err)
	}
	var all []bus.Event
	for n := 1; n <= 30; n++ {
		all = append(all, bus.Event{Seq: uint64(n), At: time.Unix(int64(n), 7), Topic: []string{"apps", "health"}[n%2], Type: "t",
			Key: fmt.Sprint("app", n%3), Slot: "s", Text: "text", Data: map[string]any{"n": float64(n)}})
	}
	if err := errors.Join(e.Append(t.Context(), all), e.Append(t.Context(), all[:3])); err != nil {
		t.Fatal(err)
	}
	if first, err := e.First(t.Context()); err != nil || first <= 30+1000 {
		t.Errorf("after 30 the first number is %d, %v", first, err)
	}
	seqs := func(f records.EventFilter) (seqs []uint64, more bool) {
		t.Helper()
		events, more, err := e.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if diff := cmp.Diff(all[ev.Seq-1], ev); diff != "" {
				t.Fatal(diff)
			}
			seqs = append(seqs, ev.Seq)
		}
		return seqs, more
	}
	for name, c := range map[string]struct {
		filter records.EventFilter
		want   []uint64
		more   bool
	}{
		"newest":       {records.EventFilter{Limit: 3}, []uint64{30, 29, 28}, true},
		"next page":    {records.EventFilter{Limit: 3, Before: 28}, []uint64{27, 26, 25}, true},
		"last page":    {records.EventFilter{Limit: 3, Before: 3}, []uint64{2, 1}, false},
		"exactly all":  {records.EventFilter{Limit: 2, Before: 3}, []uint64{2, 1}, false},
		"from a point": {records.EventFilter{Limit: 3, After: 5}, []uint64{6, 7, 8}, true},
		"topic, key":   {records.EventFilter{Topics: []string{"health", "x"}, Keys: []string{"app0", "app1"}, Before: 14}, []uint64{13, 9, 7, 3, 1}, false},
		"time":         {records.EventFilter{Since: time.Unix(10, 7), Until: time.Unix(12, 7)}, []uint64{11, 10}, false},
		"none":         {records.EventFilter{Keys: []string{"x"}}, nil, false},
	} {
		if got, more := seqs(c.filter); cmp.Diff(c.want, got) != "" || more != c.more {
			t.Errorf("%s: %v, more %v", name, got, more)
		}
	}
	if n, err := e.Retire(t.Context(), time.Unix(5, 0), 20); err != nil || n != 10 {
		t.Errorf("retired %d, %v", n, err)
	}
	if got, _ := seqs(records.EventFilter{Limit: 100}); len(got) != 20 || got[19] != 11 {
		t.Errorf("left: %v", got)
	}
}

// memEvents takes what Record writes; it stands in for a store because time is not real around it.
type memEvents struct{ commits int }

func (m *memEvents) View(context.Context, func(*sql.Tx) error) error { return errors.New("not here") }
func (m *memEvents) Update(context.Context, func(*sql.Tx) error) error {
	m.commits++
	return nil
}

func TestEventsAreRecordedInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &memEvents{}
		disk := faulty.Wrap(db)
		e := records.NewEvents(disk, quiet)
		b := bus.New(1, 10)
		run := e.Record(b)
		for range 5 {
			b.Publish(bus.Event{Topic: "apps"}) // before Run is not too early
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
		<-time.After(110 * time.Millisecond)
		synctest.Wait()
		if db.commits != 1 {
			t.Errorf("%d commits for a burst, want 1", db.commits)
		}
		disk.FailAll(errors.New("full"))
		watch := b.Subscribe(bus.Filter{Topics: []string{"events"}}, 1)
		for range 6000 { // more than there is room for
			b.Publish(bus.Event{Topic: "apps"})
			synctest.Wait()
		}
		<-time.After(10 * time.Second)
		disk.FailAll(nil)
		<-time.After(10 * time.Second)
		synctest.Wait()
		ev, _, err := watch.Next(ctx)
		if err != nil || ev.Type != "lost" || ev.Data["count"] == nil {
			t.Errorf("the loss is told as %+v, %v", ev, err)
		}
		commits := db.commits
		b.Publish(bus.Event{Topic: "apps"})
		cancel()
		wg.Wait()
		if db.commits != commits+1 {
			t.Error("what was published before the end was not kept")
		}
	})
}

func TestRecordedEventsAreThere(t *testing.T) {
	e := records.NewEvents(storetest.New(t), quiet)
	b := bus.New(5, 10)
	run := e.Record(b)
	for range 700 {
		b.Publish(bus.Event{Topic: "apps", Data: map[string]any{"bad": func() {}}})
	}
	if events, more, err := e.List(t.Context(), records.EventFilter{Limit: 2}); err != nil || !more || len(events) != 2 || events[0].Seq != 704 || events[1].Seq != 703 {
		t.Errorf("before they are written: %v, more %v, %v", events, more, err)
	}
	if events, _, err := e.List(t.Context(), records.EventFilter{Before: 704, Keys: []string{"other"}}); err != nil || len(events) != 0 {
		t.Errorf("of another key: %v, %v", events, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(t.Context(), []bus.Event{{Seq: 2, At: time.Unix(1, 0), Topic: "apps"}}); err != nil {
		t.Fatal(err)
	}
	b.Publish(bus.Event{Topic: "apps", Text: "unwritten"})
	if events, more, err := e.List(t.Context(), records.EventFilter{Limit: 2}); err != nil || !more || events[0].Text != "unwritten" || events[1].Seq != 704 {
		t.Errorf("one is not written yet: %v, more %v, %v", events, more, err)
	}
	if events, _, err := e.List(t.Context(), records.EventFilter{Limit: 3, Before: 705}); err != nil || len(events) != 3 || events[0].Seq != 704 {
		t.Errorf("the page after it: %v, %v", events, err)
	}
	if events, _, err := e.List(t.Context(), records.EventFilter{Until: time.Unix(2, 0)}); err != nil || len(events) != 1 || events[0].Seq != 2 {
		t.Errorf("of long ago: %v, %v", events, err)
	}
	events, more, err := e.List(t.Context(), records.EventFilter{Limit: 1000, Before: 705, Since: time.Unix(2, 0)})
	if err != nil || more || len(events) != 700 || events[0].Seq != 704 || events[0].Data["encoding_error"] == nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "omnitron.db")
	db := storetest.Open(t, path)
	k := records.NewKeys(db)
	c := records.Claim{Principal: "ann/agent", Method: "apps.start", Key: "k1", Digest: "d1"}
	take := func(k *records.Keys, c records.Claim, wantFound bool, wantAnswer, wantReason string) {
		t.Helper()
		answer, found, err := k.Take(t.Context(), c)
		reason := ""
		if err != nil {
			reason = fault.From(err).Reason
			if !fault.Is(err, fault.Conflict) {
				t.Errorf("got %v", err)
			}
		}
		if found != wantFound || string(answer) != wantAnswer || reason != wantReason {
			t.Errorf("found %v, answer %s, reason %q; want %v, %s, %q", found, answer, reason, wantFound, wantAnswer, wantReason)
		}
	}
	other := c
	other.Digest = "d2"
	take(k, c, false, "", "")
	take(k, c, true, "", "in_progress")
	take(k, other, true, "", "key_reused")
	take(records.NewKeys(db), c, true, "", "outcome_unknown") // as after a restart
	if err := k.Finish(t.Context(), c, json.RawMessage(`{"status":"done"}`)); err != nil {
		t.Fatal(err)
	}
	take(k, c, true, `{"status":"done"}`, "")
	take(records.NewKeys(db), c, true, `{"status":"done"}`, "")
	take(k, other, true, "", "key_reused")
	if err := k.Release(t.Context(), c); err != nil { // an answer is not forgotten
		t.Fatal(err)
	}
	take(k, c, true, `{"status":"done"}`, "")
	for _, different := range []records.Claim{{"bob/agent", "apps.start", "k1", "d1"}, {"ann/agent", "apps.stop", "k1", "d1"}, {"ann/agent", "apps.start", "k2", "d1"}} {
		take(k, different, false, "", "")
		if err := k.Release(t.Context(), different); err != nil {
			t.Fatal(err)
		}
		take(k, different, false, "", "")
	}
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE idempotency SET expires = expires - ?", (24 * time.Hour).Nanoseconds())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	take(k, other, false, "", "") // a day later the key is free
}

func TestOneOfManySameCallsGoesThrough(t *testing.T) {
	k := records.NewKeys(storetest.New(t))
	c := records.Claim{Principal: "ann/agent", Method: "apps.start", Key: "k1", Digest: "d1"}
	var mu sync.Mutex
	through := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, found, err := k.Take(t.Context(), c)
			mu.Lock()
			defer mu.Unlock()
			if !found && err == nil {
				through++
			}
		})
	}
	wg.Wait()
	if through != 1 {
		t.Errorf("%d calls went through", through)
	}
}

func insertSetting(ctx context.Context, db *store.Store, n int) error {
	return db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO settings VALUES (?, 'x')", n)
		return err
	})
}

func BenchmarkDurableInsert(b *testing.B) {
	db := storetest.New(b)
	n := 0
	for b.Loop() {
		n++
		if err := insertSetting(b.Context(), db, n); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDurableInsert64Concurrent(b *testing.B) {
	db := storetest.New(b)
	b.SetParallelism(32) // × 2 processors
	var mu sync.Mutex
	n := 0
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			n++
			mine := n
			mu.Unlock()
			if err := insertSetting(b.Context(), db, mine); err != nil {
				b.Error(err)
			}
		}
	})
}
