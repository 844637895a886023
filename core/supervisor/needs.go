package supervisor

import (
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// dependencies gives the keys that an app depends on.
func (s *Supervisor) dependencies(key string) []string {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	def := r.declared.Load()
	out := make([]string, len(def.DependsOn))
	for i, d := range def.DependsOn {
		out[i] = naming.Sibling(key, d.Name)
	}
	return out
}

// Waves orders apps by their dependencies: those of a wave can be started together.
func (s *Supervisor) Waves(keys []string) [][]string { return needs.Levels(keys, s.dependencies) }

// Dependents names the apps that depend on key directly.
func (s *Supervisor) Dependents(key string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := []string{}
	for _, r := range s.dependents[key] {
		out = append(out, r.key)
	}
	slices.Sort(out)
	return out
}

// StartSet gives the apps that a start of targets starts: them and what they depend on.
func (s *Supervisor) StartSet(targets []op.Target) []*view.App {
	var out []*view.App
	for _, t := range s.withDependencies(targets) {
		if v := s.view(t.Key); v != nil && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// withDependencies adds what the targets need and what does not run: apps, and processes of the same app.
func (s *Supervisor) withDependencies(targets []op.Target) []op.Target {
	keys := make([]string, len(targets))
	whole := map[string]bool{}
	for i, t := range targets {
		keys[i] = t.Key
		whole[t.Key] = whole[t.Key] || t.Process == ""
	}
	var out []op.Target
	for _, key := range needs.Closure(keys, s.dependencies) {
		if slices.Contains(keys, key) {
			continue
		}
		if v := s.view(key); v != nil && !(v.Desired == "running" && (v.State.Up() || !v.State.Settled())) {
			out = append(out, target.Of(v, "", 0))
		}
	}
	for _, t := range targets {
		if v := s.view(t.Key); v != nil && t.Process != "" && !whole[t.Key] {
			for _, name := range needs.Within(v, t.Process) {
				part := target.Of(v, name, 0)
				if !slices.ContainsFunc(out, func(o op.Target) bool { return o.String() == part.String() }) {
					out = append(out, part)
				}
			}
		}
	}
	return append(out, targets...)
}

// together carries a failure to the siblings as the strategy says, and to the other apps of the stack. A sibling that has
// to start again waits, like the failed one, until all of them are gone: missing sees to it.
func (r *runner) together(failed *unit) {
	defer r.s.spread(r.app)
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
func (r *runner) again(u *unit) {
	switch u.phase {
	case starting, running, spawning:
		r.send(u, evStop, ended{})
		r.send(u, evStart, ended{})
	}
}

// spread carries an app's failure to the others of its stack as the project's strategy says.
func (s *Supervisor) spread(failed *config.App) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	strategy := s.projectDir[naming.InStack(failed.Key)].strategy
	if !needs.Ties(strategy) {
		return
	}
	for _, r := range s.apps {
		if r.key == failed.Key || naming.InStack(r.key) != naming.InStack(failed.Key) || strategy == "rest_for_one" && !s.needs(r, failed.Key, 0) {
			continue
		}
		r.mail.post(func() {
			for _, u := range r.units {
				r.again(u)
			}
		})
	}
}

// needs reports whether an app depends on key, directly or not. The caller holds mu.
func (s *Supervisor) needs(r *runner, key string, depth int) bool {
	for _, d := range r.declared.Load().DependsOn {
		k := naming.Sibling(r.key, d.Name)
		if o := s.apps[k]; k == key || o != nil && depth < 1000 && s.needs(o, key, depth+1) {
			return true
		}
	}
	return false
}

// ask looks whether everything is there that a start of u needs, and starts it if so.
func (r *runner) ask(u *unit) {
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
func (r *runner) recheck() {
	for _, u := range r.units {
		r.ask(u)
	}
}

// missing names what u has to wait for, or "".
func (r *runner) missing(u *unit) string {
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
		key := naming.Sibling(r.key, d.Name)
		pending := r.s.pending(key) // first: what is seen of the app after that is not older than the command
		dep := r.s.view(key)
		switch {
		case dep == nil:
			return fmt.Sprintf("waits for %s, which is not known", d.Name)
		case !needs.Satisfied(d.Until, dep.State, dep.Alive()):
			return fmt.Sprintf("waits for %s (%s) to be %s", d.Name, dep.State, needs.Until(d.Until))
		case pending:
			return fmt.Sprintf("waits for %s, which a command is on its way to", d.Name)
		}
	}
	if why, _ := launch.Withheld(r.s.Secret, r.key, u.def); why != "" {
		return "waits for a secret: " + why
	}
	return ""
}

// WaitsFor names the apps that an app depends on and that are not as far as they have to be, with their state.
func (s *Supervisor) WaitsFor(key string) []string {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	var out []string
	for _, d := range r.declared.Load().DependsOn {
		switch v := s.view(naming.Sibling(key, d.Name)); {
		case v == nil:
			out = append(out, d.Name+" is not known")
		case !needs.Satisfied(d.Until, v.State, v.Alive()):
			out = append(out, fmt.Sprintf("%s is %s, and has to be %s", d.Name, v.State, needs.Until(d.Until)))
		}
	}
	for _, p := range r.declared.Load().Processes {
		if why, _ := launch.Withheld(s.Secret, key, &p); why != "" {
			out = append(out, "a secret: "+why)
		}
	}
	return out
}

// blocked names what a waiting slot will not get without somebody's help, or "": a dependency, a secret. code is the
// reason that the caller is told.
func (r *runner) blocked(u *unit) (why, code string) {
	if why, code = r.blockedBy(u), "dependency_failed"; why != "" {
		return why, code
	}
	return launch.Withheld(r.s.Secret, r.key, u.def)
}

// blockedBy names the dependency that will not become ready by itself, or "".
func (r *runner) blockedBy(u *unit) string {
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if s := o.state(); o.process == d.Name && !o.parting && !needs.Satisfied(d.Until, s, o.gen != nil) && s.Settled() && s != view.Running {
				return needs.Stands(o.name(r.app.Name), s, o.reason, d.Until)
			}
		}
	}
	return needs.Culprit(others{r.s}, r.app)
}

// pending reports whether a command that starts something is on its way to an app, so that its state is about to change.
func (s *Supervisor) pending(key string) bool {
	r := s.runner(key)
	return r != nil && r.pending.Load() > 0
}
