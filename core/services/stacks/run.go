package stacks

import (
	"context"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/target"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Order names a stack and says how long to wait.
type Order struct {
	Question
	NoWait  bool `json:"no_wait,omitempty" jsonschema:"answer at once"`
	Timeout int  `json:"timeout_s,omitempty" min:"0" max:"3600" jsonschema:"seconds to wait at most; the work goes on"`
}

// Outcome is what became of the apps of a stack.
type Outcome struct {
	Project string        `json:"project" jsonschema:"project"`
	Stack   string        `json:"stack" jsonschema:"stack"`
	Items   []view.Result `json:"items" table:"1" jsonschema:"one result an app"`
}

func command(ctx context.Context, in Order, targets []op.Target) supervisor.Command {
	return supervisor.Command{Targets: targets, Seq: op.SeqOf(ctx), Wait: !in.NoWait, Timeout: time.Duration(in.Timeout) * time.Second}
}

func outcome(st projects.Stack, results []view.Result, err error) (Outcome, error) {
	if results == nil {
		results = []view.Result{}
	}
	return Outcome{st.Project, st.Name, results}, err
}

// Start starts the enabled apps of a stack. One that nobody has started yet gets the definition that the newest files have for it,
// as the daemon has them; its env files are read now. Faults: not_found (project_unknown, stack_unknown), invalid
// (config_invalid), conflict (port_in_use: nothing is started), failed (with one result an app), deadline, internal
// (state_not_durable).
func (s *Service) Start(ctx context.Context, in Order) (Outcome, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return Outcome{}, err
	}
	if st.Known == nil {
		src, err := s.projects.Recorded(ctx, st.Project)
		if err != nil {
			return Outcome{}, err
		}
		if _, _, err = s.projects.Declare(ctx, src, st.Name); err != nil {
			return Outcome{}, err
		}
		if st, err = s.projects.Find(ctx, op.ProjectRef(st.Project), st.Name); err != nil {
			return Outcome{}, err
		}
	}
	targets := targets(st, true)
	if len(targets) == 0 {
		return outcome(st, nil, nil)
	}
	results, err := s.sup.Start(ctx, command(ctx, in, targets))
	return outcome(st, results, err)
}

// targets are the apps of a stack, or the enabled ones.
func targets(st projects.Stack, enabled bool) (all []op.Target) {
	if st.Known == nil {
		return nil
	}
	for _, v := range st.Known.Apps {
		if v.Enabled || !enabled {
			all = append(all, target.Of(v, "", 0))
		}
	}
	return all
}

// PlanStart says what a start would start.
func (s *Service) PlanStart(ctx context.Context, in Order) (*op.Plan, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return nil, err
	}
	plan := &op.Plan{Items: []op.Item{}}
	if st.Known == nil {
		for _, name := range st.Apps {
			plan.Items = append(plan.Items, op.Item{Target: st.Project + "/" + st.Name + "/" + name, From: "declared", To: "running, where it is enabled"})
		}
		return plan, nil
	}
	for _, v := range s.sup.StartSet(targets(st, true)) {
		if now := v.Settled(); now != string(view.Running) && now != string(view.Completed) {
			plan.Items = append(plan.Items, op.Item{Target: v.Key, From: now, To: "running"})
		}
	}
	return plan, nil
}

// Stop stops every app of a stack; what is to run of it is nothing then. Faults: not_found (project_unknown, stack_unknown),
// failed, deadline, internal (state_not_durable).
func (s *Service) Stop(ctx context.Context, in Order) (Outcome, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return Outcome{}, err
	}
	targets := targets(st, false)
	if len(targets) == 0 {
		return outcome(st, nil, nil)
	}
	results, err := s.sup.Stop(ctx, command(ctx, in, targets))
	return outcome(st, results, err)
}

// PlanStop says what a stop would end.
func (s *Service) PlanStop(ctx context.Context, in Order) (*op.Plan, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err != nil {
		return nil, err
	}
	return &op.Plan{Items: stops(st, "stopped")}, nil
}

// stops says what becomes of the apps that run.
func stops(st projects.Stack, to string) []op.Item {
	items := []op.Item{}
	if st.Known == nil {
		return items
	}
	for _, v := range st.Known.Apps {
		if now := v.Settled(); now != string(view.Stopped) {
			items = append(items, op.Item{Target: v.Key, From: now, To: to})
		}
	}
	return items
}

// Delete stops the apps of a stack that was created, or that the file has no more, and forgets it with its definitions. What its
// apps printed stays. Faults: not_found (project_unknown, stack_unknown), conflict (stack_in_file), failed (an app does not
// end), internal (state_not_durable).
func (s *Service) Delete(ctx context.Context, in Question) (Outcome, error) {
	st, err := s.deletable(ctx, in)
	if err != nil {
		return Outcome{}, err
	}
	results, err := s.projects.Forget(ctx, st.Project, st.Name)
	if err == nil {
		s.bus.Publish(bus.Event{Topic: "stacks", Type: "deleted", Key: st.Project + "/" + st.Name, Text: "the stack " + st.Name + " of " + st.Project + " was deleted"})
	}
	return outcome(st, results, err)
}

// deletable finds a stack that is not the file's to keep.
func (s *Service) deletable(ctx context.Context, in Question) (projects.Stack, error) {
	st, err := s.projects.Find(ctx, in.Project, in.Name)
	if err == nil && st.Origin == projects.File {
		err = fault.New(fault.Conflict, "the file of %s has the stack %s", st.Project, st.Name).WithReason("stack_in_file").
			WithHint("%s        or take it out of the file", fault.Do("stacks.stop", "name", st.Name, "project", st.Project))
	}
	return st, err
}

// PlanDelete says what would be stopped and forgotten.
func (s *Service) PlanDelete(ctx context.Context, in Question) (*op.Plan, error) {
	st, err := s.deletable(ctx, in)
	if err != nil {
		return nil, err
	}
	items := stops(st, "stopped and removed")
	return &op.Plan{Items: append(items, op.Item{Target: st.Project + "/" + st.Name, From: st.Origin, To: "deleted"})}, nil
}
