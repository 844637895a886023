package users

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

const good = "correct horse battery"

func newService(t *testing.T) *Service {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUsers(t *testing.T) {
	s, ctx := newService(t), t.Context()
	if all, err := s.List(ctx, op.Page{}); err != nil || len(all.Items) != 0 {
		t.Errorf("there is a default account: %+v %v", all, err)
	}
	for _, in := range []Fresh{{"alice", "admin", good}, {"bob", "viewer", good}, {"carol", "operator", good}} {
		if p, err := s.PlanCreate(ctx, in); err != nil || len(p.Items) != 1 || p.Items[0].To != in.Role {
			t.Errorf("%+v %v", p, err)
		}
		if u, err := s.Create(ctx, in); err != nil || u.Name != in.Name || u.Role != in.Role || u.Created.IsZero() {
			t.Errorf("%+v %v", u, err)
		}
		if _, err := s.PlanCreate(ctx, in); !fault.Is(err, fault.Conflict) {
			t.Errorf("again: %v", err)
		}
		if _, err := s.Create(ctx, in); !fault.Is(err, fault.Conflict) {
			t.Errorf("again: %v", err)
		}
	}
	for _, in := range []Fresh{{"x", "viewer", "short"}, {"No", "viewer", good}} {
		_, planned := s.PlanCreate(ctx, in)
		_, made := s.Create(ctx, in)
		if !fault.Is(planned, fault.Invalid) || !fault.Is(made, fault.Invalid) {
			t.Errorf("%s: %v %v", in.Name, planned, made)
		}
	}
	first, _ := s.List(ctx, op.Page{Limit: 2})
	rest, _ := s.List(ctx, op.Page{Cursor: first.NextCursor})
	if len(first.Items) != 2 || !first.Truncated || first.Total != 3 || len(rest.Items) != 1 || rest.Items[0].Name != "carol" {
		t.Errorf("%+v %+v", first, rest)
	}
	if _, err := s.List(ctx, op.Page{Cursor: "NOT"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	if u, err := s.Get(ctx, Name{"bob"}); err != nil || u.Role != "viewer" {
		t.Errorf("%+v %v", u, err)
	}
	if _, err := s.Get(ctx, Name{"nobody"}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

func TestChanges(t *testing.T) {
	s, ctx := newService(t), t.Context()
	for name, role := range map[string]string{"alice": "admin", "bob": "viewer"} {
		if _, err := s.Create(ctx, Fresh{name, role, good}); err != nil {
			t.Fatal(err)
		}
	}
	yes := true
	bob := Name{"bob"}
	for what, c := range map[string]struct {
		in   Changes
		want func(User) bool
	}{
		"role":     {Changes{Name: bob, Role: "operator"}, func(u User) bool { return u.Role == "operator" }},
		"disabled": {Changes{Name: bob, Disabled: &yes}, func(u User) bool { return u.Disabled }},
		"password": {Changes{Name: bob, Password: "staple of wet paper"}, func(u User) bool { return !u.Changed.IsZero() }},
	} {
		if err := c.in.Validate(); err != nil {
			t.Error(err)
		}
		if p, err := s.PlanUpdate(ctx, c.in); err != nil || len(p.Items) != 1 {
			t.Errorf("%s: %+v %v", what, p, err)
		}
		if u, err := s.Update(ctx, c.in); err != nil || !c.want(u) {
			t.Errorf("%s: %+v %v", what, u, err)
		}
	}
	if p, err := s.PlanUpdate(ctx, Changes{Name: bob, Role: "operator", Unlock: true}); err != nil || len(p.Items) != 0 {
		t.Errorf("nothing would change: %+v %v", p, err)
	}
	if (Changes{Name: bob}).Validate() == nil {
		t.Error("nothing is to change, and nobody says so")
	}
	alice := Name{"alice"}
	for what, err := range map[string]error{
		"plan to delete": second(s.PlanDelete(ctx, Gone{Name: alice})), "delete": second(s.Delete(ctx, Gone{Name: alice})), "demote": second(s.Update(ctx, Changes{Name: alice, Role: "viewer"})),
	} {
		if !fault.Is(err, fault.Conflict) || fault.From(err).Reason != "last_admin" {
			t.Errorf("%s the last admin: %v", what, err)
		}
	}
	if d, err := s.Delete(ctx, Gone{Name: bob}); err != nil || d.Name != "bob" {
		t.Errorf("%+v %v", d, err)
	}
	if p, err := s.PlanDelete(ctx, Gone{alice, true}); err != nil || len(p.Items) != 1 {
		t.Errorf("on purpose: %+v %v", p, err)
	}
	if _, err := s.Delete(ctx, Gone{alice, true}); err != nil {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }
