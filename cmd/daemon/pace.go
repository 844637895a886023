package daemon

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector lets the heap grow by so many per cent before it runs. A daemon that has little to do keeps little garbage:
// with 100 apps that is 6 MB less. One that has much to do would spend a seventh of its time on collecting.
const (
	frugal = 50
	brisk  = 100

	often = 10 // runs of the collector a second from which on it is brisk
	rare  = 3  // and below which it is frugal again: brisk, it runs half as often
)

// spare is by how much more than before may be in use after a burst, in bytes: a password takes 19 MB, and so does a long answer
// now and then. The collector would count that as in use, let half as much again come on top of it, and not look for two minutes
// in a daemon that has nothing to do.
const spare = 6 << 20

// pace says how far the heap may grow, by how often the collector runs, and gives back what a burst has left.
type pace struct {
	percent int  // in force
	burst   bool // it was brisk, and what the heap was allowed then it still has of the machine's
	runs    uint64
	at      time.Time
	least   uint64 // bytes that the collector has found in use, at the least since something was given back
}

// newPace begins frugal.
func newPace() *pace {
	debug.SetGCPercent(frugal)
	return &pace{percent: frugal}
}

// look takes up how often the collector has run since the last look.
func (p *pace) look(context.Context) error {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	runs, live := sample[0].Value.Uint64(), sample[1].Value.Uint64()
	calm := runs == p.runs
	if percent := p.next(runs, time.Now()); percent != p.percent {
		p.percent, p.burst = percent, p.burst || percent == brisk
		debug.SetGCPercent(percent)
	}
	if over := p.over(live); calm && (over || p.burst) {
		p.burst = false
		debug.FreeOSMemory()
		shed()
		metrics.Read(sample)
		p.runs, p.least = sample[0].Value.Uint64(), sample[1].Value.Uint64() // that was no burst
	}
	return nil
}

// over reports whether the heap is what a burst made of it.
func (p *pace) over(live uint64) bool {
	if p.least == 0 || live < p.least {
		p.least = live
	}
	return live > p.least+spare
}

// next gives the percentage for a daemon whose collector has run so often up to now.
func (p *pace) next(runs uint64, now time.Time) int {
	rate := float64(runs-p.runs) / now.Sub(p.at).Seconds()
	p.runs, p.at = runs, now
	switch {
	case rate >= often:
		return brisk
	case rate < rare:
		return frugal
	}
	return p.percent
}
