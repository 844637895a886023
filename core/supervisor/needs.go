package supervisor

import (
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/needs"
	"github.com/omnitron-dev/omnitron/core/supervisor/runner"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// dependencies gives the keys that an app depends on.
func (s *Supervisor) dependencies(key string) []string {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	def := r.Declared()
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
		out = append(out, r.Key)
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

// spread carries an app's failure to the others of its stack as the project's strategy says.
func (s *Supervisor) spread(failed *config.App) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	strategy := s.projectDir[naming.InStack(failed.Key)].strategy
	if !needs.Ties(strategy) {
		return
	}
	for _, r := range s.apps {
		if r.Key == failed.Key || naming.InStack(r.Key) != naming.InStack(failed.Key) || strategy == "rest_for_one" && !s.needs(r, failed.Key, 0) {
			continue
		}
		r.Again()
	}
}

// collapse stops the other apps of a stack when one that it cannot do without was given up.
func (s *Supervisor) collapse(lost *config.App, why string) {
	if !lost.Critical || s.ending() {
		return
	}
	var c Command
	for _, v := range s.Apps() {
		if v.Key != lost.Key && naming.InStack(v.Key) == naming.InStack(lost.Key) {
			c.Targets = append(c.Targets, target.Of(v, "", 0))
		}
	}
	text := fmt.Sprintf("%s is critical and was given up, so the other apps of the stack are stopped: %s", lost.Name, why)
	s.Bus.Publish(bus.Event{At: s.Now(), Topic: "apps", Type: "collapsed", Key: naming.InStack(lost.Key), Text: text})
	s.common.Go(func() {
		ctx := s.common.Context()
		if _, err := s.Stop(ctx, c); err != nil && ctx.Err() == nil {
			s.Log.Error("cannot stop the stack of a critical app", "app", lost.Key, "err", err)
		}
	})
}

// needs reports whether an app depends on key, directly or not. The caller holds mu.
func (s *Supervisor) needs(r *runner.Runner, key string, depth int) bool {
	for _, d := range r.Declared().DependsOn {
		k := naming.Sibling(r.Key, d.Name)
		if o := s.apps[k]; k == key || o != nil && depth < 1000 && s.needs(o, key, depth+1) {
			return true
		}
	}
	return false
}

// WaitsFor names the apps that an app depends on and that are not as far as they have to be, with their state.
func (s *Supervisor) WaitsFor(key string) []string {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	var out []string
	for _, d := range r.Declared().DependsOn {
		switch v := s.view(naming.Sibling(key, d.Name)); {
		case v == nil:
			out = append(out, d.Name+" is not known")
		case !needs.Satisfied(d.Until, v.State, v.Alive()):
			out = append(out, fmt.Sprintf("%s is %s, and has to be %s", d.Name, v.State, needs.Until(d.Until)))
		}
	}
	for _, p := range r.Declared().Processes {
		if why, _ := launch.Withheld(s.Secret, key, &p); why != "" {
			out = append(out, "a secret: "+why)
		}
	}
	return out
}

// pending reports whether a command that starts something is on its way to an app, so that its state is about to change.
func (s *Supervisor) pending(key string) bool {
	r := s.runner(key)
	return r != nil && r.Pending()
}

// Wanting gives the calls that would end an app's wait for its secrets.
func (s *Supervisor) Wanting(key string) []fault.Hint {
	r := s.runner(key)
	if r == nil {
		return nil
	}
	var calls []fault.Hint
	for i := range r.Declared().Processes {
		if _, err := launch.Values(s.Secret, key, &r.Declared().Processes[i]); err != nil {
			if hint := fault.Hint(fault.From(err).Hint); hint != "" && !slices.Contains(calls, hint) {
				calls = append(calls, hint)
			}
		}
	}
	return calls
}

// SecretsChanged has every app that needs a secret look again.
func (s *Supervisor) SecretsChanged() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.apps {
		if slices.ContainsFunc(r.Declared().Processes, func(p config.Process) bool { return len(p.Secrets) > 0 }) {
			r.Wake()
		}
	}
}
