package tokens

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

func newService(t *testing.T, users ...string) (*Service, *hosttest.Host) {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range users {
		if _, err := h.Tokens.Create(t.Context(), name, op.Operator, "correct horse battery"); err != nil {
			t.Fatal(err)
		}
	}
	return s, h
}

// fresh is what the schema makes of an input that says little.
func fresh(name string) Fresh { return Fresh{Name: name, Role: "viewer", Channel: "agent", Days: 90} }

func TestATokenIsShownOnce(t *testing.T) {
	s, h := newService(t, "alice")
	in := fresh("ci")
	in.Projects, in.Methods, in.Days = []string{"shop"}, []string{"apps.*"}, 1
	if p, err := s.PlanCreate(t.Context(), in); err != nil || len(p.Items) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	made, err := s.Create(t.Context(), in)
	if err != nil || made.For != "alice" || made.Role != "viewer" || made.Channel != "agent" || made.Connect != "" || time.Until(made.Expires) > 24*time.Hour {
		t.Fatalf("%+v %v", made, err)
	}
	id, err := h.Tokens.Admit(t.Context(), made.Token, netip.Addr{}, "")
	if err != nil || id.Caller.User != "alice" || id.Caller.Scope.Projects[0] != "shop" || id.Caller.Scope.Methods[0] != "apps.*" {
		t.Errorf("%+v %v", id, err)
	}
	all, err := s.List(t.Context(), Search{})
	raw, _ := json.Marshal(all)
	if err != nil || len(all.Items) != 1 || all.Items[0].Used.IsZero() || strings.Contains(string(raw), made.Token) || strings.Contains(string(raw), made.Token[15:67]) {
		t.Errorf("%s %v", raw, err)
	}
	if p, err := s.PlanRevoke(t.Context(), Which{"ci"}); err != nil || len(p.Items) != 1 || p.Items[0].Target != made.ID {
		t.Errorf("%+v %v", p, err)
	}
	if out, err := s.Revoke(t.Context(), Which{"ci"}); err != nil || out.Revoked.IsZero() {
		t.Errorf("%+v %v", out, err)
	}
	if all, _ := s.List(t.Context(), Search{}); len(all.Items) != 0 {
		t.Errorf("%+v", all)
	}
	if all, _ := s.List(t.Context(), Search{All: true}); len(all.Items) != 1 {
		t.Errorf("%+v", all)
	}
	if p, err := s.PlanRevoke(t.Context(), Which{made.ID}); err != nil || len(p.Items) != 0 {
		t.Errorf("it is revoked already: %+v %v", p, err)
	}
	if _, err := s.Revoke(t.Context(), Which{"nope"}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := s.List(t.Context(), Search{Page: op.Page{Cursor: "x"}}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}

// TestALimitedTokenMakesNoWiderOne: a program that may make tokens does not get rid of its own limits that way.
func TestALimitedTokenMakesNoWiderOne(t *testing.T) {
	s, h := newService(t, "alice")
	ctx := op.WithCaller(t.Context(), op.Caller{User: "alice", UID: -1, Channel: op.App, Token: "token:x", Ceiling: op.Admin, Role: op.Admin, Scope: op.Scope{Methods: []string{"tokens.create", "apps.*"}}})
	for _, methods := range [][]string{nil, {"*"}, {"apps.*", "users.create"}, {"app?.*"}} {
		in := fresh("wider")
		in.Methods = methods
		if _, err := s.Create(ctx, in); fault.From(err) == nil || fault.From(err).Reason != "scope" {
			t.Errorf("%q: %v", methods, err)
		}
		if _, err := s.PlanCreate(ctx, in); !fault.Is(err, fault.Denied) {
			t.Errorf("%q: %v", methods, err)
		}
	}
	if all := h.Tokens.Named(); len(all) != 0 {
		t.Errorf("made: %+v", all)
	}
	in := fresh("narrower")
	in.Methods = []string{"apps.*", "apps.list", "tokens.create"}
	if _, err := s.Create(ctx, in); err != nil {
		t.Error(err)
	}
}

func TestWhoATokenActsFor(t *testing.T) {
	s, _ := newService(t)
	if _, err := s.Create(t.Context(), fresh("x")); !fault.Is(err, fault.NotFound) || !strings.Contains(fault.From(err).Hint, "users.create") {
		t.Errorf("without a user: %v", err)
	}
	s, _ = newService(t, "alice", "bob")
	if _, err := s.Create(t.Context(), fresh("x")); fault.From(err).Reason != "ambiguous" || len(fault.From(err).Candidates) != 2 {
		t.Errorf("with several: %v", err)
	}
	mine := op.WithCaller(t.Context(), op.Caller{User: "bob", UID: -1, Channel: op.Person, Token: "session:x", Plane: "http"})
	if made, err := s.Create(mine, fresh("x")); err != nil || made.For != "bob" {
		t.Errorf("one's own: %+v %v", made, err)
	}
	in := fresh("x")
	in.For, in.Role = "alice", "admin"
	if _, err := s.Create(mine, in); !fault.Is(err, fault.Denied) {
		t.Errorf("more than its user: %v", err)
	}
	if _, err := s.PlanCreate(mine, in); !fault.Is(err, fault.Denied) {
		t.Errorf("more than its user: %v", err)
	}
	for _, bad := range [][]string{{"["}, {""}} {
		in.Methods = bad
		if in.Validate() == nil {
			t.Errorf("%q is a pattern", bad)
		}
	}
}

func TestWhatConnectsAClient(t *testing.T) {
	s, _ := newService(t, "alice")
	in := fresh("x")
	in.Client = "claude"
	made, err := s.Create(t.Context(), in)
	if err != nil || made.Connect != "claude mcp add --transport http omnitron 'http://127.0.0.1:9800/mcp' --header 'Authorization: Bearer "+made.Token+"'" || made.Note != "" {
		t.Errorf("%+v %v", made, err)
	}
	ca := ""
	s.endpoint = func() (string, string) { return "https://ops.example:9800", ca }
	in.Client = "cursor"
	made, err = s.Create(t.Context(), in)
	var file struct {
		Servers map[string]struct {
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
		} `json:"mcpServers"`
	}
	if json.Unmarshal([]byte(made.Connect), &file) != nil || err != nil || file.Servers["omnitron"].URL != "https://ops.example:9800/mcp" ||
		file.Servers["omnitron"].Headers["Authorization"] != "Bearer "+made.Token || made.Note == "" {
		t.Errorf("%+v %v", made, err)
	}
	ca = "/o'brien/tls/ca.pem"
	if made, _ = s.Create(t.Context(), in); !strings.Contains(made.Note, ` NODE_EXTRA_CA_CERTS='/o'\''brien/tls/ca.pem' `) {
		t.Errorf("%+v", made)
	}
	in.URL = "https://proxy.example/mcp"
	if made, _ = s.Create(t.Context(), in); made.Note == "" || strings.Contains(made.Note, "ca.pem") {
		t.Errorf("at an address of somebody else: %+v", made)
	}
	in.URL = "http://127.0.0.1:1/mcp/full"
	if made, _ = s.Create(t.Context(), in); !strings.Contains(made.Connect, `"http://127.0.0.1:1/mcp/full"`) {
		t.Errorf("%+v", made)
	}
}
