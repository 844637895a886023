package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/evals/bench/measure"
	"github.com/omnitron-dev/omnitron/evals/bench/role"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
)

// floods prints millions of short lines with rotation on, once as the others store them and once compressed as omnitron
// does by default.
func floods(ctx context.Context, b *bench) error {
	n := b.count(5_000_000, 1_000_000)
	jobs := func(squeeze bool) func(w *world) []job {
		return func(w *world) []job {
			return []job{{name: "flood", script: w.role("flood", "flood", fmt.Sprint(n)), rotate: 50_000_000, squeeze: squeeze, timeout: 2 * time.Second}}
		}
	}
	err := b.each(ctx, jobs(false), func(ctx context.Context, col string, w *world) error { return flooding(ctx, b, col, w, n, "") })
	if err != nil {
		return err
	}
	for _, m := range b.peers {
		if m.name == "omnitron" {
			return b.in(ctx, m, jobs(true), func(ctx context.Context, w *world) error {
				return flooding(ctx, b, m.name, w, n, ", compressed by zstd")
			})
		}
	}
	return nil
}

func flooding(ctx context.Context, b *bench, col string, w *world, n int, how string) error {
	go func() { _ = w.super.up(ctx) }() // the beats tell
	first, err := w.beats.Next(ctx, time.Minute, "flood", 0)
	if err != nil {
		return err
	}
	own := w.super.own()
	used, stop := measure.CPU(own), measure.Peak(own)
	last, err := w.beats.Next(ctx, 10*time.Minute, "flood-done", 0)
	if err != nil {
		return err
	}
	took := last.At.Sub(first.At)
	if err := quiet(ctx, own); err != nil {
		return err
	}
	grown, _ := stop()
	used = measure.CPU(own) - used
	v := checker{seen: make([]bool, n)}
	if _, err := w.super.stored(&v, "flood"); err != nil {
		return err
	}
	speed := float64(n) * role.LineSize / 1e6 / took.Seconds()
	each := used.Seconds() / float64(n) * 1e6
	b.table.Row(fmt.Sprintf("%.0f M lines of %d B, rotation on%s", float64(n)/1e6, role.LineSize, how), "≥ 186 MB/s").Set(col, speed >= 186, "%.0f MB/s", speed)
	b.table.Row("… lines missing / torn"+how, "0 / 0").Set(col, v.missing() == 0 && v.torn == 0, "%d / %d", v.missing(), v.torn)
	b.table.Row("… CPU a million lines"+how, "≤ 0.3 s").Set(col, each <= 0.3, "%.2f s", each)
	b.table.Row("… growth of RSS"+how, "≤ 16 MB").Set(col, grown <= 16_000_000, "%s", table.MB(grown))
	return nil
}

// quiet waits until processes have nothing to do any more.
func quiet(ctx context.Context, pids []int) error {
	last, calm := measure.CPU(pids), 0
	for calm < 3 {
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		now := measure.CPU(pids)
		if calm++; now-last > 15*time.Millisecond {
			calm = 0
		}
		last = now
	}
	return nil
}

// checker reads what is stored of a flood and finds what is missing or torn.
type checker struct {
	seen  []bool
	torn  int
	part  []byte
	whole []byte
}

func (c *checker) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			c.part = append(c.part, p...)
			break
		}
		line := p[:i]
		if len(c.part) > 0 {
			c.part = append(c.part, line...)
			line = c.part
		}
		c.line(line)
		c.part, p = c.part[:0], p[i+1:]
	}
	return n, nil
}

func (c *checker) line(line []byte) {
	if len(line) == role.LineSize-1 {
		if n, err := strconv.Atoi(string(line[:10])); err == nil && n < len(c.seen) {
			c.whole = role.Text(c.whole[:0], n)
			if bytes.Equal(line, c.whole[:role.LineSize-1]) && !c.seen[n] {
				c.seen[n] = true
				return
			}
		}
	}
	c.torn++
}

func (c *checker) missing() (n int) {
	for _, ok := range c.seen {
		if !ok {
			n++
		}
	}
	return n
}

// longLine prints one line that does not end.
func longLine(ctx context.Context, b *bench) error {
	size := b.count(256<<20, 64<<20)
	jobs := func(w *world) []job {
		return []job{{name: "line", script: w.role("line", "line", fmt.Sprint(size)), timeout: 2 * time.Second}}
	}
	return b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error {
		go func() { _ = w.super.up(ctx) }() // the beats tell
		if _, err := w.beats.Next(ctx, time.Minute, "line", 0); err != nil {
			return err
		}
		own := w.super.own()
		stop := measure.Peak(own)
		if _, err := w.beats.Next(ctx, 5*time.Minute, "line-done", 0); err != nil {
			return err
		}
		if err := quiet(ctx, own); err != nil {
			return err
		}
		grown, _ := stop()
		kept, err := w.super.stored(io.Discard, "line")
		if err != nil {
			return err
		}
		b.table.Row(fmt.Sprintf("a line of %d MB: growth of RSS", size>>20), "≤ 16 MB").Set(col, grown <= 16_000_000, "%s", table.MB(grown))
		b.table.Row("… of which is stored", "all").Set(col, kept == int64(size), "%.1f %%", 100*float64(kept)/float64(size))
		return nil
	})
}

const (
	diskSize = 8 << 20
	diskFree = 512 << 10 // until it is full
)

// fullDisk has a program print onto a disk that fills up and is cleared again while it prints.
func fullDisk(ctx context.Context, b *bench) error {
	if os.Geteuid() != 0 {
		b.say("  only root can mount a small disk: left out")
		return nil
	}
	seconds := b.count(24, 24) // longer than omnitron holds a program before it drops
	jobs := func(w *world) []job {
		return []job{{name: "drip", script: w.role("drip", "drip", fmt.Sprint(seconds)), rotate: 2_000_000, timeout: 2 * time.Second}}
	}
	return b.each(ctx, jobs, func(ctx context.Context, col string, w *world) error { return filling(ctx, b, col, w, seconds) })
}

func filling(ctx context.Context, b *bench, col string, w *world, seconds int) error {
	dir := w.super.logs("drip")
	config, _ := os.ReadFile(filepath.Join(dir, "config")) // svlogd's lies in the same folder
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("bench", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", diskSize)); err != nil {
		return fmt.Errorf("cannot mount a small disk: %w", err)
	}
	if len(config) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "config"), config, 0o600); err != nil {
			return err
		}
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, diskSize-diskFree-(16<<10)), 0o600); err != nil {
		return err
	}
	go func() { _ = w.super.up(ctx) }() // the beats tell
	if _, err := w.beats.Next(ctx, time.Minute, "drip", 0); err != nil {
		return err
	}
	if err := pause(ctx, 18*time.Second); err != nil {
		return err
	}
	before, err := w.super.stored(io.Discard, "drip")
	if err != nil {
		return err
	}
	freed := time.Now()
	if err := os.Remove(filler); err != nil {
		return err
	}
	err = until(ctx, 15*time.Second, "something is logged again", func() bool {
		now, err := w.super.stored(io.Discard, "drip")
		return err == nil && now > before
	})
	back := table.Millis(time.Since(freed))
	if err != nil {
		back = "never"
	}
	took := time.Since(freed)
	done, err := w.beats.Next(ctx, time.Minute, "drip-done", 0)
	if err != nil {
		return err
	}
	if err := quiet(ctx, w.super.own()); err != nil {
		return err
	}
	var all counter
	if _, err := w.super.stored(&all, "drip"); err != nil {
		return err
	}
	printed := int64(done.PID())
	missing := printed*role.LineSize - all.bytes
	told, err := w.told(ctx)
	if err != nil {
		return err
	}
	silent := max(0, missing-told)
	r := b.table.Row("disk full for a while: bytes printed, lost, of that silently", "none silently")
	r.Set(col, missing == told, "%s, %d, %d", table.MB(printed*role.LineSize), missing, silent)
	b.table.Row("… logging is back after", "≤ 1 s").Set(col, back != "never" && took <= time.Second, "%s", back)
	return nil
}

type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) { c.bytes += int64(len(p)); return len(p), nil }

// told gives the bytes that the supervisor says it has lost of the drip; others say nothing.
func (w *world) told(ctx context.Context) (lost int64, err error) {
	o, ok := w.super.(*omnitron)
	if !ok {
		return 0, nil
	}
	text, err := o.run(ctx, "logs", "stats", "drip", "-o", "json")
	if err != nil {
		return 0, err
	}
	var page op.List[journal.Stat]
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		return 0, err
	}
	for _, s := range page.Items {
		if s.Stream == "out" {
			lost += s.Lost
		}
	}
	return lost, nil
}
