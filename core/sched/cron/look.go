package cron

import "time"

const (
	// Grace is how late something may be noticed that is still on time: a daemon that was away for a moment has missed nothing.
	Grace = time.Minute
	// ahead is how far the clock may have been put back before what was dealt with in the future is forgotten.
	ahead = 25 * time.Hour
	// most is how many missed times are counted.
	most = 1000
)

// Verdict is what a look at the clock gives.
type Verdict struct {
	Due    bool      // it is to run now, once, however many times have passed
	Missed int       // times that passed while nobody looked and that will not be made up for; at most 1000 are counted
	Until  time.Time // everything up to here is dealt with: the next look begins here
	Next   time.Time // when it is due next
}

// Look says what is due at now, when everything up to until has been dealt with. away: nobody looked in between, because the daemon
// was not there; then what is missed is made up for with catchUp only.
func (t Times) Look(until, now time.Time, away, catchUp bool) Verdict {
	if until.IsZero() || until.Sub(now) > ahead {
		until = now
	}
	v := Verdict{Until: until, Next: t.Next(until)}
	if v.Next.IsZero() || v.Next.After(now) {
		return v
	}
	v.Until = now
	passed := 0
	for last := v.Next; !v.Next.IsZero() && !v.Next.After(now); v.Next = t.Next(v.Next) {
		if last = v.Next; passed < most {
			passed++
		}
		v.Due = !away || catchUp || now.Sub(last) <= Grace
		if passed == most { // whoever counts so far does not need the rest
			v.Next = now
		}
	}
	if v.Next = t.Next(now); away {
		v.Missed = passed
		if v.Due {
			v.Missed--
		}
	}
	return v
}
