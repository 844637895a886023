package approvals

import (
	"context"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// Question is a call that nobody makes.
type Question struct {
	Method  string `json:"method" cli:"arg" jsonschema:"service.verb"`
	Channel string `json:"channel,omitempty" enum:"person,agent,app,node" jsonschema:"kind of caller; default: yours"`
	Who     string `json:"who,omitempty" jsonschema:"account; default: yours"`
	Role    string `json:"role,omitempty" enum:"viewer,operator,admin,node" jsonschema:"its role; default: operator for an agent, else yours"`
	App     string `json:"app,omitempty" complete:"apps" jsonschema:"project/stack/app"`
}

// Verdict is what the policy would say.
type Verdict struct {
	Verdict string `json:"verdict" table:"1" enum:"allow,confirm,hold,deny" jsonschema:"allow, confirm (the caller says it again with a token), hold (a person decides) or deny"`
	Rule    string `json:"rule" table:"1" jsonschema:"rule that says so: one of config.yaml, or a default"`
	Why     string `json:"why" table:"1" jsonschema:"why"`
	PerHour int    `json:"per_hour,omitempty" table:"2" jsonschema:"calls an hour that the rule lets through"`
}

// Check asks the policy without any effect; a budget that is used up counts. Faults: not_found (unknown_method), invalid (app_not_in_full).
func (s *Service) Check(ctx context.Context, in Question) (Verdict, error) {
	spec, ok := s.specs[in.Method]
	if !ok {
		f := fault.New(fault.NotFound, "there is no method %q", in.Method).WithReason("unknown_method")
		if near := fault.Near(in.Method, s.methods()); near != "" {
			f = f.WithCandidates(near)
		}
		return Verdict{}, f
	}
	r := policy.Request{Caller: in.caller(op.CallerOf(ctx)), Spec: spec}
	if in.App != "" {
		project, rest, ok := strings.Cut(in.App, "/")
		stack, _, whole := strings.Cut(rest, "/")
		if !ok || !whole {
			return Verdict{}, fault.New(fault.Invalid, "%q is no app in full: project/stack/app", in.App).WithReason("app_not_in_full")
		}
		r.Targets = []op.Target{{Key: in.App, Project: project, Stack: stack}}
	}
	d, err := s.policy.Left(ctx, s.policy.Decide(r))
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Verdict: string(d.Verdict), Rule: d.Rule, Why: d.Why}
	for _, b := range d.Budgets {
		v.PerHour = b.PerHour
	}
	return v, nil
}

// caller is whom the question is about: who asks, but for what it says otherwise.
func (in Question) caller(who op.Caller) op.Caller {
	if in.Channel != "" && in.Channel != string(who.Channel) {
		who.Channel, who.Plane = op.Channel(in.Channel), ""
		switch who.Channel {
		case op.Agent:
			who.Role = op.Operator
		case op.Peer:
			who.Role, who.Ceiling = op.Node, op.Node
		}
	}
	if in.Who != "" {
		who.User = in.Who
	}
	if role := op.ParseRole(in.Role); role != 0 {
		who.Role = role
	}
	return who
}

func (s *Service) methods() []string {
	var ids []string
	for id := range s.specs {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
