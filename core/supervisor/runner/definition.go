package runner

import (
	"reflect"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// adopt makes the slots follow a definition. What runs takes its live keys up, unless it is another program.
func (r *Runner) adopt(app *config.App, rev int64) {
	r.app, r.rev = app, rev
	r.c.Lines.Keep(app)
	want := map[string]bool{}
	for i := range app.Processes {
		p := &app.Processes[i]
		for k := 1; k <= intent.Instances(r.scale, p); k++ {
			u := r.unit(p.Name, k)
			if u == nil {
				u = &unit{slot: slot{phase: idle, outcome: view.Stopped}, process: p.Name, number: k, since: r.c.Now()}
				r.units = append(r.units, u)
			}
			u.def, u.parting, u.sleeps = p, false, false
			want[u.instance()] = true
			r.takeUp(u)
		}
	}
	for _, u := range r.units {
		if !want[u.instance()] {
			r.shed = r.shed || u.phase != idle
			u.parting = true
			r.giveUp(u)
			r.send(u, evStop, ended{})
		}
	}
	r.order()
}

// order sorts the slots as the definition has them.
func (r *Runner) order() {
	rank := map[string]int{}
	for i, p := range r.app.Processes {
		rank[p.Name] = i + 1
	}
	slices.SortStableFunc(r.units, func(a, b *unit) int {
		if d := rank[a.process] - rank[b.process]; d != 0 {
			return d
		}
		return a.number - b.number
	})
}

// follow takes a new definition over; what runs keeps its own until it is started again.
func (r *Runner) follow(app *config.App, rev int64, changed bool) {
	r.removed = false
	r.recollect()
	if changed {
		r.moved()
	}
	other := map[string]bool{}
	for _, p := range app.Processes {
		other[p.Name] = config.Renews(r.app, app, p.Name)
	}
	for _, u := range r.units {
		u.former = u.former || other[u.process]
	}
	if changed && r.roll != nil { // what it makes is not what is wanted any more
		r.fail(nil, "another definition came", "superseded")
	}
	r.adopt(app, rev)
}

// remove begins the end of an app that the definition has no more. Its slots are stopped by the command that follows, in
// its turn; when the last one has gone, so does the runner.
func (r *Runner) remove() {
	r.removed, r.desired, r.parts = true, false, nil
	r.moved()
	for _, u := range r.units {
		u.parting = true
	}
}

// takeUp makes the live keys of a definition hold for what runs in a slot.
func (r *Runner) takeUp(u *unit) {
	g := u.gen
	if g == nil || u.former || g.live == u.def {
		return
	}
	was := g.live
	g.live = u.def
	switch {
	case u.phase == starting && !reflect.DeepEqual(was.Ready, g.live.Ready):
		g.quiet()
		g.deadline = time.Time{}
		g.watchReady(r, u)
	case u.phase == running && !reflect.DeepEqual(was.Health, g.live.Health):
		g.health, g.healthNote = "", ""
		g.watchHealth(r, u)
	}
}

// part forgets the slots that are scaled away once nothing of them is left.
func (r *Runner) part() {
	r.units = slices.DeleteFunc(r.units, func(u *unit) bool { return u.parting && u.phase == idle })
	r.extra = slices.DeleteFunc(r.extra, func(u *unit) bool { return u.phase == idle })
}

// opened notes the sockets that a start of u opens.
func (r *Runner) opened(u *unit) {
	_, ids := sockets.IDs(r.Key, u.process, u.def)
	for _, id := range ids {
		r.open[id] = true
	}
}

// tend closes the sockets of programs of which none runs or is about to: after a stop, or when they were given up. Through
// crashes and waits they stay open.
func (r *Runner) tend() {
	if len(r.open) == 0 {
		return
	}
	needed := map[string]bool{}
	need := func(u *unit, def *config.Process) {
		_, ids := sockets.IDs(r.Key, u.process, def)
		for _, id := range ids {
			needed[id] = true
		}
	}
	for _, u := range slices.Concat(r.units, r.extra) {
		if u.phase == idle {
			continue
		}
		if u.def != nil && !u.parting {
			need(u, u.def)
		}
		if u.gen != nil {
			need(u, u.gen.def)
		}
	}
	for id := range r.open {
		if !needed[id] {
			r.c.Keeper.Unlisten(id)
			delete(r.open, id)
		}
	}
}

// Holds tells the runner, before Launch, of a socket of its app that is open.
func (r *Runner) Holds(id string) { r.open[id] = true }
