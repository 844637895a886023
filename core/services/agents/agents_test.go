package agents

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

func TestAgents(t *testing.T) {
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]int{}
	open := func(user string, ch op.Channel) op.Caller {
		return h.Sessions.Open(op.Caller{User: user, Channel: ch, Client: "x/1"}, func() { ended[user+"/"+string(ch)]++ }).Caller()
	}
	one, two, ann := open("bob", op.Agent), open("bob", op.Agent), open("ann", op.Person)
	ctx := op.WithCaller(t.Context(), ann)
	if l, err := s.List(ctx, Which{}); err != nil || len(l.Items) != 3 || l.Total != 3 {
		t.Errorf("%+v %v", l, err)
	}
	if l, err := s.List(ctx, Which{Channel: "agent"}); err != nil || len(l.Items) != 2 {
		t.Errorf("%+v %v", l, err)
	}
	change := op.Spec{Effect: op.Sets}
	if p, err := s.PlanPause(ctx, Whom{"bob/agent"}); err != nil || p.Items[0] != (op.Item{Target: "bob/agent", To: "changing calls refused"}) {
		t.Errorf("%+v %v", p, err)
	}
	if got, err := s.Pause(ctx, Whom{"bob/agent"}); err != nil || !got.Paused || !got.Changed {
		t.Errorf("%+v %v", got, err)
	}
	if h.Sessions.Admit(one, change) == nil || h.Sessions.Admit(ann, change) != nil {
		t.Error("the wrong ones are paused")
	}
	again, err := New(&h.Host) // as after a start of the daemon
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Pause(ctx, Whom{"bob/agent"}); err != nil || got.Changed {
		t.Errorf("again: %+v %v", got, err)
	}
	for _, by := range []op.Caller{one, {User: "shop", Channel: op.App}, {}} {
		if _, err := s.Resume(op.WithCaller(t.Context(), by), Whom{"bob/agent"}); !fault.Is(err, fault.Denied) || h.Sessions.Admit(one, change) == nil {
			t.Errorf("%s resumes: %v", by.Principal(), err)
		}
	}
	if got, err := s.Resume(ctx, Whom{"bob/agent"}); err != nil || got.Paused || !got.Changed || h.Sessions.Admit(two, change) != nil {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := s.Disconnect(ctx, Whom{one.Session}); err != nil || got.Count != 1 || ended["bob/agent"] != 1 {
		t.Errorf("%+v %v, ended %v", got, err, ended)
	}
	for _, err := range []error{second(s.Pause(ctx, Whom{"nope"})), second(s.Resume(ctx, Whom{"nope"})), second(s.Disconnect(ctx, Whom{"nope"})), second(s.PlanDisconnect(ctx, Whom{"nope"}))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
	told := h.Bus.Recent(bus.Filter{Topics: []string{"agents"}}, 0, 10)
	var types []string
	for _, ev := range told {
		types = append(types, ev.Type)
		if ev.Data["by"] != "ann/person" {
			t.Errorf("%+v", ev)
		}
	}
	if len(types) != 4 || types[0] != "paused" || types[2] != "resumed" || types[3] != "disconnected" {
		t.Errorf("told %v", types)
	}
}

func second[T any](_ T, err error) error { return err }
