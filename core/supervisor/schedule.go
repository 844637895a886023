package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/sched/cron"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
)

const (
	// glance is how long nobody looks at the clock at most: it may be set, and the machine may sleep.
	glance = 20 * time.Second
	// writeAgain is how long it takes until a write is tried again without which nothing is started.
	writeAgain = time.Second
)

// plan is the schedule of an app, or nil.
func (s *Supervisor) plan(key string) *config.Schedule {
	if r := s.runner(key); r != nil {
		return r.Declared().Schedule
	}
	return nil
}

// kick has the times of schedules looked at again.
func (s *Supervisor) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

// calendar begins the runs of schedules until ctx ends.
func (s *Supervisor) calendar(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for away := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.kicked:
		case <-timer.C:
		}
		next, err := s.look(ctx, s.Now(), away)
		wait := glance
		switch {
		case err != nil && ctx.Err() == nil:
			s.Log.Error("what is due cannot be written down, so it is not started", "err", err)
			wait = writeAgain
		case err == nil:
			away = false
			if left := next.Sub(s.Now()); !next.IsZero() && left < wait {
				wait = max(left, time.Millisecond)
			}
		}
		timer.Reset(wait)
	}
}

// look begins what is due, once that is on disk, and tells when the next thing will be. away: the daemon was not there before.
func (s *Supervisor) look(ctx context.Context, now time.Time, away bool) (next time.Time, err error) {
	st := s.State.View()
	if st.HomeDown || s.ending() {
		return next, nil
	}
	moved := map[string]cron.Verdict{}
	for _, v := range s.Apps() {
		p := s.plan(v.Key)
		a, known := st.App(v.Key)
		if p == nil || !known || a.Desired != store.WantRunning {
			continue
		}
		times, ok := p.Times()
		if !ok {
			s.Log.Error("the schedule of an app cannot be read any more", "app", v.Key, "cron", p.Cron, "timezone", p.Timezone)
			continue
		}
		verdict := times.Look(a.Schedule.Until, now, away, p.CatchUp)
		if !verdict.Until.Equal(a.Schedule.Until) {
			moved[v.Key] = verdict
		}
		if next.IsZero() || verdict.Next.Before(next) {
			next = verdict.Next
		}
	}
	if len(moved) == 0 {
		return next, nil
	}
	err = s.State.Put(ctx, func(st *store.State) error {
		for key, v := range moved {
			a, known := st.App(key)
			if !known || a.Desired != store.WantRunning || st.HomeDown { // somebody has just said otherwise
				continue
			}
			a.Schedule.Until = v.Until
			a.Schedule.Owed = a.Schedule.Owed || v.Due
			st.Set(a)
		}
		return nil
	})
	if err != nil {
		return next, err
	}
	for key, v := range moved {
		s.begin(s.runner(key), v)
	}
	return next, nil
}

// begin tells a runner what a look at the clock has found.
func (s *Supervisor) begin(r *runner.Runner, v cron.Verdict) {
	if r == nil {
		return
	}
	if v.Missed > 0 {
		text := fmt.Sprintf("%d runs were missed while the daemon was not there", v.Missed)
		if v.Due {
			text = fmt.Sprintf("%d more runs were missed while the daemon was not there; one makes up for them", v.Missed)
		}
		s.Bus.Publish(bus.Event{At: s.Now(), Topic: "apps", Type: "schedule_missed", Key: r.Key, Text: text, Data: map[string]any{"missed": v.Missed}})
	}
	if v.Due {
		r.Due()
		return
	}
	r.Recollect()
}
