// Package sched runs periodic tasks. Time is monotonic, a task never overlaps itself, a slow or panicking one disturbs
// no other, and each can be looked at.
package sched

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/life"
)

// Task is a periodic task as a person sees it.
type Task struct {
	Name       string    `json:"name" table:"1" jsonschema:"name of the task"`
	IntervalMS int64     `json:"interval_ms" table:"2" unit:"ms" jsonschema:"time between two starts"`
	Running    bool      `json:"running" jsonschema:"whether it runs now"`
	Runs       int64     `json:"runs" table:"3" jsonschema:"how often it has run"`
	Errors     int64     `json:"errors" table:"4" jsonschema:"how often it has failed, panics included"`
	Panics     int64     `json:"panics,omitempty" jsonschema:"how often it has panicked"`
	Skipped    int64     `json:"skipped,omitempty" jsonschema:"starts that fell into a run that took too long"`
	LastRun    time.Time `json:"last_run,omitzero" table:"5" unit:"time" jsonschema:"start of the last run"`
	TookMS     float64   `json:"took_ms,omitempty" table:"6" unit:"ms" jsonschema:"how long the last run took"`
	NextRun    time.Time `json:"next_run,omitzero" table:"7" unit:"time" jsonschema:"start of the next run"`
	LastError  string    `json:"last_error,omitempty" jsonschema:"why the last failing run failed"`
}

// Scheduler is a list of tasks: Add them, then Run.
type Scheduler struct {
	log   *slog.Logger
	group *life.Group
	tasks []*task
}

type task struct {
	log              *slog.Logger
	interval, jitter time.Duration
	fn               func(context.Context) error

	mu sync.Mutex
	Task
}

// New makes a scheduler without tasks.
func New(log *slog.Logger) *Scheduler { return &Scheduler{log: log, group: life.New(log)} }

// Add has fn run every interval, moved by up to ± jitter each time so that many daemons do not act at once; the first
// run comes after one interval. An error is counted and shown, and changes nothing else. Tasks are added before Run.
func (s *Scheduler) Add(name string, interval, jitter time.Duration, fn func(context.Context) error) {
	if interval <= 0 || jitter < 0 || jitter > interval/2 {
		panic(fmt.Sprintf("sched: %s cannot run every %s ± %s", name, interval, jitter))
	}
	t := &task{log: s.log, interval: interval, jitter: jitter, fn: fn, Task: Task{Name: name, IntervalMS: interval.Milliseconds()}}
	s.tasks = append(s.tasks, t)
	s.group.Add(life.Component{Name: name, Run: t.loop})
}

// Run runs the tasks until ctx ends, then waits for those that are running.
func (s *Scheduler) Run(ctx context.Context) error { return s.group.Run(ctx, nil) }

// Tasks lists the tasks in the order in which they were added.
func (s *Scheduler) Tasks() []Task {
	all := make([]Task, len(s.tasks))
	for i, t := range s.tasks {
		t.mu.Lock()
		all[i] = t.Task
		t.mu.Unlock()
	}
	return all
}

// loop keeps a fixed rhythm: the length of a run and the jitter of one start do not move the starts after it.
func (t *task) loop(ctx context.Context) error {
	timer := time.NewTimer(t.interval)
	defer timer.Stop()
	for beat := time.Now().Add(t.interval); ; {
		due := beat.Add(t.shift())
		t.mu.Lock()
		t.NextRun = due.Round(0)
		t.mu.Unlock()
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		t.once(ctx)
		beat = beat.Add(t.interval)
		if late := time.Since(beat); late > 0 {
			missed := late/t.interval + 1
			beat = beat.Add(missed * t.interval)
			t.mu.Lock()
			t.Skipped += int64(missed)
			t.mu.Unlock()
		}
	}
}

func (t *task) shift() time.Duration {
	if t.jitter == 0 {
		return 0
	}
	return rand.N(2*t.jitter+1) - t.jitter
}

func (t *task) once(ctx context.Context) {
	start := time.Now()
	t.mu.Lock()
	t.Running, t.LastRun = true, start.Round(0)
	t.mu.Unlock()
	panicked, err := t.guarded(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Running = false
	t.Runs++
	t.TookMS = float64(time.Since(start).Microseconds()) / 1000
	if panicked {
		t.Panics++
	}
	if err != nil && ctx.Err() == nil {
		t.Errors++
		if t.LastError != err.Error() { // a task that fails in the same way every time is logged once
			t.log.Error("a periodic task failed", "task", t.Name, "err", err)
		}
		t.LastError = err.Error()
	}
}

func (t *task) guarded(ctx context.Context) (panicked bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			panicked, err = true, fmt.Errorf("panic: %v", p)
			t.log.Error("a periodic task panicked", "task", t.Name, "err", p, "stack", string(debug.Stack()))
		}
	}()
	return false, t.fn(ctx)
}
