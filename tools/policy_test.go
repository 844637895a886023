package tools_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// seats are the callers of the table: what a connection of each kind has.
var seats = []struct {
	name   string
	caller op.Caller
}{
	{"person", op.Caller{User: "u", Channel: op.Person, Ceiling: op.Admin, Role: op.Admin}},
	{"agent", op.Caller{User: "u", Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator}},
	{"agent-admin", op.Caller{User: "u", Channel: op.Agent, Ceiling: op.Admin, Role: op.Admin}},
	{"agent-viewer", op.Caller{User: "u", Channel: op.Agent, Ceiling: op.Viewer, Role: op.Viewer}},
	{"agent-reads", op.Caller{User: "u", Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator, ReadOnly: true}},
	{"app", op.Caller{User: "u", Channel: op.App, Ceiling: op.Operator, Role: op.Operator}},
	{"node", op.Caller{User: "u", Channel: op.Peer, Ceiling: op.Node, Role: op.Node}},
}

// expected is product.md §8 read by hand, for one method and one caller; it shares nothing with the rules.
func expected(s op.Spec, seat string) policy.Verdict {
	id := s.ID()
	if s.Role == op.Public && s.Effect == op.Reads {
		return policy.Allow
	}
	switch seat {
	case "person":
		return map[bool]policy.Verdict{true: policy.Allow, false: policy.Deny}[s.Role != op.Node]
	case "node":
		return map[bool]policy.Verdict{true: policy.Allow, false: policy.Deny}[s.Role == op.Node || s.Role == op.Public]
	case "app":
		return map[bool]policy.Verdict{true: policy.Allow, false: policy.Deny}[s.Role <= op.Operator]
	case "agent-viewer":
		if s.Role > op.Viewer {
			return policy.Deny
		}
	case "agent-reads":
		if s.Effect != op.Reads {
			return policy.Deny
		}
	}
	switch {
	case s.Role == op.Node, id == "approvals.approve", id == "approvals.deny", id == "agents.resume", s.Service == "auth", s.Service == "users", s.Service == "tokens":
		return policy.Deny
	case s.Effect == op.Destroys, s.Service == "secrets", s.Verb == "exec", id == "apps.add", id == "apps.apply":
		return policy.Hold
	case s.Role == op.Admin && (seat != "agent-admin" || s.Effect != op.Reads): // above the acting role, or configuration and rights
		return policy.Hold
	case s.Effect == op.Interrupts && id != "apps.restart" && id != "apps.reload":
		return policy.Confirm
	}
	return policy.Allow
}

// TestEveryVerdict: every method, every kind of caller, and what the policy says without configuration. The golden file of
// the surface shows the same to eyes; the expectation is written by hand.
func TestEveryVerdict(t *testing.T) {
	for _, spec := range catalog.Specs() {
		for _, s := range seats {
			d := policy.Default().Decide(policy.Request{Caller: s.caller, Spec: spec})
			if want := expected(spec, s.name); d.Verdict != want {
				t.Errorf("%s for %s: %s by %s, want %s", spec.ID(), s.name, d.Verdict, d.Rule, want)
			}
		}
	}
}

// verdicts is the table of them.
func verdicts(methods []*tools.Method) []byte {
	line := func(name string, cell func(i int) string) string {
		text := fmt.Sprintf("%-24s", name)
		for i := range seats {
			text += fmt.Sprintf(" %-12s", cell(i))
		}
		return strings.TrimRight(text, " ") + "\n"
	}
	var lines []string
	for _, m := range methods {
		lines = append(lines, line(m.ID(), func(i int) string {
			return string(policy.Default().Decide(policy.Request{Caller: seats[i].caller, Spec: m.Spec}).Verdict)
		}))
	}
	slices.Sort(lines)
	return []byte(line("method", func(i int) string { return seats[i].name }) + strings.Join(lines, ""))
}
