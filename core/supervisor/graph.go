package supervisor

import (
	"context"
	"fmt"
	"slices"

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

// closure adds to keys everything that they depend on, directly or not.
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
		if v := s.view(t.Key); v != nil {
			out = append(out, v)
		}
	}
	return out
}

// RevisionsInUse gives the numbers of the definitions that the apps of a stack run or should run.
func (s *Supervisor) RevisionsInUse(project, stack string) []int64 {
	var out []int64
	for _, v := range s.Apps() {
		if v.Project != project || v.Stack != stack {
			continue
		}
		out = append(out, v.Revision)
		for _, i := range v.Instances {
			if i.Revision != 0 {
				out = append(out, i.Revision)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Trees gives the living processes of an app's instances by slot.
func (s *Supervisor) Trees(ctx context.Context, key string) map[string][]int {
	out := map[string][]int{}
	for _, p := range s.Keeper.Processes() {
		k, process, n, _, _, ok := parseGeneration(p.ID())
		if !ok || k != key {
			continue
		}
		if pids, err := p.Tree(ctx); err == nil && len(pids) > 0 {
			slot := fmt.Sprintf("%s:%s#%d", nameOf(key), process, n)
			out[slot] = append(out[slot], pids...)
		}
	}
	return out
}
