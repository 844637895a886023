package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/evals/bench/measure"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"github.com/omnitron-dev/omnitron/evals/descent"
)

// deaths kills the supervisor, then a second time with its helpers, starts it again and counts what runs of three
// programs, of which one prints.
func deaths(ctx context.Context, b *bench) error {
	jobs := func(w *world) []job {
		return []job{
			{name: "d1", script: w.role("d1", "count"), timeout: 2 * time.Second},
			{name: "d2", script: w.role("d2", "sit"), timeout: 2 * time.Second},
			{name: "d3", script: w.role("d3", "sit"), timeout: 2 * time.Second},
		}
	}
	for _, all := range []bool{false, true} {
		what := "supervisor kill -9, started again: processes of 3 / left after stop"
		if all {
			what = "… its helpers killed too"
		}
		err := b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error { return death(ctx, b, col, w, what, all) })
		if err != nil {
			return err
		}
	}
	return nil
}

func death(ctx context.Context, b *bench, col string, w *world, what string, all bool) error {
	go func() { _ = w.super.up(ctx) }() // the beats tell
	if _, err := w.beats.Reach(ctx, time.Minute, 3); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	before := pids(w, "d1", "d2", "d3")
	victims := []int{w.super.main()}
	if all {
		victims = w.super.own()
	}
	for _, pid := range victims {
		kill(pid)
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := w.super.up(ctx); err != nil {
		b.say("  up again: %v", err)
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	after := pids(w, "d1", "d2", "d3")
	note := ""
	if fmt.Sprint(before) == fmt.Sprint(after) {
		note = ", same pids"
	}
	if err := w.super.stop(ctx, "d1", "d2", "d3"); err != nil {
		b.say("  stop: %v", err)
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	left := pids(w, "d1", "d2", "d3")
	asked, right := "3 / 0, same pids", note != "" && len(left) == 0
	if all {
		asked, right = "3 / 0", len(after) == 3 && len(left) == 0
	}
	b.table.Row(what, asked).Set(col, right, "%d / %d%s", len(after), len(left), note)
	if !all {
		lost, err := gaps(w, "d1")
		b.table.Row("… lines lost meanwhile", "0").Set(col, err == nil && lost == 0, "%d", lost)
		return err
	}
	return nil
}

// pids gives the processes of this run's programs with these names.
func pids(w *world, names ...string) (all []int) {
	for _, n := range names {
		all = append(all, descent.Running("program", n, w.beats.Path)...)
	}
	return all
}

// gaps counts the numbers that are missing between the first and the last line that is stored. A program that was started
// anew counts from 0 again, which is no gap.
func gaps(w *world, name string) (lost int, err error) {
	var all bytes.Buffer
	if _, err := w.super.stored(&all, name); err != nil {
		return 0, err
	}
	next := 0
	in := bufio.NewScanner(&all)
	for in.Scan() {
		n, err := strconv.Atoi(string(in.Bytes()[:min(10, len(in.Bytes()))]))
		if err == nil && n > next {
			lost += n - next
		}
		next = n + 1
	}
	if next == 0 {
		return 0, fmt.Errorf("nothing is stored of %s", name)
	}
	return lost, in.Err()
}

// stops ends a program that ignores TERM and has double-forked grandchildren in sessions of their own.
func stops(ctx context.Context, b *bench) error {
	jobs := func(w *world) []job {
		return []job{{name: "tree", script: w.role("tree", "tree"), timeout: time.Second}, {name: "other", script: w.beat("other")}}
	}
	return b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // the beats tell
		if _, err := w.beats.Next(ctx, time.Minute, "tree-done", 0); err != nil {
			return err
		}
		if err := until(ctx, 10*time.Second, "the tree has three processes", func() bool { return len(pids(w, "tree")) == 3 }); err != nil {
			return err
		}
		if err := pause(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
		began := time.Now()
		if err := w.super.stop(ctx, "tree"); err != nil {
			b.say("  stop: %v", err)
		}
		took, left := time.Since(began), len(pids(w, "tree"))
		b.table.Row("stop of a TERM-ignoring, double-forking tree: survivors", "0").Set(col, left == 0, "%d", left)
		b.table.Row("… with a timeout of 1 s it takes", "≤ 1.1 s").Set(col, took <= 1100*time.Millisecond, "%s", table.Millis(took))
		return nil
	})
}

// restarts restarts one program ten times at once, and ten programs many times in a row.
func restarts(ctx context.Context, b *bench) error {
	one := func(w *world) []job {
		return []job{{name: "once", script: w.role("once", "sit"), always: true, timeout: 2 * time.Second}}
	}
	err := b.each(ctx, one, func(ctx context.Context, col string, w *world) error { return together(ctx, b, col, w) })
	if err != nil {
		return err
	}
	return b.each(ctx, beating(restarting, true), func(ctx context.Context, col string, w *world) error { return inARow(ctx, b, col, w) })
}

func together(ctx context.Context, b *bench, col string, w *world) error {
	go func() { _ = w.super.up(ctx) }() // the beats tell
	if _, err := w.beats.Reach(ctx, time.Minute, 1); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	var failed atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if w.super.restart(ctx, "once") != nil {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	n := len(pids(w, "once"))
	b.table.Row("10 restarts at once: processes / failed commands", "1 / 0").Set(col, n == 1 && failed.Load() == 0, "%d / %d", n, failed.Load())
	return nil
}

// restarting is how many programs are restarted by one command: runit and supervisord take a second for it.
const restarting = 20

func inARow(ctx context.Context, b *bench, col string, w *world) error {
	go func() { _ = w.super.up(ctx) }() // the beats tell
	if _, err := w.beats.Reach(ctx, time.Minute, restarting); err != nil {
		return err
	}
	var all []string
	for i := range restarting {
		all = append(all, name(i))
	}
	round := func() error {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
		return w.super.restart(ctx, all...)
	}
	warm := b.count(5, 2)
	for range warm { // buffers and heaps have found their size
		if err := round(); err != nil {
			return err
		}
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	own := w.super.own()
	fds, bytes := measure.Descriptors(own), measure.Resident(own)
	rounds := b.count(b.restarts, 100) / restarting
	began := time.Now()
	for range rounds {
		if err := round(); err != nil {
			return err
		}
	}
	took := time.Since(began) - time.Duration(rounds)*100*time.Millisecond
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	grown, more := measure.Resident(w.super.own())-bytes, measure.Descriptors(w.super.own())-fds
	what := fmt.Sprintf("%d restarts, %d a command: memory", rounds*restarting, restarting)
	b.table.Row(what, "± 2 MB").Set(col, grown <= 2_000_000, "%+.1f MB", float64(grown)/1e6)
	b.table.Row("… descriptors", "± 2").Set(col, more <= 2 && more >= -2, "%+d", more)
	b.table.Row("… time a command", "").Set(col, true, "%s", table.Millis(took/time.Duration(rounds)))
	return nil
}
