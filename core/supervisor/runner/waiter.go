package runner

import (
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

// Kind is what a command wants.
type Kind int

// The kinds.
const (
	Start Kind = iota
	Stop
	Restart
	Renew  // what another definition asks for: a restart of other programs, a start of what is missing, the end of what is too much
	Reload // whatever its definition says of that; what does not run is started
	Scale  // a start of what is wanted to run, and the end of what is too much
	Note   // nothing is done: answered when readers see what came before
	Arm    // what has a schedule is to run at its times, and not now
)

var words = [...]string{"start", "stop", "restart", "restart", "reload", "scale", "apply", "start"}

// String is the word that people use for it.
func (k Kind) String() string { return words[k] }

// Up reports whether something is to run at its end.
func (k Kind) Up() bool { return k != Stop && k != Note }

// Waiter is a command on one target, until it is answered. Once it was handed to a runner it is the runner's; the caller
// reads Result after Done.
type Waiter struct {
	Kind      Kind
	Target    op.Target
	Seq       int64 // number of the call's record; 0: none
	Began     time.Time
	Patient   bool          // wait for the end, not only for the beginning
	Abandoned atomic.Bool   // nobody waits any more
	Done      chan struct{} // closed when it is answered
	Result    view.Result
	Down      chan struct{} // closed when nothing is left of what it ends, where others' turn comes then; nil: nobody's does

	changed bool
	units   []*unit
	from    []uint64 // of each unit that it restarts: the generation that must be another one at the end; else 0
	roll    *roll    // of a reload: how it goes
	leaving []*unit  // what was too much has to be gone at its end, too
	fell    bool     // that Down is closed
}

// Finish answers the waiter, once.
func (w *Waiter) Finish(res view.Result) {
	w.Result = res
	close(w.Done)
}

// Answered reports whether it was answered.
func (w *Waiter) Answered() bool {
	select {
	case <-w.Done:
		return true
	default:
		return false
	}
}

// obey carries a command out on the app's slots. The order of commands is that of their records: one that comes after a
// younger one which wants something else of a slot is overtaken there, whenever it arrives.
func (r *Runner) obey(w *Waiter) {
	if w.Kind == Note {
		r.waiters = append(r.waiters, w)
		return
	}
	if w.Kind.Up() {
		r.obeyed++
	}
	if w.Kind == Renew {
		r.renewals.Add(-1)
	}
	if r.app.Schedule != nil {
		r.slumber()
	}
	late := 0
	for _, u := range r.units {
		switch {
		case !target.Means(w.Target, u.process, u.number):
		case u.parting && w.Kind != Stop:
			w.leaving = append(w.leaving, u)
		case (w.Kind == Renew || w.Kind == Scale) && !r.wanted(u):
		case w.Seq != 0 && w.Seq < u.seq && u.up != w.Kind.Up():
			late++
		default:
			w.units = append(w.units, u)
			w.from = append(w.from, 0)
		}
	}
	switch {
	case len(w.units) > 0 || w.Kind == Scale || w.Kind == Renew:
	case late > 0:
		r.reply(w, Superseded(r.Key, r.snapshot.Load()))
		return
	case w.Kind != Stop:
		r.reply(w, Unknown(w.Kind, r.Key))
		return
	}
	r.waiters = append(r.waiters, w)
	if w.Kind != Reload {
		r.abort(w)
	}
	for i, u := range w.units {
		if w.Seq != 0 && w.Seq < u.seq && !(w.Kind == Renew && u.former) {
			continue // the younger one wants the same: its end is ours; but a start leaves a former definition running
		}
		u.seq, u.up = max(u.seq, w.Seq), w.Kind.Up()
		if w.Kind == Reload && u.phase == running && !r.app.Oneshot {
			w.changed = true
			r.reload(w, u)
			continue
		}
		phase, again, last := u.phase, u.again, u.last
		if r.command(u, w.Kind); u.phase != phase || u.again != again {
			w.changed = true
			if w.Kind == Restart || w.Kind == Renew {
				w.from[i] = last
			}
		}
	}
	if w.Kind == Scale || w.Kind == Renew {
		w.changed = w.changed || r.shed || len(w.leaving) > 0
		r.shed = false
	}
	if w.changed {
		r.moved()
	}
	r.overtake(w)
}

// command is what a command means for one slot.
func (r *Runner) command(u *unit, k Kind) {
	switch k {
	case Stop:
		if r.halting {
			u.forgive()
			if u.phase == idle && r.app.Oneshot { // what ran once has run, for the next daemon too
				return
			}
		}
		r.send(u, evStop, ended{})
	case Reload:
		if r.app.Oneshot {
			r.command(u, Restart)
			return
		}
		r.command(u, Start)
	case Arm: // its times are looked at elsewhere
	case Start, Scale:
		if k == Scale && u.sleeps {
			return
		}
		if u.phase != starting && u.phase != running && u.phase != waiting {
			u.forgive()
			r.send(u, evStart, ended{})
		}
	case Renew:
		switch plan.Renewal(u.state(), u.former, !r.wants(u)) {
		case plan.Start:
			r.command(u, Start)
		case plan.Anew:
			r.command(u, Restart)
		}
	case Restart:
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
func (r *Runner) overtake(w *Waiter) {
	for _, o := range slices.Clone(r.waiters) {
		if o == w || o.Kind.Up() == w.Kind.Up() || o.Seq > w.Seq && w.Seq != 0 || len(o.units) == 0 {
			continue
		}
		for i := len(o.units) - 1; i >= 0; i-- {
			if u := o.units[i]; slices.Contains(w.units, u) && u.up == w.Kind.Up() {
				o.units, o.from = slices.Delete(o.units, i, i+1), slices.Delete(o.from, i, i+1)
			}
		}
		if len(o.units) == 0 {
			res := Superseded(r.Key, r.snapshot.Load())
			if r.halting {
				res.Reason, res.Code = "the daemon is ending", "shutting_down"
			}
			r.reply(o, res)
		}
	}
}

// answer replies to every command that has reached its end.
func (r *Runner) answer() {
	quotes := map[*unit][]string{} // read once, however many wait
	for _, w := range slices.Clone(r.waiters) {
		if w.Down != nil && !w.fall() {
			continue
		}
		if w.Abandoned.Load() && w.Kind.Up() { // of a stop, the next level still waits
			r.reply(w, view.Result{})
			continue
		}
		res, culprit, ok := r.outcome(w)
		if !ok {
			continue
		}
		if culprit != nil {
			if _, read := quotes[culprit]; !read {
				quotes[culprit] = r.c.tail(r.Key, culprit)
			}
			res.Lines = quotes[culprit]
		}
		r.reply(w, res)
	}
}

// fall reports whether nothing is left of what w ends, and tells whoever waits for that.
func (w *Waiter) fall() bool {
	going := func(u *unit) bool { return u.phase == ending || u.phase == killing || u.phase == spawning && u.doomed }
	if !w.fell && !slices.ContainsFunc(w.units, going) {
		w.fell = true
		close(w.Down)
	}
	return w.fell
}

func (r *Runner) reply(w *Waiter, res view.Result) {
	r.waiters = slices.DeleteFunc(r.waiters, func(o *Waiter) bool { return o == w })
	res.Key = r.Key
	if t := w.Target; t.Process != "" && (t.Instance > 0 || len(r.app.Processes) > 1) { // it is true of that part only
		res.Key = t.String()
	}
	res.Changed = w.changed
	res.TookMS = r.c.Now().Sub(w.Began).Milliseconds()
	for _, u := range w.units {
		if u.gen != nil && !u.gen.over {
			res.PIDs = append(res.PIDs, u.gen.proc.Identity().PID)
		}
	}
	w.Finish(res)
}

// outcome is the result of a command, once there is one, and the slot whose last lines tell why it failed.
func (r *Runner) outcome(w *Waiter) (res view.Result, culprit *unit, ended bool) {
	res.OK = true
	states := make([]view.State, len(w.units))
	for i, u := range w.units {
		states[i] = u.slot.state() // of a run: that it waits for the next one is another matter
		if u.sleeps && w.Kind != Start && w.Kind != Restart {
			states[i] = u.state()
		}
	}
	res.State = view.Derive(states)
	if !w.Patient || w.Kind == Arm {
		return res, nil, true
	}
	if w.Kind == Stop && r.removed { // leave answers
		return res, nil, slices.Contains(states, view.Stuck) && r.stopped(w, &res)
	}
	if w.Kind == Stop {
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
	if w.roll != nil {
		if !w.roll.over {
			return res, nil, false
		}
		if w.roll.why != "" {
			res.OK, res.Reason, res.Code = false, w.roll.why, w.roll.code
			return res, w.roll.culprit, true
		}
	}
	for i, u := range w.units {
		s := states[i]
		restarted := w.from[i] == 0 || u.last != w.from[i]
		why, code := u.reason, ""
		switch {
		case u.sleeps && s == view.Waiting:
			continue
		case s == view.Completed && restarted, s == view.Running && restarted && (u.gen == nil || u.gen.steady && !u.gen.greeting):
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
func (r *Runner) stopped(w *Waiter, res *view.Result) bool {
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

// Unknown is the result of a command on an app that was removed meanwhile: for a stop that is as good.
func Unknown(k Kind, key string) view.Result {
	if !k.Up() {
		return view.Result{Key: key, State: view.Stopped, OK: true}
	}
	return view.Result{Key: key, State: view.Stopped, Reason: "it is not known any more", Code: "not_found"}
}

// Superseded is the result of a command that was overtaken by a later one; v is how the app stands.
func Superseded(key string, v *view.App) view.Result {
	r := view.Result{Key: key, State: view.Stopped, Reason: "a later command was there first", Code: "superseded"}
	if v != nil {
		r.State = v.State
	}
	return r
}
