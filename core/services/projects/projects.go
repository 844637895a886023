// Package projects speaks of the projects that the daemon knows, and of those that it could.
package projects

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("projects", "Projects: folders with an omnitron.yaml.",
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List the projects that the daemon knows, with their folders and stacks.",
		op.Global(), op.AnyScope(), op.Resource("omnitron://projects", "apps", "projects"), op.Keywords("repositories folders which overview"),
		op.Shows("all of them", `{}`), op.Fails("a limit that is none", `{"limit":0}`, "invalid")),
	op.Unary("get", op.Viewer, op.Reads, (*Service).Get, "Show a project: its folder, its files and its stacks.",
		op.Global(), op.AnyScope(), op.Keywords("repository folder show describe details one"),
		op.Shows("one of them", `{"name":"shop"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("scan", op.Operator, op.Reads, (*Service).Scan, "Look for projects in and below a folder; nothing is kept.",
		op.Global(), op.Keywords("discover find search folders yaml"),
		op.Shows("in the folders of the projects that are known", `{}`), op.Fails("a path that is none", `{"path":"shop"}`, "invalid")),
	op.Unary("add", op.Admin, op.Adds, (*Service).Add, "Read the file of a project and know its stacks and apps; nothing is started.",
		op.Global(), op.Planned((*Service).PlanAdd), op.Undo("projects.remove"), op.Keywords("register import repository folder new"),
		op.Shows("a file as the caller read it", `{"files":[{"path":"/tmp/omnitron-example/omnitron.yaml","text":"project: example\nstacks: {dev: {}, test: {}}\napps:\n  - {name: once, command: [\"true\"], oneshot: true}\n"}]}`),
		op.Fails("a folder without a file", `{"path":"/nonexistent"}`, "not_found")),
	op.Unary("update", op.Admin, op.Sets, (*Service).Update, "Read the file of a project again; refused where it would stop or restart what runs.",
		op.Global(), op.Planned((*Service).PlanUpdate), op.Keywords("reread refresh move moved folder"),
		op.Shows("from where it lies", `{"name":"shop"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("remove", op.Admin, op.Destroys, (*Service).Remove, "Stop all that runs of a project, and forget it.",
		op.Global(), op.Planned((*Service).PlanRemove), op.Timeout(time.Hour), op.Keywords("delete unregister drop"),
		op.Shows("one of them", `{"name":"shop"}`), op.Fails("a name that is not there", `{"name":"nope"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	projects *projects.Projects
	sup      *supervisor.Supervisor
	bus      *bus.Bus
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	return &Service{projects.New(h.Supervisor, h.Revisions, records.NewStacks(h.Store), h.User), h.Supervisor, h.Bus}, nil
}

// Row is a project in a list.
type Row struct {
	Name    string `json:"name" table:"1" jsonschema:"name of the project"`
	Dir     string `json:"dir,omitempty" table:"2" jsonschema:"folder of its file"`
	Stacks  int    `json:"stacks" table:"2" jsonschema:"how many stacks it has"`
	Running int    `json:"running" table:"2" jsonschema:"stacks of which something runs"`
	Up      string `json:"up" table:"1" jsonschema:"apps that are up, of all that are known"`
}

func row(name string, stacks []projects.Stack) Row {
	r := Row{Name: name, Stacks: len(stacks)}
	up, all := 0, 0
	for _, st := range stacks {
		if st.Known == nil {
			continue
		}
		if st.Known.Dir != "" && (r.Dir == "" || st.Origin != projects.Former) {
			r.Dir = st.Known.Dir
		}
		alive := false
		for _, v := range st.Known.Apps {
			all++
			if v.State.Up() {
				up++
			}
			alive = alive || v.Alive() || !v.State.Settled()
		}
		if alive {
			r.Running++
		}
	}
	r.Up = fmt.Sprintf("%d/%d", up, all)
	return r
}

// Listing says which projects to list.
type Listing struct {
	op.Page
}

// List gives the projects by name.
func (s *Service) List(ctx context.Context, in Listing) (op.List[Row], error) {
	out := op.List[Row]{Items: []Row{}}
	names := s.projects.Names(ctx)
	slices.Sort(names)
	out.Total = len(names)
	limit := in.Limit
	if limit == 0 {
		limit = 200
	}
	for _, name := range names {
		if in.Cursor != "" && name <= in.Cursor {
			continue
		}
		if len(out.Items) == limit {
			out.Truncated, out.NextCursor = true, out.Items[limit-1].Name
			break
		}
		stacks, err := s.projects.Stacks(ctx, name)
		if err != nil {
			return op.List[Row]{}, err
		}
		out.Items = append(out.Items, row(name, stacks))
	}
	return out, nil
}

// Question names a project.
type Question struct {
	Name op.ProjectRef `json:"name" cli:"arg" complete:"projects" jsonschema:"project, or its folder"`
}

// Details is everything that is known of a project.
type Details struct {
	Row
	Files []string   `json:"files" jsonschema:"paths of its files"`
	Items []StackRow `json:"items" table:"1" jsonschema:"its stacks"`
}

// StackRow is a stack of a project.
type StackRow struct {
	Name   string   `json:"name" table:"1" jsonschema:"name of the stack"`
	State  string   `json:"state" table:"1" enum:"declared,stopped,changing,running,partly,degraded" jsonschema:"declared: nobody has started it yet; partly: some of its enabled apps are up; degraded: some have failed"`
	Origin string   `json:"origin" table:"2" enum:"file,created,former" jsonschema:"whether the file has it, it was created beside that, or the file has it no more"`
	Apps   []string `json:"apps" table:"3" jsonschema:"names of its apps"`
}

// Get shows a project. Faults: not_found (project_unknown).
func (s *Service) Get(ctx context.Context, in Question) (Details, error) {
	name, err := s.projects.Project(ctx, in.Name)
	if err != nil {
		return Details{}, err
	}
	stacks, err := s.projects.Stacks(ctx, name)
	if err != nil {
		return Details{}, err
	}
	out := Details{Row: row(name, stacks), Files: []string{}, Items: []StackRow{}}
	for _, st := range stacks {
		out.Items = append(out.Items, StackRow{st.Name, st.State(), st.Origin, st.Apps})
	}
	if src, err := s.projects.Recorded(ctx, name); err == nil { // else nobody can read it any more, and the rest is true all the same
		for _, f := range src.Files {
			out.Files = append(out.Files, f.Path)
		}
	}
	return out, nil
}

// Removed is what became of a project.
type Removed struct {
	Project string   `json:"project" jsonschema:"project"`
	Stacks  []string `json:"stacks" jsonschema:"stacks that are forgotten"`
	Stopped []string `json:"stopped" jsonschema:"keys of the apps that were stopped"`
}

// Remove stops every app of a project, stack by stack, and forgets it. What its apps printed stays, and its folder is not touched. Faults:
// not_found (project_unknown), failed (an app does not end: the rest of the project stays known), internal (state_not_durable).
func (s *Service) Remove(ctx context.Context, in Question) (Removed, error) {
	name, err := s.projects.Project(ctx, in.Name)
	if err != nil {
		return Removed{}, err
	}
	stacks, err := s.projects.Stacks(ctx, name)
	if err != nil {
		return Removed{}, err
	}
	out := Removed{Project: name, Stacks: []string{}, Stopped: []string{}}
	slices.SortStableFunc(stacks, func(a, b projects.Stack) int { // the last that goes is one that is known, or nobody finds the rest
		return strings.Compare(known(a), known(b))
	})
	for _, st := range stacks {
		results, err := s.projects.Forget(ctx, name, st.Name)
		if err != nil {
			return out, err
		}
		if st.Known != nil || st.Origin == projects.Created {
			out.Stacks = append(out.Stacks, st.Name)
		}
		for _, r := range results {
			if r.Changed {
				out.Stopped = append(out.Stopped, r.Key)
			}
		}
	}
	slices.Sort(out.Stacks)
	slices.Sort(out.Stopped)
	s.bus.Publish(bus.Event{Topic: "projects", Type: "removed", Key: name, Text: "the project " + name + " was removed"})
	return out, nil
}

func known(st projects.Stack) string {
	if st.Known == nil {
		return "a"
	}
	return "b"
}

// PlanRemove says what would be stopped and forgotten.
func (s *Service) PlanRemove(ctx context.Context, in Question) (*op.Plan, error) {
	name, err := s.projects.Project(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	stacks, err := s.projects.Stacks(ctx, name)
	if err != nil {
		return nil, err
	}
	plan := &op.Plan{Items: []op.Item{}}
	for _, st := range stacks {
		if st.Known != nil {
			for _, v := range st.Known.Apps {
				plan.Items = append(plan.Items, op.Item{Target: v.Key, From: v.Settled(), To: "stopped and removed"})
			}
		}
		if st.Origin == projects.Created {
			plan.Items = append(plan.Items, op.Item{Target: name + "/" + st.Name, From: "created", To: "deleted"})
		}
	}
	return &op.Plan{Items: append(plan.Items, op.Item{Target: name, From: "known", To: "forgotten"})}, nil
}
