package runner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// A reload goes from one instance to the next. Where two generations can run side by side the new one is ready before the old
// one is asked to end, and the next instance has its turn when nothing of the old one is left; the new one is a slot of its own
// until then, beside those that readers see. If it fails, the old one stays and so do those that would have come after it.
// Where a fixed port is in the way the old one ends first. Or the program does all of it by itself, at a signal or a command.

// roll is one reload of an app.
type roll struct {
	queue   []*unit
	now     *unit // whose turn it is
	heir    *unit // its new generation, until that is ready
	drain   *unit // its old one, until nothing of it is left
	last    uint64
	asked   time.Time // when the program was told
	limit   time.Duration
	told    bool // the program does it by itself
	done    bool // its command has succeeded
	over    bool
	why     string // it has failed
	code    string
	culprit *unit
}

// answerTime is how long a program that was sent a signal may take to say that it is reloading.
const answerTime = time.Second

// reload puts a slot that runs in the queue. A reload that is under way goes on to it.
func (r *Runner) reload(w *Waiter, u *unit) {
	if r.roll == nil {
		r.roll = &roll{}
	}
	w.roll = r.roll
	u.forgive()
	r.roll.queue = append(r.roll.queue, u)
}

// advance goes on with a reload as far as that is possible now.
func (r *Runner) advance() {
	for r.roll != nil && r.proceed(r.roll) {
	}
}

// proceed takes one step of a reload, if one can be taken.
func (r *Runner) proceed(ro *roll) bool {
	switch {
	case ro.heir != nil:
		return r.await(ro)
	case ro.drain != nil:
		if ro.drain.phase == stuck {
			r.fail(ro.drain, "its old generation does not die: "+ro.drain.reason, "stuck")
			return false
		}
		if ro.drain.phase != idle {
			return false
		}
		ro.now.exit, ro.drain, ro.now = ro.drain.exit, nil, nil
	case ro.now != nil && ro.told:
		return r.heed(ro)
	case ro.now != nil:
		u := ro.now
		switch {
		case u.phase == running && u.last != ro.last:
			ro.now = nil
		case u.phase == idle || u.phase == backoff || u.phase == stuck || u.last > ro.last+1:
			r.fail(u, u.reason, "")
			return false
		default:
			if why, _ := r.blocked(u); u.phase == waiting && why != "" {
				r.fail(u, why, "")
			}
			return false
		}
	case len(ro.queue) == 0:
		ro.over, r.roll = true, nil
		return false
	default:
		ro.now, ro.queue = ro.queue[0], ro.queue[1:]
		r.begin(ro, ro.now)
	}
	return true
}

// begin begins with the reload of one instance.
func (r *Runner) begin(ro *roll, u *unit) {
	ro.last, ro.told, ro.done = u.last, false, false
	if u.phase != running || u.gen == nil { // it has failed meanwhile: its next start is as good
		ro.now = nil
		return
	}
	how := u.def.Reload
	switch {
	case how != nil && !u.former:
		ro.told, ro.asked, ro.limit = true, r.c.Now(), how.Timeout
		r.instruct(ro, u, how)
	case u.def.Overlaps() && u.gen.def.Overlaps():
		h := &unit{slot: slot{phase: idle, outcome: view.Stopped}, process: u.process, number: u.number, def: u.def, since: r.c.Now(), last: max(u.last, u.top), heir: true}
		u.top = h.last + 1
		ro.heir = h
		r.extra = append(r.extra, h)
		r.send(h, evStart, ended{})
	default:
		r.command(u, Restart)
	}
	r.moved()
}

// await goes on when a new generation is ready, or has failed.
func (r *Runner) await(ro *roll) bool {
	h := ro.heir
	switch {
	case h.phase == running:
		ro.heir = nil
		if !slices.Contains(r.units, ro.now) { // scaled away meanwhile
			r.send(h, evStop, ended{})
			ro.now = nil
			return true
		}
		ro.drain, ro.now = ro.now, h
		r.replace(ro.drain, h)
		return true
	case h.phase == waiting:
		if why, _ := r.blocked(h); why != "" {
			r.fail(h, why, "")
		}
	case h.phase == idle || h.phase == stuck:
		why := h.reason
		if h.exit != nil {
			why = h.exit.Message
		}
		r.fail(h, why, "")
	}
	return false
}

// replace puts a new generation into the place of an old one, and asks that to end.
func (r *Runner) replace(old, h *unit) {
	r.units[slices.Index(r.units, old)] = h
	r.extra[slices.Index(r.extra, h)] = old
	h.heir, h.told, h.toldGen, h.seq, h.up, h.exit = false, old.told, old.toldGen, old.seq, old.up, old.exit
	old.heir = true
	for _, w := range r.waiters {
		if i := slices.Index(w.units, old); i >= 0 {
			w.units[i] = h
		}
	}
	r.moved()
	r.send(old, evStop, ended{})
}

// unreloaded names the slots that a reload has not come to, or not to the end of.
func (r *Runner) unreloaded() (left []string) {
	if r.roll == nil {
		return nil
	}
	for _, u := range r.roll.queue {
		left = append(left, u.instance())
	}
	if r.roll.now != nil && r.roll.drain == nil && r.roll.now.last == r.roll.last {
		left = append(left, r.roll.now.instance())
	}
	return left
}

// fail ends a reload that cannot go on: what is not ready is ended, what runs stays.
func (r *Runner) fail(culprit *unit, why, code string) {
	ro := r.roll
	if ro.heir != nil {
		r.send(ro.heir, evStop, ended{})
	}
	if why == "" {
		why = "it did not come up"
	}
	if culprit != nil {
		why = fmt.Sprintf("%s: %s", culprit.name(r.app.Name), why)
		if culprit == ro.heir {
			why += "; the old one stays"
		}
	}
	ro.over, ro.why, ro.code, ro.culprit, r.roll = true, why, code, culprit, nil
	r.moved()
	r.c.Bus.Publish(bus.Event{At: r.c.Now(), Topic: "apps", Type: "reload_failed", Key: r.Key, Text: "not reloaded: " + why})
}

// giveUp ends the reload that a slot is a part of.
func (r *Runner) giveUp(u *unit) {
	if ro := r.roll; ro != nil && (ro.now == u || slices.Contains(ro.queue, u)) {
		r.fail(nil, "a later command was there first", "superseded")
	}
}

// abort ends reloads of slots that a command means, and has one that stops them see to their second generations too.
func (r *Runner) abort(w *Waiter) {
	for _, u := range w.units {
		r.giveUp(u)
	}
	for _, e := range r.extra {
		if w.Kind != Stop || !target.Means(w.Target, e.process, e.number) {
			continue
		}
		e.up = false
		w.units, w.from = append(w.units, e), append(w.from, 0)
	}
}

// instruct has a program reload itself.
func (r *Runner) instruct(ro *roll, u *unit, how *config.Reload) {
	g := u.gen
	later := func(d time.Duration) {
		r.c.Go(func() {
			if pause(r.c.ctx, d) == nil {
				r.mail.Post(r.noop)
			}
		})
	}
	if how.Signal != "" {
		if err := g.proc.Signal(launch.Signal(how.Signal)); err != nil {
			r.fail(u, err.Error(), "")
			return
		}
		if ro.done = true; g.def.Ready.Kind == "notify" {
			later(answerTime)
			later(how.Timeout)
		}
		return
	}
	r.c.Go(func() {
		err := r.c.tellToReload(g, u.process, u.number, how)
		r.mail.Post(func() {
			switch {
			case r.roll != ro || ro.now != u:
			case err != nil:
				r.fail(u, err.Error(), "")
			default:
				ro.done = true
			}
		})
	})
}

// tellToReload runs the command of a reload beside an instance.
func (c *Common) tellToReload(g *generation, process string, n int, how *config.Reload) error {
	ctx, cancel := context.WithTimeout(c.ctx, how.Timeout)
	defer cancel()
	who, err := account.Of(g.def)
	if err != nil {
		return err
	}
	program := g.program(process, n)
	if program.Secrets == nil { // adopted
		if program.Secrets, err = launch.Values(c.Secret, g.app.Key, g.def); err != nil {
			return err
		}
	}
	code, said, err := errand.Errands{Keeper: c.Keeper, Dir: c.RunDir, Log: c.Log}.Run(ctx, program, who, how.Command)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("its reload command did not end within %s", how.Timeout)
	case err != nil:
		return fmt.Errorf("its reload command: %w", err)
	case code != 0:
		return fmt.Errorf("its reload command exited %d: %s", code, c.Hide(strings.TrimSpace(string(said))))
	}
	return nil
}

// heed goes on when a program has reloaded itself, as far as it lets us know.
func (r *Runner) heed(ro *roll) bool {
	u := ro.now
	switch {
	case u.phase != running || u.gen == nil || u.last != ro.last:
		r.fail(u, "it ended when it should reload itself", "")
		return false
	case !ro.done:
		return false
	case u.gen.def.Ready.Kind != "notify" || u.gen.reloaded.After(ro.asked):
	case u.gen.reloading:
		if r.c.Now().Sub(ro.asked) >= ro.limit {
			r.fail(u, fmt.Sprintf("it says that it is reloading, and was not ready again within %s", ro.limit), "")
		}
		return false
	case r.c.Now().Sub(ro.asked) < min(answerTime, ro.limit): // it may say so yet
		return false
	}
	ro.now = nil
	return true
}

// both takes in the two generations of a slot that was being reloaded when the daemon before died. The older one stays unless
// the newer one is known to have been ready; the newer one is waited for as before.
func (r *Runner) both(u *unit, p *proc.Process, app *config.App, def *config.Process, number uint64, rev int64) {
	g := &generation{number: number, rev: rev, app: app, def: def, live: def, at: p.Started(), proc: p, ports: naming.Ports(p.ID()), adopted: true, lived: !over(p)}
	r.c.Ports.Keep(g.ports)
	e := &unit{slot: slot{phase: running}, process: u.process, number: u.number, def: u.def, last: number, heir: true, gen: g, since: p.Started()}
	if number < u.gen.number { // u is the newer one
		u.gen, e.gen, u.last, e.last = e.gen, u.gen, number, u.gen.number
	}
	older, newer := u.gen, e.gen
	older.readyAt, older.steady, newer.readyAt, newer.steady = older.at, true, time.Time{}, false
	u.phase, u.since, u.top = running, older.at, newer.number
	e.phase, e.since = starting, newer.at
	if u.ready == newer.number || older.proc.Ending() != "" {
		u.gen, e.gen, u.last, e.last = newer, older, newer.number, older.number
		newer.readyAt, newer.steady, u.since = newer.at, true, newer.at
		e.phase = running
	}
	u.former = u.gen.app != r.app && !u.parting && config.Renews(u.gen.app, r.app, u.process)
	if u.gen.live = u.gen.def; !u.former && !u.parting {
		u.gen.live = u.def
	}
	r.extra = append(r.extra, e)
}

// carryOnExtra goes on with a second generation where the daemon before left off.
func (r *Runner) carryOnExtra(e *unit, start bool) {
	u := r.unit(e.process, e.number)
	switch {
	case e.phase == running, u == nil || u.parting || r.removed || !r.wanted(u) || !start, e.gen.proc.Ending() != "", r.roll != nil && r.roll.heir != nil:
		r.send(e, evStop, ended{})
	case over(e.gen.proc):
		r.exited(e, e.gen)
	default:
		if r.roll == nil {
			r.roll = &roll{}
		}
		r.roll.now, r.roll.heir, r.roll.last = u, e, u.last
		e.gen.watchReady(r, e)
	}
}
