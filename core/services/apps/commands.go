package apps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Order names targets of a command and says how long to wait for its end.
type Order struct {
	op.Selection
	NoWait  bool `json:"no_wait,omitempty" jsonschema:"answer at once instead of when it has come to its end"`
	Timeout int  `json:"timeout_s,omitempty" min:"0" max:"3600" jsonschema:"seconds to wait at most; the work goes on after that; 0: until every target is ready or has failed"`
}

// Beginning is an Order to start.
type Beginning struct {
	Order
	Arm bool `json:"arm,omitempty" jsonschema:"leave schedules alone"`
}

// Results is one result a target.
type Results struct {
	Items []view.Result `json:"items" table:"1" jsonschema:"one result a target"`
}

func command(ctx context.Context, o Order) supervisor.Command {
	return supervisor.Command{Targets: op.TargetsOf(ctx), Seq: op.SeqOf(ctx), Wait: !o.NoWait, Timeout: time.Duration(o.Timeout) * time.Second}
}

// Start answers when every target, and what it depends on, is ready or has failed. Faults: not_found, failed (with one
// result a target), deadline, conflict (superseded), internal (state_not_durable).
func (s *Service) Start(ctx context.Context, in Beginning) (Results, error) {
	c := command(ctx, in.Order)
	c.Arm = in.Arm || len(in.Names) == 0
	return results(s.sup.Start(ctx, c))
}

// Stop answers when nothing of the targets is left. Faults as Start.
func (s *Service) Stop(ctx context.Context, in Order) (Results, error) {
	return results(s.sup.Stop(ctx, command(ctx, in)))
}

// Restart answers when every target is ready again or has failed. Faults as Start.
func (s *Service) Restart(ctx context.Context, in Order) (Results, error) {
	return results(s.sup.Restart(ctx, command(ctx, in)))
}

// Reload answers when every target has taken up what has changed, or has failed to. Faults as Start; reload_failed.
func (s *Service) Reload(ctx context.Context, in Order) (Results, error) {
	return results(s.sup.Reload(ctx, command(ctx, in)))
}

// PlanReload says how each target would be reloaded.
func (s *Service) PlanReload(ctx context.Context, _ Order) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string {
		if v.Settled() != string(view.Running) {
			return "running"
		}
		if v.Oneshot {
			return "stopped, then running"
		}
		var how []string
		for _, p := range v.Definition.Processes {
			one := "new before old, one instance after the other"
			switch {
			case p.Reload != nil && p.Reload.Signal != "":
				one = "by " + p.Reload.Signal
			case p.Reload != nil:
				one = "by its command"
			case !p.Overlaps():
				one = "one instance after the other, stop first: it has a fixed port"
			}
			if len(v.Definition.Processes) > 1 {
				one = p.Name + " " + one
			}
			how = append(how, one)
		}
		return "reloaded: " + strings.Join(how, "; ")
	})
}

func results(rs []view.Result, err error) (Results, error) {
	if rs == nil {
		rs = []view.Result{}
	}
	return Results{rs}, err
}

// PlanStart says what a start would start.
func (s *Service) PlanStart(ctx context.Context, in Beginning) (*op.Plan, error) {
	var items []op.Item
	for _, v := range s.sup.StartSet(op.TargetsOf(ctx)) {
		if v.Definition.Schedule != nil && (in.Arm || len(in.Names) == 0) {
			if v.Desired != "running" {
				items = append(items, op.Item{Target: v.Key, From: string(v.State), To: "waiting for its times"})
			}
			continue
		}
		if v.Sleeps() {
			items = append(items, op.Item{Target: v.Key, From: string(v.State), To: "running"})
			continue
		}
		if now := v.Settled(); now != string(view.Running) && now != string(view.Completed) {
			items = append(items, op.Item{Target: v.Key, From: now, To: "running"})
		}
	}
	return &op.Plan{Items: nonNil(items)}, nil
}

// PlanStop says what a stop would end, and who needs it.
func (s *Service) PlanStop(ctx context.Context, _ Order) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string {
		if v.Settled() == string(view.Stopped) {
			return ""
		}
		return "stopped"
	})
}

// PlanRestart says what a restart would end and start.
func (s *Service) PlanRestart(ctx context.Context, _ Order) (*op.Plan, error) {
	return s.plan(ctx, func(*view.App) string { return "stopped, then running" })
}

// plan makes an item of each target that fn gives a new state for.
func (s *Service) plan(ctx context.Context, fn func(*view.App) string) (*op.Plan, error) {
	items := []op.Item{}
	for _, t := range op.TargetsOf(ctx) {
		v := s.sup.App(t.Key)
		if v == nil {
			continue
		}
		if to := fn(v); to != "" {
			name := v.Key
			if t.Process != "" {
				name += ":" + t.Process
			}
			if t.Instance > 0 {
				name += fmt.Sprintf("#%d", t.Instance)
			}
			items = append(items, op.Item{Target: name, From: v.Settled(), To: to})
		}
	}
	return &op.Plan{Items: items}, nil
}

func nonNil(items []op.Item) []op.Item {
	if items == nil {
		return []op.Item{}
	}
	return items
}

// Scaling says how many instances of which process should run.
type Scaling struct {
	op.One
	Instances int  `json:"instances" cli:"arg" min:"1" max:"1000" jsonschema:"how many there should be, 1 to 1000"`
	NoWait    bool `json:"no_wait,omitempty" jsonschema:"answer at once instead of when they are ready, or gone"`
	Timeout   int  `json:"timeout_s,omitempty" min:"0" max:"3600" jsonschema:"seconds to wait at most; the work goes on after that; 0: until ready or failed"`
}

// Scale makes instances of a process more or fewer. Faults: not_found, invalid (several processes), and those of Start.
func (s *Service) Scale(ctx context.Context, in Scaling) (Results, error) {
	return results(s.sup.Scale(ctx, command(ctx, Order{NoWait: in.NoWait, Timeout: in.Timeout}), in.Instances))
}

// PlanScale says how many instances there are and would be.
func (s *Service) PlanScale(ctx context.Context, in Scaling) (*op.Plan, error) {
	items := []op.Item{}
	for _, t := range op.TargetsOf(ctx) {
		if n := len(t.Slots); n != in.Instances {
			items = append(items, op.Item{Target: t.Key, From: fmt.Sprintf("%d instances", n), To: fmt.Sprintf("%d instances", in.Instances)})
		}
	}
	return &op.Plan{Items: items}, nil
}

// Signalling names a signal and who gets it.
type Signalling struct {
	Names   []op.Selector `json:"names" cli:"args" complete:"apps" min:"1" jsonschema:"apps, app:process or app:process#2; globs work"`
	Signal  string        `json:"signal" cli:"short=s" jsonschema:"signal name, such as HUP or SIGUSR1"`
	Project op.ProjectRef `json:"project,omitempty" complete:"projects" jsonschema:"project; default: the only one"`
	Stack   op.StackRef   `json:"stack,omitempty" jsonschema:"stack; default: dev, else the only one"`
}

// Validate refuses signals that there are not.
func (in Signalling) Validate() error {
	if unix.SignalNum(in.Signal) == 0 && unix.SignalNum("SIG"+in.Signal) == 0 {
		return fault.New(fault.Invalid, "there is no signal %q", in.Signal).WithReason("no_such_signal").WithHint("kill -l shows which there are").
			WithCandidates("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT", "SIGQUIT")
	}
	return nil
}

// Signal sends a signal to main processes. Faults: not_found, invalid, failed (something does not run).
func (s *Service) Signal(ctx context.Context, in Signalling) (Results, error) {
	return results(s.sup.Signal(ctx, op.TargetsOf(ctx), in.Signal))
}

// PlanSignal says who would get the signal.
func (s *Service) PlanSignal(ctx context.Context, in Signalling) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string { return "gets " + in.Signal })
}

// Reset forgets restart counters. Faults: not_found.
func (s *Service) Reset(ctx context.Context, _ op.Selection) (Results, error) {
	return results(s.sup.Reset(ctx, op.TargetsOf(ctx)))
}

// PlanReset says which counters would go.
func (s *Service) PlanReset(ctx context.Context, _ op.Selection) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string {
		switch v.State {
		case view.Crashed, view.Failed:
			return "stopped"
		}
		if v.Restarts == 0 {
			return ""
		}
		return "restarts forgotten"
	})
}

// Enable lets up and boot start apps again. Faults: not_found, internal (state_not_durable).
func (s *Service) Enable(ctx context.Context, _ op.Selection) (Results, error) {
	return results(s.sup.Enable(ctx, command(ctx, Order{}), true))
}

// Disable stops apps and keeps up and boot from starting them. Faults as Stop.
func (s *Service) Disable(ctx context.Context, in Order) (Results, error) {
	return results(s.sup.Enable(ctx, command(ctx, in), false))
}

// PlanEnable says which apps would be enabled.
func (s *Service) PlanEnable(ctx context.Context, _ op.Selection) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string {
		if v.Enabled {
			return ""
		}
		return "enabled"
	})
}

// PlanDisable says which apps would be disabled.
func (s *Service) PlanDisable(ctx context.Context, _ Order) (*op.Plan, error) {
	return s.plan(ctx, func(v *view.App) string {
		if !v.Enabled && v.Settled() == string(view.Stopped) {
			return ""
		}
		return "disabled, stopped"
	})
}
