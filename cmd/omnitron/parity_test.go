package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// TestParity makes every example of every method over native JSON-RPC, the command line and MCP: the value is the same,
// the fault is the same, and a value fits the schema that is published for it.
func TestParity(t *testing.T) {
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	var changes struct{ Items []struct{ Health string } }
	w.Until(20*time.Second, "a probe of web has answered and is on record", func() bool {
		return w.Call("health.history", map[string]any{}, &changes) == nil && len(changes.Items) > 0
	})
	for _, m := range methods {
		if !slices.ContainsFunc(m.Examples, func(e op.Example) bool { return e.Fails == "" }) {
			t.Errorf("%s has no example that succeeds", m.ID())
		}
		for i, e := range m.Examples {
			t.Run(fmt.Sprintf("%s/%d", m.ID(), i), func(t *testing.T) {
				if m.Service == "approvals" && m.Effect == op.Reads && e.Fails == "" {
					id := w.hold(t)
					if m.Verb == "wait" {
						if err := w.Call("approvals.approve", map[string]any{"id": id}, nil); err != nil {
							t.Fatal(err)
						}
					}
				}
				switch {
				case m.ID() == "auth.password" && e.Fails == "": // it is one's own, and on the socket nobody has one
				case m.ID() == "apps.remove" && e.Fails == "":
					t.Parallel()
					parityOfChanges(t, m, e, func() *world {
						w := newWorld(t)
						if err := w.Call("apps.add", map[string]any{"name": "added", "command": []string{"/bin/sleep", "1000"}, "cwd": "/tmp"}, nil); err != nil {
							t.Fatal(err)
						}
						return w
					})
				case e.Fails != "":
					parityOfFaults(t, w, m, e)
				case m.Stream:
					parityOfItems(t, w, m, e)
				case m.Effect == op.Reads:
					parityOfReads(t, w, m, e)
				case strings.Contains(e.In, `"dry_run":true`): // changes nothing
					parityOfChanges(t, m, e, func() *world { return w })
				default:
					t.Parallel()
					parityOfChanges(t, m, e, func() *world { return newWorld(t) })
				}
			})
		}
	}
}

func parityOfFaults(t *testing.T, w *world, m *tools.Method, e op.Example) {
	native := w.native(t, m, e.In, 1)
	if native.code() != e.Fails {
		t.Fatalf("native: %s answers %q, and the row says %q", e.In, native.code(), e.Fails)
	}
	if got := w.typed(t, m, e.In, 0); got.code() != e.Fails { // it ends by itself
		t.Errorf("command line: %q of %v, want %q", got.code(), got.fault, e.Fails)
	} else if m.Effect == op.Reads && got.fault.Call != "" && got.fault.Message != native.fault.Message {
		t.Errorf("command line: %q, native %q", got.fault.Message, native.fault.Message)
	}
	want := e.Fails
	switch said := verdict(m); {
	case said == policy.Deny && len(m.Problems([]byte(e.In))) == 0: // an input that is none is told first
		want = string(fault.Denied)
	case said == policy.Hold && m.Effect == op.Reads: // asked before it is looked at
		want = string(fault.Held)
	}
	switch got := w.agent.tool(t, m, e.In); {
	case got.code() != want:
		t.Errorf("MCP: %q, want %q: %s", got.code(), want, got.value)
	case want == e.Fails && (got.fault.Message != native.fault.Message || got.fault.Reason != native.fault.Reason):
		t.Errorf("MCP: %s %q, native %s %q", got.fault.Reason, got.fault.Message, native.fault.Reason, native.fault.Message)
	}
}

// verdict is what the policy says to the agent of a world: its role is admin.
func verdict(m *tools.Method) policy.Verdict {
	who := op.Caller{Channel: op.Agent, Ceiling: op.Admin, Role: op.Admin}
	return policy.Default().Decide(policy.Request{Caller: who, Spec: m.Spec}).Verdict
}

func parityOfItems(t *testing.T, w *world, m *tools.Method, e op.Example) {
	agent := w.agent.tool(t, m, e.In)
	if agent.fault != nil || len(agent.items) == 0 {
		t.Fatalf("MCP: no items; fault %v", agent.fault)
	}
	native := w.native(t, m, e.In, len(agent.items))
	typed := w.typed(t, m, e.In, len(agent.items))
	for i := range agent.items {
		for plane, a := range map[string]answer{"native": native, "MCP": agent, "command line": typed} {
			if i >= len(a.items) {
				t.Fatalf("%s: %d items, want %d; fault %v", plane, len(a.items), len(agent.items), a.fault)
			}
			if ps := m.Fits(a.items[i]); len(ps) > 0 {
				t.Errorf("%s: item %d does not fit its schema: %v", plane, i, ps)
			}
			same(t, w, plane, w, native.items[i], a.items[i])
		}
	}
}

func parityOfReads(t *testing.T, w *world, m *tools.Method, e op.Example) {
	observing := watchers[m.ID()]
	native := w.native(t, m, e.In, 0)
	whole(t, m, "native", native)
	agent := w.agent.tool(t, m, e.In)
	if verdict(m) == policy.Hold {
		if agent.code() != string(fault.Held) || agent.fault.Reason != "awaiting_approval" || agent.fault.Approval == nil {
			t.Errorf("MCP: a held read answers %s %+v", agent.value, agent.fault)
		}
		agent = native
	}
	if verdict(m) == policy.Deny {
		if agent.code() != string(fault.Denied) {
			t.Errorf("MCP: %s, and the policy denies it", agent.value)
		}
		agent = native
	}
	for plane, a := range map[string]answer{"command line": w.typed(t, m, e.In, 0), "MCP": agent} {
		whole(t, m, plane, a)
		if a.value == nil || native.value == nil {
			continue
		}
		if observing != nil {
			same(t, w, plane, w, observing(t, native.value), observing(t, a.value))
			continue
		}
		same(t, w, plane, w, native.value, a.value)
	}
}

// watchers are the methods that tell of the calls themselves, with what of their answers does not depend on who asked.
var watchers = map[string]func(*testing.T, json.RawMessage) json.RawMessage{
	"agents.list": func(t *testing.T, raw json.RawMessage) json.RawMessage {
		var list struct {
			Items     []map[string]any
			Truncated bool
		}
		reread(t, raw, &list)
		var agents []any
		for _, i := range list.Items {
			if i["channel"] == "agent" {
				agents = append(agents, []any{i["principal"], i["client"], i["plane"], i["role"], i["paused"]})
			}
		}
		if len(agents) != 1 {
			t.Errorf("%d agents are connected, not one: %s", len(agents), raw)
		}
		return encoded(t, agents)
	},
	"audit.list": func(t *testing.T, raw json.RawMessage) json.RawMessage {
		var list struct {
			Items     []map[string]any
			Truncated bool
		}
		reread(t, raw, &list)
		if len(list.Items) != 5 || !list.Truncated {
			t.Errorf("%d calls, truncated %v", len(list.Items), list.Truncated)
		}
		for _, i := range list.Items {
			if i["who"] != list.Items[0]["who"] || i["method"] == "" || i["result"] == "" {
				t.Errorf("a call without who, what and how: %v", i)
			}
		}
		return encoded(t, len(list.Items))
	},
}

func reread(t *testing.T, raw json.RawMessage, into any) {
	t.Helper()
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
}

func encoded(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// whole checks an answer by itself: no fault, a value that fits its schema and says something.
func whole(t *testing.T, m *tools.Method, plane string, a answer) {
	t.Helper()
	if a.fault != nil {
		t.Errorf("%s: %s: %s", plane, a.fault.Code, a.fault.Message)
		return
	}
	if ps := m.Fits(a.value); len(ps) > 0 {
		t.Errorf("%s: the value does not fit its schema: %v\n%s", plane, ps, a.value)
	}
	v := decoded(t, a.value)
	if o, ok := v.(map[string]any); ok {
		if items, list := o["items"]; list && empty(items) {
			t.Errorf("%s: an empty list: %s", plane, a.value)
		}
		if m.Controlled() {
			delete(o, "status")
		}
	}
	if empty(v) {
		t.Errorf("%s: an empty value: %s", plane, a.value)
	}
}

// same compares two values without what is volatile.
func same(t *testing.T, w *world, plane string, other *world, want, got json.RawMessage) {
	t.Helper()
	a, b := w.normal(decoded(t, want)), other.normal(decoded(t, got))
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("%s gives another value than native (-native +%s):\n%s", plane, plane, d)
	}
}

// parityOfChanges makes a change on each plane, in a world that nobody has changed yet.
func parityOfChanges(t *testing.T, m *tools.Method, e op.Example, world func() *world) {
	first := world()
	before := plan(t, first, m, e)
	native := first.native(t, m, e.In, 0)
	whole(t, m, "native", native)
	if native.fault != nil {
		return
	}
	if got := status(t, native.value); got != "done" {
		t.Errorf("native: status %s", got)
	}
	second := world()
	typed := second.typed(t, m, e.In, 0)
	if whole(t, m, "command line", typed); typed.fault == nil {
		same(t, first, "command line", second, native.value, typed.value)
	}
	third, said := world(), verdict(m)
	agent := third.agent.tool(t, m, e.In)
	if third == first { // a dry run: only what is denied is refused
		said = policy.Allow
	}
	if said == policy.Deny {
		if agent.code() != string(fault.Denied) {
			t.Errorf("MCP: %s, and the policy denies it", agent.value)
		}
		return
	}
	if whole(t, m, "MCP", agent); agent.fault != nil {
		return
	}
	want := map[policy.Verdict]string{policy.Allow: "done", policy.Confirm: "confirm", policy.Hold: "held"}[said]
	if got := status(t, agent.value); got != want {
		t.Fatalf("MCP: status %s, want %s: %s", got, want, agent.value)
	}
	if said == policy.Allow {
		same(t, first, "MCP", third, native.value, agent.value)
		return
	}
	same(t, first, "MCP", third, before, planOf(t, agent.value))
	if said == policy.Hold {
		return
	}
	var o op.Outcome
	reread(t, agent.value, &o)
	confirmed := string(with(t, e.In, map[string]any{"confirm": o.Confirm.Token}))
	again := third.agent.tool(t, m, confirmed)
	if whole(t, m, "MCP", again); again.fault == nil {
		same(t, first, "MCP", third, native.value, again.value)
	}
	if twice := third.agent.tool(t, m, confirmed); twice.fault == nil {
		t.Errorf("MCP: the token works twice: %s", twice.value)
	}
}

func status(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var o struct{ Status string }
	reread(t, raw, &o)
	return o.Status
}

func planOf(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	var o struct{ Plan json.RawMessage }
	reread(t, raw, &o)
	if o.Plan == nil {
		t.Fatalf("there is no plan in %s", raw)
	}
	return o.Plan
}

// plan is what native says that the change would do; asking changes nothing.
func plan(t *testing.T, w *world, m *tools.Method, e op.Example) json.RawMessage {
	t.Helper()
	if !m.Plannable {
		return json.RawMessage("{}")
	}
	dry := string(with(t, e.In, map[string]any{"dry_run": true}))
	one, two := w.native(t, m, dry, 0), w.native(t, m, dry, 0)
	if one.fault != nil || two.fault != nil {
		t.Fatalf("a dry run fails: %v, %v", one.fault, two.fault)
	}
	if string(one.value) != string(two.value) {
		t.Errorf("a second dry run says something else: %s, %s", one.value, two.value)
	}
	return planOf(t, one.value)
}
