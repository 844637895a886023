package tools_test

import (
	"context"
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestTargetsAreResolvedOnce(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.stop", `{"names":["box/dev/drum","car"]}`)
	e := w.Ledger.Entries()[0]
	if !slices.Equal(e.Targets, []string{"box/dev/drum", "box/dev/car"}) {
		t.Errorf("the record has the keys, in the order of the input: %v", e.Targets)
	}
	if w.Toys()[0].Moving {
		t.Error("the handler did not get its target")
	}
}

func TestNoNamesMeansAll(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.paint", `{"color":"green"}`)
	for _, toy := range w.Toys() {
		if toy.Color != "green" {
			t.Errorf("%+v", toy)
		}
	}
}

func TestUnknownTargetsEndTheCall(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.stop", `{"names":["car","kite"]}`, fault.NotFound, "unknown_app")
	if !w.Toys()[0].Moving {
		t.Error("one of two was stopped")
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Seq != 0 || e[0].Code != "not_found" || string(e[0].Args) != `{"names":["car","kite"]}` {
		t.Errorf("%+v", e)
	}
}

// parts resolves to a part of an app.
type parts struct{}

func (parts) Resolve(context.Context, []op.Selector, op.ProjectRef, op.StackRef) ([]op.Target, error) {
	return []op.Target{{Key: "shop/dev/pool", Process: "web", Instance: 2, Project: "shop", Stack: "dev", Slots: []string{"pool:web#2"}}}, nil
}

func TestRecordNamesTheParts(t *testing.T) {
	w := toolstest.New(t, func(d *tools.Deps) { d.Resolver = parts{} })
	does(t, w, toolstest.Owner(), "toys.stop", `{"names":["pool:web#2"]}`)
	if e := w.Ledger.Entries()[0]; !slices.Equal(e.Targets, []string{"shop/dev/pool:web#2"}) {
		t.Errorf("%v", e.Targets)
	}
}
