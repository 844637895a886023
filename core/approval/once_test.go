package approval

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/faulty"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestAtOnce: sixty-four identical calls, and one approval.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	many := func() (through int) {
		var mu sync.Mutex
		for range 64 {
			wg.Go(func() {
				a, err := w.try(call())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if a.Through {
					through++
				}
			})
		}
		wg.Wait()
		return through
	}
	if n := many(); n != 0 {
		t.Errorf("%d went through unasked", n)
	}
	waiting := w.list(ann, Filter{Open: true})
	if len(waiting) != 1 {
		t.Fatalf("%d wait", len(waiting))
	}
	w.approve(waiting[0].ID)
	if n := many(); n != 1 {
		t.Errorf("%d went through", n)
	}
	if waiting = w.list(ann, Filter{Open: true}); len(waiting) != 1 {
		t.Errorf("afterwards %d wait", len(waiting))
	}
}

// TestANewDaemonKnows: what was decided is good under the next daemon, once.
func TestANewDaemonKnows(t *testing.T) {
	w := newWorld(t)
	w.approve(w.held(call()).ID)
	w.open()
	w.through(call())
	w.open()
	w.held(call())
}

// TestTogetherWithTheRecord: a record that cannot be kept uses nothing up, and holds nothing.
func TestTogetherWithTheRecord(t *testing.T) {
	w := newWorld(t)
	w.approve(w.held(call()).ID)
	in, _, err := w.Present(call(), "call-2")
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("no room for the record")
	err = w.db.Update(t.Context(), func(tx *sql.Tx) error { return errors.Join(in(tx), full) })
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	w.through(call())
	broken := faulty.Wrap(storetest.New(t))
	w.db = broken
	w.open()
	broken.FailAt(1, full)
	if _, err := w.try(call()); !errors.Is(err, full) || len(w.list(ann, Filter{})) > 0 {
		t.Errorf("on a full disk: %v", err)
	}
}

func TestWait(t *testing.T) {
	w := newWorld(t)
	asker := op.WithCaller(t.Context(), call().Caller)
	ref := w.held(call())
	_, err := w.Wait(asker, ref.ID, time.Millisecond)
	w.is("nobody decides", err, fault.Deadline, "still_waiting")
	_, err = w.Wait(op.WithCaller(t.Context(), op.Caller{User: "bob", Channel: op.Agent}), ref.ID, time.Minute)
	w.is("somebody else's", err, fault.NotFound, "approval_unknown")
	outcome := make(chan error, 1)
	before := w.bus.Stats().Subscribers
	go func() {
		h, err := w.Wait(asker, ref.ID, time.Minute)
		if err == nil && h.Status != Approved {
			err = fmt.Errorf("it is %s", h.Status)
		}
		outcome <- err
	}()
	for w.bus.Stats().Subscribers == before {
		<-time.After(time.Millisecond)
	}
	other := call()
	other.Method = "apps.remove"
	w.approve(w.held(other).ID) // news of another one ends no waiting
	w.approve(ref.ID)
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	no := call()
	no.Method = "apps.kill"
	ref = w.held(no)
	if err := w.decide(ann, ref.ID, false); err != nil {
		t.Fatal(err)
	}
	_, err = w.Wait(asker, ref.ID, time.Minute)
	w.is("denied", err, fault.Held, "denied_by_person")
	no.Method = "apps.late"
	ref = w.held(no)
	w.time = w.time.Add(Patience)
	_, err = w.Wait(asker, ref.ID, time.Minute)
	w.is("silence", err, fault.Held, "expired")
}
