// Package needs tells who waits for whom: the order of apps by their dependencies, and what keeps one from starting, as far
// as that can be told from what is published of the others.
package needs

import (
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Levels orders apps by their dependencies: those of a level depend only on apps of the levels before. deps gives the
// keys that an app depends on; keys that are not asked for do not count. A cycle cannot happen: the loader refuses it;
// should one get here, its members form the last level rather than none.
func Levels(keys []string, deps func(key string) []string) [][]string {
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

// Closure adds to keys everything that they depend on, directly or not, each after what it depends on.
func Closure(keys []string, deps func(key string) []string) []string {
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

// Within names the processes that a process depends on and of which something does not run.
func Within(a *view.App, process string) []string {
	deps := func(name string) []string {
		var out []string
		for _, p := range a.Definition.Processes {
			if p.Name == name {
				for _, d := range p.DependsOn {
					out = append(out, d.Name)
				}
			}
		}
		return out
	}
	var out []string
	for _, name := range Closure([]string{process}, deps) {
		if name != process && slices.ContainsFunc(a.Instances, func(i view.Instance) bool { return i.Process == name && i.State.Settled() && !i.State.Up() }) {
			out = append(out, name)
		}
	}
	return out
}

// Ties reports whether a strategy makes the failure of one the matter of others.
func Ties(strategy string) bool { return strategy == "one_for_all" || strategy == "rest_for_one" }

// Satisfied reports whether a dependency is as far as until says; alive: a program of it runs.
func Satisfied(until string, s view.State, alive bool) bool {
	switch until {
	case "started":
		return alive || s.Up()
	case "completed":
		return s == view.Completed
	default:
		return s.Up()
	}
}

// Until is the word for how far a dependency has to be.
func Until(until string) string {
	if until == "" {
		return "ready"
	}
	return until
}

// World is what is known of the apps of a daemon.
type World interface {
	View(key string) *view.App                                   // nil when there is no such app
	Pending(key string) bool                                     // a command that starts something is on its way to it, so that its state is about to change
	Withheld(key string, p *config.Process) (why, reason string) // which secret of a program cannot be had, or ""
}

// Culprit names the app at the end of the chain of dependencies that keeps app from starting for good, or "".
func Culprit(w World, app *config.App) string { return culprit(w, app, 0) }

func culprit(w World, app *config.App, depth int) string {
	for _, d := range app.DependsOn {
		key := naming.Sibling(app.Key, d.Name)
		pending := w.Pending(key)
		v := w.View(key)
		switch {
		case v == nil:
			return fmt.Sprintf("%s, which it depends on, is not known", d.Name)
		case pending || depth > 1000 || Satisfied(d.Until, v.State, v.Alive()):
		case v.State == view.Waiting:
			if deeper := culprit(w, v.Definition, depth+1); deeper != "" {
				return deeper
			}
			for i := range v.Definition.Processes {
				if why, _ := w.Withheld(key, &v.Definition.Processes[i]); why != "" {
					return Stands(v.Key, v.State, "it waits for a secret: "+why, d.Until)
				}
			}
		case v.State.Settled() && v.State != view.Running: // what runs once has yet to complete
			return Stands(v.Key, v.State, v.Reason, d.Until)
		}
	}
	return ""
}

// Stands says how a dependency stands that is not as it should be.
func Stands(name string, s view.State, why, until string) string {
	if why == "" {
		why = "and it has to be " + Until(until)
	}
	return fmt.Sprintf("%s, which it depends on, is %s: %s", name, s, why)
}
