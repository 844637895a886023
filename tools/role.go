package tools

import (
	"context"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// role asks whether the method lies within the principal's rights. What lies above the role that it acts with, but
// within its rights, goes on and is held later. What a launch has lowered is a hard limit.
func (r *Registry) role(ctx context.Context, c *call) (context.Context, error) {
	m, who := c.Method, c.caller
	switch {
	case !who.Ceiling.Covers(m.Role) && who.Channel == "":
		return ctx, fault.New(fault.Unauthenticated, "%s needs the role %s, and nobody has signed in", m.ID(), m.Role)
	case !who.Ceiling.Covers(m.Role):
		return ctx, fault.New(fault.Denied, "%s needs the role %s, and this %s has at most %s", m.ID(), m.Role, who.Channel, who.Ceiling).
			WithReason("role")
	case who.ReadOnly && m.Effect.Changes():
		return ctx, fault.New(fault.Denied, "%s changes something (%s), and this connection only reads", m.ID(), m.Effect).
			WithReason("read_only")
	case !m.allowed(who):
		return ctx, fault.New(fault.Denied, "%s is beyond what the token is limited to: methods %s", m.ID(), strings.Join(who.Scope.Methods, ", ")).
			WithReason("scope")
	case who.Scope.Bounded() && !m.keeps():
		return ctx, fault.New(fault.Denied, "%s speaks of the whole daemon, and the token is limited to %s", m.ID(), bounds(who.Scope)).
			WithReason("scope")
	case !m.offered(who):
		return ctx, fault.New(fault.Denied, "%s is not among the toolsets of this connection", m.ID()).WithReason("toolset")
	}
	return ctx, r.admit(c)
}

// admit asks the gate whether a changing call of whoever is no person may go on: he may be paused.
func (r *Registry) admit(c *call) error {
	if c.Effect.Changes() && c.caller.Channel != op.Person && r.Gate != nil {
		return r.Gate.Admit(c.caller, c.Spec)
	}
	return nil
}

// Visible reports whether a plane should show the method to the caller: everything that role would not refuse.
func (m *Method) Visible(who op.Caller) bool {
	return m.reaches(who) && who.Ceiling.Covers(m.Role) && !(who.ReadOnly && m.Effect.Changes()) && m.offered(who) && m.allowed(who) && (!who.Scope.Bounded() || m.keeps())
}

// Lacks says which rights the caller would have to have more, as scopes with spaces between: the role, methods:ID, projects:*,
// stacks:*. It is "" when none are missing, and when none would help, because this connection was not given the method.
func (m *Method) Lacks(who op.Caller) string {
	if !m.reaches(who) || who.ReadOnly && m.Effect.Changes() || !m.offered(who) {
		return ""
	}
	var need []string
	if !who.Ceiling.Covers(m.Role) {
		need = append(need, m.Role.String())
	}
	if !m.allowed(who) {
		need = append(need, "methods:"+m.ID())
	}
	if !m.keeps() && len(who.Scope.Projects) > 0 {
		need = append(need, "projects:*")
	}
	if !m.keeps() && len(who.Scope.Stacks) > 0 {
		need = append(need, "stacks:*")
	}
	return strings.Join(need, " ")
}

// allowed reports whether the caller's token lets the method be called.
func (m *Method) allowed(who op.Caller) bool { return m.Role == op.Public || who.Scope.Allows(m.ID()) }

// keeps reports whether the method keeps to the projects that a caller is limited to: the resolver gives it no others as
// targets, or it sees to it itself.
func (m *Method) keeps() bool { return m.Targets || m.AnyScope }

func bounds(s op.Scope) string {
	var parts []string
	if len(s.Projects) > 0 {
		parts = append(parts, "projects "+strings.Join(s.Projects, ", "))
	}
	if len(s.Stacks) > 0 {
		parts = append(parts, "stacks "+strings.Join(s.Stacks, ", "))
	}
	return strings.Join(parts, " and ")
}

func (m *Method) offered(who op.Caller) bool {
	return len(who.Toolsets) == 0 || m.Role == op.Public || slices.Contains(who.Toolsets, m.Service)
}

func (m *Method) reaches(who op.Caller) bool {
	return !m.Local || who.Plane == "unix" && who.Channel != op.Agent
}
