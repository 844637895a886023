package main

import (
	"context"
	"fmt"
	"github.com/omnitron-dev/omnitron/evals/bench/measure"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"os"
	"time"
)

func name(i int) string { return fmt.Sprintf("a%03d", i) }

// beating gives so many jobs that say that they are there and sit.
func beating(n int, always bool) func(w *world) []job {
	return func(w *world) (jobs []job) {
		for i := range n {
			jobs = append(jobs, job{name: name(i), script: w.beat(name(i)), always: always, timeout: 2 * time.Second})
		}
		return jobs
	}
}

// fleet brings a hundred programs up, looks at what that costs, and lists them.
func fleet(ctx context.Context, b *bench) error {
	n := b.count(100, 20)
	return b.each(ctx, beating(n, false), func(ctx context.Context, col string, w *world) error {
		began := time.Now()
		up := make(chan error, 1)
		go func() { up <- w.super.up(ctx) }()
		last, err := w.beats.Reach(ctx, time.Minute, n)
		if err != nil {
			return err
		}
		b.table.Row(fmt.Sprintf("%d programs up, from nothing", n), "≤ 600 ms").Set(col, last.Sub(began) <= 600*time.Millisecond, "%s", table.Millis(last.Sub(began)))
		if err := <-up; err != nil {
			return err
		}
		if col == "omnitron" {
			b.table.Row("… and up has returned: all are ready", "").Set(col, true, "%s", table.Millis(time.Since(began)))
		}
		if err := idle(ctx, b, col, w); err != nil {
			return err
		}
		return lists(ctx, b, col, w)
	})
}

func idle(ctx context.Context, b *bench, col string, w *world) error {
	span := time.Duration(b.count(10, 3)) * time.Second
	if err := pause(ctx, time.Duration(b.count(5, 2))*time.Second); err != nil { // what the start has left to do is not idling
		return err
	}
	own := w.super.own()
	before := measure.CPU(own)
	if err := pause(ctx, span); err != nil {
		return err
	}
	used := measure.CPU(own) - before
	rss, pss := measure.Memory(own)
	b.table.Row("… memory, RSS", "≤ 60 MB").Set(col, rss <= 60_000_000, "%s", table.MB(rss))
	b.table.Row("… memory, PSS", "≤ 45 MB").Set(col, pss <= 45_000_000, "%s", table.MB(pss))
	b.table.Row("… processes of its own", "").Set(col, true, "%d", len(own))
	limit := 50 * time.Millisecond * span / (10 * time.Second)
	b.table.Row(fmt.Sprintf("… CPU in %d idle seconds", span/time.Second), fmt.Sprintf("≤ %s, sampling every app", table.Millis(limit))).Set(col, used <= limit, "%s", table.Millis(used))
	return nil
}

func lists(ctx context.Context, b *bench, col string, w *world) error {
	var took table.Spread
	for range b.count(30, 5) {
		began := time.Now()
		if err := w.super.list(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	b.table.Row("… list, median", "≤ 30 ms").Set(col, took.Median() <= 30*time.Millisecond, "%s", table.Millis(took.Median()))
	return nil
}

// respawns kills programs that have run for more than a second, one at a time, and measures until the next one says that
// it is there.
func respawns(ctx context.Context, b *bench) error {
	const fleet = 10
	kills := b.count(50, 10)
	return b.each(ctx, beating(fleet, true), func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // the beats tell
		if _, err := w.beats.Reach(ctx, time.Minute, fleet); err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Second); err != nil { // runit waits a second before it starts again what ended sooner
			return err
		}
		var took table.Spread
		for i := range kills {
			app, seen := name(i%fleet), w.beats.Len()
			pid := w.beats.Last(app).PID()
			p, err := os.FindProcess(pid) // by pidfd
			if err != nil {
				return err
			}
			began := time.Now()
			if err := p.Kill(); err != nil {
				return err
			}
			back, err := w.beats.Next(ctx, 20*time.Second, app, seen)
			if err != nil {
				return err
			}
			took = append(took, back.At.Sub(began))
			if err := pause(ctx, 150*time.Millisecond-min(back.At.Sub(began), 140*time.Millisecond)); err != nil {
				return err
			}
		}
		b.table.Row("respawn after kill -9, median", "≤ 2.7 ms").Set(col, took.Median() <= 2700*time.Microsecond, "%s", table.Millis(took.Median()))
		b.table.Row("… 99th percentile", "").Set(col, true, "%s", table.Millis(took.At(0.99)))
		return nil
	})
}

// crashLoop counts the starts of a program that exits 1 at once, under each supervisor's own defaults, all at the same time.
func crashLoop(ctx context.Context, b *bench) error {
	span := time.Duration(b.count(20, 8)) * time.Second
	want := map[int]int{20: 5, 8: 4}[int(span/time.Second)] // at 0, 1, 3, 7 and 15 s
	r := b.table.Row(fmt.Sprintf("exit 1 at once: starts in %d s", span/time.Second), fmt.Sprintf("%d, by the table", want))
	jobs := func(w *world) []job { return []job{{name: "crash", script: w.here("crash") + "exit 1"}} }
	return b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // it says that the program crashed, which is the point
		if _, err := w.beats.Next(ctx, time.Minute, "crash", 0); err != nil {
			return err
		}
		if err := pause(ctx, span); err != nil {
			return err
		}
		n := len(w.beats.Of("crash", 0))
		r.Set(col, n == want, "%d", n)
		return nil
	})
}
