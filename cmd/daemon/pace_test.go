package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	p, now, runs := &pace{percent: frugal}, time.Now(), uint64(0)
	for i, c := range []struct {
		runs uint64 // in a second
		want int
	}{{0, frugal}, {9, frugal}, {10, brisk}, {5, brisk}, {3, brisk}, {2, frugal}, {5, frugal}, {100, brisk}, {0, frugal}} {
		runs, now = runs+c.runs, now.Add(time.Second)
		if p.percent = p.next(runs, now); p.percent != c.want {
			t.Errorf("look %d, after %d runs in a second: %d %%, want %d", i, c.runs, p.percent, c.want)
		}
	}
}

func TestPaceIsInForce(t *testing.T) {
	was := debug.SetGCPercent(frugal)
	defer debug.SetGCPercent(was)
	p := &pace{percent: frugal, at: time.Now().Add(-time.Millisecond)} // every run so far was in that millisecond
	for range 10 {
		debug.FreeOSMemory()
	}
	if err := p.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := debug.SetGCPercent(frugal); now != brisk {
		t.Errorf("the collector's percentage is %d, want %d", now, brisk)
	}
}

// TestWhatABurstLeftIsGivenBack has the collector find a block in use that is garbage a moment later, as that of a password is: the
// next looks at a daemon that has nothing to do give it back, and one at a daemon that is as before does not collect.
func TestWhatABurstLeftIsGivenBack(t *testing.T) {
	was := debug.SetGCPercent(frugal)
	defer debug.SetGCPercent(was)
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/forced:gc-cycles"}}
	live := func() int64 { metrics.Read(sample); return int64(sample[0].Value.Uint64()) }
	look := func(p *pace) (collected bool) {
		live()
		before := sample[1].Value.Uint64()
		if err := p.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		live()
		return sample[1].Value.Uint64() > before
	}
	const burst = 19 << 20
	debug.FreeOSMemory()
	p, before := &pace{percent: frugal}, live()
	if look(p) || look(p) {
		t.Error("there was nothing to give back")
	}
	block := make([]byte, burst)
	runtime.GC()
	runtime.KeepAlive(block)
	if grown := live() - before; grown < burst-spare {
		t.Fatalf("the collector found %d bytes more", grown)
	}
	for n := 0; !look(p); n++ {
		if n == 100 {
			t.Fatal("it is not given back")
		}
	}
	if grown := live() - before; grown > spare {
		t.Errorf("%d bytes are still in use", grown)
	}
	if look(p) || look(p) {
		t.Error("it was given back twice")
	}
}
