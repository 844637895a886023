package records_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestStacks: a name is there once in a project, and goes with it.
func TestStacks(t *testing.T) {
	s := records.NewStacks(storetest.New(t))
	ctx := t.Context()
	names := func(project string) string {
		t.Helper()
		all, err := s.List(ctx, project)
		if err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, st := range all {
			out += fmt.Sprintf("%s/%s=%s ", st.Project, st.Name, st.Says)
		}
		return out
	}
	at := time.Unix(7, 0)
	for _, st := range []records.Stack{{"shop", "qa", at, "ann", "{}"}, {"shop", "demo", at, "ann", `{"apps":["a"]}`}, {"blog", "qa", at, "bob", "{}"}} {
		if err := s.Add(ctx, st); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(ctx, st); !fault.Is(err, fault.Conflict) || fault.From(err).Reason != "stack_exists" {
			t.Errorf("twice: %v", err)
		}
	}
	if got := names(""); got != `blog/qa={} shop/demo={"apps":["a"]} shop/qa={} ` {
		t.Errorf("all: %s", got)
	}
	if all, err := s.List(ctx, "blog"); err != nil || len(all) != 1 || all[0] != (records.Stack{Project: "blog", Name: "qa", Created: at, By: "bob", Says: "{}"}) {
		t.Errorf("%+v %v", all, err)
	}
	for range 2 {
		if err := s.Delete(ctx, "shop", "demo"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names("shop"); got != "shop/qa={} " {
		t.Errorf("one less: %s", got)
	}
	if err := s.Delete(ctx, "shop", ""); err != nil || names("") != "blog/qa={} " {
		t.Errorf("the project is gone: %s %v", names(""), err)
	}
}
