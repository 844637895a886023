package life

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// worker runs until it is stopped; it says so after delay, and is ready after warmup (0: at once, without a signal).
func worker(d *diary, name string, warmup, delay time.Duration) Component {
	c := Component{Name: name}
	ready := make(chan struct{})
	if warmup > 0 {
		c.Ready = ready
	}
	c.Run = func(ctx context.Context) error {
		if warmup > 0 {
			select {
			case <-time.After(warmup):
				d.add("+" + name)
				close(ready)
			case <-ctx.Done():
			}
		}
		<-ctx.Done()
		if delay > 0 {
			<-time.After(delay)
		}
		d.add("-" + name)
		return ctx.Err()
	}
	return c
}

func newGroup(cs ...Component) *Group {
	g := New(slog.New(slog.DiscardHandler))
	for _, c := range cs {
		g.Add(c)
	}
	return g
}

func TestStartInOrderStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := newGroup(worker(&d, "a", 3*time.Second, time.Second), worker(&d, "b", 2*time.Second, 3*time.Second), worker(&d, "c", 0, time.Second), worker(&d, "d", time.Second, 0))
		ctx, cancel := context.WithCancel(t.Context())
		err := g.Run(ctx, func() {
			d.add("up")
			time.AfterFunc(time.Minute, cancel)
			states := []State{}
			for _, s := range g.Status() {
				states = append(states, s.State)
			}
			if fmt.Sprint(states) != "[running running running running]" {
				t.Errorf("when it is up: %v", states)
			}
		})
		if want := "+a +b +d up -d -c -b -a"; err != nil || d.String() != want {
			t.Errorf("%v: %s, want %s", err, d.String(), want)
		}
		for _, s := range g.Status() {
			if s.State != Stopped {
				t.Errorf("at the end: %+v", s)
			}
		}
	})
}

func TestFailureStopsTheRest(t *testing.T) {
	mine := errors.New("mine")
	failing := func(after time.Duration, how func() error) Component {
		return Component{Name: "bad", Run: func(ctx context.Context) error { <-time.After(after); return how() }}
	}
	late := failing(time.Hour, func() error { return mine })
	starting := failing(time.Second, func() error { return mine })
	starting.Ready = make(chan struct{})
	mute := Component{Name: "bad", Ready: make(chan struct{}), Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	for name, c := range map[string]struct {
		bad   Component
		want  string
		text  string
		isErr bool
	}{
		"while running":  {late, "+a +c -c -a", "bad: mine", true},
		"while starting": {starting, "+a -a", "bad: mine", true},
		"by panic":       {failing(time.Hour, func() error { panic("ouch") }), "+a +c -c -a", "bad panicked: ouch", false},
		"never ready":    {mute, "+a -a", "bad was not ready within 30s", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.bad.Ready != nil { // channels belong to the bubble they were made in
					c.bad.Ready = make(chan struct{})
				}
				var d diary
				g := newGroup(worker(&d, "a", time.Second, time.Second), c.bad, worker(&d, "c", time.Second, time.Second))
				err := g.Run(t.Context(), nil)
				if err == nil || err.Error() != c.text || errors.Is(err, mine) != c.isErr || d.String() != c.want {
					t.Errorf("%v: %s, want %s", err, d.String(), c.want)
				}
				if name != "never ready" && g.Status()[1].State != Failed {
					t.Errorf("status %+v", g.Status()[1])
				}
			})
		})
	}
}

func TestFailureOfAnEarlierOneWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		mine := errors.New("mine")
		g := newGroup(Component{Name: "bad", Run: func(context.Context) error { <-time.After(time.Second); return mine }}, worker(&d, "slow", 20*time.Second, 0))
		start := time.Now()
		if err := g.Run(t.Context(), func() { t.Error("it came up") }); !errors.Is(err, mine) || time.Since(start) > 25*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestStuckOnesAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		let := make(chan struct{})
		stuck := func(name string) Component {
			return Component{Name: name, StopTimeout: 3 * time.Second, Run: func(context.Context) error { <-let; return nil }}
		}
		g := newGroup(worker(&d, "a", 0, time.Second), stuck("s1"), worker(&d, "b", 0, time.Second), stuck("s2"))
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		err := g.Run(ctx, cancel)
		var se *StuckError
		if !errors.As(err, &se) || !slices.Equal(se.Names, []string{"s2", "s1"}) || time.Since(start) != 8*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		if d.String() != "-b -a" || g.Status()[1].State != Stuck {
			t.Errorf("the others: %s, %+v", d.String(), g.Status()[1])
		}
		close(let)
		synctest.Wait()
	})
}

func TestFinishedComponentStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		done := Component{Name: "once", Ready: make(chan struct{}), Run: func(context.Context) error { return nil }}
		g := newGroup(done, worker(&d, "a", time.Second, 0))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := g.Run(ctx, nil); err != nil || time.Since(start) != time.Hour || d.String() != "+a -a" {
			t.Errorf("%v after %s: %s", err, time.Since(start), d.String())
		}
	})
}

func TestStopWhileStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		g := newGroup(worker(&d, "a", time.Second, 0), worker(&d, "b", 5*time.Second, 0), worker(&d, "c", time.Second, 0))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := g.Run(ctx, func() { t.Error("it came up") }); err != nil || d.String() != "+a -b -a" || g.Status()[2].State != Pending {
			t.Errorf("%v: %s", err, d.String())
		}
	})
}

func TestFailureWhileStoppingIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := errors.New("mine")
		g := newGroup(Component{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return mine }})
		ctx, cancel := context.WithCancel(t.Context())
		if err := g.Run(ctx, cancel); !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAddAfterRunPanics(t *testing.T) {
	g := newGroup()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx, nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("it was taken")
		}
	}()
	g.Add(Component{Name: "late"})
}
