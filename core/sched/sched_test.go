package sched

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// during runs the scheduler for d and gives it back.
func during(t *testing.T, d time.Duration, add func(s *Scheduler)) *Scheduler {
	t.Helper()
	s := New(slog.New(slog.DiscardHandler))
	add(s)
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	return s
}

func TestRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		s := during(t, 35*time.Second, func(s *Scheduler) {
			s.Add("beat", 10*time.Second, 0, func(context.Context) error {
				at = append(at, time.Since(start))
				<-time.After(3 * time.Second) // does not move the next one
				return nil
			})
		})
		if len(at) != 3 || at[0] != 10*time.Second || at[1] != 20*time.Second || at[2] != 30*time.Second {
			t.Errorf("it ran at %v", at)
		}
		task := s.Tasks()[0]
		if task.Name != "beat" || task.IntervalMS != 10000 || task.Runs != 3 || task.Errors != 0 || task.TookMS != 3000 || task.Running || !task.LastRun.Equal(start.Add(30*time.Second)) || !task.NextRun.Equal(start.Add(40*time.Second)) {
			t.Errorf("it is shown as %+v", task)
		}
	})
}

func TestNoOverlapAndNoBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		running, most := 0, 0
		others := 0
		s := during(t, 99*time.Second, func(s *Scheduler) {
			s.Add("slow", 10*time.Second, 0, func(context.Context) error {
				mu.Lock()
				running++
				most = max(most, running)
				mu.Unlock()
				<-time.After(25 * time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			})
			s.Add("quick", time.Second, 0, func(context.Context) error { others++; return nil })
		})
		// from 10 to 35, 40 to 65, 70 to 95, each over two beats
		task := s.Tasks()[0]
		if most != 1 || task.Runs != 3 || task.Skipped != 6 {
			t.Errorf("%d at once; %+v", most, task)
		}
		if others < 98 {
			t.Errorf("the other task ran %d times", others)
		}
	})
}

func TestErrorsAndPanicsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := during(t, 45*time.Second, func(s *Scheduler) {
			s.Add("bad", 10*time.Second, 0, func(context.Context) error {
				switch n++; n {
				case 1:
					return errors.New("mine")
				case 2:
					panic("ouch")
				}
				return nil
			})
		})
		task := s.Tasks()[0]
		if task.Runs != 4 || task.Errors != 2 || task.Panics != 1 || task.LastError != "panic: ouch" {
			t.Errorf("it is shown as %+v", task)
		}
	})
}

func TestJitterStaysWithinBoundsAndDoesNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n, moved := 0, 0
		during(t, 1001*time.Second, func(s *Scheduler) {
			s.Add("beat", 10*time.Second, time.Second, func(context.Context) error {
				n++
				off := time.Since(start) - time.Duration(n)*10*time.Second
				if off != 0 {
					moved++
				}
				if off < -time.Second || off > time.Second {
					t.Errorf("run %d was off by %s", n, off)
				}
				return nil
			})
		})
		if n < 99 || moved < 90 {
			t.Errorf("%d runs, %d of them moved", n, moved)
		}
	})
}

func TestEndReachesARunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		s := during(t, 15*time.Second, func(s *Scheduler) {
			s.Add("long", 10*time.Second, 0, func(ctx context.Context) error {
				<-ctx.Done()
				ended = true
				return ctx.Err()
			})
		})
		if task := s.Tasks()[0]; !ended || task.Errors != 0 {
			t.Errorf("ended %v, %+v", ended, task)
		}
	})
}

func TestSenselessIntervalsPanic(t *testing.T) {
	for _, c := range [][2]time.Duration{{0, 0}, {-time.Second, 0}, {time.Second, -1}, {time.Second, time.Second}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v was taken", c)
				}
			}()
			New(slog.New(slog.DiscardHandler)).Add("x", c[0], c[1], nil)
		}()
	}
}
