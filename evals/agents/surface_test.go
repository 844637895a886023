package agents

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// The tools of the profile core by which everything else is reached.
var metaTools = []string{"ops_describe", "ops_read", "ops_search", "ops_write"}

// methods are those that agents can reach, from the same rows as the daemon's.
func methods(t testing.TB) []*tools.Method {
	t.Helper()
	all, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(m *tools.Method) bool { return m.Local })
}

func toolNames(t testing.TB, keep func(*tools.Method) bool, more ...string) []string {
	t.Helper()
	names := slices.Clone(more)
	for _, m := range methods(t) {
		if keep(m) {
			names = append(names, m.Tool())
		}
	}
	slices.Sort(names)
	return names
}

func reads(m *tools.Method) bool { return m.Effect == op.Reads }

// listed gives the tools of a session by name.
func listed(t testing.TB, s *sdk.ClientSession) map[string]*sdk.Tool {
	t.Helper()
	found := map[string]*sdk.Tool{}
	for tool, err := range s.Tools(within(t, 20*time.Second), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if found[tool.Name] != nil {
			t.Errorf("%s is listed twice", tool.Name)
		}
		found[tool.Name] = tool
	}
	return found
}

// compile gives a schema as a validator sees it that knows nothing of ours.
func compile(t testing.TB, what string, schema any) *jsonschema.Schema {
	t.Helper()
	raw, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("mem:///"+what, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///" + what)
	if err != nil {
		t.Fatalf("%s is no schema: %v", what, err)
	}
	return s
}

// valid fails the test unless a JSON value fits a schema.
func valid(t testing.TB, what string, s *jsonschema.Schema, value json.RawMessage) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err == nil {
		err = s.Validate(v)
	}
	if err != nil {
		t.Errorf("%s does not fit its schema: %v\n%.2000s", what, err, value)
	}
}

// TestLists asks for the tools of every launch in both eras and expects those that the rows say, described alike.
func TestLists(t *testing.T) {
	w := newWorld(t, steady, "")
	all := func(*tools.Method) bool { return true }
	core := func(m *tools.Method) bool { return m.Core }
	of := func(services ...string) func(*tools.Method) bool {
		return func(m *tools.Method) bool { return slices.Contains(services, m.Service) || m.Role == op.Public }
	}
	and := func(fs ...func(*tools.Method) bool) func(*tools.Method) bool {
		return func(m *tools.Method) bool {
			return !slices.ContainsFunc(fs, func(f func(*tools.Method) bool) bool { return !f(m) })
		}
	}
	upTo := func(r op.Role) func(*tools.Method) bool {
		return func(m *tools.Method) bool { return r.Covers(m.Role) }
	}
	noWrite := slices.DeleteFunc(slices.Clone(metaTools), func(n string) bool { return n == "ops_write" })
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, toolNames(t, core, metaTools...)},
		{[]string{"--profile", "core"}, toolNames(t, core, metaTools...)},
		{[]string{"--profile", "full"}, toolNames(t, all)},
		{[]string{"--profile", "full", "--role", "admin"}, toolNames(t, all)},
		{[]string{"--profile", "readonly"}, toolNames(t, reads)},
		{[]string{"--read-only"}, toolNames(t, and(core, reads), noWrite...)},
		{[]string{"--profile", "full", "--read-only"}, toolNames(t, reads)},
		{[]string{"--profile", "full", "--toolsets", "logs,health"}, toolNames(t, of("logs", "health"))},
		{[]string{"--toolsets", "logs"}, toolNames(t, and(core, of("logs")), metaTools...)},
		{[]string{"--profile", "full", "--role", "viewer"}, toolNames(t, upTo(op.Viewer))},
		{[]string{"--profile", "full", "--role", "operator", "--toolsets", "apps,agents"}, toolNames(t, and(upTo(op.Operator), of("apps", "agents")))},
	} {
		for _, era := range eras {
			s := w.stdio(t, c.args...).connect(era, nil)
			found := listed(t, s)
			if d := cmp.Diff(c.want, slices.Sorted(maps.Keys(found))); d != "" {
				t.Errorf("%v, %s: other tools than the rows say (-want +got):\n%s", c.args, era, d)
			}
			if len(found) == 0 {
				t.Fatalf("%v, %s: no tools", c.args, era)
			}
			s.Close()
		}
	}
}

// TestDescriptions looks at every tool of the long list as a client does.
func TestDescriptions(t *testing.T) {
	w := newWorld(t, steady, "")
	byEra := map[string]map[string]*sdk.Tool{}
	for _, era := range eras {
		byEra[era] = listed(t, w.stdio(t, "--profile", "full").connect(era, nil))
	}
	for _, m := range methods(t) {
		tool := byEra[modern][m.Tool()]
		if tool == nil {
			t.Errorf("%s is not listed", m.Tool())
			continue
		}
		if d := cmp.Diff(byEra[legacy][m.Tool()], tool); d != "" {
			t.Errorf("%s differs between the eras:\n%s", m.Tool(), d)
		}
		compile(t, m.Tool()+"/in", tool.InputSchema)
		compile(t, m.Tool()+"/out", tool.OutputSchema)
		a := tool.Annotations
		if a == nil || a.DestructiveHint == nil || a.OpenWorldHint == nil {
			t.Errorf("%s: hints are missing: %+v", m.Tool(), a)
			continue
		}
		if a.ReadOnlyHint != reads(m) || *a.DestructiveHint != (m.Effect == op.Interrupts || m.Effect == op.Destroys) {
			t.Errorf("%s: its hints say something else than its effect, %s: %+v", m.Tool(), m.Effect, a)
		}
		if tool.Title == "" || len(tool.Description) < 10 || len(tool.Description) > 160 {
			t.Errorf("%s: title %q, description %q", m.Tool(), tool.Title, tool.Description)
		}
		for _, e := range m.Examples { // what help shows as right is right for whoever reads the list
			if e.Fails == "" {
				valid(t, m.Tool()+" "+e.In, compile(t, m.Tool()+"/in", tool.InputSchema), json.RawMessage(e.In))
			}
		}
	}
	// A list is the same bytes for everybody, whatever was called before.
	raw := func() string {
		p := w.stdio(t).peer(modern, "list")
		p.tool("apps_list", "{}")
		p.tool("apps_start", `{"names":["web"]}`)
		return string(p.call("tools/list", "{}").Result)
	}
	if a, b := raw(), raw(); a != b || len(a) < 1000 {
		t.Errorf("two lists differ:\n%s\n%s", a, b)
	}
}

// TestEveryTool calls every tool in every form that an answer can have, and looks at each with an independent validator:
// done, dry run, confirming, held, refused, and with arguments that nobody knows.
func TestEveryTool(t *testing.T) {
	w := newWorld(t, busy, generous)
	w.Until(20*time.Second, "a probe of web has answered and is on record", func() bool {
		var changes struct{ Items []any }
		return w.Call("health.history", map[string]any{}, &changes) == nil && len(changes.Items) > 0
	})
	w.must("secrets.set", map[string]any{"name": "shared/example", "value": "for every row of secrets"}, nil)
	p := w.stdio(t, "--profile", "full", "--role", "admin").peer(modern, "every")
	schemas := outputs(t, p)
	if len(schemas) != len(methods(t)) {
		t.Errorf("%d tools, %d methods", len(schemas), len(methods(t)))
	}
	seen, real := map[string]int{}, w.approved(p)
	held := map[string]func(){}
	var order []string
	for _, m := range methods(t) {
		tool, forms := m.Tool(), map[string]int{}
		w.prepare(m.ID())
		check := func(form string, r result) {
			t.Helper()
			p.shows(t, r)
			forms[form]++
			if r.IsError {
				t.Errorf("%s, %s: %s", tool, form, r.Content[0].Text)
				return
			}
			valid(t, tool+", "+form, schemas[tool], r.Value)
		}
		failing := func(form, args string, codes ...fault.Code) {
			t.Helper()
			r := p.tool(tool, args)
			p.shows(t, r)
			forms[form]++
			if !r.IsError || !slices.Contains(codes, r.fault.Code) || r.Value != nil {
				t.Errorf("%s %s: want the fault %v without structured content: %.600s", tool, args, codes, r.raw)
			}
		}
		private := m.Service == "secrets" && m.Effect == op.Reads // held, and a read has no envelope that could say so
		denied := forPersons(tool)
		for _, e := range m.Examples {
			e.In = real(e.In)
			switch {
			case denied:
				failing("fault", e.In, fault.Denied, fault.Code(e.Fails))
			case private:
				failing("held", e.In, fault.Held)
			case e.Fails != "":
				failing("fault", e.In, fault.Code(e.Fails), fault.Denied)
			case m.Stream:
				check("done", p.tool(tool, with(t, e.In, map[string]any{"max_seconds": 1, "max_items": 3})))
			case reads(m):
				check("done", p.tool(tool, e.In))
			default:
				if m.Plannable {
					check("dry run", p.tool(tool, with(t, e.In, map[string]any{"dry_run": true})))
				}
				r := p.tool(tool, e.In)
				o := r.outcome(t)
				check(o.Status, r)
				switch o.Status {
				case "confirm":
					check("done", p.tool(tool, with(t, e.In, map[string]any{"confirm": o.Confirm.Token})))
				case "held": // what an agent will get when a person has said yes
					order = append(order, m.ID())
					held[m.ID()] = func() {
						w.prepare(m.ID())
						if m.ID() == "projects.add" {
							w.must("projects.remove", map[string]any{"name": "example"}, nil) // which apps.apply has added
						}
						var value json.RawMessage
						w.must(m.ID(), json.RawMessage(e.In), &value)
						valid(t, tool+", as a person", schemas[tool], value)
					}
				}
			}
		}
		failing("fault", `{"no_such_argument":1}`, fault.Invalid, fault.Denied)
		if forms["fault"] == 0 || !denied && len(forms) < 2 {
			t.Errorf("%s: not every form was seen: %v", tool, forms)
		}
		for f, n := range forms {
			seen[f] += n
		}
		w.unprepare(m.ID())
		if tool == "apps_stop" || tool == "apps_disable" { // the others need it
			w.must("apps.enable", map[string]any{"names": []string{"web"}}, nil)
			w.must("apps.start", map[string]any{"names": []string{"web"}}, nil)
		}
	}
	// From the harmless to what adds a project; and at the end those of which one makes what the next one needs, or takes it away.
	last := []string{"projects.add", "stacks.create", "stacks.delete", "projects.update", "projects.remove"}
	slices.Reverse(order)
	order = slices.DeleteFunc(order, func(id string) bool { return slices.Contains(last, id) })
	for _, id := range append(order, last...) {
		held[id]()
	}
	for _, form := range []string{"done", "dry run", "confirm", "held", "fault"} {
		if seen[form] == 0 {
			t.Errorf("no tool has answered in the form %q: %v", form, seen)
		}
	}
	t.Logf("answers: %v", seen)
}

// TestMetaTools reaches methods beyond the short list, through the same rules.
func TestMetaTools(t *testing.T) {
	w := newWorld(t, steady, generous)
	for _, era := range eras {
		p := w.socket(t, "").peer(era, "meta")
		schemas := outputs(t, p)
		long := outputs(t, w.socket(t, `{"profile":"full"}`).peer(era, "long"))
		for _, c := range []struct {
			tool, args string
			inner      string // the method whose schema the answer has
			want       fault.Code
		}{
			{"ops_search", `{"query":"who is connected"}`, "", ""},
			{"ops_search", `{"query":""}`, "", fault.Invalid},
			{"ops_describe", `{"method":"agents.pause"}`, "", ""},
			{"ops_describe", `{"method":"agents.nope"}`, "", fault.NotFound},
			{"ops_read", `{"method":"apps.graph","input":{}}`, "apps_graph", ""},
			{"ops_read", `{"method":"apps.graph","input":{"nope":1}}`, "", fault.Invalid},
			{"ops_read", `{"method":"apps.disable","input":{"names":["web"]}}`, "", fault.Invalid},
			{"ops_write", `{"method":"apps.enable","input":{"names":["web"]}}`, "apps_enable", ""},
			{"ops_write", `{"method":"apps.disable","input":{"names":["web"]}}`, "apps_disable", ""},
			{"ops_write", `{"method":"logs.purge","input":{"names":["web"]}}`, "logs_purge", ""},
			{"ops_write", `{"method":"apps.graph","input":{}}`, "", fault.Invalid},
			{"ops_write", `{"method":"apps.enable","input":[]}`, "", fault.Invalid},
		} {
			r := p.tool(c.tool, c.args)
			p.shows(t, r)
			if r.IsError {
				if r.fault.Code != c.want {
					t.Errorf("%s: %s %s: want %q, got %s", era, c.tool, c.args, c.want, r.Content[0].Text)
				}
				continue
			}
			if c.want != "" {
				t.Errorf("%s: %s %s: want %q, got %.300s", era, c.tool, c.args, c.want, r.raw)
			}
			valid(t, c.tool+" "+c.args, schemas[c.tool], r.Value)
			if c.inner != "" {
				valid(t, c.tool+" "+c.args, long[c.inner], r.Value)
			}
		}
		for query, want := range map[string]string{"who is connected": "agents.list", "undo": "apps.apply"} {
			var hits struct{ Items []struct{ Method string } }
			if err := json.Unmarshal(p.tool("ops_search", encode(t, map[string]string{"query": query})).Value, &hits); err != nil || len(hits.Items) == 0 || hits.Items[0].Method != want {
				t.Errorf("%s: %q finds %+v (%v)", era, query, hits, err)
			}
		}
	}
}

// outputs are the compiled output schemas of the listed tools.
func outputs(t testing.TB, p *peer) map[string]*jsonschema.Schema {
	t.Helper()
	var list struct {
		Tools []struct {
			Name         string
			OutputSchema json.RawMessage
		}
	}
	m := p.call("tools/list", "{}")
	if err := json.Unmarshal(m.Result, &list); err != nil || len(list.Tools) == 0 {
		t.Fatalf("no tools (%v): %.300s", err, m.line)
	}
	out := map[string]*jsonschema.Schema{}
	for _, tool := range list.Tools {
		out[tool.Name] = compile(t, tool.Name, tool.OutputSchema)
	}
	return out
}

// with adds members to a JSON object.
func with(t testing.TB, object string, more map[string]any) string {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatal(err)
	}
	maps.Copy(members, more)
	return encode(t, members)
}
