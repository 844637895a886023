package events

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

func service(t *testing.T) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// publish gives the number of the last of n events.
func publish(h *hosttest.Host, topic string, n int) (last uint64) {
	for i := range n {
		last = h.Bus.Publish(bus.Event{Topic: topic, Type: "x", Text: fmt.Sprint(i)}).Seq
	}
	return last
}

// written waits until an event is on disk.
func written(t *testing.T, h *hosttest.Host, seq uint64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); ; <-tick.C {
		var n int
		err := h.Store.View(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM events WHERE seq = ?", seq).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the events are not written")
		}
	}
}

// take reads n items of a stream.
func take(t *testing.T, s *Service, in Following, n int) []bus.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out []bus.Event
	for ev, err := range s.Follow(ctx, in) {
		if err != nil {
			t.Fatalf("after %d of %d items: %v", len(out), n, err)
		}
		if out = append(out, ev); len(out) == n {
			break
		}
	}
	return out
}

// TestFollowGoesOn: from any cursor on, every event once and in order, be it on disk only, in memory or still to come.
func TestFollowGoesOn(t *testing.T) {
	h, s := service(t)
	var last uint64
	for range 9 { // no more at once than the record has room for
		last = publish(h, "apps", 1000)
		written(t, h, last)
	} // of which the bus remembers 4096
	for _, since := range []uint64{1, 100, 3000, last - 4097, last - 4096, last - 1, last} {
		want := int(last-since) + 5
		done := make(chan []bus.Event, 1)
		go func() { done <- take(t, s, Following{Since: strconv.FormatUint(since, 10)}, want) }()
		for since == last { // nothing is there yet: it has to be listening
			if h.Bus.Stats().Subscribers > 1 {
				break
			}
		}
		newest := publish(h, "apps", 5)
		got := <-done
		for i, ev := range got {
			if ev.Seq != since+1+uint64(i) {
				t.Fatalf("since %d: item %d has the number %d (%s %s)", since, i, ev.Seq, ev.Type, ev.Text)
			}
		}
		last = newest
	}
}

// TestFollowWhilePublishing: whoever comes in the middle of a storm misses nothing and sees nothing twice.
func TestFollowWhilePublishing(t *testing.T) {
	h, s := service(t)
	first := publish(h, "apps", 1)
	stop, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-ended
	})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond) // the record has to keep up
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				publish(h, "apps", 20)
			}
		}
	}()
	for range 20 {
		since := max(first, h.Bus.Stats().Published-min(h.Bus.Stats().Published, 300))
		for i, ev := range take(t, s, Following{Since: strconv.FormatUint(since, 10)}, 500) {
			if ev.Seq != since+1+uint64(i) {
				t.Fatalf("item %d has the number %d (%s %s)", i, ev.Seq, ev.Type, ev.Text)
			}
		}
		replay := take(t, s, Following{Replay: 100}, 200)
		for i, ev := range replay {
			if ev.Seq != replay[0].Seq+uint64(i) {
				t.Fatalf("of a replay, item %d has the number %d after %d", i, ev.Seq, replay[0].Seq)
			}
		}
	}
}

// TestFollowFilters: only what was asked for, also of the past.
func TestFollowFilters(t *testing.T) {
	h, s := service(t)
	publish(h, "logs", 3)
	h.Bus.Publish(bus.Event{Topic: "apps", Type: "running", Key: "shop/dev/api"})
	h.Bus.Publish(bus.Event{Topic: "apps", Type: "running", Key: "shop/dev/web"})
	publish(h, "logs", 3)
	got := take(t, s, Following{Topics: []string{"apps"}, Apps: []string{"shop/dev/web"}, Replay: 10}, 1)
	if got[0].Key != "shop/dev/web" {
		t.Errorf("%+v", got)
	}
	got = take(t, s, Following{Topics: []string{"apps"}, Since: "1"}, 2)
	if got[0].Key != "shop/dev/api" || got[1].Key != "shop/dev/web" {
		t.Errorf("%+v", got)
	}
}

// TestGaps: what a reader is too slow for is counted, and a cursor of another life of the home is said to be one.
func TestGaps(t *testing.T) {
	h, s := service(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	publish(h, "apps", 1)
	var seen uint64
	var lost int64
	for ev, err := range s.Follow(ctx, Following{Topics: []string{"apps"}, Replay: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case ev.Type == "gap":
			if ev.Seq != seen {
				t.Errorf("the gap has the cursor %d after %d", ev.Seq, seen)
			}
			lost += ev.Data["dropped"].(int64)
		case seen > 0 && ev.Text != fmt.Sprint(lost):
			t.Fatalf("number %s follows a loss of %d", ev.Text, lost)
		default:
			if seen == 0 {
				publish(h, "apps", room+500)
			}
			if lost > 0 {
				cancel()
			}
			seen = ev.Seq
		}
		if ctx.Err() != nil {
			break
		}
	}
	if lost != 500 {
		t.Errorf("%d were lost", lost)
	}
	newest := h.Bus.Stats().Published
	got := take(t, s, Following{Since: strconv.FormatUint(newest+5000, 10)}, 1)
	if got[0].Type != "gap" || got[0].Seq != newest {
		t.Errorf("%+v", got)
	}
	for _, err := range s.Follow(t.Context(), Following{Since: "x"}) {
		if f := fault.From(err); f.Reason != "bad_cursor" {
			t.Errorf("%v", err)
		}
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	for _, err := range s.Follow(left, Following{}) {
		if err != context.Canceled {
			t.Errorf("a caller who left: %v", err)
		}
	}
	if n := h.Bus.Stats().Subscribers; n != 1 { // who records
		t.Errorf("%d listen on", n)
	}
}

// TestList: pages of the past, newest first, from the last event on.
func TestList(t *testing.T) {
	h, s := service(t)
	publish(h, "logs", 2)
	last := publish(h, "apps", 130)
	var seqs []uint64
	in := Past{Topics: []string{"apps"}, Page: op.Page{Limit: 33}}
	for {
		l, err := s.List(t.Context(), in)
		if err != nil || len(l.Items) > 33 {
			t.Fatalf("%d items, %v", len(l.Items), err)
		}
		for _, ev := range l.Items {
			seqs = append(seqs, ev.Seq)
		}
		if in.Cursor = l.NextCursor; !l.Truncated {
			break
		}
	}
	if len(seqs) != 130 || seqs[0] != last || seqs[129] != last-129 {
		t.Errorf("%d of them, from %d to %d", len(seqs), seqs[0], seqs[len(seqs)-1])
	}
	if l, err := s.List(t.Context(), Past{Since: time.Now().Add(time.Hour)}); err != nil || len(l.Items) != 0 || l.Truncated {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := s.List(t.Context(), Past{Page: op.Page{Cursor: "x"}}); fault.From(err).Reason != "bad_cursor" {
		t.Errorf("%v", err)
	}
}

// TestPublish: an event of one's own says who published it, and nobody can claim to be somebody else.
func TestPublish(t *testing.T) {
	h, s := service(t)
	ctx := op.WithCaller(t.Context(), op.Caller{User: "me", Channel: op.Agent})
	p, err := s.Publish(ctx, Note{Type: "note", Text: "hello", Data: map[string]string{"by": "root/person", "why": "because"}})
	if err != nil {
		t.Fatal(err)
	}
	ev := h.Bus.Recent(bus.Filter{Topics: []string{"custom"}}, 0, 10)
	if len(ev) != 1 || ev[0].Seq != p.Seq || ev[0].Data["by"] != "me/agent" || ev[0].Data["why"] != "because" {
		t.Errorf("%+v", ev)
	}
	if st, err := s.Stats(ctx, Nothing{}); err != nil || st.Published != p.Seq {
		t.Errorf("%+v %v", st, err)
	}
}
