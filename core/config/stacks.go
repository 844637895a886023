package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/schema"
	"github.com/omnitron-dev/omnitron/core/config/tree"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// stackKeys is what the file says of a stack.
type stackKeys struct {
	Apps       schema.Value[selection]
	Env        schema.Value[[]schema.Entry[schema.Variable]]
	EnvFile    schema.Value[[]schema.Value[string]]
	Instances  schema.Value[[]schema.Entry[int]]
	PortOffset schema.Value[int]
}

// selection is which apps a stack has.
type selection struct {
	All   bool
	Names []schema.Value[string] // names and globs
}

const (
	namePattern = `[a-z0-9][a-z0-9_-]{0,62}`
	globPattern = `^[a-z0-9*?\[][a-z0-9_*?\[\]^-]{0,62}$`
	nameHint    = "lower-case letters, digits, - and _, up to 63, beginning with a letter or digit"
)

// NameRule is the pattern of the name of a project, a stack, an app, a process.
const NameRule = "^" + namePattern + "$"

var selectionKind = schema.OneOf("all, or a list of names",
	schema.AsList(schema.List("a list of names", schema.Pattern("the name of an app, or a glob such as web-*", globPattern, nameHint+"; * stands for anything"), 1),
		func(names []schema.Value[string]) selection { return selection{Names: names} }),
	schema.AsScalar(schema.Enum("all, or a list of names", "all"), func(string) selection { return selection{All: true} }))

var stackKind = schema.Object("a stack", nil,
	schema.Field("apps", selectionKind, func(s *stackKeys) *schema.Value[selection] { return &s.Apps },
		"The apps that it has: all, or names and globs. What they depend on has to be among them.", schema.Default("all"), schema.Example("[api, worker-*]"), schema.Live()),
	schema.Field("env", environment, func(s *stackKeys) *schema.Value[[]schema.Entry[schema.Variable]] { return &s.Env },
		"Environment variables of every app of the stack. They are stronger than all env files; what an app or a process says in its own env is stronger.", schema.Example("{LOG: warn}")),
	schema.Field("envFile", schema.List("a list of files", schema.Text("a path"), 0), func(s *stackKeys) *schema.Value[[]schema.Value[string]] { return &s.EnvFile },
		"Files of KEY=VALUE lines, read after those of the apps and stronger than them. Those of other stacks are not read.", schema.Example("[.env.prod]")),
	schema.Field("instances", schema.Dict("a map of apps and numbers", "^"+namePattern+"(:"+namePattern+")?$", "the name of an app, or app:process", schema.Int(1, 1000)), func(s *stackKeys) *schema.Value[[]schema.Entry[int]] { return &s.Instances },
		"How many of an app run in this stack; of an app with several processes app:process says which.", schema.Default("what the app says"), schema.Example("{api: 4}"), schema.Live()),
	schema.Field("portOffset", schema.Int(0, 65534), func(s *stackKeys) *schema.Value[int] { return &s.PortOffset },
		"Added to every fixed port of its apps, those of sockets too, so that several stacks run side by side. Programs find the number in PORT_<NAME>.", schema.Default("0"), schema.Example("100")),
	schema.Later[stackKeys]("watch", "Whether its apps are reloaded when files change."),
)

var stacksKind = schema.Dict("a map of stacks", NameRule, nameHint, stackKind)

// Stack is one of the stacks of a project.
type Stack struct {
	Name    string
	Created bool     // beside the file: see Source.Created
	Apps    []string // that it has, in the order of the file
}

// Stacks gives the name of the project and its stacks: those of the file in its order, then those that were created beside
// it, by name. A file without stacks has the one stack dev. What is wrong with a stack is for Load to say: the error, as
// of Load, is only of what keeps stacks from being known.
func Stacks(src Source) (project string, stacks []Stack, err error) {
	l := newLoader(src)
	root := l.read()
	if root == nil {
		return "", nil, l.problems.Err()
	}
	d := schema.Decoder{Problems: &l.problems}
	keys, _ := fileKind.Decode(&d, root)
	if err := l.problems.Err(); err != nil {
		return "", nil, err
	}
	project = l.project(keys)
	for _, s := range l.stacks(project, keys) {
		one := Stack{Name: s.name, Created: s.created, Apps: []string{}}
		for _, a := range l.members(s, keys.Apps.V) {
			one.Apps = append(one.Apps, a.V.Name.V)
		}
		stacks = append(stacks, one)
	}
	return project, stacks, nil
}

// stack is a stack that can be chosen.
type stack struct {
	name    string
	at      *tree.Node // its name; nil: a file without stacks has it
	keys    stackKeys
	created bool
}

// pick says which stack of the files is meant, as far as their own stacks and the caller tell, and has what only other
// stacks need be missing.
func (l *loader) pick(files []*tree.Node) {
	l.picked, l.muted = l.src.Stack, map[*tree.Node]bool{}
	names := []string{}
	for _, root := range files {
		if all := root.Find("stacks"); all != nil {
			for _, p := range all.Pairs {
				if !slices.Contains(names, p.Key.Text) {
					names = append(names, p.Key.Text)
				}
			}
		}
	}
	if l.picked == "" {
		switch {
		case len(names) == 0 || slices.Contains(names, DefaultStack):
			l.picked = DefaultStack
		case len(names) == 1:
			l.picked = names[0]
		}
	}
	for _, root := range files {
		if all := root.Find("stacks"); all != nil {
			for _, p := range all.Pairs {
				if p.Key.Text != l.picked {
					p.Value.Walk(func(n *tree.Node) { l.muted[n] = true })
				}
			}
		}
	}
}

// stacks gives every stack that there is.
func (l *loader) stacks(project string, keys fileKeys) (all []stack) {
	for _, e := range keys.Stacks.V {
		all = append(all, stack{name: e.Key.Text, at: e.Key, keys: e.Value.V})
	}
	if len(all) == 0 {
		all = append(all, stack{name: DefaultStack})
	}
	if l.src.Created == nil {
		return all
	}
	created := l.src.Created(project)
	names := make([]string, 0, len(created))
	for name := range created {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if i := slices.IndexFunc(all, func(s stack) bool { return s.name == name }); i >= 0 {
			at := l.start()
			if all[i].at != nil {
				at = all[i].at.Pos
			}
			l.problems.Add(at, tree.Meaning, "the file has the stack %q, and it was created beside the file too", name).Hint = "rename it, or delete the other"
			continue
		}
		f := tree.NewFile("stack "+name, "stack "+name, created[name])
		n := tree.Parse(f, &l.problems)
		if n == nil {
			continue
		}
		if name != l.picked {
			n.Walk(func(n *tree.Node) { l.muted[n] = true })
		}
		n.Walk(l.expand)
		d := schema.Decoder{Problems: &l.problems}
		if k, ok := stackKind.Decode(&d, n); ok {
			all = append(all, stack{name: name, at: n, keys: k, created: true})
		}
	}
	return all
}

// choose finds the stack that is meant, and looks at all of them.
func (l *loader) choose(project string, keys fileKeys) (stack, []schema.Value[appKeys]) {
	all := l.stacks(project, keys)
	names := make([]string, len(all))
	var chosen stack
	var apps []schema.Value[appKeys]
	for i, s := range all {
		names[i] = s.name
		members := l.members(s, keys.Apps.V)
		if s.name == l.picked {
			chosen, apps = s, members
		}
	}
	if chosen.name == "" { // what is wrong with the apps is said all the same
		apps = keys.Apps.V
	}
	at := l.start()
	if keys.Stacks.Set() {
		at = keys.Stacks.Node.Pos
	}
	switch {
	case l.picked == "":
		p := l.problems.Add(at, tree.Meaning, "there are several stacks and none is called %s: say which one is meant", DefaultStack)
		p.Allowed = names
	case chosen.name == "" && len(all) == 1 && all[0].at == nil:
		l.problems.Add(at, tree.Meaning, "there is no stack %q: a file without stacks has the one stack %s", l.picked, DefaultStack)
	case chosen.name == "":
		p := l.problems.Add(at, tree.Meaning, "there is no stack %q", l.picked)
		p.Allowed, p.Near = names, fault.Near(l.picked, names)
	}
	return chosen, apps
}

// members gives the apps of a stack as that stack has them.
func (l *loader) members(s stack, apps []schema.Value[appKeys]) []schema.Value[appKeys] {
	var out []schema.Value[appKeys]
	hit := make([]bool, len(s.keys.Apps.V.Names))
	left := map[string]bool{} // apps that the stack does not have
	for _, a := range apps {
		has := !s.keys.Apps.Set() || s.keys.Apps.V.All
		for i, glob := range s.keys.Apps.V.Names {
			if ok, err := path.Match(glob.V, a.V.Name.V); ok && err == nil {
				has, hit[i] = true, true
			}
		}
		if left[a.V.Name.V] = !has; has {
			out = append(out, a)
		}
	}
	for i, glob := range s.keys.Apps.V.Names {
		if !hit[i] && len(apps) > 0 {
			l.noApp(glob, apps)
		}
	}
	for i := range out {
		out[i].V.DependsOn.V = slices.DeleteFunc(slices.Clone(out[i].V.DependsOn.V), func(d schema.Value[dependencyKeys]) bool {
			name := d.V.App.V
			if left[name] {
				l.mean(s.keys.Apps.Node, "the stack %s leaves out %s, which %s depends on", s.name, name, out[i].V.Name.V).Hint = "add " + name
			}
			return left[name]
		})
		s.keys.give(&out[i].V)
		l.probesOf(s.keys, out[i].V)
	}
	l.counts(s, out, left)
	return out
}

// noApp says that a stack names an app that there is not.
func (l *loader) noApp(glob schema.Value[string], apps []schema.Value[appKeys]) {
	names := appNames(apps)
	if strings.ContainsAny(glob.V, "*?[") {
		p := l.mean(glob.Node, "no app matches %q", glob.V)
		if p.Allowed = names; slices.Contains(names, strings.Trim(glob.V, "*?[]^")) {
			p.Hint = "a glob has to be complete: " + strings.Trim(glob.V, "*?[]^") + "*"
		}
		return
	}
	p := l.mean(glob.Node, "there is no app %q", glob.V)
	p.Near, p.Allowed = fault.Near(glob.V, names), names
}

func appNames(apps []schema.Value[appKeys]) (names []string) {
	for _, a := range apps {
		names = append(names, a.V.Name.V)
	}
	return names
}

// give adds to an app what its stack says for all of its apps.
func (s stackKeys) give(a *appKeys) {
	a.Env.V = slices.Concat(s.Env.V, a.Env.V)
	if !a.Processes.Set() {
		s.program(&a.programKeys)
		return
	}
	a.Processes.V = slices.Clone(a.Processes.V)
	for i := range a.Processes.V {
		s.program(&a.Processes.V[i].V)
	}
}

func (s stackKeys) program(p *programKeys) {
	p.EnvFile.V = slices.Concat(p.EnvFile.V, s.EnvFile.V)
	p.Ports.V = slices.Clone(p.Ports.V)
	for i := range p.Ports.V {
		if port := &p.Ports.V[i].Value.V; !port.Auto {
			port.Base += s.PortOffset.V
		}
	}
	p.Sockets.V = slices.Clone(p.Sockets.V)
	for i := range p.Sockets.V {
		at := &p.Sockets.V[i].Value.V
		host, port, err := net.SplitHostPort(at.Address)
		if n, bad := strconv.Atoi(port); err == nil && bad == nil { // else it is a path, or wrong, which is said of what is written
			at.Address = net.JoinHostPort(host, strconv.Itoa(n+s.PortOffset.V))
		}
	}
}

// counts sets how many instances the apps of a stack have there.
func (l *loader) counts(s stack, apps []schema.Value[appKeys], left map[string]bool) {
	for _, e := range s.keys.Instances.V {
		name, process, one := strings.Cut(e.Key.Text, ":")
		i := slices.IndexFunc(apps, func(a schema.Value[appKeys]) bool { return a.V.Name.V == name })
		switch {
		case left[name]:
			l.mean(e.Key, "the stack %s does not have the app %q", s.name, name).Hint = "remove it, or add the app"
			continue
		case i < 0:
			p := l.mean(e.Key, "there is no app %q", name)
			p.Near, p.Allowed = fault.Near(name, appNames(apps)), appNames(apps)
			continue
		}
		a := &apps[i].V
		if !a.Processes.Set() {
			if one && process != name {
				l.mean(e.Key, "%s has no process %q", name, process).Hint = "write " + name
				continue
			}
			a.Instances = e.Value
			continue
		}
		processes := make([]string, len(a.Processes.V))
		for j, p := range a.Processes.V {
			processes[j] = name + ":" + p.V.Name.V
		}
		j := slices.Index(processes, e.Key.Text)
		switch {
		case !one && len(processes) == 1:
			j = 0
		case !one:
			l.mean(e.Key, "%s has several processes: say which one is meant", name).Allowed = processes
		case j < 0:
			p := l.mean(e.Key, "%s has no process %q", name, process)
			p.Near, p.Allowed = fault.Near(e.Key.Text, processes), processes
		}
		if j >= 0 {
			a.Processes.V[j].V.Instances = e.Value
		}
	}
}

// probesOf refuses a probe that asks one of the program's own ports by a number which the stack moves: it would be
// answered by another stack.
func (l *loader) probesOf(s stackKeys, a appKeys) {
	by := s.PortOffset.V
	programs := []programKeys{a.programKeys}
	for _, p := range a.Processes.V {
		programs = append(programs, p.V)
	}
	for _, p := range programs {
		for _, port := range p.Ports.V {
			before := strconv.Itoa(port.Value.V.Base - by)
			for _, probe := range []probeKeys{p.Ready.V.probeKeys, p.Health.V.probeKeys} {
				for _, v := range []schema.Value[string]{probe.Port, probe.TCP, probe.HTTP} {
					if by > 0 && !port.Value.V.Auto && v.Set() && before == literalIn(v.V) {
						l.mean(v.Node, "port %s is %q of %s, and the stack moves it to %d", before, port.Key.Text, cmp.Or(p.Name.V, a.Name.V), port.Value.V.Base).Hint =
							fmt.Sprintf("name it instead of the number: %s", port.Key.Text)
					}
				}
			}
		}
	}
}

// literalIn is the port that a probe says as a number, or "".
func literalIn(text string) string {
	if u, err := url.Parse(text); err == nil && u.Port() != "" {
		return u.Port()
	}
	if _, port, err := net.SplitHostPort(text); err == nil {
		return port
	}
	return text
}
