package projects

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Where a stack comes from.
const (
	File    = "file"    // the project's file has it
	Created = "created" // it was created beside the file
	Former  = "former"  // the file had it once; its apps are still known
)

// Stack is a stack of a project.
type Stack struct {
	Project, Name string
	Origin        string
	Apps          []string // names of those that it should have
	Known         *supervisor.Stack
	Created       time.Time // of a created one
	By            string
}

// State is how a stack stands: declared (nobody has started it yet), running (all of its enabled apps are up), partly (some are),
// changing, degraded (some have failed) or stopped.
func (s Stack) State() string {
	if s.Known == nil {
		return "declared"
	}
	up, enabled, alive, moving, bad := 0, 0, false, false, false
	for _, v := range s.Known.Apps {
		if v.Enabled {
			enabled++
		}
		if v.State.Up() {
			up++
		}
		alive = alive || v.Alive()
		switch v.State {
		case view.Crashed, view.Failed, view.Backoff, view.Stuck:
			bad = true
		case view.Starting, view.Stopping, view.Waiting:
			moving = true
		}
		bad = bad || v.Health == "unhealthy"
	}
	switch {
	case bad:
		return "degraded"
	case moving:
		return "changing"
	case up > 0 && up >= enabled:
		return "running"
	case up > 0 || alive:
		return "partly"
	}
	return "stopped"
}

// Stacks gives the stacks of a project within the scope of the caller: those of the file in its order, those that were
// created, and those that the file has no more. Faults: not_found (project_unknown).
func (p *Projects) Stacks(ctx context.Context, project string) ([]Stack, error) {
	scope := op.CallerOf(ctx).Scope
	known := map[string]*supervisor.Stack{}
	for _, st := range p.sup.Stacks(ctx) {
		if st.Project == project {
			known[st.Name] = &st
		}
	}
	if len(known) == 0 {
		return nil, p.unknown(ctx, project)
	}
	made, err := p.created.List(ctx, project)
	if err != nil {
		return nil, err
	}
	var out []Stack
	add := func(st Stack) {
		if scope.Covers(project, st.Name) && !slices.ContainsFunc(out, func(o Stack) bool { return o.Name == st.Name }) {
			st.Project, st.Known = project, known[st.Name]
			out = append(out, st)
		}
	}
	var declared []config.Stack
	var failed error
	src, err := p.Recorded(ctx, project)
	if err == nil {
		src.Created = p.createdIn(ctx, &failed)
		_, declared, err = config.Stacks(src)
	}
	if failed != nil {
		return nil, failed
	}
	lost := Former
	if err != nil { // nobody can read the file any more: what is known of it is what there is
		lost = File
	}
	for _, d := range declared {
		st := Stack{Name: d.Name, Origin: File, Apps: d.Apps}
		if i := slices.IndexFunc(made, func(m records.Stack) bool { return m.Name == d.Name }); d.Created && i >= 0 {
			st.Origin, st.Created, st.By = Created, made[i].Created, made[i].By
		}
		add(st)
	}
	for _, m := range made {
		add(Stack{Name: m.Name, Origin: Created, Created: m.Created, By: m.By})
	}
	rest := make([]string, 0, len(known))
	for name := range known {
		rest = append(rest, name)
	}
	slices.Sort(rest)
	for _, name := range rest {
		add(Stack{Name: name, Origin: lost})
	}
	for i := range out {
		if out[i].Apps == nil {
			out[i].Apps = []string{}
			for _, v := range appsOf(out[i]) {
				out[i].Apps = append(out[i].Apps, v.Name)
			}
		}
	}
	return out, nil
}

func appsOf(s Stack) []*view.App {
	if s.Known == nil {
		return nil
	}
	return s.Known.Apps
}

// Find gives the stack that a name means: stack, or project/stack, which then says the project. Faults: not_found
// (project_unknown, stack_unknown), invalid (ambiguous).
func (p *Projects) Find(ctx context.Context, ref op.ProjectRef, name string) (Stack, error) {
	if project, stack, both := strings.Cut(name, "/"); both {
		ref, name = op.ProjectRef(project), stack
	}
	project, err := p.Project(ctx, ref)
	if err != nil {
		return Stack{}, err
	}
	all, err := p.Stacks(ctx, project)
	if err != nil {
		return Stack{}, err
	}
	names := []string{}
	for _, st := range all {
		if st.Name == name {
			return st, nil
		}
		names = append(names, st.Name)
	}
	e := fault.New(fault.NotFound, "%s has no stack %q", project, name).WithReason("stack_unknown").WithHint("%s", fault.Do("stacks.list", "project", project)).WithCandidates(names...)
	if near := fault.Near(name, names); near != "" {
		e.Candidates = []string{near}
	}
	return Stack{}, e
}

// Project gives the name of the project that is meant; "" means the only one. Faults: not_found (project_unknown), invalid
// (ambiguous).
func (p *Projects) Project(ctx context.Context, ref op.ProjectRef) (string, error) {
	names := p.Names(ctx)
	name := string(ref)
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "" && len(names) > 1:
		return "", fault.New(fault.Invalid, "there are several projects: say which one").WithReason("ambiguous").WithHint("%s", fault.Do("projects.list")).WithCandidates(names...)
	case strings.HasPrefix(name, "/"):
		if known, ok := p.sup.ProjectAt(name); ok {
			name = known
		}
	}
	if !slices.Contains(names, name) {
		return "", p.unknown(ctx, name)
	}
	return name, nil
}

// Names gives the projects of which the caller sees something.
func (p *Projects) Names(ctx context.Context) (names []string) {
	for _, st := range p.sup.Stacks(ctx) {
		if !slices.Contains(names, st.Project) {
			names = append(names, st.Project)
		}
	}
	return names
}

// Check says whether a stack could be created beside the file of a project, and which apps it would have. Faults as of Create.
func (p *Projects) Check(ctx context.Context, project, name, says string) (apps []string, err error) {
	src, err := p.Recorded(ctx, project)
	if err != nil {
		return nil, err
	}
	_, declared, err := config.Stacks(src)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(declared, func(d config.Stack) bool { return d.Name == name }) {
		return nil, fault.New(fault.Conflict, "the file of %s has a stack %s", project, name).WithReason("stack_in_file").
			WithHint("%s        start that one, or choose another name", fault.Do("stacks.start", "name", name, "project", project))
	}
	src = p.Of(src, name)
	src.Created = func(string) map[string]string { return map[string]string{name: says} }
	def, _, err := config.Load(src)
	if err != nil {
		return nil, err
	}
	apps = []string{}
	for _, a := range def.Apps {
		apps = append(apps, a.Name)
	}
	return apps, nil
}

// Create keeps a stack beside the file of a project, when it is right. Faults: invalid (config_invalid), conflict (stack_in_file,
// stack_exists), not_found, internal (state_not_durable).
func (p *Projects) Create(ctx context.Context, project, name, says string) (Stack, error) {
	if _, err := p.Check(ctx, project, name, says); err != nil {
		return Stack{}, err
	}
	if err := p.created.Add(ctx, records.Stack{Project: project, Name: name, Created: time.Now(), By: op.CallerOf(ctx).Principal(), Says: says}); err != nil {
		return Stack{}, err
	}
	return p.Find(ctx, op.ProjectRef(project), name)
}

// Declare has the supervisor follow the definition of a stack that it does not follow yet; nothing is started. Faults: as
// of Load, Keep and Apply.
func (p *Projects) Declare(ctx context.Context, src config.Source, stack string) (*config.Definition, []config.Warning, error) {
	src = p.Of(src, stack)
	def, warnings, err := p.Load(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	if err := p.sup.Claim(def); err != nil {
		return nil, nil, err
	}
	return def, warnings, p.Follow(ctx, def, src)
}

// Follow keeps a definition and has the supervisor follow it. Faults: as of Keep and Apply.
func (p *Projects) Follow(ctx context.Context, def *config.Definition, src config.Source) error {
	rev, err := p.Keep(ctx, def, src)
	if err != nil {
		return err
	}
	_, err = p.sup.Apply(ctx, def, rev, supervisor.Command{Seq: op.SeqOf(ctx), Wait: true})
	return err
}

// Forget stops the apps of a stack and forgets it with all of its revisions. With an error it is still known in part, and can be
// forgotten again. Faults: as of stopping apps.
func (p *Projects) Forget(ctx context.Context, project, stack string) ([]view.Result, error) {
	results, err := p.sup.Forget(ctx, project, stack, supervisor.Command{Seq: op.SeqOf(ctx), Wait: true})
	if err != nil {
		return results, err
	}
	if err := p.revs.Delete(ctx, project, stack); err != nil {
		return results, err
	}
	return results, p.created.Delete(ctx, project, stack)
}
