package tools_test

import (
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestValidateTellsEverything(t *testing.T) {
	w := toolstest.New(t)
	f := fails(t, w, toolstest.Owner(), "toys.paint", `{"name":"car","color":"pink","coats":0}`, fault.Invalid, "input")
	if len(f.Problems) != 3 {
		t.Errorf("%+v", f.Problems)
	}
	for _, want := range []string{"name: unknown field, did you mean names?", "color: expected one of red, blue, green", "coats: expected integer from 1 to 9"} {
		if !strings.Contains(f.Message, want) {
			t.Errorf("the message %q does not say %q", f.Message, want)
		}
	}
	if !strings.Contains(f.Hint, `toys.paint {"names":["car"],"color":"blue"}`) {
		t.Errorf("the hint shows no example: %q", f.Hint)
	}
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Seq != 0 || e[0].Args != nil || e[0].Code != "invalid" {
		t.Errorf("a refused input is on record, without its content: %+v", e)
	}
}

func TestValidateMends(t *testing.T) {
	w := toolstest.New(t)
	out := does(t, w, toolstest.Owner(), "toys.list", `{"limit":"1"}`).(op.List[toolstest.Toy])
	if len(out.Items) != 1 {
		t.Errorf("%+v", out)
	}
	does(t, w, toolstest.Owner(), "toys.paint", `{"names":"car","color":"green","coats":"2"}`)
	if w.Toys()[0].Color != "green" {
		t.Error("one name for a list of names")
	}
}

func TestValidateAsksTheInput(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.paint", `{"color":"green","coats":4}`, fault.Invalid, "too_green")
	if w.Toys()[0].Color != "red" {
		t.Error("it had an effect")
	}
}

func TestValidateKnowsStreams(t *testing.T) {
	w := toolstest.New(t)
	fails(t, w, toolstest.Owner(), "toys.watch", `{"ticks":1}`, fault.Invalid, "stream")
}

func TestControlsAreOnlyForChanges(t *testing.T) {
	w := toolstest.New(t)
	f := fails(t, w, toolstest.Owner(), "toys.list", `{"dry_run":true}`, fault.Invalid, "input")
	if f.Problems[0].Path != "dry_run" {
		t.Errorf("%+v", f.Problems)
	}
}
