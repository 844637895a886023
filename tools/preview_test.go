package tools_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestDryRunChangesNothing(t *testing.T) {
	for _, who := range []op.Caller{toolstest.Owner(), toolstest.Agent()} {
		w := toolstest.New(t)
		before := asJSON(t, w.Toys())
		out := outcome(t, w, who, "toys.smash", `{"names":["car","drum"],"dry_run":true}`, op.Done)
		if out.Plan == nil || len(out.Plan.Items) != 2 || out.Plan.Items[1] != (op.Item{Target: "box/dev/drum", From: "whole", To: "gone"}) || out.Result != nil {
			t.Errorf("%+v", out)
		}
		out = outcome(t, w, who, "toys.stop", `{"names":["doll"],"dry_run":true}`, op.Done)
		if out.Plan == nil || out.Plan.Items == nil || len(out.Plan.Items) != 0 {
			t.Errorf("nothing to do is an empty plan: %+v", out.Plan)
		}
		if after := asJSON(t, w.Toys()); after != before || len(w.Held.Asked()) > 0 {
			t.Errorf("changed: %s", after)
		}
		if e := w.Ledger.Entries(); len(e) != 2 || e[0].Seq != 0 || e[0].Decision != tools.Previewed || e[0].Changes {
			t.Errorf("%+v", e)
		}
	}
}

func TestPlansHaveAFingerprint(t *testing.T) {
	w := toolstest.New(t)
	digest := func(in string) string {
		return outcome(t, w, toolstest.Owner(), "toys.smash", in, op.Done).Plan.Digest
	}
	car := digest(`{"names":["car"],"dry_run":true}`)
	if car == "" || car != digest(`{"dry_run":true,"names":["box/dev/car"]}`) {
		t.Error("the same plan has the same digest")
	}
	if car == digest(`{"names":["doll"],"dry_run":true}`) {
		t.Error("another plan has another digest")
	}
	w.Moves++
	if car == digest(`{"names":["car"],"dry_run":true}`) {
		t.Error("another world has another digest")
	}
}

func TestNoPlanIsSaid(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.add", `{"name":"kite","color":"red","dry_run":true}`, fault.Invalid, "no_plan")
	if len(w.Toys()) != 3 {
		t.Error("it had an effect")
	}
}
