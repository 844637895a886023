package tools_test

import (
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// open are the rows that a token which is limited to some projects may call although they name no apps, written by hand:
// whoever adds one has to say here that it shows nothing of other projects.
var open = []string{
	"daemon.ping", "daemon.version", "auth.signin", "auth.refresh", "auth.signout", "auth.whoami", "auth.sessions", "auth.password", // of no project
	"apps.list", "apps.graph", "projects.list", "projects.get", "stacks.list", "stacks.get", "stacks.status", "stacks.start", "stacks.stop", "events.follow", "events.list", "approvals.list", "approvals.get", "approvals.wait", // of those alone
}

// TestEveryRowAndScopes: each row either names apps, which the resolver keeps within the scope, or is on the list above,
// or is denied.
func TestEveryRowAndScopes(t *testing.T) {
	for _, m := range describe(t, catalog.Specs()) {
		listed := slices.Contains(open, m.ID())
		if m.AnyScope != listed || m.AnyScope && m.Targets {
			t.Errorf("%s: for any scope %v, on the list %v, names apps %v", m.ID(), m.AnyScope, listed, m.Targets)
		}
		who := op.Caller{User: "u", Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Plane: "tcp"}
		if m.Role == op.Node || m.Local {
			continue
		}
		who.Scope = op.Scope{Stacks: []string{"dev"}}
		if got := m.Visible(who); got != (m.Targets || listed) {
			t.Errorf("%s: shown to a token of some stacks: %v", m.ID(), got)
		}
		who.Scope = op.Scope{Methods: []string{"health.*"}}
		if got := m.Visible(who); got != (m.Service == "health" || m.Role == op.Public) {
			t.Errorf("%s: shown to a token of health.*: %v", m.ID(), got)
		}
	}
}

func TestScopesAreACeiling(t *testing.T) {
	w := toolstest.New(t)
	who := toolstest.Owner()
	who.Scope = op.Scope{Methods: []string{"toys.list", "*.stop"}}
	does(t, w, who, "toys.list", `{}`)
	does(t, w, who, "toys.stop", `{"names":["car"]}`)
	does(t, w, who, "toys.ping", `{}`)
	fails(t, w, who, "toys.smash", `{"names":["drum"]}`, fault.Denied, "scope")
	who.Scope = op.Scope{Projects: []string{"box"}}
	does(t, w, who, "toys.stop", `{"names":["car"]}`)
	fails(t, w, who, "toys.add", `{"name":"kite","color":"red"}`, fault.Denied, "scope")
	fails(t, w, who, "toys.list", `{}`, fault.Denied, "scope")
}
