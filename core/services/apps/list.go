package apps

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Listing says which applications to list.
type Listing struct {
	op.Page
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Stack   op.StackRef   `json:"stack,omitempty" jsonschema:"only of this stack"`
	State   string        `json:"state,omitempty" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"only those in this state"`
	All     bool          `json:"all,omitempty" cli:"short=A" jsonschema:"of every project"`
}

// Row is an application in a list.
type Row struct {
	Name     string     `json:"name" table:"1" jsonschema:"app name"`
	State    view.State `json:"state" table:"1" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"derived from its processes"`
	Health   string     `json:"health" table:"4" enum:"healthy,unhealthy,unknown" jsonschema:"what its probes say"`
	Ready    string     `json:"ready" table:"3" jsonschema:"instances that are up, of all"`
	PID      int        `json:"pid,omitempty" table:"4" jsonschema:"process id of the first instance"`
	Uptime   int64      `json:"uptime_s,omitempty" table:"2" unit:"s" jsonschema:"seconds since the oldest running instance was started"`
	Restarts int        `json:"restarts" table:"2" jsonschema:"starts that nobody asked for"`
	CPU      float64    `json:"cpu_percent" table:"3" unit:"percent" jsonschema:"CPU of everything that it runs; 100 is one core"`
	RSS      int64      `json:"rss_bytes" table:"2" unit:"bytes" jsonschema:"resident memory of everything that it runs"`
	Ports    []int      `json:"ports,omitempty" table:"3" jsonschema:"declared ports"`
	Sockets  []string   `json:"sockets,omitempty" table:"3" jsonschema:"addresses that are kept open for it"`
	NextRun  *time.Time `json:"next_run,omitempty" table:"3" unit:"time" jsonschema:"when its schedule runs it next; absent while it is paused"`
	Reason   string     `json:"reason,omitempty" table:"2" jsonschema:"why it is in this state"`
	Key      string     `json:"key" table:"6" jsonschema:"project/stack/app"`
	Project  string     `json:"project" jsonschema:"project"`
	Stack    string     `json:"stack" jsonschema:"stack"`
	Since    time.Time  `json:"since" table:"6" unit:"time" jsonschema:"since when it is in this state"`
}

// List gives the applications of a project, or all. Faults: not_found (no such project), invalid (several projects).
func (s *Service) List(ctx context.Context, in Listing) (op.List[Row], error) {
	s.sup.Resample(s.samples)
	views := s.sup.AppsOf(ctx)
	if project := ""; !in.All {
		var err error
		project, err = s.sup.Project(ctx, in.Project)
		if f, ok := errors.AsType[*fault.Error](err); ok && f.Reason == "ambiguous" && len(f.Candidates) > 0 {
			return op.List[Row]{}, f.WithHint("%s        every project\n%s", fault.Do("apps.list", "all", true), fault.Do("apps.list", "project", f.Candidates[0]))
		}
		if err != nil {
			return op.List[Row]{}, err
		}
		views = slices.DeleteFunc(views, func(v *view.App) bool { return v.Project != project })
	}
	rows := make([]Row, 0, len(views))
	listens := s.sup.Listens()
	for _, v := range views {
		if (in.State == "" || string(v.State) == in.State) && (in.Stack == "" || v.Stack == string(in.Stack)) {
			row := s.row(v)
			for _, open := range listens[v.Key] {
				row.Sockets = append(row.Sockets, open.Address)
			}
			rows = append(rows, row)
		}
	}
	return page(rows, in.Page, func(r Row) string { return r.Key }), nil
}

// page cuts a sorted list; the cursor is the key of the last item that was given.
func page[T any](items []T, p op.Page, key func(T) string) op.List[T] {
	l := op.List[T]{Total: len(items), Items: items}
	if p.Cursor != "" {
		i, _ := slices.BinarySearchFunc(items, p.Cursor, func(t T, c string) int { return strings.Compare(key(t), c+"\x00") })
		l.Items = items[i:]
	}
	limit := p.Limit
	if limit == 0 {
		limit = 200
	}
	if len(l.Items) > limit {
		l.Items, l.Truncated = l.Items[:limit], true
		l.NextCursor = key(l.Items[limit-1])
	}
	return l
}

func (s *Service) row(v *view.App) Row {
	r := Row{Name: v.Name, State: v.State, Health: v.Health, Restarts: v.Restarts, Reason: v.Reason, Key: v.Key, Project: v.Project, Stack: v.Stack, Since: v.Since, NextRun: v.NextRun}
	up := 0
	var oldest time.Time
	for _, i := range v.Instances {
		if i.State == view.Running || i.State == view.Completed {
			up++
		}
		if i.PID == 0 {
			continue
		}
		if r.PID == 0 {
			r.PID = i.PID
		}
		if i.StartedAt != nil && (oldest.IsZero() || i.StartedAt.Before(oldest)) {
			oldest = *i.StartedAt
		}
		for _, p := range i.Ports {
			r.Ports = append(r.Ports, p)
		}
		if u, ok := s.samples.Latest(naming.Instance(v.Key, i.Process, i.Number)); ok {
			r.CPU += u.CPU
			r.RSS += u.RSS
		}
	}
	slices.Sort(r.Ports)
	r.Ready = ready(up, len(v.Instances))
	if !oldest.IsZero() {
		r.Uptime = max(1, int64(time.Since(oldest).Seconds()))
	}
	return r
}
