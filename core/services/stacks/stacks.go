// Package stacks speaks of the stacks of projects: the same apps several times side by side.
package stacks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/sample"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("stacks", "Stacks of projects: the same apps several times side by side.",
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List stacks with their state.",
		op.Global(), op.AnyScope(), op.Resource("omnitron://stacks", "apps", "stacks", "projects"), op.Keywords("environments dev staging production which overview"),
		op.Shows("those of a project", `{"project":"shop"}`), op.Fails("a project that is not there", `{"project":"nope"}`, "not_found")),
	op.Unary("get", op.Viewer, op.Reads, (*Service).Get, "Show where a stack comes from and which apps it has.",
		op.Global(), op.AnyScope(), op.Keywords("environment show describe details one apps"),
		op.Shows("one of them", `{"name":"dev","project":"shop"}`), op.Fails("a name that is not there", `{"name":"nope","project":"shop"}`, "not_found")),
	op.Unary("status", op.Viewer, op.Reads, (*Service).Status, "Show how a stack stands, and what it uses.",
		op.Global(), op.AnyScope(), op.Keywords("environment totals summary"),
		op.Shows("one of them", `{"name":"dev","project":"shop"}`), op.Fails("a name that is not there", `{"name":"nope","project":"shop"}`, "not_found")),
	op.Unary("create", op.Admin, op.Adds, (*Service).Create, "Create a stack beside the file of a project; nothing is started.",
		op.Global(), op.Planned((*Service).PlanCreate), op.Undo("stacks.delete"), op.Keywords("environment new add copy clone preview review"),
		op.Shows("one app on other ports", `{"name":"qa","project":"shop","apps":["web"],"env":{"LOG":"debug"},"port_offset":100}`), op.Fails("a name that is in the file", `{"name":"dev","project":"shop"}`, "conflict")),
	op.Unary("delete", op.Admin, op.Destroys, (*Service).Delete, "Stop the apps of a stack that was created, and forget it.",
		op.Global(), op.Planned((*Service).PlanDelete), op.Timeout(time.Hour), op.Keywords("environment drop"),
		op.Shows("one that was created", `{"name":"spare","project":"shop"}`), op.Fails("one that is in the file", `{"name":"dev","project":"shop"}`, "conflict")),
	op.Unary("start", op.Operator, op.Sets, (*Service).Start, "Bring a stack up; answers when all that is enabled in it is ready or has failed.",
		op.Global(), op.AnyScope(), op.Planned((*Service).PlanStart), op.Timeout(time.Hour), op.Undo("stacks.stop"), op.Keywords("environment"),
		op.Shows("one of them, without waiting", `{"name":"dev","project":"shop","no_wait":true}`), op.Fails("a name that is not there", `{"name":"nope","project":"shop"}`, "not_found")),
	op.Unary("stop", op.Operator, op.Interrupts, (*Service).Stop, "Stop all that runs of a stack, dependents first.",
		op.Global(), op.AnyScope(), op.Planned((*Service).PlanStop), op.Timeout(time.Hour), op.Undo("stacks.start"), op.Keywords("environment"),
		op.Shows("one of them", `{"name":"dev","project":"shop"}`), op.Fails("a name that is not there", `{"name":"nope","project":"shop"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	projects *projects.Projects
	sup      *supervisor.Supervisor
	samples  *sample.Sampler
	bus      *bus.Bus
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	return &Service{projects.New(h.Supervisor, h.Revisions, records.NewStacks(h.Store), h.User), h.Supervisor, h.Samples, h.Bus}, nil
}

// Question names a stack.
type Question struct {
	Name    string        `json:"name" cli:"arg" complete:"stacks" jsonschema:"stack"`
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
}

// Listing says which stacks to list.
type Listing struct {
	op.Page
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"only those of this project"`
	All     bool          `json:"all,omitempty" cli:"short=A" jsonschema:"of every project"`
}

// Row is a stack in a list.
type Row struct {
	Name     string `json:"name" table:"1" jsonschema:"name of the stack"`
	Project  string `json:"project" table:"1" jsonschema:"project"`
	State    string `json:"state" table:"1" enum:"declared,stopped,changing,running,partly,degraded" jsonschema:"declared: nobody has started it yet; partly: some of its enabled apps are up; degraded: some have failed"`
	Up       string `json:"up" table:"2" jsonschema:"apps that are up, of all"`
	Origin   string `json:"origin" table:"3" enum:"file,created,former" jsonschema:"whether the project's file has it, it was created beside that, or the file has it no more"`
	Revision int64  `json:"revision,omitempty" table:"4" jsonschema:"number of its definition"`
	Key      string `json:"key" table:"5" jsonschema:"project/stack"`
}

func row(st projects.Stack) Row {
	r := Row{Name: st.Name, Project: st.Project, State: st.State(), Origin: st.Origin, Key: st.Project + "/" + st.Name}
	up, all := 0, len(st.Apps)
	if st.Known != nil {
		r.Revision, all = st.Known.Revision, len(st.Known.Apps)
		for _, v := range st.Known.Apps {
			if v.State.Up() {
				up++
			}
		}
	}
	r.Up = fmt.Sprintf("%d/%d", up, all)
	return r
}

// List gives the stacks of a project, or of all, by project and name. Faults: not_found (project_unknown).
func (s *Service) List(ctx context.Context, in Listing) (op.List[Row], error) {
	names := s.projects.Names(ctx)
	if in.Project != "" && !in.All {
		name, err := s.projects.Project(ctx, in.Project)
		if err != nil {
			return op.List[Row]{}, err
		}
		names = []string{name}
	}
	rows := []Row{}
	for _, name := range names {
		list, err := s.projects.Stacks(ctx, name)
		if err != nil {
			return op.List[Row]{}, err
		}
		for _, st := range list {
			rows = append(rows, row(st))
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
	out := op.List[Row]{Items: rows, Total: len(rows)}
	out.Items = slices.DeleteFunc(out.Items, func(r Row) bool { return r.Key <= in.Cursor && in.Cursor != "" })
	limit := in.Limit
	if limit == 0 {
		limit = 200
	}
	if len(out.Items) > limit {
		out.Items, out.Truncated, out.NextCursor = out.Items[:limit], true, out.Items[limit-1].Key
	}
	return out, nil
}

// Details is everything about where a stack comes from.
type Details struct {
	Row
	Dir     string     `json:"dir,omitempty" jsonschema:"folder of the project's file"`
	Apps    []string   `json:"apps" jsonschema:"names of its apps"`
	Created *time.Time `json:"created,omitempty" unit:"time" jsonschema:"when it was created, if it was"`
	By      string     `json:"by,omitempty" jsonschema:"who created it"`
}

// Get shows a stack. Faults: not_found (project_unknown, stack_unknown), invalid (ambiguous).
func (s *Service) Get(ctx context.Context, in Question) (Details, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return Details{}, err
	}
	return details(st), nil
}

func details(st projects.Stack) Details {
	d := Details{Row: row(st), Apps: st.Apps, By: st.By}
	if st.Known != nil {
		d.Dir = st.Known.Dir
	}
	if st.Origin == projects.Created {
		d.Created = &st.Created
	}
	return d
}

// Standing is how a stack stands.
type Standing struct {
	Row
	Apps      int        `json:"apps" jsonschema:"how many apps it has"`
	AppsUp    int        `json:"apps_up" jsonschema:"how many of them are up"`
	Failed    int        `json:"failed" jsonschema:"how many have failed, or try again and again"`
	Instances int        `json:"instances" jsonschema:"programs that run"`
	Restarts  int        `json:"restarts" jsonschema:"starts that nobody asked for"`
	CPU       float64    `json:"cpu_percent" unit:"percent" jsonschema:"CPU of everything that it runs; 100 is one core"`
	RSS       int64      `json:"rss_bytes" unit:"bytes" jsonschema:"resident memory of everything that it runs"`
	Items     []AppState `json:"items" table:"1" jsonschema:"its apps"`
}

// AppState is how an app of a stack stands.
type AppState struct {
	Name   string     `json:"name" table:"1" jsonschema:"app name"`
	State  view.State `json:"state" table:"1" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"derived from its processes"`
	Health string     `json:"health" table:"2" enum:"healthy,unhealthy,unknown" jsonschema:"what its probes say"`
	Reason string     `json:"reason,omitempty" table:"2" jsonschema:"why it is in this state"`
	Key    string     `json:"key" table:"4" jsonschema:"project/stack/app"`
}

// Status shows how a stack stands. Faults as of Get.
func (s *Service) Status(ctx context.Context, in Question) (Standing, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return Standing{}, err
	}
	out := Standing{Row: row(st), Apps: len(st.Apps), Items: []AppState{}}
	if st.Known == nil {
		for _, name := range st.Apps {
			out.Items = append(out.Items, AppState{Name: name, State: view.Stopped, Health: "unknown", Reason: "its stack was never started", Key: out.Key + "/" + name})
		}
		return out, nil
	}
	s.sup.Resample(s.samples)
	out.Apps = len(st.Known.Apps)
	for _, v := range st.Known.Apps {
		out.Items = append(out.Items, AppState{Name: v.Name, State: v.State, Health: v.Health, Reason: v.Reason, Key: v.Key})
		out.Restarts += v.Restarts
		switch v.State {
		case view.Running, view.Completed:
			out.AppsUp++
		case view.Crashed, view.Failed, view.Backoff, view.Stuck:
			out.Failed++
		}
		for _, i := range v.Instances {
			if i.PID == 0 {
				continue
			}
			out.Instances++
			if u, ok := s.samples.Latest(naming.Instance(v.Key, i.Process, i.Number)); ok {
				out.CPU += u.CPU
				out.RSS += u.RSS
			}
		}
	}
	return out, nil
}

// New stack, as stacks of a file are written.
type says struct {
	Apps       any            `json:"apps,omitempty"`
	Env        map[string]any `json:"env,omitempty"`
	Instances  map[string]int `json:"instances,omitempty"`
	PortOffset int            `json:"portOffset,omitempty"`
}

// Creation says what a new stack is.
type Creation struct {
	Name       string            `json:"name" cli:"arg" pattern:"^[a-z0-9][a-z0-9_-]{0,62}$" jsonschema:"name of the stack"`
	Project    op.ProjectRef     `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Apps       []string          `json:"apps,omitempty" jsonschema:"names and globs; none: all"`
	Env        map[string]string `json:"env,omitempty" jsonschema:"plain variables"`
	Secrets    map[string]string `json:"secrets,omitempty" jsonschema:"variables by names of secrets"`
	Instances  map[string]int    `json:"instances,omitempty" jsonschema:"how many, by app or app:process"`
	PortOffset int               `json:"port_offset,omitempty" min:"0" max:"65534" jsonschema:"added to fixed ports"`
}

// Create keeps a stack beside the file of a project. Faults: not_found (project_unknown), conflict (stack_in_file, stack_exists),
// invalid (config_invalid: the apps cannot be so), internal (state_not_durable).
func (s *Service) Create(ctx context.Context, in Creation) (Details, error) {
	project, err := s.projects.Project(ctx, in.Project)
	if err != nil {
		return Details{}, err
	}
	text, err := in.text()
	if err != nil {
		return Details{}, err
	}
	st, err := s.projects.Create(ctx, project, in.Name, text)
	if err != nil {
		return Details{}, err
	}
	s.bus.Publish(bus.Event{Topic: "stacks", Type: "created", Key: project + "/" + in.Name, Text: "the stack " + in.Name + " of " + project + " was created"})
	return details(st), nil
}

// text gives the stack as the file would have it. No ${} is replaced in it: what was typed is what is meant.
func (in Creation) text() (string, error) {
	k := says{Instances: in.Instances, PortOffset: in.PortOffset, Env: map[string]any{}}
	if len(in.Apps) > 0 {
		k.Apps = in.Apps
	}
	for name, value := range in.Env {
		k.Env[name] = strings.ReplaceAll(value, "$", "$$")
	}
	for _, name := range slices.Sorted(maps.Keys(in.Secrets)) {
		if _, twice := in.Env[name]; twice {
			return "", fault.New(fault.Invalid, "%s is both in env and in secrets", name).WithReason("same_variable").WithHint("leave one of them out")
		}
		k.Env[name] = map[string]string{"secret": in.Secrets[name]}
	}
	text, err := json.Marshal(k)
	return string(text), err
}

// PlanCreate says what there would be. Faults: not_found, conflict (stack_in_file).
func (s *Service) PlanCreate(ctx context.Context, in Creation) (*op.Plan, error) {
	project, err := s.projects.Project(ctx, in.Project)
	if err != nil {
		return nil, err
	}
	text, err := in.text()
	if err != nil {
		return nil, err
	}
	apps, err := s.projects.Check(ctx, project, in.Name, text)
	if err != nil {
		return nil, err
	}
	plan := &op.Plan{Items: []op.Item{{Target: project + "/" + in.Name, To: "created"}}}
	for _, name := range apps {
		plan.Items = append(plan.Items, op.Item{Target: project + "/" + in.Name + "/" + name, To: "declared, not started"})
	}
	return plan, nil
}
