package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func next(t *testing.T, s *Sub) (seq uint64, dropped int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ev, dropped, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ev.Seq, dropped
}

func TestSubscribersGetWhatTheyWant(t *testing.T) {
	b := New(7, 10)
	all := b.Subscribe(Filter{}, 10)
	some := b.Subscribe(Filter{Topics: []string{"apps", "health"}, Keys: []string{"a"}, Types: []string{"x"}}, 10)
	for _, ev := range []Event{{Topic: "logs", Key: "a", Type: "x"}, {Topic: "apps", Key: "b", Type: "x"}, {Topic: "apps", Key: "a", Type: "y"}, {Topic: "health", Key: "a", Type: "x"}} {
		if got := b.Publish(ev); got.At.IsZero() {
			t.Error("an event has no time")
		}
	}
	for want := uint64(7); want <= 10; want++ {
		if seq, dropped := next(t, all); seq != want || dropped != 0 {
			t.Errorf("got %d after %d lost, want %d", seq, dropped, want)
		}
	}
	if seq, _ := next(t, some); seq != 10 {
		t.Errorf("the filter let %d through", seq)
	}
	stats := b.Stats()
	all.Close()
	all.Close()
	if stats.Published != 10 || stats.Subscribers != 2 || b.Stats().Subscribers != 1 {
		t.Errorf("stats %+v, then %+v", stats, b.Stats())
	}
	if _, _, err := all.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSlowSubscriberLosesTheOldestAndIsTold(t *testing.T) {
	for _, size := range []int{1, 2, 16, 17, 100} {
		b := New(1, 1)
		s := b.Subscribe(Filter{}, size)
		for range 250 {
			b.Publish(Event{})
		}
		for i := range size {
			seq, dropped := next(t, s)
			wantLost := int64(0)
			if i == 0 {
				wantLost = int64(250 - size)
			}
			if seq != uint64(250-size+i+1) || dropped != wantLost {
				t.Fatalf("size %d: got %d after %d lost", size, seq, dropped)
			}
		}
		b.Publish(Event{})
		if seq, dropped := next(t, s); seq != 251 || dropped != 0 {
			t.Errorf("size %d: then %d after %d lost", size, seq, dropped)
		}
		if lost := b.Stats().Dropped; lost != int64(250-size) {
			t.Errorf("size %d: the bus counts %d lost", size, lost)
		}
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1, 0)
		s := b.Subscribe(Filter{}, 4)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		wait := func() { _, _, err := s.Next(ctx); got <- err }
		go wait()
		synctest.Wait()
		b.Publish(Event{})
		if err := <-got; err != nil {
			t.Error(err)
		}
		go wait()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of its context: %v", err)
		}
		b.Publish(Event{})
		go wait()
		if err := <-got; err != nil { // what is there is given all the same
			t.Error(err)
		}
		ctx = context.Background()
		go wait()
		synctest.Wait()
		s.Close()
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestRecent(t *testing.T) {
	b := New(1, 5)
	for i := range 8 {
		b.Publish(Event{Key: fmt.Sprint(i % 2)})
	}
	for name, c := range map[string]struct {
		filter Filter
		after  uint64
		limit  int
		want   string
	}{
		"all":   {Filter{}, 0, 10, "[4 5 6 7 8]"},
		"limit": {Filter{}, 0, 2, "[7 8]"},
		"after": {Filter{}, 6, 10, "[7 8]"},
		"key":   {Filter{Keys: []string{"1"}}, 0, 10, "[4 6 8]"},
	} {
		var seqs []uint64
		for _, ev := range b.Recent(c.filter, c.after, c.limit) {
			seqs = append(seqs, ev.Seq)
		}
		if got := fmt.Sprint(seqs); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestResumeLeavesNoHole(t *testing.T) {
	for after, missed := range map[uint64]bool{8: false, 5: false, 3: false, 2: true} {
		b := New(1, 5)
		for range 8 {
			b.Publish(Event{})
		}
		s, oldest := b.Resume(Filter{}, 20, after)
		if got := after+1 < oldest; got != missed {
			t.Errorf("after %d: missed %v", after, got)
		}
		b.Publish(Event{})
		for want := max(after, 3) + 1; want <= 9; want++ {
			if seq, _ := next(t, s); seq != want {
				t.Errorf("after %d came %d, want %d", after, seq, want)
			}
		}
	}
	c := New(1, 5)
	c.Publish(Event{})
	s, oldest := c.Resume(Filter{}, 20, 0)
	if seq, _ := next(t, s); seq != 1 || oldest != 1 {
		t.Errorf("from the beginning: %d, the oldest %d", seq, oldest)
	}
}

func TestKeptEventsAreForgotten(t *testing.T) {
	for last, want := range map[uint64]uint64{0: 1, 10: 11, 500: 501, 900: 1000 - handy + 1, 1000: 1000 - handy + 1} {
		c := New(1, 4096)
		for range 1000 {
			c.Publish(Event{})
		}
		c.Kept(last)
		if _, oldest := c.Resume(Filter{}, 1, 1000); oldest != want {
			t.Errorf("up to %d kept: it remembers from %d on, want %d", last, oldest, want)
		}
	}
}

func TestPublishersAndReadersAtOnce(t *testing.T) {
	b := New(1, 64)
	var wg sync.WaitGroup
	for range 4 {
		s := b.Subscribe(Filter{}, 8)
		wg.Go(func() {
			defer s.Close()
			var seen, lost int64
			last := uint64(0)
			for seen+lost < 4000 {
				ev, dropped, err := s.Next(t.Context())
				if err != nil || ev.Seq <= last {
					t.Errorf("%d after %d: %v", ev.Seq, last, err)
					return
				}
				last = ev.Seq
				seen, lost = seen+1, lost+dropped
			}
			if seen+lost != 4000 {
				t.Errorf("%d seen and %d lost", seen, lost)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				b.Publish(Event{Topic: "apps"})
			}
		})
	}
	wg.Wait()
}

func BenchmarkPublish(b *testing.B) {
	bus := New(1, 1024)
	for range 10 {
		bus.Subscribe(Filter{}, 256)
	}
	for b.Loop() {
		bus.Publish(Event{Topic: "apps"})
	}
}

// TestEventsHideSecrets: no event carries one, in its text or anywhere in its details; the publisher's own stays as it is.
func TestEventsHideSecrets(t *testing.T) {
	b := New(1, 10)
	b.Redact = func(text string) string { return strings.ReplaceAll(text, "hush", "…") }
	data := map[string]any{"a": "hush", "list": []any{"x", "a hush", map[string]any{"deep": "hush"}}, "words": []string{"hush", "y"}, "n": 1}
	ev := b.Publish(Event{Topic: "apps", Text: "hush hush", Data: data})
	if got := fmt.Sprint(ev.Text, ev.Data, b.Recent(Filter{}, 0, 1)); strings.Contains(got, "hush") || strings.Count(got, "…") != 12 {
		t.Errorf("published %s", got)
	}
	if got := fmt.Sprint(data); strings.Count(got, "hush") != 4 {
		t.Errorf("the publisher's details are now %s", got)
	}
}
