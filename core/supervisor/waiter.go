package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/plan"
	"github.com/omnitron-dev/omnitron/core/supervisor/restart"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

var errTimeout = errors.New("the time that the caller gave is up")

// waiter is a command on one target, until it is answered. Once it was handed to a runner it is the runner's; the caller
// reads result after done.
type waiter struct {
	kind      kind
	target    op.Target
	seq       int64
	began     time.Time
	patient   bool        // wait for the end, not only for the beginning
	abandoned atomic.Bool // nobody waits any more
	done      chan struct{}
	result    view.Result

	changed bool
	units   []*unit
	from    []uint64 // of each unit that it restarts: the generation that must be another one at the end; else 0
	leaving []*unit  // what was too much has to be gone at its end, too

	down chan struct{} // closed when nothing is left of what it ends, where others' turn comes then; nil: nobody's does
	fell bool          // that has been told
}

// finish answers the waiter, once.
func (w *waiter) finish(res view.Result) {
	w.result = res
	close(w.done)
}

func (w *waiter) answered() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// obey carries a command out on the app's slots. The order of commands is that of their records: one that comes after a
// younger one which wants something else of a slot is overtaken there, whenever it arrives.
func (r *runner) obey(w *waiter) {
	if w.kind == kindNote {
		r.waiters = append(r.waiters, w)
		return
	}
	if w.kind.Up() {
		r.obeyed++
	}
	if w.kind == kindRenew {
		r.renewals.Add(-1)
	}
	late := 0
	for _, u := range r.units {
		switch {
		case !target.Means(w.target, u.process, u.number):
		case u.parting && w.kind != kindStop:
			w.leaving = append(w.leaving, u)
		case (w.kind == kindRenew || w.kind == kindScale) && !r.wanted(u):
		case w.seq != 0 && w.seq < u.seq && u.up != w.kind.Up():
			late++
		default:
			w.units = append(w.units, u)
			w.from = append(w.from, 0)
		}
	}
	switch {
	case len(w.units) > 0 || w.kind == kindScale || w.kind == kindRenew:
	case late > 0:
		r.reply(w, superseded(r.key, r.snapshot.Load()))
		return
	case w.kind != kindStop:
		r.reply(w, unknownNow(w.kind, r.key))
		return
	}
	r.waiters = append(r.waiters, w)
	for i, u := range w.units {
		if w.seq != 0 && w.seq < u.seq && !(w.kind == kindRenew && u.former) {
			continue // the younger one wants the same: its end is ours; but a start leaves a former definition running
		}
		u.seq, u.up = max(u.seq, w.seq), w.kind.Up()
		phase, again, last := u.phase, u.again, u.last
		if r.command(u, w.kind); u.phase != phase || u.again != again {
			w.changed = true
			if w.kind == kindRestart || w.kind == kindRenew {
				w.from[i] = last
			}
		}
	}
	w.changed = w.changed || len(w.leaving) > 0 && (w.kind == kindScale || w.kind == kindRenew)
	if w.changed {
		r.moved()
	}
	r.overtake(w)
}

// command is what a command means for one slot.
func (r *runner) command(u *unit, k kind) {
	switch k {
	case kindStop:
		if r.halting {
			u.forgive()
			if u.phase == idle && r.app.Oneshot { // what ran once has run, for the next daemon too
				return
			}
		}
		r.send(u, evStop, ended{})
	case kindStart, kindScale:
		if u.phase != starting && u.phase != running && u.phase != waiting {
			u.forgive()
			r.send(u, evStart, ended{})
		}
	case kindRenew:
		switch plan.Renewal(u.state(), u.former, !r.wants(u)) {
		case plan.Start:
			r.command(u, kindStart)
		case plan.Anew:
			r.command(u, kindRestart)
		}
	case kindRestart:
		u.forgive()
		if u.again && (u.phase == ending || u.phase == killing || u.phase == stuck) { // one that is on its way already serves this command too
			return
		}
		r.send(u, evStop, ended{})
		r.send(u, evStart, ended{})
	}
}

// forgive forgets what happened before a command that somebody gave.
func (u *unit) forgive() {
	u.hist = restart.History{}
	u.starts = 0
}

// overtake takes the slots of w away from the older commands that wanted something else of them. One that has none left
// is answered.
func (r *runner) overtake(w *waiter) {
	for _, o := range slices.Clone(r.waiters) {
		if o == w || o.kind.Up() == w.kind.Up() || o.seq > w.seq && w.seq != 0 || len(o.units) == 0 {
			continue
		}
		for i := len(o.units) - 1; i >= 0; i-- {
			if u := o.units[i]; slices.Contains(w.units, u) && u.up == w.kind.Up() {
				o.units, o.from = slices.Delete(o.units, i, i+1), slices.Delete(o.from, i, i+1)
			}
		}
		if len(o.units) == 0 {
			res := superseded(r.key, r.snapshot.Load())
			if r.halting {
				res.Reason, res.Code = "the daemon is ending", "shutting_down"
			}
			r.reply(o, res)
		}
	}
}

// answer replies to every command that has reached its end.
func (r *runner) answer() {
	quotes := map[*unit][]string{} // read once, however many wait
	for _, w := range slices.Clone(r.waiters) {
		if w.down != nil && !w.fall() {
			continue
		}
		if w.abandoned.Load() && w.kind.Up() { // of a stop, the next level still waits
			r.reply(w, view.Result{})
			continue
		}
		res, culprit, ok := r.outcome(w)
		if !ok {
			continue
		}
		if culprit != nil {
			if _, read := quotes[culprit]; !read {
				quotes[culprit] = r.s.tail(r.key, culprit)
			}
			res.Lines = quotes[culprit]
		}
		r.reply(w, res)
	}
}

// fall reports whether nothing is left of what w ends, and tells whoever waits for that.
func (w *waiter) fall() bool {
	going := func(u *unit) bool { return u.phase == ending || u.phase == killing || u.phase == spawning && u.doomed }
	if !w.fell && !slices.ContainsFunc(w.units, going) {
		w.fell = true
		close(w.down)
	}
	return w.fell
}

func (r *runner) reply(w *waiter, res view.Result) {
	r.waiters = slices.DeleteFunc(r.waiters, func(o *waiter) bool { return o == w })
	res.Key = r.key
	if t := w.target; t.Process != "" && (t.Instance > 0 || len(r.app.Processes) > 1) { // it is true of that part only
		res.Key = t.String()
	}
	res.Changed = w.changed
	res.TookMS = r.s.Now().Sub(w.began).Milliseconds()
	for _, u := range w.units {
		if u.gen != nil && !u.gen.over {
			res.PIDs = append(res.PIDs, u.gen.proc.Identity().PID)
		}
	}
	w.finish(res)
}

// outcome is the result of a command, once there is one, and the slot whose last lines tell why it failed.
func (r *runner) outcome(w *waiter) (res view.Result, culprit *unit, ended bool) {
	res.OK = true
	states := make([]view.State, len(w.units))
	for i, u := range w.units {
		states[i] = u.state()
	}
	res.State = view.Derive(states)
	if !w.patient {
		return res, nil, true
	}
	if w.kind == kindStop && r.removed { // leave answers
		return res, nil, slices.Contains(states, view.Stuck) && r.stopped(w, &res)
	}
	if w.kind == kindStop {
		return res, nil, r.stopped(w, &res)
	}
	if r.renewals.Load() > 0 { // what runs now is not what was asked for
		return res, nil, false
	}
	for _, u := range w.leaving {
		if u.phase != idle && u.phase != stuck {
			return res, nil, false
		}
	}
	for i, u := range w.units {
		s := states[i]
		restarted := w.from[i] == 0 || u.last != w.from[i]
		why, code := u.reason, ""
		switch {
		case s == view.Completed && restarted, s == view.Running && restarted && (u.gen == nil || u.gen.steady):
			continue
		case s == view.Waiting:
			if why, code = r.blocked(u); why == "" {
				return res, nil, false
			}
		case u.phase != idle && u.phase != stuck:
			return res, nil, false
		}
		if !res.OK { // the first one tells
			continue
		}
		if res.OK, res.State, res.Code = false, s, code; why == "" {
			why = string(s)
		}
		if s != view.Waiting {
			culprit = u
		}
		if len(w.units) > 1 {
			why = fmt.Sprintf("%s: %s", u.name(r.app.Name), why)
		}
		res.Reason = why
	}
	return res, culprit, true
}

// stopped reports whether a stop has come to its end, be it that something does not die.
func (r *runner) stopped(w *waiter, res *view.Result) bool {
	for _, u := range w.units {
		switch u.phase {
		case idle:
		case stuck:
			res.OK, res.State, res.Reason, res.Code = false, view.Stuck, u.reason, "stuck"
		default:
			return false
		}
	}
	return true
}
