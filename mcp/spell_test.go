package mcp

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// TestSpell: a call that a hint names is spelled so that the connection that is told of it can make it.
func TestSpell(t *testing.T) {
	b := newBed(t)
	agent := op.Caller{Channel: op.Agent, Ceiling: op.Operator, Role: op.Operator}
	for _, c := range []struct {
		profile string
		call    fault.Call
		want    string
	}{
		{profileFull, fault.Do("apps.list", "all", true), `apps_list({"all":true})`},
		{profileFull, fault.Do("apps.env", "name", "web"), `apps_env({"name":"web"})`},
		{profileFull, fault.Do("apps.environment"), `apps_env({})`},
		{profileCore, fault.Do("apps.list"), `apps_list({})`},
		{profileCore, fault.Do("apps.env", "name", "web"), `ops_read({"input":{"name":"web"},"method":"apps.env"})`},
		{profileCore, fault.Do("apps.note"), `ops_write({"method":"apps.note"})`},
		{profileReadOnly, fault.Do("apps.stop", "names", []string{"web"}), `apps.stop (which this connection may not call)`},
		{profileFull, fault.Do("apps.local"), ""},
		{profileFull, fault.Do("no.method"), ""},
	} {
		caller, err := b.lower(agent, Launch{Profile: c.profile})
		if err != nil {
			t.Fatal(err)
		}
		f, err := b.surfaceFor(Launch{Profile: c.profile}, caller)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := (&conn{srv: b.Server, caller: caller, surface: f}).spell(c.call)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s, %s: %q %v, want %q", c.profile, c.call, got, ok, c.want)
		}
	}
}
