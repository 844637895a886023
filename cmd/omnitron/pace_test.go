package main

import (
	"runtime/debug"
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
