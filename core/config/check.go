package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// member is an app among apps or a process among processes: what dependencies are about.
type member struct {
	name    string
	at      *tree.Node
	oneshot bool
	planned bool // it has a schedule
	enabled bool
	deps    []schema.Value[dependencyKeys]
	out     *[]Dependency
}

// checkApps looks at what only all apps together show.
func (l *loader) checkApps(def *Definition, keys []schema.Value[appKeys]) {
	apps := make([]member, len(keys))
	seen := map[string]*tree.Node{}
	for i, k := range keys {
		a := &def.Apps[i]
		if first := seen[a.Name]; first != nil {
			l.mean(k.V.Name.Node, "the app %q is there twice", a.Name).Hint = first.Beside(k.V.Name.Node)
		} else if k.V.Name.Set() {
			seen[a.Name] = k.V.Name.Node
		}
		apps[i] = member{a.Name, k.V.Name.Node, a.Oneshot, a.Schedule != nil, a.Enabled, k.V.DependsOn.V, &a.DependsOn}
		if a.Classic {
			continue
		}
		processes := make([]member, len(k.V.Processes.V))
		for j, p := range k.V.Processes.V {
			processes[j] = member{p.V.Name.V, p.V.Name.Node, a.Oneshot, false, true, p.V.DependsOn.V, &a.Processes[j].DependsOn}
		}
		l.dependencies("process", processes)
	}
	l.dependencies("app", apps)
	l.portClashes(def, keys)
}

func (l *loader) dependencies(what string, ms []member) {
	index, names := map[string]int{}, []string{}
	for i, m := range ms {
		if _, twice := index[m.name]; m.name != "" && !twice {
			index[m.name] = i
			names = append(names, m.name)
		}
	}
	edges := make([][]edge, len(ms))
	for i, m := range ms {
		for _, v := range m.deps {
			k := v.V
			name, at, until := k.App.V, v.Node, k.Until
			if k.App.Set() {
				at = k.App.Node
			}
			if k.Process.Set() {
				name, at = k.Process.V, k.Process.Node
			}
			j, known := index[name]
			switch {
			case name == "": // its name is wrong, which has been said
				continue
			case !known:
				p := l.mean(at, "there is no %s %q to depend on", what, name)
				if p.Near = fault.Near(name, names); p.Near == "" {
					p.Allowed = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == m.name })
				}
				continue
			case ms[j].planned:
				l.mean(at, "%s runs at its times, so nothing can wait for it", name).Hint = "remove the dependency, or its schedule"
				continue
			case slices.ContainsFunc(*m.out, func(d Dependency) bool { return d.Name == name }):
				l.mean(at, "%q is named twice", name)
				continue
			}
			edges[i] = append(edges[i], edge{j, at})
			*m.out = append(*m.out, Dependency{name, l.until(ms[j], until)})
			if m.enabled && !ms[j].enabled {
				l.warn(at.Pos, "%s depends on %s, which is not enabled: it waits until somebody starts that", m.name, name)
			}
		}
	}
	l.cycles(ms, edges)
}

// until is what a dependency waits for; a oneshot is never ready, everything else never completes.
func (l *loader) until(on member, v schema.Value[string]) string {
	switch {
	case !v.Set() && on.oneshot:
		return "completed"
	case !v.Set():
		return "ready"
	case v.V == "completed" && !on.oneshot:
		l.mean(v.Node, "%s never completes: it is no oneshot", on.name).Hint = "use ready or started, or make it a oneshot"
	case v.V == "ready" && on.oneshot:
		l.mean(v.Node, "%s is a oneshot and never ready", on.name).Hint = "use completed or started"
	}
	return v.V
}

type edge struct {
	to int
	at *tree.Node
}

// cycles reports each dependency that closes a circle, with the circle spelled out.
func (l *loader) cycles(ms []member, edges [][]edge) {
	const open, done = 1, 2
	state := make([]int, len(ms))
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		path = append(path, i)
		for _, e := range edges[i] {
			switch {
			case e.to == i:
				l.mean(e.at, "%s depends on itself", ms[i].name)
			case state[e.to] == open:
				var names []string
				for _, j := range path[slices.Index(path, e.to):] {
					names = append(names, ms[j].name)
				}
				l.mean(e.at, "dependencies go in a circle: %s", circle(names)).Hint = "remove one of them"
			case state[e.to] == 0:
				visit(e.to)
			}
		}
		path = path[:len(path)-1]
		state[i] = done
	}
	for i := range ms {
		if state[i] == 0 {
			visit(i)
		}
	}
}

func circle(names []string) string {
	if len(names) > 12 {
		names = append(append(slices.Clone(names[:6]), "…"), names[len(names)-5:]...)
	}
	return strings.Join(append(names, names[0]), " → ")
}

// portClashes finds programs that would want the same port.
func (l *loader) portClashes(def *Definition, keys []schema.Value[appKeys]) {
	type span struct {
		low, high int
		owner     string
		at        *tree.Node
	}
	var spans []span
	for i, a := range def.Apps {
		if !a.Enabled {
			continue
		}
		for j, p := range a.Processes {
			k, owner := keys[i].V.programKeys, a.Name
			if !a.Classic {
				k, owner = keys[i].V.Processes.V[j].V, a.Name+":"+p.Name
			}
			for n, port := range p.Ports {
				if port.Base > 0 {
					spans = append(spans, span{port.Base, port.Base + p.Instances - 1, owner + " " + port.Name, k.Ports.V[n].Value.Node})
				}
			}
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	reach := -1 // the span so far that goes furthest
	for i, s := range spans {
		if reach >= 0 && s.low <= spans[reach].high {
			first, second := spans[reach], s
			if second.at.Line < first.at.Line || second.at.Line == first.at.Line && second.at.Column < first.at.Column {
				first, second = second, first
			}
			l.mean(second.at, "%s and %s both want port %d", first.owner, second.owner, s.low).Hint = "choose another number, or auto; each instance takes the next number"
		}
		if reach < 0 || s.high > spans[reach].high {
			reach = i
		}
	}
}

// hashApp is the SHA-256 of an app as JSON, which sorts the keys of maps. What came from the shell unasked is no part
// of it.
func hashApp(a App) string {
	a.Hash = ""
	a.Processes = slices.Clone(a.Processes)
	for i := range a.Processes {
		p := &a.Processes[i]
		env := map[string]string{}
		for name, value := range p.Env {
			if !slices.Contains(p.Captured, name) {
				env[name] = value
			}
		}
		p.Env, p.Captured = env, nil
	}
	text, err := json.Marshal(a)
	if err != nil { // floats within bounds, strings and numbers: there is nothing that JSON could refuse
		panic("config: an app that is no JSON: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
