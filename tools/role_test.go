package tools_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestRole(t *testing.T) {
	tests := []struct {
		name       string
		who        op.Caller
		method, in string
		code       fault.Code
		reason     string
	}{
		{"nobody may ping", op.Caller{}, "toys.ping", `{}`, "", ""},
		{"nobody may do more", op.Caller{}, "toys.list", `{}`, fault.Unauthenticated, ""},
		{"an app may ping", op.Caller{Channel: op.App, Ceiling: op.Viewer, Role: op.Viewer}, "toys.ping", `{}`, "", ""},
		{"a viewer looks", op.Caller{Channel: op.Person, Ceiling: op.Viewer, Role: op.Viewer}, "toys.list", `{}`, "", ""},
		{"a viewer does not stop", op.Caller{Channel: op.Person, Ceiling: op.Viewer, Role: op.Viewer}, "toys.stop", `{}`, fault.Denied, "role"},
		{"an operator stops", op.Caller{Channel: op.Person, Ceiling: op.Operator, Role: op.Operator}, "toys.stop", `{}`, "", ""},
		{"an operator does not smash", op.Caller{Channel: op.Person, Ceiling: op.Operator, Role: op.Operator}, "toys.smash", `{}`, fault.Denied, "role"},
		{"a node is on no rung", op.Caller{Channel: op.Peer, Ceiling: op.Node, Role: op.Node}, "toys.list", `{}`, fault.Denied, "role"},
		{"the acting role cannot lift the rights", op.Caller{Channel: op.Person, Ceiling: op.Viewer, Role: op.Admin}, "toys.smash", `{}`, fault.Denied, "role"},
		{"read only", op.Caller{Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, ReadOnly: true}, "toys.add", `{"name":"kite","color":"red"}`, fault.Denied, "read_only"},
		{"read only reads", op.Caller{Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, ReadOnly: true}, "toys.list", `{}`, "", ""},
		{"toolset", op.Caller{Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Toolsets: []string{"games"}}, "toys.list", `{}`, fault.Denied, "toolset"},
		{"toolset, public", op.Caller{Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Toolsets: []string{"games"}}, "toys.ping", `{}`, "", ""},
		{"toolset that has it", op.Caller{Channel: op.Person, Ceiling: op.Admin, Role: op.Admin, Toolsets: []string{"games", "toys"}}, "toys.list", `{}`, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := toolstest.New(t)
			m, _ := w.Registry.Find(test.method)
			if m.Visible(test.who) != (test.code == "") {
				t.Errorf("visible: %v", m.Visible(test.who))
			}
			if test.code == "" {
				does(t, w, test.who, test.method, test.in)
				return
			}
			before := w.Toys()
			fails(t, w, test.who, test.method, test.in, test.code, test.reason)
			e := w.Ledger.Entries()
			if test.who.Channel == "" {
				if len(e) != 1 || e[0].Method != "(connect)" || e[0].Code != string(test.code) || e[0].User != "unknown" {
					t.Errorf("a stranger is counted, and has no record of his own: %+v", e)
				}
				return
			}
			if len(e) != 1 || e[0].Code != string(test.code) || e[0].Decision != "refused" || e[0].Open || e[0].Args != nil {
				t.Errorf("a refusal is a closed record without unchecked arguments: %+v", e)
			}
			if len(w.Toys()) != len(before) {
				t.Error("it had an effect")
			}
		})
	}
}

func TestPausedAgentsOnlyLook(t *testing.T) {
	w := toolstest.New(t)
	agent := toolstest.Agent()
	if _, err := w.Sessions.Pause(agent.Principal()); err != nil {
		t.Fatal(err)
	}
	does(t, w, agent, "toys.list", `{}`)
	fails(t, w, agent, "toys.paint", `{"names":["car"],"color":"blue"}`, fault.Denied, "paused")
	does(t, w, toolstest.Owner(), "toys.paint", `{"names":["car"],"color":"blue"}`)
	if _, err := w.Sessions.Resume(agent.Principal()); err != nil {
		t.Fatal(err)
	}
	does(t, w, agent, "toys.paint", `{"names":["car"],"color":"red"}`)
}
