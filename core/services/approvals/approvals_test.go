package approvals

import (
	"context"
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

var (
	ann   = op.Caller{User: "ann", Channel: op.Person, Ceiling: op.Admin, Role: op.Admin}
	agent = op.Caller{User: "ann", Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator}
)

func service(t *testing.T) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.New(t)
	h.Specs = []op.Spec{
		{Service: "logs", Verb: "purge", Role: op.Admin, Effect: op.Destroys}, {Service: "apps", Verb: "stop", Role: op.Operator, Effect: op.Interrupts},
		{Service: "apps", Verb: "list", Role: op.Viewer, Effect: op.Reads}, {Service: "agents", Verb: "resume", Role: op.Admin, Effect: op.Sets},
		{Service: "fleet", Verb: "heartbeat", Role: op.Node, Effect: op.Sets},
	}
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// hold has a call wait.
func hold(t *testing.T, h *hosttest.Host, method string) string {
	t.Helper()
	in, answer, err := h.Approvals.Present(policy.Binding{Caller: agent, Method: method, Input: json.RawMessage(`{}`), Why: "because"}, "call-1")
	if err == nil {
		err = h.Store.Update(t.Context(), func(tx *sql.Tx) error { return in(tx) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer().Ref.ID
}

func TestApprovals(t *testing.T) {
	h, s := service(t)
	person, asker := op.WithCaller(t.Context(), ann), op.WithCaller(t.Context(), agent)
	first, other := hold(t, h, "logs.purge"), hold(t, h, "apps.stop")
	for _, ctx := range []context.Context{person, asker} {
		if l, err := s.List(ctx, Which{}); err != nil || len(l.Items) != 2 || l.Items[0].ID != other || l.Truncated {
			t.Errorf("%+v %v", l, err)
		}
	}
	page, err := s.List(person, Which{Page: op.Page{Limit: 1}})
	if err != nil || len(page.Items) != 1 || !page.Truncated {
		t.Fatalf("%+v %v", page, err)
	}
	if rest, err := s.List(person, Which{Page: op.Page{Cursor: page.NextCursor}}); err != nil || len(rest.Items) != 1 || rest.Items[0].ID != first {
		t.Errorf("%+v %v", rest, err)
	}
	if _, err := s.List(person, Which{Page: op.Page{Cursor: "x"}}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if p, err := s.PlanApprove(person, Decision{One: One{first}}); err != nil || p.Items[0] != (op.Item{Target: first + " logs.purge", From: "pending", To: "approved"}) {
		t.Errorf("%+v %v", p, err)
	}
	if _, err := s.Wait(asker, Waiting{One{first}, 1}); !fault.Is(err, fault.Deadline) {
		t.Error(err)
	}
	if _, err := s.Approve(asker, Decision{One: One{first}}); !fault.Is(err, fault.Denied) {
		t.Error(err)
	}
	if a, err := s.Approve(person, Decision{One{first}, "fine"}); err != nil || a.Status != approval.Approved || a.Note != "fine" || time.Until(a.UseBy) > approval.Use {
		t.Errorf("%+v %v", a, err)
	}
	if a, err := s.Wait(asker, Waiting{One{first}, 1}); err != nil || a.Status != approval.Approved {
		t.Errorf("%+v %v", a, err)
	}
	if a, err := s.Deny(person, Decision{One{other}, "no"}); err != nil || a.Status != approval.Denied {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := s.Wait(asker, Waiting{One{other}, 1}); !fault.Is(err, fault.Held) {
		t.Error(err)
	}
	if l, err := s.List(person, Which{}); err != nil || len(l.Items) != 0 || l.Items == nil {
		t.Errorf("%+v %v", l, err)
	}
	if l, err := s.List(person, Which{Decided: true}); err != nil || len(l.Items) != 2 {
		t.Errorf("%+v %v", l, err)
	}
	if a, err := s.Get(asker, One{other}); err != nil || a.Why != "because" {
		t.Errorf("%+v %v", a, err)
	}
	for _, err := range []error{second(s.Get(person, One{"ap-x"})), second(s.Wait(person, Waiting{One{"ap-x"}, 1})), second(s.Approve(person, Decision{One: One{"ap-x"}})), second(s.PlanDeny(person, Decision{One: One{"ap-x"}}))} {
		if !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestCheck: what the policy would say to somebody, and which rule; a budget that is used up counts.
func TestCheck(t *testing.T) {
	h, s := service(t)
	h.Policy.Use(setting.Policy{Rules: []setting.Rule{{Name: "few", When: setting.When{Channel: []string{"agent"}, Method: []string{"apps.stop"}, Stack: []string{"dev"}}, Then: "allow", PerHour: 1}}})
	for _, c := range []struct {
		by   op.Caller
		in   Question
		want string
		rule string
	}{
		{ann, Question{Method: "logs.purge"}, "allow", "persons"},
		{ann, Question{Method: "logs.purge", Channel: "agent"}, "hold", "agents-destroy"},
		{agent, Question{Method: "logs.purge"}, "hold", "agents-destroy"},
		{ann, Question{Method: "logs.purge", Channel: "agent", Role: "admin"}, "hold", "agents-destroy"},
		{ann, Question{Method: "agents.resume", Channel: "agent", Role: "admin"}, "deny", "agents-lift-nothing"},
		{ann, Question{Method: "apps.stop", Channel: "agent"}, "confirm", "agents-interrupt"},
		{ann, Question{Method: "apps.stop", Channel: "agent", App: "shop/prod/api"}, "confirm", "agents-interrupt"},
		{ann, Question{Method: "apps.stop", Channel: "agent", App: "shop/dev/api"}, "allow", "few"},
		{ann, Question{Method: "apps.stop", Channel: "agent", Role: "viewer"}, "hold", policy.ByRole},
		{ann, Question{Method: "apps.list", Channel: "app"}, "allow", "programs"},
		{ann, Question{Method: "fleet.heartbeat", Channel: "node", Who: "n2"}, "allow", "persons"},
		{ann, Question{Method: "fleet.heartbeat"}, "deny", policy.ByRights},
	} {
		v, err := s.Check(op.WithCaller(t.Context(), c.by), c.in)
		if err != nil || v.Verdict != c.want || v.Rule != c.rule || v.Why == "" || (v.PerHour == 1) != (c.rule == "few") {
			t.Errorf("%+v: %+v, %v", c.in, v, err)
		}
	}
	ctx := op.WithCaller(t.Context(), ann)
	spent := h.Policy.Decide(policy.Request{Caller: agent, Spec: h.Specs[1], Targets: []op.Target{{Project: "shop", Stack: "dev"}}})
	if _, err := h.Policy.Spend(t.Context(), spent); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Check(ctx, Question{Method: "apps.stop", Channel: "agent", App: "shop/dev/api"}); err != nil || v.Verdict != "hold" || v.Rule != "few" {
		t.Errorf("used up: %+v, %v", v, err)
	}
	if _, err := s.Check(ctx, Question{Method: "apps.stpo"}); !fault.Is(err, fault.NotFound) || fault.From(err).Candidates[0] != "apps.stop" {
		t.Error(err)
	}
	if _, err := s.Check(ctx, Question{Method: "apps.stop", App: "api"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
