package catalog_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// hidden is a word that stands in everything of the other project, and in nothing else.
const hidden = "verborgen"

type do func(ctx context.Context, who op.Caller, method, in string, emit op.Emit) (any, error)

// scoped is every row, on a home with two projects.
func scoped(t *testing.T) (*hosttest.Host, do) {
	t.Helper()
	h := hosttest.New(t)
	for _, project := range []string{"shop", hidden} {
		h.DeclareIn(filepath.Join(h.Home, project), "project: "+project+"\napps:\n  - {name: web, command: [sleep, \"1\"]}\n  - {name: "+project+", command: [sleep, \"1\"]}\n")
		h.Printed(project+"/dev/web", "out", "a line of "+project+"\n")
		h.Bus.Publish(bus.Event{Topic: "health", Type: "healthy", Key: project + "/dev/web", Text: "of " + project})
	}
	h.Bus.Publish(bus.Event{Topic: "daemon", Type: "note", Text: hidden})
	h.Specs = catalog.Specs()
	methods, err := catalog.Build(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	confirms, err := policy.OpenTokens(h.Store, policy.StoredKeys(h.Store))
	if err != nil {
		t.Fatal(err)
	}
	r, err := tools.New(methods, tools.Deps{Log: slog.New(slog.DiscardHandler), Ledger: h.Ledger, Policy: h.Policy, Tokens: confirms, Approvals: h.Approvals, Resolver: h.Supervisor,
		Keys: records.NewKeys(h.Store), Gate: h.Sessions, Sessions: h.Sessions, Secrets: h.Redact})
	if err != nil {
		t.Fatal(err)
	}
	return h, func(ctx context.Context, who op.Caller, method, in string, emit op.Emit) (any, error) {
		return r.Do(op.WithCaller(ctx, who), tools.Call{Method: method, In: json.RawMessage(in), Emit: emit})
	}
}

func admin(scope op.Scope) op.Caller {
	return op.Caller{User: "u", UID: -1, Channel: op.Person, Plane: "http", Ceiling: op.Admin, Role: op.Admin, Scope: scope}
}

// TestNothingOfAnotherProject makes every example of every row, and some that ask for the other project, for a caller who
// is limited to one: not a word of the other comes back. Without the limit it does, so the word would be found.
func TestNothingOfAnotherProject(t *testing.T) {
	_, call := scoped(t)
	found := 0
	for _, spec := range catalog.Specs() {
		switch {
		case spec.Local || spec.Service == "auth" || spec.Effect == op.Destroys:
			continue
		case spec.ID() == "approvals.wait" || spec.ID() == "daemon.restart" || spec.ID() == "daemon.shutdown":
			continue
		}
		inputs := []string{`{"project":"` + hidden + `"}`, `{"all":true}`, `{"names":["` + hidden + `"]}`, `{"names":["` + hidden + `/dev/web"]}`, `{"names":["*"]}`, `{"names":["web"]}`,
			`{"name":"` + hidden + `"}`, `{"name":"` + hidden + `/dev/web"}`, `{"apps":["` + hidden + `/dev/web"],"replay":100}`, `{"replay":100}`, `{"since":"1"}`, `{}`, `{"names":["` + hidden + `"],"project":"shop"}`}
		for _, e := range spec.Examples {
			inputs = append(inputs, e.In)
		}
		for _, in := range inputs {
			if strings.Contains(answered(t, call, spec, admin(op.Scope{}), in), hidden) {
				found++
			}
			if answer := answered(t, call, spec, admin(op.Scope{Projects: []string{"shop"}}), in); strings.Contains(answer, hidden) {
				t.Errorf("%s %s: %s", spec.ID(), in, answer)
			}
		}
	}
	if found < 20 {
		t.Errorf("without a limit the other project is seen %d times only: the test looks at nothing", found)
	}
}

// answered is everything that a call gives back, without what it says only because it was asked for it.
func answered(t *testing.T, call do, spec op.Spec, who op.Caller, in string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var items []any
	var emit op.Emit
	if spec.Stream {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, 50*time.Millisecond)
		defer stop()
		emit = func(item any) error { items = append(items, item); return nil }
	}
	out, err := call(ctx, who, spec.ID(), in, emit)
	raw, bad := json.Marshal([]any{out, items, fault.From(err)})
	if bad != nil {
		t.Fatal(bad)
	}
	answer := string(raw)
	if strings.Contains(in, hidden) {
		answer = strings.NewReplacer(`\"`+hidden+`/dev/web\"`, "", `\"`+hidden+`\"`, "").Replace(answer)
	}
	return answer
}

// TestScopedCallers: what is outside is not found, what speaks of the whole daemon is denied, and what is inside works.
func TestScopedCallers(t *testing.T) {
	_, call := scoped(t)
	who := admin(op.Scope{Projects: []string{"sh*"}, Stacks: []string{"dev"}})
	for _, c := range []struct {
		method, in string
		code       fault.Code
		reason     string
	}{
		{"apps.get", `{"name":"web"}`, "", ""}, {"apps.list", `{}`, "", ""}, {"apps.list", `{"all":true}`, "", ""}, {"apps.graph", `{}`, "", ""}, {"logs.query", `{}`, "", ""}, {"events.list", `{}`, "", ""},
		{"auth.whoami", `{}`, "", ""}, {"daemon.ping", `{}`, "", ""},
		{"apps.get", `{"name":"` + hidden + `"}`, fault.NotFound, "app_unknown"}, {"apps.list", `{"project":"` + hidden + `"}`, fault.NotFound, "project_unknown"},
		{"apps.stop", `{"names":["` + hidden + `/dev/web"]}`, fault.NotFound, "app_unknown"}, {"logs.query", `{"project":"` + hidden + `"}`, fault.NotFound, "project_unknown"},
		{"apps.graph", `{"project":"` + hidden + `"}`, fault.NotFound, "project_unknown"},
		{"daemon.status", `{}`, fault.Denied, "scope"}, {"system.snapshot", `{}`, fault.Denied, "scope"}, {"secrets.list", `{}`, fault.Denied, "scope"}, {"users.list", `{}`, fault.Denied, "scope"},
		{"apps.apply", `{"files":[]}`, fault.Denied, "scope"}, {"audit.list", `{}`, fault.Denied, "scope"}, {"agents.list", `{}`, fault.Denied, "scope"}, {"tokens.create", `{"name":"x"}`, fault.Denied, "scope"},
	} {
		_, err := call(t.Context(), who, c.method, c.in, nil)
		if fault.CodeOf(err) != c.code || err != nil && fault.From(err).Reason != c.reason {
			t.Errorf("%s %s: %v, want %s %s", c.method, c.in, err, c.code, c.reason)
		}
	}
	for _, method := range []string{"logs.query", "logs.stats", "logs.purge", "apps.stop", "apps.start", "health.history", "health.check", "apps.history"} {
		if _, err := call(t.Context(), admin(op.Scope{Projects: []string{"nothing"}}), method, `{}`, nil); !fault.Is(err, fault.NotFound) {
			t.Errorf("%s of no project at all: %v", method, err)
		}
	}
}
