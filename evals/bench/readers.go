package main

import (
	"bytes"
	"context"
	"fmt"
	"github.com/omnitron-dev/omnitron/evals/bench/measure"
	"github.com/omnitron-dev/omnitron/evals/bench/table"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const following = 50 // clients; the last of them never reads

// readers has a program print while nobody looks, while many follow it, and while nobody looks again: whoever reads must
// not hold it up. Nobody else can be followed by many at once, so that it is held against itself.
func readers(ctx context.Context, b *bench) error {
	for _, m := range b.peers {
		if m.name == "omnitron" {
			return b.in(ctx, m, func(w *world) []job { return printing(w, b.count(10, 3), b.count(5_000_000, 500_000)) }, func(ctx context.Context, w *world) error {
				return followed(ctx, b, m.name, w)
			})
		}
	}
	return nil
}

// rounds are who prints, in this order; the second of each three is followed.
var rounds = []string{"drip1", "drip2", "drip3", "flood1", "flood2", "flood3"}

func printing(w *world, seconds, lines int) (jobs []job) {
	for _, name := range rounds {
		role := w.role(name, "drip", fmt.Sprint(seconds))
		if name[0] == 'f' {
			role = w.role(name, "flood", fmt.Sprint(lines))
		}
		wait := fmt.Sprintf("while [ ! -e %s ]; do sleep 0.02; done\n", w.gate(name))
		jobs = append(jobs, job{name: name, script: wait + role, rotate: 1_000_000, timeout: 2 * time.Second})
	}
	return jobs
}

// gate is the file that lets a job begin.
func (w *world) gate(name string) string { return filepath.Join(w.dir, name+".go") }

func followed(ctx context.Context, b *bench, col string, w *world) error {
	if err := w.super.up(ctx); err != nil {
		return err
	}
	what := fmt.Sprintf("%d follow 2 000 lines/s, one never reads: the program prints less", following)
	row := b.table.Row(what, "< 5 %")
	speed := map[string]float64{}
	for i, name := range rounds {
		growth := measure.Peak(w.super.own())
		crowd := &crowd{}
		if i%3 == 1 {
			if err := crowd.follow(ctx, filepath.Join(w.super.(*omnitron).home(), "daemon.sock"), name); err != nil {
				crowd.leave()
				return err
			}
		}
		lines, took, err := w.print(ctx, name)
		if err != nil {
			crowd.leave()
			return err
		}
		speed[name] = float64(lines) / took.Seconds()
		grown, _ := growth()
		if name == "drip2" {
			_ = until(ctx, 10*time.Second, "all have got every line", func() bool { return crowd.slowest() >= lines }) // the row tells
			b.table.Row("… lines printed, got by the slowest that reads", "the same").Set(col, crowd.slowest() == lines, "%d, %d", lines, crowd.slowest())
			b.table.Row("… memory a client", "≤ 1 MB").Set(col, grown <= following*1_000_000, "%s", table.MB(grown/following))
		}
		crowd.leave()
		if err := quiet(ctx, w.super.own()); err != nil {
			return err
		}
	}
	drop := func(a, with, b string) float64 { return 100 * (1 - speed[with]/((speed[a]+speed[b])/2)) }
	paced, flat := drop("drip1", "drip2", "drip3"), drop("flood1", "flood2", "flood3")
	row.Set(col, paced < 5, "%.1f %%", paced)
	b.table.Row("… a flood, which has to share the processor with them", "").Set(col, true, "%.1f %%", flat)
	return nil
}

// crowd is many clients that follow one app.
type crowd struct {
	conns []net.Conn
	got   []atomic.Int64 // lines of each that reads
	wg    sync.WaitGroup
}

func (c *crowd) follow(ctx context.Context, socket, app string) error {
	c.got = make([]atomic.Int64, following-1)
	for i := range following {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, conn)
		if _, err := fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":1,"method":"logs.follow","params":{"names":[%q],"since":"1970-01-02T00:00:00Z"}}`+"\n", app); err != nil {
			return err
		}
		if i < len(c.got) {
			c.wg.Go(func() {
				buf := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buf)
					c.got[i].Add(int64(bytes.Count(buf[:n], []byte{'\n'}))) // a message a line, a line of the app a message
					if err != nil {
						return
					}
				}
			})
		}
	}
	return nil
}

// slowest is how many lines the one of those that read has got who has got the fewest.
func (c *crowd) slowest() int {
	least := int64(1) << 60
	for i := range c.got {
		least = min(least, c.got[i].Load())
	}
	return int(least)
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		conn.Close()
	}
	c.wg.Wait()
}

// print lets a job begin and gives how many lines it has printed and how long that took.
func (w *world) print(ctx context.Context, name string) (int, time.Duration, error) {
	from := w.beats.Len()
	if err := os.WriteFile(w.gate(name), nil, 0o600); err != nil {
		return 0, 0, err
	}
	first, err := w.beats.Next(ctx, time.Minute, name, from)
	if err != nil {
		return 0, 0, err
	}
	done, err := w.beats.Next(ctx, 5*time.Minute, name+"-done", from)
	return done.PID(), done.At.Sub(first.At), err
}
