package main

import (
	"encoding/json"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// TestHintsOfPlanes makes calls whose answers tell what to do next: natively that is a call, over MCP a tool, in the shell a
// command.
func TestHintsOfPlanes(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]*tools.Method{}
	for _, m := range methods {
		byID[m.ID()] = m
	}
	w := newWorld(t)
	var none op.Outcome
	if err := w.Call("apps.stop", map[string]any{"names": []string{"api"}}, &none); err != nil {
		t.Fatal(err)
	}
	hint := func(a answer) string {
		if a.fault == nil {
			return "no fault"
		}
		return a.fault.Hint
	}
	step := func(a answer) string {
		var e struct {
			Next []fault.Hint `json:"next_steps"`
		}
		if json.Unmarshal(a.value, &e) != nil || len(e.Next) == 0 {
			return "no step"
		}
		return string(e.Next[0])
	}
	for _, c := range []struct {
		method, in         string
		told               func(answer) string
		native, mcp, shell string
	}{
		{"apps.get", `{"name":"nosuch"}`, hint, `apps.list {}`, `apps_list({})`, `omnitron ls`},
		{"apps.list", `{"limit":0}`, hint, `for example apps.list {"all":true}`, `for example apps_list({"all":true})`, `for example omnitron ls --all`},
		{"apps.explain", `{"name":"api"}`, step, `apps.start {"names":["api"]}`, `apps_start({"names":["api"]})`, `omnitron start api`},
		{"apps.explain", `{"name":"web"}`, step, `logs.follow {"names":["web"]}`, `logs_follow({"names":["web"]})`, `omnitron logs follow web`},
	} {
		m := byID[c.method]
		if got := c.told(w.native(t, m, c.in, 1)); got != c.native {
			t.Errorf("native %s %s: %q, want %q", c.method, c.in, got, c.native)
		}
		if got := c.told(w.agent.tool(t, m, c.in)); got != c.mcp {
			t.Errorf("MCP %s %s: %q, want %q", c.method, c.in, got, c.mcp)
		}
		if got := c.told(w.typed(t, m, c.in, 1)); got != c.shell {
			t.Errorf("shell %s %s: %q, want %q", c.method, c.in, got, c.shell)
		}
	}
}
