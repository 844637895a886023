package supervisor

import (
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
)

// levels orders apps by their dependencies: those of a level depend only on apps of the levels before. deps gives the
// keys that an app depends on; keys that are not asked for do not count. A cycle cannot happen: the loader refuses it;
// should one get here, its members form the last level rather than none.
func levels(keys []string, deps func(key string) []string) [][]string {
	left := map[string]bool{}
	for _, k := range keys {
		left[k] = true
	}
	var out [][]string
	for len(left) > 0 {
		var level []string
		for k := range left {
			if !slices.ContainsFunc(deps(k), func(d string) bool { return d != k && left[d] }) {
				level = append(level, k)
			}
		}
		if len(level) == 0 {
			for k := range left {
				level = append(level, k)
			}
		}
		slices.Sort(level)
		for _, k := range level {
			delete(left, k)
		}
		out = append(out, level)
	}
	return out
}

// closure adds to keys everything that they depend on, directly or not, each after what it depends on.
func closure(keys []string, deps func(key string) []string) []string {
	seen := map[string]bool{}
	var out []string
	var visit func(string)
	visit = func(k string) {
		if seen[k] {
			return
		}
		seen[k] = true
		for _, d := range deps(k) {
			visit(d)
		}
		out = append(out, k)
	}
	for _, k := range keys {
		visit(k)
	}
	return out
}

// dependencies gives the keys that an app depends on.
func (s *Supervisor) dependencies(key string) []string {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	def := r.declared.Load()
	out := make([]string, len(def.DependsOn))
	for i, d := range def.DependsOn {
		out[i] = siblingKey(key, d.Name)
	}
	return out
}

// Waves orders apps by their dependencies: those of a wave can be started together.
func (s *Supervisor) Waves(keys []string) [][]string { return levels(keys, s.dependencies) }

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
func (s *Supervisor) StartSet(targets []op.Target) []*App {
	var out []*App
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
	for _, key := range closure(keys, s.dependencies) {
		if slices.Contains(keys, key) {
			continue
		}
		if v := s.view(key); v != nil && !(v.Desired == "running" && (v.State.up() || !v.State.settled())) {
			out = append(out, target(v, "", 0))
		}
	}
	for _, t := range targets {
		if v := s.view(t.Key); v != nil && t.Process != "" && !whole[t.Key] {
			for _, name := range v.needed(t.Process) {
				part := target(v, name, 0)
				if !slices.ContainsFunc(out, func(o op.Target) bool { return o.String() == part.String() }) {
					out = append(out, part)
				}
			}
		}
	}
	return append(out, targets...)
}

// needed names the processes that a process depends on and of which something does not run.
func (a *App) needed(process string) []string {
	deps := func(name string) []string {
		var out []string
		for _, p := range a.def.Processes {
			if p.Name == name {
				for _, d := range p.DependsOn {
					out = append(out, d.Name)
				}
			}
		}
		return out
	}
	var out []string
	for _, name := range closure([]string{process}, deps) {
		if name != process && slices.ContainsFunc(a.Instances, func(i Instance) bool { return i.Process == name && i.State.settled() && !i.State.up() }) {
			out = append(out, name)
		}
	}
	return out
}

// ties reports whether a strategy makes the failure of one the matter of others.
func ties(strategy string) bool { return strategy == "one_for_all" || strategy == "rest_for_one" }

// together carries a failure to the siblings as the strategy says, and to the other apps of the stack. A sibling that has
// to start again waits, like the failed one, until all of them are gone: missing sees to it.
func (r *runner) together(failed *unit) {
	defer r.s.spread(r.app)
	strategy := r.app.Supervision.Strategy
	if !ties(strategy) {
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
	strategy := s.projectDir[inStack(failed.Key)].strategy
	if !ties(strategy) {
		return
	}
	for _, r := range s.apps {
		if r.key == failed.Key || inStack(r.key) != inStack(failed.Key) || strategy == "rest_for_one" && !s.needs(r, failed.Key, 0) {
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
		k := siblingKey(r.key, d.Name)
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
	if s := r.app.Supervision.Strategy; ties(s) {
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
			if o.process == d.Name && !o.parting && !satisfied(d.Until, o.state(), o.gen != nil) {
				return fmt.Sprintf("waits for %s (%s) to be %s", o.name(r.app.Name), o.state(), untilWord(d.Until))
			}
		}
	}
	for _, d := range r.app.DependsOn {
		key := siblingKey(r.key, d.Name)
		pending := r.s.pending(key) // first: what is seen of the app after that is not older than the command
		view := r.s.view(key)
		switch {
		case view == nil:
			return fmt.Sprintf("waits for %s, which is not known", d.Name)
		case !satisfied(d.Until, view.State, view.alive()):
			return fmt.Sprintf("waits for %s (%s) to be %s", d.Name, view.State, untilWord(d.Until))
		case pending:
			return fmt.Sprintf("waits for %s, which a command is on its way to", d.Name)
		}
	}
	if why, _ := r.s.withheld(r.key, u.def); why != "" {
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
		switch v := s.view(siblingKey(key, d.Name)); {
		case v == nil:
			out = append(out, d.Name+" is not known")
		case !satisfied(d.Until, v.State, v.alive()):
			out = append(out, fmt.Sprintf("%s is %s, and has to be %s", d.Name, v.State, untilWord(d.Until)))
		}
	}
	for _, p := range r.declared.Load().Processes {
		if why, _ := s.withheld(key, &p); why != "" {
			out = append(out, "a secret: "+why)
		}
	}
	return out
}

func satisfied(until string, s State, alive bool) bool {
	switch until {
	case "started":
		return alive || s.up()
	case "completed":
		return s == Completed
	default:
		return s.up()
	}
}

func untilWord(until string) string {
	if until == "" {
		return "ready"
	}
	return until
}

// blocked names what a waiting slot will not get without somebody's help, or "": a dependency, a secret. code is the
// reason that the caller is told.
func (r *runner) blocked(u *unit) (why, code string) {
	if why, code = r.blockedBy(u), "dependency_failed"; why != "" {
		return why, code
	}
	return r.s.withheld(r.key, u.def)
}

// blockedBy names the dependency that will not become ready by itself, or "".
func (r *runner) blockedBy(u *unit) string {
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if s := o.state(); o.process == d.Name && !o.parting && !satisfied(d.Until, s, o.gen != nil) && s.settled() && s != Running {
				return stands(o.name(r.app.Name), s, o.reason, d.Until)
			}
		}
	}
	return r.s.culprit(r.app, 0)
}

// pending reports whether a command that starts something is on its way to an app, so that its state is about to change.
func (s *Supervisor) pending(key string) bool {
	r := s.runner(key)
	return r != nil && r.pending.Load() > 0
}

// culprit names the app at the end of the chain of dependencies that keeps app from starting for good, or "".
func (s *Supervisor) culprit(app *config.App, depth int) string {
	for _, d := range app.DependsOn {
		key := siblingKey(app.Key, d.Name)
		pending := s.pending(key)
		v := s.view(key)
		switch {
		case v == nil:
			return fmt.Sprintf("%s, which it depends on, is not known", d.Name)
		case pending || depth > 1000 || satisfied(d.Until, v.State, v.alive()):
		case v.State == Waiting:
			if deeper := s.culprit(v.def, depth+1); deeper != "" {
				return deeper
			}
			for i := range v.def.Processes {
				if why, _ := s.withheld(key, &v.def.Processes[i]); why != "" {
					return stands(v.Key, v.State, "it waits for a secret: "+why, d.Until)
				}
			}
		case v.State.settled() && v.State != Running: // what runs once has yet to complete
			return stands(v.Key, v.State, v.Reason, d.Until)
		}
	}
	return ""
}

// stands says how a dependency stands that is not as it should be.
func stands(name string, s State, why, until string) string {
	if why == "" {
		why = "and it has to be " + untilWord(until)
	}
	return fmt.Sprintf("%s, which it depends on, is %s: %s", name, s, why)
}
