package tools_test

import (
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// fails makes a call that has to fail with the code, and gives the fault.
func fails(t *testing.T, w *toolstest.World, who op.Caller, method, in string, code fault.Code, reason string) *fault.Error {
	t.Helper()
	out, err := w.Do(t.Context(), who, method, in)
	f, ok := err.(*fault.Error)
	if !ok || f.Code != code || f.Reason != reason {
		t.Fatalf("%s %s: got %v, %v (%+v), want %s (%s)", method, in, out, err, f, code, reason)
	}
	if len(f.Call) != 26 {
		t.Errorf("%s: the fault has no call id: %q", method, f.Call)
	}
	return f
}

// does makes a call that has to succeed.
func does(t *testing.T, w *toolstest.World, who op.Caller, method, in string) any {
	t.Helper()
	out, err := w.Do(t.Context(), who, method, in)
	if err != nil {
		t.Fatalf("%s %s: %v", method, in, err)
	}
	return out
}

func TestFindSuggests(t *testing.T) {
	w := toolstest.New(t)
	for method, near := range map[string]string{
		"toys.lst": "toys.list", "toys_list": "toys.list", "Toys.List": "toys.list", "toy.smash": "toys.smash", "games.smash": "toys.smash",
		"nothing.like.it": "", "": "", "__proto__": "", "rpc.discover": "", "\x00\x1b[2J": "",
	} {
		f := fails(t, w, toolstest.Owner(), method, `{}`, fault.NotFound, "unknown_method")
		if got := strings.Join(f.Candidates, " "); got != near {
			t.Errorf("%q: suggests %q, want %q", method, got, near)
		}
		if strings.ContainsAny(f.Message, "\x00\x1b") {
			t.Errorf("%q: the name is not escaped in %q", method, f.Message)
		}
	}
	if f := fails(t, w, toolstest.Owner(), strings.Repeat("x", 1<<20), `{}`, fault.NotFound, "unknown_method"); len(f.Message) > 200 {
		t.Errorf("a long name makes a message of %d bytes", len(f.Message))
	}
}

func TestFindTakesFormerNames(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.ls", `{}`)
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Method != "toys.list" {
		t.Errorf("an alias is recorded under its present name: %+v", e)
	}
	for name, want := range map[string]bool{"toys_list": true, "toys_ls": true, "toys.list": false} {
		if m, ok := w.Registry.Tool(name); ok != want || ok && m.ID() != "toys.list" {
			t.Errorf("tool %s: %v", name, ok)
		}
	}
}

func TestLocalMethodsStayOnTheSocket(t *testing.T) {
	w := toolstest.New(t)
	in := `{"password":"sesame"}`
	does(t, w, toolstest.Owner(), "toys.lock", in)
	for _, change := range []func(*op.Caller){
		func(c *op.Caller) { c.Plane = "tcp" },
		func(c *op.Caller) { c.Plane = "http" },
		func(c *op.Caller) { c.Channel = op.Agent },
	} {
		who := toolstest.Owner()
		change(&who)
		f := fails(t, w, who, "toys.lock", in, fault.NotFound, "unknown_method")
		if near := fails(t, w, who, "toys.lok", in, fault.NotFound, "unknown_method"); len(near.Candidates) > 0 && near.Candidates[0] == "toys.lock" {
			t.Error("a hidden method is suggested")
		}
		absent := fails(t, w, who, "toys.xyzw", in, fault.NotFound, "unknown_method")
		if strings.ReplaceAll(f.Message, "lock", "xyzw") != absent.Message {
			t.Errorf("a hidden method answers differently from one that is not there: %q, %q", f.Message, absent.Message)
		}
	}
}
