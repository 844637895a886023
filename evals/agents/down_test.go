package agents

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// TestDownStaysDown: an agent that goes on calling does not bring back what a person has taken down, and is heard again
// when the person says up.
func TestDownStaysDown(t *testing.T) {
	w := newWorld(t, steady, generous)
	c, _ := w.bridge(t)
	p := c.peer(legacy, "busy")
	if r := p.tool("apps_list", `{}`); r.fault != nil {
		t.Fatal(r.fault)
	}
	w.OK("down", "--all")
	for range 3 {
		coded(t, "a call after down", p.tool("apps_list", `{}`).fault, fault.Unavailable, "taken_down")
	}
	if r := w.Run("ls"); r.Code != 2 {
		t.Errorf("there is a daemon again: %+v", r)
	}
	w.OK("up")
	if r := p.tool("apps_list", `{}`); r.fault != nil {
		t.Errorf("a call after up: %v", r.fault)
	}
}
