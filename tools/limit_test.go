package tools_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// limited changes the default limits.
func limited(change func(*limit.Limits)) func(*tools.Deps) {
	return func(d *tools.Deps) {
		d.Limits = limit.Default()
		change(&d.Limits)
	}
}

func TestLimitOfSize(t *testing.T) {
	w := toolstest.New(t, limited(func(l *limit.Limits) { l.Input = 64 }))
	in := `{"name":"car"}`
	does(t, w, toolstest.Owner(), "toys.get", in+strings.Repeat(" ", 64-len(in)))
	f := fails(t, w, toolstest.Owner(), "toys.get", in+strings.Repeat(" ", 65-len(in)), fault.Limited, "too_large")
	if f.RetryAfter != 0 {
		t.Error("trying again does not make it smaller")
	}
}

func TestLimitOfRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := toolstest.New(t)
		agent, other := toolstest.Agent(), toolstest.Agent()
		other.User = "bob"
		paint := `{"names":["car"],"color":"blue"}`
		for range 5 {
			does(t, w, agent, "toys.paint", paint)
		}
		f := fails(t, w, agent, "toys.paint", paint, fault.Limited, "rate")
		if f.RetryAfter != 0.2 {
			t.Errorf("retry after %v s, want 0.2", f.RetryAfter)
		}
		does(t, w, other, "toys.paint", paint)
		twin := agent // an account that is called the same
		twin.UID, twin.Twin = -1, true
		does(t, w, twin, "toys.paint", paint)
		for range 10 {
			does(t, w, toolstest.Owner(), "toys.paint", paint)
		}
		for range 195 {
			does(t, w, agent, "toys.list", `{}`)
		}
		if f := fails(t, w, agent, "toys.list", `{}`, fault.Limited, "rate"); f.RetryAfter != 0.005 {
			t.Errorf("retry after %v s, want 0.005", f.RetryAfter)
		}
		does(t, w, agent, "toys.ping", `{}`)
		<-time.After(200 * time.Millisecond)
		does(t, w, agent, "toys.paint", paint)
		fails(t, w, agent, "toys.paint", paint, fault.Limited, "rate")
		does(t, w, agent, "toys.list", `{}`)
	})
}

// waiting starts n calls that wait inside their handler until the test ends or the function is called.
func waiting(t *testing.T, w *toolstest.World, n int, who func(i int) op.Caller) (end func()) {
	w.Inside = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for i := range n {
		go func() {
			_, err := w.Do(ctx, who(i), "toys.fail", `{"how":"wait"}`)
			done <- err
		}()
	}
	for range n {
		<-w.Inside
	}
	return func() {
		cancel()
		for range n {
			if err := <-done; !fault.Is(err, fault.Cancelled) {
				t.Errorf("a call that waited ended with %v", err)
			}
		}
	}
}

func TestLimitInFlightOfOnePrincipal(t *testing.T) {
	w := toolstest.New(t, limited(func(l *limit.Limits) { l.InFlight = 3 }))
	end := waiting(t, w, 3, func(int) op.Caller { return toolstest.Owner() })
	fails(t, w, toolstest.Owner(), "toys.list", `{}`, fault.Limited, "in_flight")
	does(t, w, toolstest.Owner(), "toys.ping", `{}`)
	does(t, w, toolstest.Agent(), "toys.list", `{}`)
	end()
	does(t, w, toolstest.Owner(), "toys.list", `{}`)
}

func TestLimitInFlightOfAllLeavesAReserve(t *testing.T) {
	w := toolstest.New(t, limited(func(l *limit.Limits) { l.Together, l.Reserve = 3, 1 }))
	end := waiting(t, w, 3, func(i int) op.Caller {
		return op.Caller{User: string(rune('a' + i)), Channel: op.Person, Ceiling: op.Admin, Role: op.Admin}
	})
	fails(t, w, toolstest.Owner(), "toys.list", `{}`, fault.Limited, "in_flight")
	does(t, w, toolstest.Owner(), "toys.ping", `{}`)
	end()
	does(t, w, toolstest.Owner(), "toys.list", `{}`)
}

func TestLimitOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := toolstest.New(t)
		start := time.Now()
		fails(t, w, toolstest.Owner(), "toys.fail", `{"how":"deadline"}`, fault.Deadline, "deadline")
		if d := time.Since(start); d != time.Minute {
			t.Errorf("ended after %v", d)
		}
	})
}

func TestStreamsHaveNoDeadline(t *testing.T) {
	w := toolstest.New(t)
	ctx := op.WithCaller(t.Context(), toolstest.Owner())
	seen := false
	_, err := w.Registry.Do(ctx, tools.Call{Method: "toys.watch", In: []byte(`{"ticks":1}`), Emit: func(any) error { seen = true; return nil }})
	if err != nil || !seen {
		t.Fatal(err)
	}
}
