package main

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

// pace says how far the heap may grow, by how often the collector runs.
type pace struct {
	percent int // in force
	runs    uint64
	at      time.Time
}

// newPace begins frugal.
func newPace() *pace {
	debug.SetGCPercent(frugal)
	return &pace{percent: frugal}
}

// look takes up how often the collector has run since the last look.
func (p *pace) look(context.Context) error {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	if percent := p.next(sample[0].Value.Uint64(), time.Now()); percent != p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	return nil
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
