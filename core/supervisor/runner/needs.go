package runner

import (
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// together carries a failure to the siblings as the strategy says, and to the other apps of the stack. A sibling that has
// to start again waits, like the failed one, until all of them are gone: missing sees to it.
func (r *Runner) together(failed *unit) {
	defer r.c.Others.Failed(r.app)
	strategy := r.app.Supervision.Strategy
	if !needs.Ties(strategy) {
		return
	}
	after := false
	for _, u := range r.units {
		switch {
		case u == failed:
			after = true
		case strategy == "one_for_all", after && u.process != failed.process:
			r.again(u)
		}
	}
}

// again restarts a slot that runs, for another one's sake.
func (r *Runner) again(u *unit) {
	switch u.phase {
	case starting, running, spawning:
		r.send(u, evStop, ended{})
		r.send(u, evStart, ended{})
	}
}

// ask looks whether everything is there that a start of u needs, and starts it if so.
func (r *Runner) ask(u *unit) {
	if u.phase != waiting {
		return
	}
	if r.halting || u.parting {
		r.send(u, evStop, ended{})
		return
	}
	if why := r.missing(u); why != "" {
		u.reason = why
		return
	}
	r.send(u, evMet, ended{})
}

// recheck looks again at every slot that waits.
func (r *Runner) recheck() {
	for _, u := range slices.Concat(r.units, r.extra) {
		r.ask(u)
	}
}

// missing names what u has to wait for, or "".
func (r *Runner) missing(u *unit) string {
	if s := r.app.Supervision.Strategy; needs.Ties(s) {
		before := true
		for _, o := range r.units {
			if o == u {
				before = false
				continue
			}
			if o.again && (o.phase == spawning || o.phase == ending || o.phase == killing) {
				return fmt.Sprintf("waits until %s has ended", o.name(r.app.Name))
			}
			if o.phase == backoff && (s == "one_for_all" || before) {
				return fmt.Sprintf("waits for %s, which failed and starts again", o.name(r.app.Name))
			}
		}
	}
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if o.process == d.Name && !o.parting && !needs.Satisfied(d.Until, o.state(), o.gen != nil) {
				return fmt.Sprintf("waits for %s (%s) to be %s", o.name(r.app.Name), o.state(), needs.Until(d.Until))
			}
		}
	}
	for _, d := range r.app.DependsOn {
		key := naming.Sibling(r.Key, d.Name)
		pending := r.c.Others.Pending(key) // first: what is seen of the app after that is not older than the command
		dep := r.c.Others.View(key)
		switch {
		case dep == nil:
			return fmt.Sprintf("waits for %s, which is not known", d.Name)
		case !needs.Satisfied(d.Until, dep.State, dep.Alive()):
			return fmt.Sprintf("waits for %s (%s) to be %s", d.Name, dep.State, needs.Until(d.Until))
		case pending:
			return fmt.Sprintf("waits for %s, which a command is on its way to", d.Name)
		}
	}
	if why, _ := launch.Withheld(r.c.Secret, r.Key, u.def); why != "" {
		return "waits for a secret: " + why
	}
	return ""
}

// blocked names what a waiting slot will not get without somebody's help, or "": a dependency, a secret. code is the
// reason that the caller is told.
func (r *Runner) blocked(u *unit) (why, code string) {
	if why, code = r.blockedBy(u), "dependency_failed"; why != "" {
		return why, code
	}
	return launch.Withheld(r.c.Secret, r.Key, u.def)
}

// blockedBy names the dependency that will not become ready by itself, or "".
func (r *Runner) blockedBy(u *unit) string {
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if s := o.state(); o.process == d.Name && !o.parting && !needs.Satisfied(d.Until, s, o.gen != nil) && s.Settled() && s != view.Running {
				return needs.Stands(o.name(r.app.Name), s, o.reason, d.Until)
			}
		}
	}
	return needs.Culprit(r.c.Others, r.app)
}
