// Package target finds what is meant by the names that callers give: apps, processes and instances, within the scope of the
// caller.
package target

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Known is what is known of the apps that can be meant.
type Known interface {
	Apps() []*view.App                           // in the order of their keys
	Projects() []string                          // those that have apps, in order
	ProjectAt(dir string) (name string, ok bool) // the project whose file lies in a folder
}

// Resolver turns names into targets.
type Resolver struct{ Known Known }

// Resolve turns selectors into targets. Without names it means every app of the project: the named one, the one whose
// file lies in the named folder, else the only one; and of its stacks the named one, dev, else the only one. A name means
// an app of the project in the named folder first. What lies outside of the scope of the caller is not there. Faults: not_found (app_unknown, slot_unknown, project_unknown) with
// candidates, invalid (ambiguous, bad_selector).
func (s Resolver) Resolve(ctx context.Context, names []op.Selector, project op.ProjectRef, stack op.StackRef) ([]op.Target, error) {
	all := filter(s.AppsOf(ctx), "", string(stack))
	if len(names) == 0 {
		return s.every(ctx, all, project)
	}
	first := all
	switch name, known := s.projectIn(ctx, project); {
	case known:
		first = filter(all, name, "")
	case strings.HasPrefix(string(project), "/"): // a folder without a project: names may be known all the same
	case project != "":
		return nil, s.unknownProject(ctx, project)
	}
	var ts []op.Target
	for _, name := range names {
		found, err := match(string(name), first)
		if fault.From(err) != nil && fault.From(err).Reason == "app_unknown" && strings.HasPrefix(string(project), "/") {
			elsewhere, other := match(string(name), all)
			if f := fault.From(other); f == nil || f.Reason != "app_unknown" || len(f.Candidates) == 1 { // else the apps of the folder are what is offered
				found, err = elsewhere, other
			}
		}
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			if !slices.ContainsFunc(ts, func(o op.Target) bool { return o.String() == t.String() }) {
				ts = append(ts, t)
			}
		}
	}
	return ts, nil
}

// every gives all apps of a project and one stack of it.
func (s Resolver) every(ctx context.Context, all []*view.App, project op.ProjectRef) ([]op.Target, error) {
	name, err := s.Project(ctx, project)
	if err == nil && name == "" && op.CallerOf(ctx).Scope.Bounded() { // to some methods no target is as good as all
		err = fault.New(fault.NotFound, "there is no project within the limits of the token").WithReason("project_unknown")
	}
	if err != nil || name == "" {
		return nil, err
	}
	views := filter(all, name, "")
	var stacks []string
	for _, v := range views {
		if !slices.Contains(stacks, v.Stack) {
			stacks = append(stacks, v.Stack)
		}
	}
	switch {
	case slices.Contains(stacks, "dev"):
		views = filter(views, name, "dev")
	case len(stacks) > 1:
		return nil, fault.New(fault.Invalid, "project %s has several stacks and none is called dev: say which one", name).WithReason("ambiguous").
			WithHint("name the apps, or give the stack").WithCandidates(stacks...)
	}
	ts := make([]op.Target, 0, len(views))
	for _, v := range views {
		ts = append(ts, Of(v, "", 0))
	}
	return ts, nil
}

// Project gives the name of the project that a reference means: a name, a folder, or "" for the only one; "" when there is
// none at all; those outside of the scope of the caller are not there. Faults: not_found (project_unknown), invalid
// (ambiguous).
func (s Resolver) Project(ctx context.Context, ref op.ProjectRef) (string, error) {
	if ref != "" {
		name, known := s.projectIn(ctx, ref)
		if !known {
			return "", s.unknownProject(ctx, ref)
		}
		return name, nil
	}
	switch ps := s.projectsOf(ctx); len(ps) {
	case 0:
		return "", nil
	case 1:
		return ps[0], nil
	default:
		return "", fault.New(fault.Invalid, "there are several projects: say which one").WithReason("ambiguous").
			WithHint("name the apps, or give the project").WithCandidates(ps...)
	}
}

// AppsOf gives the apps that lie within the scope of the caller.
func (s Resolver) AppsOf(ctx context.Context) []*view.App {
	all, scope := s.Known.Apps(), op.CallerOf(ctx).Scope
	if !scope.Bounded() {
		return all
	}
	var out []*view.App
	for _, v := range all {
		if scope.Covers(v.Project, v.Stack) {
			out = append(out, v)
		}
	}
	return out
}

// projectsOf gives the projects of which the caller sees something.
func (s Resolver) projectsOf(ctx context.Context) []string {
	if !op.CallerOf(ctx).Scope.Bounded() {
		return s.Known.Projects()
	}
	var out []string
	for _, v := range s.AppsOf(ctx) {
		if !slices.Contains(out, v.Project) {
			out = append(out, v.Project)
		}
	}
	slices.Sort(out)
	return out
}

// projectIn finds a project by its name or its folder.
func (s Resolver) projectIn(ctx context.Context, ref op.ProjectRef) (string, bool) {
	name, known := string(ref), true
	if strings.HasPrefix(name, "/") {
		name, known = s.Known.ProjectAt(name)
	}
	return name, known && slices.Contains(s.projectsOf(ctx), name)
}

func (s Resolver) unknownProject(ctx context.Context, ref op.ProjectRef) error {
	e := fault.New(fault.NotFound, "there is no project %q", string(ref))
	if strings.HasPrefix(string(ref), "/") {
		e = fault.New(fault.NotFound, "the project in %s is not known to the daemon", string(ref)).WithHint("omnitron up")
	}
	return e.WithReason("project_unknown").WithCandidates(s.projectsOf(ctx)...)
}

func filter(all []*view.App, project, stack string) []*view.App {
	var out []*view.App
	for _, v := range all {
		if (project == "" || v.Project == project) && (stack == "" || v.Stack == stack) {
			out = append(out, v)
		}
	}
	return out
}

// match finds what one selector names.
func match(name string, views []*view.App) ([]op.Target, error) {
	app, process, instance, err := split(name)
	if err != nil {
		return nil, err
	}
	glob := strings.ContainsAny(app, globs)
	var hits []*view.App
	for _, v := range views {
		if slices.ContainsFunc(forms(v), func(form string) bool {
			if !glob {
				return form == app
			}
			ok, _ := path.Match(app, form) // split has seen that it is a pattern
			return ok
		}) {
			hits = append(hits, v)
		}
	}
	switch {
	case len(hits) == 0:
		return nil, unknown(app, views)
	case len(hits) > 1 && !glob:
		keys := make([]string, len(hits))
		for i, v := range hits {
			keys[i] = v.Key
		}
		return nil, fault.New(fault.Invalid, "%q is ambiguous: %s", name, strings.Join(keys, ", ")).WithReason("ambiguous").WithCandidates(keys...)
	}
	var ts []op.Target
	for _, v := range hits {
		process := process
		if process == "" && instance > 0 {
			if len(v.Definition.Processes) != 1 {
				return nil, fault.New(fault.Invalid, "%q: %s has several processes; name one as %s:process#%d", name, v.Key, v.Name, instance).WithReason("ambiguous")
			}
			process = v.Definition.Processes[0].Name
		}
		for _, process := range processes(v, process) {
			if t := Of(v, process, instance); len(t.Slots) > 0 || process == "" {
				ts = append(ts, t)
			}
		}
	}
	if len(ts) == 0 { // a pattern may hit apps that lack the process, as long as one has it
		return nil, unknownSlot(name, hits[0])
	}
	return ts, nil
}

// processes gives the processes of an app that a name or a pattern means; "" means the whole app.
func processes(v *view.App, name string) []string {
	if !strings.ContainsAny(name, globs) {
		return []string{name}
	}
	var hits []string
	for _, p := range v.Definition.Processes {
		if ok, _ := path.Match(name, p.Name); ok { // split has seen that it is a pattern
			hits = append(hits, p.Name)
		}
	}
	return hits
}

// globs are the characters that make a name a pattern.
const globs = "*?["

// split takes a selector apart: app, app:process, app:process#2, app#2.
func split(name string) (app, process string, instance int, err error) {
	rest, num, hasNum := strings.Cut(name, "#")
	app, process, hasProcess := strings.Cut(rest, ":")
	bad := func(why string) error {
		return fault.New(fault.Invalid, "%q: %s", name, why).WithReason("bad_selector").WithHint("app, app:process or app:process#2; * stands for anything")
	}
	if hasNum {
		if instance, err = strconv.Atoi(num); err != nil || instance < 1 {
			return "", "", 0, bad("the instance after # is a number from 1")
		}
	}
	for _, pattern := range []string{app, process} {
		if _, err := path.Match(pattern, ""); err != nil {
			return "", "", 0, bad("the pattern is not complete")
		}
	}
	if app == "" || hasProcess && process == "" {
		return "", "", 0, bad("a name is missing")
	}
	return app, process, instance, nil
}

// forms are the names of an app: every suffix of its key.
func forms(v *view.App) []string { return []string{v.Key, v.Stack + "/" + v.Name, v.Name} }

// Of makes a target of an app, of a process of it, or of one instance of that: process "" and instance 0 mean all.
func Of(v *view.App, process string, instance int) op.Target {
	t := op.Target{Key: v.Key, Process: process, Instance: instance, Generation: v.Epoch, Project: v.Project, Stack: v.Stack}
	for _, i := range v.Instances {
		if (process == "" || i.Process == process) && (instance == 0 || i.Number == instance) {
			t.Slots = append(t.Slots, i.Slot)
		}
	}
	return t
}

func unknown(app string, views []*view.App) error {
	var names []string
	for _, v := range views {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	e := fault.New(fault.NotFound, "there is no app %q", app).WithReason("app_unknown").WithCandidates(names...)
	if near := fault.Near(app, names); near != "" {
		e.Candidates = []string{near}
	}
	if len(names) == 0 {
		e.Message += "; nothing is declared yet"
		return e.WithHint("omnitron up in a folder with an omnitron.yaml")
	}
	return e.WithHint("%s", fault.Do("apps.list"))
}

func unknownSlot(name string, v *view.App) error {
	var slots []string
	for _, i := range v.Instances {
		slots = append(slots, i.Slot)
	}
	return fault.New(fault.NotFound, "%s has nothing that is named %q", v.Key, name).WithReason("slot_unknown").WithCandidates(slots...)
}

// Means reports whether a target means an instance.
func Means(t op.Target, process string, instance int) bool {
	return (t.Process == "" || process == t.Process) && (t.Instance == 0 || instance == t.Instance)
}
