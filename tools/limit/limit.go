// Package limit bounds how much callers can ask for: how many calls at a time, and of whoever is no person, how many a second.
package limit

import (
	"math"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Limits bound what callers can ask for. A zero in a single field means no such limit.
type Limits struct {
	Input    int           // bytes of one input
	Calls    float64       // calls a second of one agent or app; as many may come at once
	Changing float64       // of those, changing ones
	InFlight int           // calls of one principal at a time
	Together int           // calls of all principals at a time
	Reserve  int           // beyond Together, for the methods that have to get through
	Deadline time.Duration // of a call whose method says nothing; streams have none
}

// Default are those of the product: persons are not rationed, agents are.
func Default() Limits {
	return Limits{
		Input: 4 << 20, Calls: 200, Changing: 5, InFlight: 256, Together: 2048, Reserve: 64, Deadline: time.Minute,
	}
}

// rationed reports whether calls of the channel are counted by time.
func rationed(ch op.Channel) bool { return ch != op.Person && ch != op.Peer }

// Limiter counts calls, all and by principal.
type Limiter struct {
	limits Limits
	now    func() time.Time

	mu     sync.Mutex
	all    int
	by     map[string]*usage
	sweeps int
}

// usage is what one principal has in flight and left.
type usage struct {
	inFlight        int
	calls, changing bucket
}

// bucket holds permits that come back with time.
type bucket struct {
	spent float64 // permits out at the time at
	at    time.Time
}

// New begins with nothing in flight.
func New(l Limits, now func() time.Time) *Limiter {
	return &Limiter{limits: l, now: now, by: map[string]*usage{}}
}

// Enter takes a call in, or says why not. A vital one uses the reserve and is not rationed. Faults: limited (in_flight, rate).
func (l *Limiter) Enter(who op.Caller, vital, changing bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := l.limits.Together
	if vital {
		most += l.limits.Reserve
	}
	if l.limits.Together > 0 && l.all >= most {
		return fault.New(fault.Limited, "%d calls are in flight, and no more are taken at a time", l.all).
			WithReason("in_flight").WithRetryAfter(1)
	}
	u := l.usage(who.Principal())
	if !vital {
		if l.limits.InFlight > 0 && u.inFlight >= l.limits.InFlight {
			return fault.New(fault.Limited, "%d calls of this principal are in flight, and no more are taken at a time", u.inFlight).
				WithReason("in_flight").WithRetryAfter(1)
		}
		if rationed(who.Channel) {
			if err := l.spend(u, changing); err != nil {
				return err
			}
		}
	}
	u.inFlight++
	l.all++
	return nil
}

// spend takes the permits of one call, all or none.
func (l *Limiter) spend(u *usage, changing bool) error {
	now := l.now()
	wait, rate, what := u.calls.wait(l.limits.Calls, now), l.limits.Calls, "calls"
	if changing {
		if w := u.changing.wait(l.limits.Changing, now); w > wait {
			wait, rate, what = w, l.limits.Changing, "changing calls"
		}
	}
	if wait > 0 {
		return fault.New(fault.Limited, "more than %g %s a second", rate, what).
			WithReason("rate").WithRetryAfter(math.Ceil(wait*1000) / 1000)
	}
	u.calls.spent++
	if changing {
		u.changing.spent++
	}
	return nil
}

// wait gives in how many seconds there is a permit, 0 for now. A full bucket holds as many as come back in a second.
func (b *bucket) wait(rate float64, now time.Time) float64 {
	if rate <= 0 {
		b.spent = 0
		return 0
	}
	b.spent = max(0, b.spent-rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	return max(0, b.spent+1-max(1, rate)) / rate
}

// Exit gives back the place of a call that was taken in.
func (l *Limiter) Exit(who op.Caller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	l.by[who.Principal()].inFlight--
}

// usage gives what is known of a principal. Now and then those that have been quiet for a while are forgotten.
func (l *Limiter) usage(principal string) *usage {
	if u := l.by[principal]; u != nil {
		return u
	}
	if l.sweeps++; l.sweeps%64 == 0 {
		quiet := l.now().Add(-time.Minute)
		for p, u := range l.by {
			if u.inFlight == 0 && u.calls.at.Before(quiet) {
				delete(l.by, p)
			}
		}
	}
	u := &usage{}
	l.by[principal] = u
	return u
}

// Ration sets how many calls a second, and of those changing ones, whoever is no person may make.
func (l *Limiter) Ration(calls, changing float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits.Calls, l.limits.Changing = calls, changing
}
