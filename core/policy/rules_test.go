package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func engine(t *testing.T, yaml string, now func() time.Time) *Engine {
	t.Helper()
	return engineOn(t, storetest.New(t), yaml, now)
}

func engineOn(t *testing.T, db database, yaml string, now func() time.Time) *Engine {
	t.Helper()
	c, err := setting.Load(yaml, "/h/config.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEngine(db, now)
	e.Use(c.Policy)
	return e
}

func on(keys ...string) (ts []op.Target) {
	for _, k := range keys {
		parts := strings.Split(k, "/")
		ts = append(ts, op.Target{Key: k, Project: parts[0], Stack: parts[1]})
	}
	return ts
}

const file = `
policy:
  rules:
    - {name: dev-stops, when: {channel: agent, method: "apps.st*", stack: dev}, then: allow}
    - {name: prod-asks, when: {channel: agent, effect: [adds, sets, interrupts], project: shop, stack: "prod*"}, then: hold}
    - {name: bob-looks, when: {user: bob, effect: "?ets"}, then: deny}
    - {name: purges, when: {method: logs.purge, channel: agent}, then: confirm}
    - {name: quiet, when: {channel: agent, role: viewer, method: logs.query}, then: confirm}
    - {name: greedy, when: {channel: agent}, then: allow}
`

// TestRules: the first rule that matches decides, before the defaults.
func TestRules(t *testing.T) {
	e := engine(t, file, time.Now)
	bob := agent
	bob.User = "bob"
	stop, start := spec("apps.stop", op.Operator, op.Interrupts), spec("apps.start", op.Operator, op.Sets)
	for _, c := range []struct {
		caller op.Caller
		method op.Spec
		on     []op.Target
		want   Verdict
		rule   string
	}{
		{agent, stop, on("shop/dev/api"), Allow, "dev-stops"},
		{agent, stop, on("shop/prod/api"), Hold, "prod-asks"},
		{agent, stop, on("shop/prod2/api"), Hold, "prod-asks"},
		{agent, stop, on("other/prod/api"), Allow, "greedy"},
		{agent, stop, on("shop/dev/api", "shop/prod/api"), Hold, "prod-asks"}, // the strictest, in any order
		{agent, stop, on("shop/prod/api", "shop/dev/api"), Hold, "prod-asks"},
		{agent, stop, nil, Allow, "greedy"},
		{bob, start, on("shop/dev/api"), Allow, "dev-stops"},
		{bob, spec("apps.reset", op.Operator, op.Sets), on("x/y/z"), Deny, "bob-looks"},
		{agent, spec("apps.get", op.Viewer, op.Reads), on("shop/prod/api"), Allow, "greedy"},
		{admin, spec("logs.purge", op.Admin, op.Destroys), on("shop/dev/api"), Confirm, "purges"},
		{agent, spec("logs.purge", op.Admin, op.Destroys), on("shop/dev/api"), Hold, ByRole}, // a rule gives no role
		{viewer, start, on("shop/dev/api"), Deny, ByRights},
		{reader, start, on("shop/dev/api"), Deny, ByReadOnly},
		{agent, spec("logs.query", op.Viewer, op.Reads), nil, Hold, "quiet"}, // a read cannot carry a token
		{person, stop, on("shop/prod/api"), Allow, "persons"},
	} {
		got := e.Decide(Request{Caller: c.caller, Spec: c.method, Targets: c.on})
		if got.Verdict != c.want || got.Rule != c.rule {
			t.Errorf("%s %s on %v: %s by %s (%s), want %s by %s", c.caller.User, c.method.ID(), c.on, got.Verdict, got.Rule, got.Why, c.want, c.rule)
		}
		if strings.Contains(got.Why, "\n") || got.Why == "" || !strings.Contains(got.Why, c.method.ID()) {
			t.Errorf("the reason is %q", got.Why)
		}
	}
	if d := e.Decide(Request{Caller: agent, Spec: stop, Targets: on("shop/prod/api")}); !strings.Contains(d.Why, `the rule "prod-asks" of config.yaml says hold`) {
		t.Error(d.Why)
	}
	e.Use(setting.Policy{})
	if d := e.Decide(Request{Caller: agent, Spec: stop, Targets: on("shop/dev/api")}); d.Rule != "agents-interrupt" || !strings.Contains(d.Why, "default rule agents-interrupt") {
		t.Errorf("without the file: %+v", d)
	}
}

// TestNoRuleLoosensWhatIsFixed: whatever the file says, agents approve nothing, resume nobody and touch no accounts.
func TestNoRuleLoosensWhatIsFixed(t *testing.T) {
	e := engine(t, "policy: {rules: [{name: all, then: allow}]}", time.Now)
	for _, id := range []string{"approvals.approve", "approvals.deny", "agents.resume", "auth.password", "users.list", "users.create", "tokens.create", "tokens.list"} {
		for effect := op.Reads; effect <= op.Destroys; effect++ {
			for role := op.Viewer; role <= op.Admin; role++ {
				for _, c := range []op.Caller{agent, admin} {
					if d := e.Decide(Request{Caller: c, Spec: spec(id, role, effect)}); d.Verdict != Deny {
						t.Errorf("%s: %s by %s", id, d.Verdict, d.Rule)
					}
				}
			}
		}
	}
	if d := e.Decide(Request{Caller: agent, Spec: spec("audit.list", op.Admin, op.Reads)}); d.Verdict != Hold || d.Rule != ByRole {
		t.Errorf("above the acting role: %+v", d)
	}
	locked := engine(t, "policy: {rules: [{name: none, then: deny}]}", time.Now)
	owner := person
	if d := locked.Decide(Request{Caller: owner, Spec: spec("daemon.reload", op.Admin, op.Interrupts)}); d.Verdict != Deny {
		t.Errorf("the owner: %+v", d)
	}
	owner.Plane = "signal"
	if d := locked.Decide(Request{Caller: owner, Spec: spec("daemon.reload", op.Admin, op.Interrupts)}); d.Verdict != Allow {
		t.Errorf("his signal: %+v", d)
	}
}

// TestBudget: so many calls an hour, whoever makes them and however often the daemon is started anew.
func TestBudget(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	const yaml = `policy: {rules: [{name: few, when: {channel: agent, method: apps.stop}, then: allow, perHour: 3}]}`
	db := storetest.New(t)
	e := engineOn(t, db, yaml, clock)
	stop := Request{Caller: agent, Spec: spec("apps.stop", op.Operator, op.Interrupts), Targets: on("shop/dev/a", "shop/dev/b")}
	spend := func() Decision {
		t.Helper()
		d, err := e.Spend(t.Context(), e.Decide(stop))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for range 3 {
		if d := spend(); d.Verdict != Allow || d.Rule != "few" {
			t.Fatalf("within the budget: %+v", d)
		}
		now = now.Add(10 * time.Minute)
	}
	if d := spend(); d.Verdict != Hold || d.Rule != "few" || !strings.Contains(d.Why, "3 calls an hour") {
		t.Errorf("beyond it: %+v", d)
	}
	e = engineOn(t, db, yaml, clock) // a new daemon
	if d := spend(); d.Verdict != Hold {
		t.Errorf("a new daemon has a new budget: %+v", d)
	}
	if d, err := e.Left(t.Context(), e.Decide(stop)); err != nil || d.Verdict != Hold {
		t.Errorf("left: %+v, %v", d, err)
	}
	now = now.Add(31 * time.Minute) // the first is an hour ago
	for range 2 {                   // looking takes nothing
		if d, err := e.Left(t.Context(), e.Decide(stop)); err != nil || d.Verdict != Allow {
			t.Errorf("left: %+v, %v", d, err)
		}
	}
	if d := spend(); d.Verdict != Allow {
		t.Errorf("after an hour: %+v", d)
	}
	if d := spend(); d.Verdict != Hold {
		t.Errorf("one came back, and two went through: %+v", d)
	}
	held := agent
	held.Role = op.Viewer
	if d := e.Decide(Request{Caller: held, Spec: stop.Spec, Targets: stop.Targets}); d.Verdict != Hold || len(d.Budgets) > 0 {
		t.Errorf("a held call uses a budget up: %+v", d)
	}
}

func TestGlobs(t *testing.T) {
	for text, globs := range map[string][]string{"apps.stop": {"apps.*", "*.stop", "*", "a?ps.stop", "apps.[rs]*", "x", "apps.stop"}, "": {"*"}} {
		for i, g := range globs {
			if got := fits([]string{g}, text); got != (g != "x") {
				t.Errorf("%q %q: %v", g, text, got)
			}
			if got := fits(globs[i:], text); got != (slices.Contains(globs[i:], "x") && len(globs[i:]) > 1 || g != "x") {
				t.Errorf("%q %q: %v", globs[i:], text, got)
			}
		}
	}
}
