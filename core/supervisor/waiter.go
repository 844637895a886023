package supervisor

import (
	"errors"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
)

var errTimeout = errors.New("the time that the caller gave is up")

// waiter is a command that has not been answered yet.
type waiter struct {
	kind    kind
	target  op.Target
	seq     int64
	began   time.Time
	result  chan Result // holds one
	changed bool
	units   []*unit
	from    []uint64 // generation of each unit when the command came
	patient bool     // wait for the end, not only for the beginning
}

// obey carries a command out on the app's slots. The order of commands is that of their records: one that comes after a
// younger one which wants something else is overtaken, whenever it arrives.
func (r *runner) obey(w *waiter) {
	r.obeyed++
	for _, u := range r.units {
		if (w.target.Process == "" || u.process == w.target.Process) && (w.target.Instance == 0 || u.number == w.target.Instance) && !u.parting {
			w.units = append(w.units, u)
			w.from = append(w.from, u.last)
		}
	}
	r.waiters = append(r.waiters, w)
	for _, u := range w.units {
		if w.seq != 0 && w.seq < u.seq {
			if u.up != w.kind.up() {
				r.reply(w, superseded(r.key, r.snapshot.Load()))
				return
			}
			continue // the younger one wants the same: its end is ours
		}
		u.seq, u.up = w.seq, w.kind.up()
		was := u.phase
		switch w.kind {
		case kindStart:
			if was == idle || was == backoff || was == ending || was == killing || was == stuck || was == spawning {
				r.forgive(u)
				r.send(u, evStart, ended{})
			}
		case kindStop:
			r.send(u, evStop, ended{})
		case kindRestart:
			r.forgive(u)
			if !u.again || was == starting || was == running || was == spawning { // one that is on its way already serves this command too
				r.send(u, evStop, ended{})
				r.send(u, evStart, ended{})
			}
		}
		w.changed = w.changed || u.phase != was
	}
	if w.changed {
		r.epoch++
	}
	r.overtake(w)
}

// forgive forgets what happened before a command that somebody gave.
func (r *runner) forgive(u *unit) {
	u.hist = history{}
	u.starts = 0
}

// overtake answers the older commands that wanted something else of the same slots.
func (r *runner) overtake(w *waiter) {
	for _, o := range append([]*waiter(nil), r.waiters...) {
		if o == w || o.kind.up() == w.kind.up() || o.seq > w.seq {
			continue
		}
		for _, u := range o.units {
			if u.seq == w.seq && u.up == w.kind.up() {
				r.reply(o, superseded(r.key, r.snapshot.Load()))
				break
			}
		}
	}
}

// answer replies to every command that has reached its end.
func (r *runner) answer() {
	for _, w := range append([]*waiter(nil), r.waiters...) {
		if res, ok := r.outcome(w); ok {
			r.reply(w, res)
		}
	}
}

func (r *runner) reply(w *waiter, res Result) {
	for i, o := range r.waiters {
		if o == w {
			r.waiters = append(r.waiters[:i], r.waiters[i+1:]...)
			break
		}
	}
	res.Key = r.key
	res.Changed = w.changed
	res.TookMS = r.s.Now().Sub(w.began).Milliseconds()
	for _, u := range w.units {
		if u.gen != nil && u.gen.proc != nil {
			res.PIDs = append(res.PIDs, u.gen.proc.Identity().PID)
		}
	}
	select {
	case w.result <- res:
	default:
	}
}

// outcome is the result of a command, once there is one.
func (r *runner) outcome(w *waiter) (Result, bool) {
	res := Result{OK: true}
	states := make([]State, len(w.units))
	for i, u := range w.units {
		states[i] = u.state()
	}
	res.State = derive(states)
	if !w.patient {
		return res, true
	}
	for i, u := range w.units {
		s := states[i]
		switch {
		case w.kind == kindStop:
			if u.phase == idle {
				continue
			}
			if u.phase != stuck {
				return res, false
			}
			res.OK, res.State, res.Reason, res.code = false, Stuck, u.reason, "stuck"
		case s.up() && !(w.kind == kindRestart && w.changed && u.last == w.from[i]):
		case s == Waiting:
			culprit := r.blocked(u)
			if culprit == "" {
				return res, false
			}
			res.OK, res.Reason, res.code = false, culprit, "dependency_failed"
		case s.settled() && u.phase == idle || u.phase == stuck:
			res.OK, res.State = false, s
			if res.Reason = u.reason; res.Reason == "" {
				res.Reason = string(s)
			}
			if len(w.units) > 1 {
				res.Reason = fmt.Sprintf("%s: %s", u.name(r.app.Name), res.Reason)
			}
			res.Lines = r.s.tail(r.key, u)
		default:
			return res, false
		}
	}
	return res, true
}

// blocked names the dependency that will not become ready by itself, or "".
func (r *runner) blocked(u *unit) string {
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if s := o.state(); o.process == d.Name && !satisfied(d.Until, s, o.gen != nil) && o.phase == idle && (s == Crashed || s == Failed) {
				return fmt.Sprintf("%s, which it depends on, is %s: %s", o.name(r.app.Name), s, o.reason)
			}
		}
	}
	return r.s.culprit(r.app, 0)
}

// pending reports whether a command is on its way to an app, so that its state is about to change.
func (s *Supervisor) pending(key string) bool {
	r := s.runner(key)
	return r != nil && r.pending.Load() > 0
}

// culprit names the app at the end of the chain of dependencies that keeps app from starting for good, or "".
func (s *Supervisor) culprit(app *config.App, depth int) string {
	for _, d := range app.DependsOn {
		v := s.view(siblingKey(app.Key, d.Name))
		switch {
		case v == nil || depth > 1000 || satisfied(d.Until, v.State, v.alive()) || s.pending(v.Key):
		case v.State == Waiting:
			if deeper := s.culprit(v.def, depth+1); deeper != "" {
				return deeper
			}
		case v.State == Crashed || v.State == Failed || v.State == Stuck || v.State == Stopped || v.State == Completed:
			why := v.Reason
			if why == "" {
				why = "and it has to be " + untilWord(d.Until)
			}
			return fmt.Sprintf("%s, which it depends on, is %s: %s", v.Key, v.State, why)
		}
	}
	return ""
}
