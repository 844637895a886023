package proc_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/keeper/ident"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// TestFigures prints the figures of docs/adr/0001-keeper.md, and fails when one of them is out of all proportion.
func TestFigures(t *testing.T) {
	st, err := os.Stat(keeperBinary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("binary: %.2f MiB", float64(st.Size())/(1<<20))
	if st.Size() > 3<<20 {
		t.Errorf("the keeper's binary has %d bytes, more than 3 MiB", st.Size())
	}
	contains(t, func(t *testing.T, contain string) {
		e := start(t, contain)
		t.Logf("bare: %s", memory(e.k.Info().PID))
		n := 100
		var cost []time.Duration
		stubs := 0
		for range n {
			s := e.spec("/bin/sleep", "1000")
			begin := time.Now()
			e.spawn(s)
			cost = append(cost, time.Since(begin))
		}
		slices.Sort(cost)
		t.Logf("spawn: median %v, p90 %v, slowest %v", cost[n/2], cost[n*9/10], cost[n-1])
		t.Logf("with %d programs: %s", n, memory(e.k.Info().PID))
		cost = cost[:0]
		again := e.spec("/bin/true")
		for i := range n { // a restart finds its log files there
			again.ID = fmt.Sprintf("again@%d", i)
			begin := time.Now()
			p := e.spawn(again)
			if took := time.Since(begin); i > 0 {
				cost = append(cost, took)
			}
			wait(t, p)
			if err := p.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
		slices.Sort(cost)
		t.Logf("spawn with log files there: median %v, p90 %v", cost[len(cost)/2], cost[len(cost)*9/10])
		for _, pid := range alive("stub\x00" + homeID(e)) {
			if stubs++; stubs == 1 {
				t.Logf("one stub: %s", memory(pid))
			}
		}
		if rss := e.k.Info().RSS; rss > 24<<20 {
			t.Errorf("the keeper takes %d bytes", rss)
		}
		size := count(128<<20, 1<<30)
		s := e.helperSpec("bytes", strconv.Itoa(size))
		before := cpu(e.k.Info().PID)
		begin := time.Now()
		p := e.spawn(s)
		wait(t, p)
		took := time.Since(begin)
		t.Logf("splice: %.0f MB/s, keeper's CPU %.2f s of %.2f s", float64(size)/1e6/took.Seconds(), (cpu(e.k.Info().PID) - before).Seconds(), took.Seconds())
		lines := e.helperSpec("lines", strconv.Itoa(count(200_000, 2_000_000)))
		lines.MaxSize = 20_000_000
		begin = time.Now()
		q := e.spawn(lines)
		wait(t, q)
		took = time.Since(begin)
		var total int64
		for _, path := range append(files(lines.Out), files(lines.Err)...) {
			if st, err := os.Stat(path); err == nil {
				total += st.Size()
			}
		}
		t.Logf("lines: %.0f MB/s with rotation", float64(total)/1e6/took.Seconds())
		t.Logf("afterwards: %s", memory(e.k.Info().PID))
		idle := cpu(e.k.Info().PID)
		<-time.After(time.Second)
		t.Logf("idle for a second: CPU %v", cpu(e.k.Info().PID)-idle)
		begin = time.Now()
		e.killKeeper()
		t.Logf("another keeper after %v, %d generations adopted", time.Since(begin), len(e.k.Processes()))
		for _, pr := range []*proc.Process{p, q} {
			if err := pr.Forget(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// memory gives what the kernel says of a process, in MB.
func memory(pid int) string {
	var out []string
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	r, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	for l := range strings.Lines(string(b) + string(r)) {
		name, rest, _ := strings.Cut(l, ":")
		f := strings.Fields(rest)
		if len(f) > 0 && slices.Contains([]string{"VmRSS", "VmHWM", "RssAnon", "Pss", "Threads"}, name) {
			n, _ := strconv.ParseFloat(f[0], 64)
			if len(f) > 1 {
				out = append(out, fmt.Sprintf("%s %.1f MB", name, n/1000))
			} else {
				out = append(out, name+" "+f[0])
			}
		}
	}
	return strings.Join(out, ", ")
}

// cpu is the CPU time of a process so far.
func cpu(pid int) time.Duration {
	s, err := ident.Read(pid)
	if err != nil {
		return 0
	}
	return time.Duration(s.UTime+s.STime) * 10 * time.Millisecond
}
