package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/evals/faults/lines"
)

// counts is how many lines of each stream were printed, in all lives together.
type counts struct{ Out, Err int }

// print prints numbered lines all the time, more of them for a while after SIGUSR1. On SIGTERM it finishes the line that
// it is at, writes down how many there were, and ends; the next life goes on from there.
func (r role) print() {
	var c counts
	text, err := os.ReadFile(r.opts["notes"])
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		must(err)
	}
	var ending, burst atomic.Bool
	got := make(chan os.Signal, 4)
	signal.Notify(got, syscall.SIGTERM, syscall.SIGUSR1)
	go func() {
		for s := range got {
			if s == syscall.SIGTERM {
				ending.Store(true)
			} else {
				burst.Store(true)
			}
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	for !ending.Load() {
		n := 2
		if burst.Swap(false) {
			n = 2000
		}
		for i := 0; i < n && !ending.Load(); i++ {
			_, err := os.Stdout.Write(lines.Append(nil, "out", c.Out))
			must(err)
			if c.Out++; c.Out%3 == 0 {
				_, err := os.Stderr.Write(lines.Append(nil, "err", c.Err))
				must(err)
				c.Err++
			}
		}
		<-tick.C
	}
	text, err = json.Marshal(c)
	must(err)
	must(os.WriteFile(r.opts["notes"]+".new", text, 0o644))
	must(os.Rename(r.opts["notes"]+".new", r.opts["notes"]))
	os.Exit(0)
}
