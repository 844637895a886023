package stacks

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/projects"
	"github.com/omnitron-dev/omnitron/core/store/records"
)

func reason(err error) string {
	if f := fault.From(err); f != nil && err != nil {
		return string(f.Code) + "/" + f.Reason
	}
	return fmt.Sprint(err)
}

// world is a project of two stacks, one of which is followed.
func world(t *testing.T, home string) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.At(t, home)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

func declare(t *testing.T, h *hosttest.Host, text string) {
	t.Helper()
	p := projects.New(h.Supervisor, h.Revisions, records.NewStacks(h.Store), "tester")
	src := config.Source{Files: []config.File{{Path: "/srv/shop/omnitron.yaml", Text: text}}, Env: map[string]string{"PATH": "/bin"}}
	if _, _, err := p.Declare(t.Context(), src, ""); err != nil {
		t.Fatal(err)
	}
}

const shop = `
project: shop
stacks: {dev: {}, prod: {apps: [web]}}
apps:
  - {name: web, command: [sleep, "1"], ports: {http: 8000}}
  - {name: pool, command: [sleep, "1"], enabled: false}
`

func listed(t *testing.T, s *Service) string {
	t.Helper()
	list, err := s.List(t.Context(), Listing{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range list.Items {
		all = append(all, fmt.Sprint(r.Key, " ", r.State, " ", r.Origin, " ", r.Up))
	}
	return strings.Join(all, ", ")
}

// TestCreated: a stack beside the file is checked, kept across daemons, found by everything that knows the file's, and
// deleted; a name in the file conflicts.
func TestCreated(t *testing.T) {
	home := t.TempDir()
	t.Run("made", func(t *testing.T) {
		h, s := world(t, home)
		declare(t, h, shop)
		ctx := t.Context()
		qa := Creation{Name: "qa", Apps: []string{"we*"}, Env: map[string]string{"PRICE": "5$ ${X}"}, Secrets: map[string]string{"KEY": "db/key"}, Instances: map[string]int{"web": 3}, PortOffset: 10}
		for _, c := range []struct {
			in   Creation
			want string
		}{
			{Creation{Name: "dev"}, "conflict/stack_in_file"}, {Creation{Name: "prod"}, "conflict/stack_in_file"}, {Creation{Name: "qa", Project: "nope"}, "not_found/project_unknown"},
			{Creation{Name: "qa", Apps: []string{"nope"}}, "invalid/config_invalid"}, {Creation{Name: "qa", Instances: map[string]int{"nope": 1}}, "invalid/config_invalid"},
			{Creation{Name: "qa", Env: map[string]string{"A": "x"}, Secrets: map[string]string{"A": "y"}}, "invalid/same_variable"},
		} {
			if _, err := s.PlanCreate(ctx, c.in); reason(err) != c.want {
				t.Errorf("plan of %+v: %v, want %s", c.in, err, c.want)
			}
			if _, err := s.Create(ctx, c.in); reason(err) != c.want {
				t.Errorf("%+v: %v, want %s", c.in, err, c.want)
			}
		}
		plan, err := s.PlanCreate(ctx, qa)
		if err != nil || len(plan.Items) != 2 || plan.Items[1].Target != "shop/qa/web" {
			t.Errorf("%+v %v", plan, err)
		}
		if got := listed(t, s); strings.Contains(got, "qa") {
			t.Errorf("a plan has made it: %s", got)
		}
		d, err := s.Create(ctx, qa)
		if err != nil || d.State != "declared" || d.Origin != "created" || d.Created == nil || fmt.Sprint(d.Apps) != "[web]" {
			t.Errorf("%+v %v", d, err)
		}
		if _, err := s.Create(ctx, qa); reason(err) != "conflict/stack_exists" {
			t.Errorf("twice: %v", err)
		}
		if st, err := s.Status(ctx, Question{Name: "shop/qa"}); err != nil || st.Apps != 1 || st.Items[0].State != "stopped" {
			t.Errorf("%+v %v", st, err)
		}
	})
	t.Run("kept", func(t *testing.T) {
		h, s := world(t, home)
		ctx := t.Context()
		if got, want := listed(t, s), "shop/dev stopped file 0/2, shop/prod declared file 0/1, shop/qa declared created 0/1"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		// nothing can be started here, but what is known of it then is what was said
		if _, err := s.Start(ctx, Order{Question: Question{Name: "qa"}, NoWait: true}); err != nil && !fault.Is(err, fault.Failed) {
			t.Fatal(err)
		}
		p := h.Supervisor.App("shop/qa/web").Definition.Processes[0]
		if p.Instances != 3 || p.Ports[0].Base != 8010 || p.Env["PRICE"] != "5$ ${X}" || p.Secrets["KEY"] != "db/key" {
			t.Errorf("%+v", p)
		}
		if _, err := s.Delete(ctx, Question{Name: "dev"}); reason(err) != "conflict/stack_in_file" {
			t.Errorf("%v", err)
		}
		if plan, err := s.PlanDelete(ctx, Question{Name: "qa"}); err != nil || len(plan.Items) == 0 {
			t.Errorf("%+v %v", plan, err)
		}
		if _, err := s.Delete(ctx, Question{Name: "qa"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(ctx, Question{Name: "qa"}); reason(err) != "not_found/stack_unknown" {
			t.Errorf("%v", err)
		}
		if _, err := h.Revisions.Latest(ctx, "shop", "qa"); !fault.Is(err, fault.NotFound) {
			t.Errorf("a revision is left: %v", err)
		}
	})
	t.Run("gone", func(t *testing.T) {
		_, s := world(t, home)
		if got, want := listed(t, s), "shop/dev stopped file 0/2, shop/prod declared file 0/1"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestScope: who is limited to a stack knows no other, and a stack that was created counts like any.
func TestScope(t *testing.T) {
	h, s := world(t, t.TempDir())
	declare(t, h, shop)
	ctx := op.WithCaller(t.Context(), op.Caller{Channel: op.App, Ceiling: op.Operator, Role: op.Operator, Scope: op.Scope{Projects: []string{"shop"}, Stacks: []string{"dev"}}})
	list, err := s.List(ctx, Listing{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Key != "shop/dev" {
		t.Errorf("%+v %v", list, err)
	}
	for _, err := range []error{
		second(s.Get(ctx, Question{Name: "prod"})), second(s.Status(ctx, Question{Name: "prod"})), second(s.Stop(ctx, Order{Question: Question{Name: "prod"}})), second(s.Start(ctx, Order{Question: Question{Name: "prod"}})),
	} {
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Reason != "stack_unknown" || strings.Contains(fmt.Sprint(f.Candidates), "prod") {
			t.Errorf("%v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
