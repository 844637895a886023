package tools_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func outcome(t *testing.T, w *toolstest.World, who op.Caller, method, in string, want op.Status) op.Outcome {
	t.Helper()
	out, ok := does(t, w, who, method, in).(op.Outcome)
	if !ok || out.Status != want {
		t.Fatalf("%s %s: got %+v, want %s", method, in, out, want)
	}
	m, _ := w.Registry.Find(method)
	if p := m.Fits([]byte(asJSON(t, out))); len(p) > 0 {
		t.Errorf("%s %s: the answer does not fit its schema: %+v\n%s", method, in, p, asJSON(t, out))
	}
	return out
}

func TestAgentsConfirmInterruptions(t *testing.T) {
	w := toolstest.New(t)
	agent, in := toolstest.Agent(), `{"names":["car"]}`
	asked := outcome(t, w, agent, "toys.stop", in, op.Confirm)
	if !w.Toys()[0].Moving {
		t.Fatal("asking had the effect")
	}
	if asked.Plan == nil || len(asked.Plan.Items) != 1 || asked.Plan.Items[0].Target != "box/dev/car" || asked.Plan.Digest == "" || asked.Confirm == nil {
		t.Fatalf("%+v", asked)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Decision != "confirm" || e[0].Open || e[0].Seq == 0 {
		t.Errorf("%+v", e)
	}
	next := asked.Next[0]
	if next.Method != "toys.stop" || asJSON(t, next.Input) != `{"confirm":"tok-1","names":["car"]}` {
		t.Errorf("the next call is the same one with the token: %+v", next)
	}
	outcome(t, w, agent, next.Method, asJSON(t, next.Input), op.Done)
	if w.Toys()[0].Moving {
		t.Error("the confirmed call had no effect")
	}
	if e := w.Ledger.Entries(); len(e) != 2 || e[1].Decision != "confirmed" {
		t.Errorf("%+v", e)
	}
}

func TestTokensAreBound(t *testing.T) {
	for name, use := range map[string]func(w *toolstest.World) (op.Caller, string, string){
		"another argument": func(*toolstest.World) (op.Caller, string, string) {
			return toolstest.Agent(), "toys.stop", `{"names":["doll"],"confirm":"tok-1"}`
		},
		"another principal": func(*toolstest.World) (op.Caller, string, string) {
			who := toolstest.Agent()
			who.User = "bob"
			return who, "toys.stop", `{"names":["car"],"confirm":"tok-1"}`
		},
		"another world": func(w *toolstest.World) (op.Caller, string, string) {
			w.Moves++
			return toolstest.Agent(), "toys.stop", `{"names":["car"],"confirm":"tok-1"}`
		},
		"altered": func(*toolstest.World) (op.Caller, string, string) {
			return toolstest.Agent(), "toys.stop", `{"names":["car"],"confirm":"tok-11"}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := toolstest.New(t)
			outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"]}`, op.Confirm)
			who, method, in := use(w)
			fails(t, w, who, method, in, fault.Conflict, "confirm_stale")
			if !w.Toys()[0].Moving {
				t.Error("it had an effect")
			}
		})
	}
}

func TestTokensAreGoodOnce(t *testing.T) {
	w := toolstest.New(t)
	in := `{"names":["car"],"confirm":"tok-1"}`
	outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"]}`, op.Confirm)
	outcome(t, w, toolstest.Agent(), "toys.stop", in, op.Done)
	fails(t, w, toolstest.Agent(), "toys.stop", in, fault.Conflict, "confirm_stale")
	if n := len(w.Seqs()); n != 2 { // the plan of the first and the one effect
		t.Errorf("%d handlers and plans ran", n)
	}
}

func TestAgentsWaitForAPerson(t *testing.T) {
	w := toolstest.New(t)
	held := outcome(t, w, toolstest.Agent(), "toys.smash", `{"names":["car"]}`, op.Waiting)
	if held.Approval == nil || held.Approval.ID != "ap-1" || held.Plan == nil || len(held.Plan.Items) != 1 {
		t.Errorf("%+v", held)
	}
	if len(w.Toys()) != 3 {
		t.Error("it had an effect")
	}
	asked := w.Held.Asked()
	if len(asked) != 1 || asked[0].Method != "toys.smash" || string(asked[0].Args) != `{"names":["car"]}` || len(asked[0].Targets) != 1 || asked[0].Why == "" {
		t.Errorf("%+v", asked)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Decision != "hold" || e[0].Open || e[0].Seq == 0 {
		t.Errorf("%+v", e)
	}
	// A token is no approval.
	outcome(t, w, toolstest.Agent(), "toys.smash", `{"names":["car"],"confirm":"tok-1"}`, op.Waiting)
}

func TestAboveTheActingRoleIsHeld(t *testing.T) {
	w := toolstest.New(t)
	outcome(t, w, toolstest.Agent(), "toys.add", `{"name":"kite","color":"red"}`, op.Waiting)
	w.Policy.Verdicts = map[string]policy.Verdict{"toys.add": policy.Allow}
	outcome(t, w, toolstest.Agent(), "toys.add", `{"name":"kite","color":"red"}`, op.Waiting)
	if len(w.Toys()) != 3 {
		t.Error("it had an effect")
	}
	who := toolstest.Agent()
	who.Role = op.Admin
	outcome(t, w, who, "toys.add", `{"name":"kite","color":"red"}`, op.Done)
}

func TestHeldReadsAreFaults(t *testing.T) {
	w := toolstest.New(t)
	w.Policy.Verdicts = map[string]policy.Verdict{"toys.list": policy.Hold, "toys.get": policy.Confirm}
	for method, in := range map[string]string{"toys.list": `{}`, "toys.get": `{"name":"car"}`} {
		f := fails(t, w, toolstest.Agent(), method, in, fault.Held, "awaiting_approval")
		if ref, ok := f.Approval.(op.ApprovalRef); !ok || ref.ID == "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestDenied(t *testing.T) {
	w := toolstest.New(t)
	for _, v := range []policy.Verdict{policy.Deny, "", "something new"} {
		w.Policy.Verdicts = map[string]policy.Verdict{"toys.stop": v}
		fails(t, w, toolstest.Owner(), "toys.stop", `{}`, fault.Denied, "policy")
		fails(t, w, toolstest.Owner(), "toys.stop", `{"dry_run":true}`, fault.Denied, "policy")
	}
	if !w.Toys()[0].Moving {
		t.Error("it had an effect")
	}
	if e := w.Ledger.Entries(); e[0].Decision != "deny" || e[0].Code != "denied" {
		t.Errorf("%+v", e[0])
	}
}

func TestWhatAPersonAgreedTo(t *testing.T) {
	w := toolstest.New(t)
	w.Held.Say.Through = true
	outcome(t, w, toolstest.Agent(), "toys.smash", `{"names":["car"]}`, op.Done)
	if len(w.Toys()) != 2 {
		t.Error("it had no effect")
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Decision != tools.Approved || e[0].Seq == 0 {
		t.Errorf("%+v", e)
	}
	b := w.Held.Asked()[0]
	if string(b.Input) != `{"names":["car"]}` || b.Plan == nil || len(b.Plan.Items) != 1 || b.Rule != "agents-destroy" || b.Targets[0].Generation != 1 {
		t.Errorf("%+v", b)
	}
	// A read that a person has to agree to is on record before it is made.
	w.Policy.Verdicts = map[string]policy.Verdict{"toys.list": policy.Hold}
	does(t, w, toolstest.Agent(), "toys.list", `{}`)
	if e := w.Ledger.Entries(); len(e) != 2 || e[1].Decision != tools.Approved || e[1].Seq == 0 || e[1].Changes {
		t.Errorf("%+v", e)
	}
}

func TestWhatAPersonRefused(t *testing.T) {
	w := toolstest.New(t)
	w.Held.Say.Refused = fault.New(fault.Held, "ann said no").WithReason("denied_by_person")
	fails(t, w, toolstest.Agent(), "toys.smash", `{"names":["car"]}`, fault.Held, "denied_by_person")
	if len(w.Toys()) != 3 {
		t.Error("it had an effect")
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Decision != "hold" || e[0].Code != "held" {
		t.Errorf("%+v", e)
	}
}

// TestHeldSaysWhy: whoever is held or denied is told by which rule.
func TestHeldSaysWhy(t *testing.T) {
	w := toolstest.New(t)
	held := outcome(t, w, toolstest.Agent(), "toys.smash", `{"names":["car"]}`, op.Waiting)
	if a := held.Approval; a.Rule != "agents-destroy" || !strings.Contains(a.Why, "cannot be brought back") {
		t.Errorf("%+v", a)
	}
	w.Policy.Verdicts = map[string]policy.Verdict{"toys.list": policy.Hold, "toys.stop": policy.Deny}
	f := fails(t, w, toolstest.Agent(), "toys.list", `{}`, fault.Held, "awaiting_approval")
	if !strings.Contains(f.Message, "the test says so") || !strings.Contains(f.Hint, "omnitron approve ap-2") {
		t.Errorf("%+v", f)
	}
	if f = fails(t, w, toolstest.Agent(), "toys.stop", `{}`, fault.Denied, "policy"); !strings.Contains(f.Message, "the test says so") {
		t.Errorf("%+v", f)
	}
}

// TestABudgetThatIsUsedUp holds what would go through, but no preview.
func TestABudgetThatIsUsedUp(t *testing.T) {
	w := toolstest.New(t)
	w.Policy.Spent = true
	outcome(t, w, toolstest.Agent(), "toys.paint", `{"names":["car"],"color":"blue","dry_run":true}`, op.Done)
	outcome(t, w, toolstest.Agent(), "toys.paint", `{"names":["car"],"color":"blue"}`, op.Waiting)
	outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"]}`, op.Confirm) // a confirmation that is not given yet uses nothing
	outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"],"confirm":"tok-1"}`, op.Waiting)
	if toy := w.Toys()[0]; toy.Color != "red" || !toy.Moving {
		t.Errorf("it had an effect: %+v", toy)
	}
}

// TestATokenThatIsNoGoodUsesNoBudget: else whoever says confirm without a plan would use up what is left for others.
func TestATokenThatIsNoGoodUsesNoBudget(t *testing.T) {
	w := toolstest.New(t)
	w.Policy.Budgets = []policy.Budget{{Rule: "few", PerHour: 1}}
	outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"]}`, op.Confirm)
	for _, in := range []string{`{"names":["car"],"confirm":"made up"}`, `{"names":["doll"],"confirm":"tok-1"}`} {
		fails(t, w, toolstest.Agent(), "toys.stop", in, fault.Conflict, "confirm_stale")
	}
	if n := w.Policy.Taken.Load(); n != 0 {
		t.Errorf("%d calls were taken off the budget, and none went through", n)
	}
	outcome(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"],"confirm":"tok-1"}`, op.Done)
	fails(t, w, toolstest.Agent(), "toys.stop", `{"names":["car"],"confirm":"tok-1"}`, fault.Conflict, "confirm_stale") // used
	if n := w.Policy.Taken.Load(); n != 1 {
		t.Errorf("%d calls were taken off the budget, and one went through", n)
	}
}

// pausing pauses the caller while its call is being recorded.
type pausing struct {
	*toolstest.Ledger
	w *toolstest.World
}

func (p pausing) Begin(ctx context.Context, e ledger.Entry, with ...func(*sql.Tx) error) (int64, error) {
	if _, err := p.w.Sessions.Pause(e.User + "/" + e.Channel); err != nil {
		return 0, err
	}
	return p.Ledger.Begin(ctx, e, with...)
}

// TestAPauseStopsWhatWasDecided: a call that is past the gate has no effect any more.
func TestAPauseStopsWhatWasDecided(t *testing.T) {
	for method, in := range map[string]string{"toys.paint": `{"names":["car"],"color":"blue"}`, "toys.smash": `{"names":["car"]}`} {
		w := toolstest.New(t)
		w.Held.Say.Through = true
		r, err := tools.New(toolstest.Toys.Bind(w.Box), withLedger(w.Registry.Deps, pausing{w.Ledger, w}))
		if err != nil {
			t.Fatal(err)
		}
		w.Registry = r
		fails(t, w, toolstest.Agent(), method, in, fault.Denied, "paused")
		if toys := w.Toys(); len(toys) != 3 || toys[0].Color != "red" {
			t.Errorf("%s had an effect: %+v", method, toys)
		}
		if e := w.Ledger.Entries(); len(e) != 1 || e[0].Reason != "paused" {
			t.Errorf("%+v", e)
		}
	}
}

func withLedger(d tools.Deps, l tools.Ledger) tools.Deps { d.Ledger = l; return d }
