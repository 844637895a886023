package main

import (
	"context"
	"fmt"
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
		last, err := w.beats.reach(ctx, time.Minute, n)
		if err != nil {
			return err
		}
		b.table.row(fmt.Sprintf("%d programs up, from nothing", n), "≤ 600 ms").set(col, last.Sub(began) <= 600*time.Millisecond, "%s", millis(last.Sub(began)))
		if err := <-up; err != nil {
			return err
		}
		if col == "omnitron" {
			b.table.row("… and up has returned: all are ready", "").set(col, true, "%s", millis(time.Since(began)))
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
	before := cpuOf(own)
	if err := pause(ctx, span); err != nil {
		return err
	}
	used := cpuOf(own) - before
	rss, pss := memory(own)
	b.table.row("… memory, RSS", "≤ 60 MB").set(col, rss <= 60_000_000, "%s", mb(rss))
	b.table.row("… memory, PSS", "≤ 45 MB").set(col, pss <= 45_000_000, "%s", mb(pss))
	b.table.row("… processes of its own", "").set(col, true, "%d", len(own))
	limit := 50 * time.Millisecond * span / (10 * time.Second)
	b.table.row(fmt.Sprintf("… CPU in %d idle seconds", span/time.Second), fmt.Sprintf("≤ %s, sampling every app", millis(limit))).set(col, used <= limit, "%s", millis(used))
	return nil
}

func lists(ctx context.Context, b *bench, col string, w *world) error {
	var took spread
	for range b.count(30, 5) {
		began := time.Now()
		if err := w.super.list(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	b.table.row("… list, median", "≤ 30 ms").set(col, took.median() <= 30*time.Millisecond, "%s", millis(took.median()))
	return nil
}

// respawns kills programs that have run for more than a second, one at a time, and measures until the next one says that
// it is there.
func respawns(ctx context.Context, b *bench) error {
	const fleet = 10
	kills := b.count(50, 10)
	return b.each(ctx, beating(fleet, true), func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // the beats tell
		if _, err := w.beats.reach(ctx, time.Minute, fleet); err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Second); err != nil { // runit waits a second before it starts again what ended sooner
			return err
		}
		var took spread
		for i := range kills {
			app, seen := name(i%fleet), w.beats.len()
			pid := w.beats.last(app).pid()
			p, err := os.FindProcess(pid) // by pidfd
			if err != nil {
				return err
			}
			began := time.Now()
			if err := p.Kill(); err != nil {
				return err
			}
			back, err := w.beats.next(ctx, 20*time.Second, app, seen)
			if err != nil {
				return err
			}
			took = append(took, back.at.Sub(began))
			if err := pause(ctx, 150*time.Millisecond-min(back.at.Sub(began), 140*time.Millisecond)); err != nil {
				return err
			}
		}
		b.table.row("respawn after kill -9, median", "≤ 2.7 ms").set(col, took.median() <= 2700*time.Microsecond, "%s", millis(took.median()))
		b.table.row("… 99th percentile", "").set(col, true, "%s", millis(took.at(0.99)))
		return nil
	})
}

// crashLoop counts the starts of a program that exits 1 at once, under each supervisor's own defaults, all at the same time.
func crashLoop(ctx context.Context, b *bench) error {
	span := time.Duration(b.count(20, 8)) * time.Second
	want := map[int]int{20: 5, 8: 4}[int(span/time.Second)] // at 0, 1, 3, 7 and 15 s
	r := b.table.row(fmt.Sprintf("exit 1 at once: starts in %d s", span/time.Second), fmt.Sprintf("%d, by the table", want))
	jobs := func(w *world) []job { return []job{{name: "crash", script: w.here("crash") + "exit 1"}} }
	return b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // it says that the program crashed, which is the point
		if _, err := w.beats.next(ctx, time.Minute, "crash", 0); err != nil {
			return err
		}
		if err := pause(ctx, span); err != nil {
			return err
		}
		n := len(w.beats.of("crash", 0))
		r.set(col, n == want, "%d", n)
		return nil
	})
}
