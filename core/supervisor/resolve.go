package supervisor

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Resolve turns selectors into targets. Without names it means every app of the project: the named one, the one whose
// file lies in the named folder, else the only one. Faults: not_found with candidates, invalid (ambiguous, bad grammar).
func (s *Supervisor) Resolve(ctx context.Context, names []op.Selector, project op.ProjectRef, stack op.StackRef) ([]op.Target, error) {
	views, err := s.scope(names, string(project), string(stack))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		ts := make([]op.Target, 0, len(views))
		for _, v := range views {
			ts = append(ts, target(v, "", 0))
		}
		return ts, nil
	}
	var ts []op.Target
	for _, name := range names {
		found, err := match(string(name), views)
		if err != nil {
			return nil, err
		}
		for _, t := range found {
			if !slices.ContainsFunc(ts, func(o op.Target) bool {
				return o.Key == t.Key && o.Process == t.Process && o.Instance == t.Instance
			}) {
				ts = append(ts, t)
			}
		}
	}
	return ts, nil
}

// scope gives the apps among which names are looked up.
func (s *Supervisor) scope(names []op.Selector, project, stack string) ([]*App, error) {
	all := s.Apps()
	if strings.HasPrefix(project, "/") {
		name, ok := s.ProjectAt(project)
		if !ok {
			if len(names) > 0 { // a name may still be found elsewhere
				return all, nil
			}
			return nil, fault.New(fault.NotFound, "the project in %s is not known to the daemon", project).WithReason("project_unknown").
				WithHint("omnitron up").WithCandidates(s.Projects()...)
		}
		if len(names) > 0 { // a bare name means this project's app first, but others can be named too
			here := filter(all, name, stack)
			for _, n := range names {
				if found, err := match(string(n), here); err != nil || len(found) == 0 {
					return all, nil
				}
			}
			return here, nil
		}
		project = name
	}
	if project != "" && !slices.Contains(s.Projects(), project) {
		return nil, fault.New(fault.NotFound, "there is no project %q", project).WithReason("project_unknown").WithCandidates(s.Projects()...)
	}
	if project == "" && len(names) == 0 {
		switch ps := s.Projects(); len(ps) {
		case 0:
			return nil, nil
		case 1:
			project = ps[0]
		default:
			return nil, fault.New(fault.Invalid, "there are several projects: say which one").WithReason("ambiguous").
				WithHint("name the apps, or add --project").WithCandidates(ps...)
		}
	}
	return filter(all, project, stack), nil
}

func filter(all []*App, project, stack string) []*App {
	var out []*App
	for _, v := range all {
		if (project == "" || v.Project == project) && (stack == "" || v.Stack == stack) {
			out = append(out, v)
		}
	}
	return out
}

// match finds what one selector names.
func match(name string, views []*App) ([]op.Target, error) {
	app, process, instance, err := split(name)
	if err != nil {
		return nil, err
	}
	glob := strings.ContainsAny(app, "*?[")
	var hits []*App
	for _, v := range views {
		if glob {
			ok := false
			for _, form := range forms(v) {
				if m, err := path.Match(app, form); err == nil && m {
					ok = true
				}
			}
			if ok {
				hits = append(hits, v)
			}
			continue
		}
		if slices.Contains(forms(v), app) {
			hits = append(hits, v)
		}
	}
	if len(hits) == 0 {
		return nil, unknown(name, app, views)
	}
	if len(hits) > 1 && !glob {
		keys := make([]string, len(hits))
		for i, v := range hits {
			keys[i] = v.Key
		}
		return nil, fault.New(fault.Invalid, "%q is ambiguous: %s", name, strings.Join(keys, ", ")).WithReason("ambiguous").WithCandidates(keys...)
	}
	ts := make([]op.Target, 0, len(hits))
	for _, v := range hits {
		process := process
		if process == "" && instance > 0 {
			if len(v.def.Processes) != 1 {
				return nil, fault.New(fault.Invalid, "%q: %s has several processes; name one as %s:process#%d", name, v.Key, v.Name, instance).WithReason("ambiguous")
			}
			process = v.def.Processes[0].Name
		}
		t := target(v, process, instance)
		if len(t.Slots) == 0 && process != "" {
			return nil, unknownSlot(name, v)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// split takes a selector apart: app, app:process, app:process#2, app#2.
func split(name string) (app, process string, instance int, err error) {
	rest, num, hasNum := strings.Cut(name, "#")
	app, process, _ = strings.Cut(rest, ":")
	if hasNum {
		instance, err = strconv.Atoi(num)
		if err != nil || instance < 1 {
			return "", "", 0, fault.New(fault.Invalid, "%q: the instance after # is a number from 1", name)
		}
	}
	return app, process, instance, nil
}

// forms are the names of an app: every suffix of its key.
func forms(v *App) []string { return []string{v.Key, v.Stack + "/" + v.Name, v.Name} }

func target(v *App, process string, instance int) op.Target {
	t := op.Target{Key: v.Key, Process: process, Instance: instance, Generation: v.Epoch, Project: v.Project, Stack: v.Stack}
	for _, i := range v.Instances {
		if (process == "" || i.Process == process) && (instance == 0 || i.Number == instance) {
			t.Slots = append(t.Slots, i.Slot)
		}
	}
	return t
}

func unknown(name, app string, views []*App) error {
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
	return e.WithHint("omnitron ls")
}

func unknownSlot(name string, v *App) error {
	var slots []string
	for _, i := range v.Instances {
		slots = append(slots, i.Slot)
	}
	return fault.New(fault.NotFound, "%s has nothing that is named %q", v.Key, name).WithReason("slot_unknown").WithCandidates(slots...)
}
