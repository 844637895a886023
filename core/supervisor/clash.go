package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/intent"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// A port is the machine's: what several stacks and projects, and strangers, want of it at once is found before anything is
// started, all of it, or the first apps would run and the last would not.

// claim is a fixed port that an instance is about to take, or has.
type claim struct {
	key, process string
	instance     int
	port         string // its name
	number       int
}

func (c claim) same(o claim) bool {
	return c.key == o.key && c.process == o.process && c.instance == o.instance
}

// claims gives the fixed ports of an instance by its definition.
func claims(app *config.App, process string, instance int) (all []claim) {
	for i := range app.Processes {
		for _, p := range app.Processes[i].Ports {
			if app.Processes[i].Name == process && !p.Auto {
				all = append(all, claim{app.Key, process, instance, p.Name, p.Base + instance - 1})
			}
		}
	}
	return all
}

// startable refuses to start targets whose fixed ports somebody else has. Faults: conflict (port_in_use).
func (s *Supervisor) startable(ctx context.Context, targets []op.Target) error {
	var wanted []claim
	for _, t := range targets {
		v := s.view(t.Key)
		if v == nil {
			continue
		}
		for _, i := range v.Instances {
			// what runs has its ports, and of what is between two runs something may be left that is about to be ended
			if i.PID == 0 && i.State.Settled() && i.State != view.Stuck && target.Means(t, i.Process, i.Number) {
				wanted = append(wanted, claims(v.Definition, i.Process, i.Number)...)
			}
		}
	}
	return s.clash(ctx, wanted, nil)
}

// renewable refuses definitions of which something is started anew on ports that somebody else has. Faults as of startable.
func (s *Supervisor) renewable(ctx context.Context, list []following, st store.State) error {
	var wanted []claim
	moving := map[string]bool{} // they give back what they have
	for _, f := range list {
		for _, ch := range f.changes {
			moving[ch.Key] = ch.What == "changed" || ch.What == "removed"
			app := f.byKey[ch.Key]
			if app == nil || ch.What != "changed" || ch.Anew+ch.Starts == 0 {
				continue
			}
			a, _ := st.App(ch.Key)
			intent.Declare(&a, app, a.Revision, ch.Enabled)
			for p := range app.Processes {
				process := &app.Processes[p]
				for n := 1; n <= intent.Instances(a.Scale, process); n++ {
					if intent.Wants(&a, fmt.Sprintf("%s#%d", process.Name, n)) == store.WantRunning {
						wanted = append(wanted, claims(app, process.Name, n)...)
					}
				}
			}
		}
	}
	return s.clash(ctx, wanted, moving)
}

// clash refuses claims on ports that others have: apps other than those that are moving, strangers, or another claim.
func (s *Supervisor) clash(ctx context.Context, wanted []claim, moving map[string]bool) error {
	if len(wanted) == 0 {
		return nil
	}
	held, ours := map[int]claim{}, map[int]bool{}
	for _, v := range s.Apps() {
		for _, i := range v.Instances {
			for name, number := range i.Ports {
				if ours[number] = ours[number] || i.PID != 0; i.PID != 0 && !moving[v.Key] {
					held[number] = claim{v.Key, i.Process, i.Number, name, number}
				}
			}
			if i.PID == 0 && !i.State.Settled() && i.Desired == "running" && !moving[v.Key] { // it will be started
				for _, c := range claims(v.Definition, i.Process, i.Number) {
					held[c.number] = c
				}
			}
		}
	}
	slices.SortStableFunc(wanted, func(a, b claim) int { return cmp.Compare(a.number, b.number) })
	var problems []fault.Problem
	var first string // the app that has the first of them
	for i, c := range wanted {
		by, key := "", ""
		switch h, taken := held[c.number]; {
		case taken && !h.same(c):
			by, key = h.key, h.key
			if !op.CallerOf(ctx).Scope.CoversKey(h.key) {
				by, key = "another app", ""
			}
		case !taken && i > 0 && wanted[i-1].number == c.number && !wanted[i-1].same(c):
			by = wanted[i-1].key + ", which is to be started too"
		case !taken && !ours[c.number]:
			by = ports.Stranger(c.number)
		}
		if by == "" {
			continue
		}
		if len(problems) == 0 {
			first = key
		}
		problems = append(problems, fault.Problem{Path: c.key, Message: fmt.Sprintf("port %d (%s) is taken by %s", c.number, c.port, by)})
	}
	if len(problems) == 0 {
		return nil
	}
	e := fault.New(fault.Conflict, "nothing was started: port %s of %s", problems[0].Message[len("port "):], problems[0].Path).WithReason("port_in_use").
		WithHint("end it, or give the app another port, or auto; a stack's portOffset moves all of its ports")
	if len(problems) > 1 {
		e.Message = fmt.Sprintf("nothing was started: %d ports are taken", len(problems))
		e.Problems = problems
	}
	if first != "" {
		e = e.WithHint("%s        or give the app another port, or auto; a stack's portOffset moves all of its ports", fault.Do("apps.stop", "names", []string{first}))
	}
	return e
}
