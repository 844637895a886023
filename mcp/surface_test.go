package mcp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
)

func listed(t *testing.T, b *testbed, launch string) ([]string, string) {
	t.Helper()
	p := b.peer(t)
	p.send(hello(launch))
	p.next()
	p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	r := p.reply()
	return toolNames(r), r.line
}

func TestProfiles(t *testing.T) {
	b := newBed(t)
	core := "apps_fail apps_follow apps_get apps_list apps_start apps_stop apps_wait ops_describe ops_read ops_search"
	reads := "apps_big apps_env apps_fail apps_follow apps_get apps_list apps_wait"
	for launch, want := range map[string]string{
		``:                                       core + " ops_write",
		`{"profile":"core","read_only":true}`:    strings.ReplaceAll(strings.ReplaceAll(core, "apps_start ", ""), "apps_stop ", ""),
		`{"profile":"readonly"}`:                 reads,
		`{"profile":"full"}`:                     reads + " apps_note apps_purge apps_start apps_stop",
		`{"profile":"full","role":"operator"}`:   reads + " apps_note apps_start apps_stop",
		`{"profile":"full","role":"viewer"}`:     reads,
		`{"profile":"full","toolsets":["apps"]}`: reads + " apps_note apps_purge apps_start apps_stop",
	} {
		names := strings.Fields(want)
		slices.Sort(names)
		got, _ := listed(t, b, launch)
		if fmt.Sprint(got) != fmt.Sprint(names) {
			t.Errorf("%s:\n got %v\nwant %v", launch, got, names)
		}
	}
	_, one := listed(t, b, "")
	_, two := listed(t, b, "")
	if one != two {
		t.Error("two lists of one profile differ")
	}
}

// TestWhatOneTokenSeesIsItsOwn: a list that was made for a token which is limited is not that of who has the same role and is
// not, whoever comes first.
func TestWhatOneTokenSeesIsItsOwn(t *testing.T) {
	all := op.Caller{Channel: op.Agent, Ceiling: op.Admin, Role: op.Operator}
	few, shop := all, all
	few.Scope.Methods, shop.Scope.Projects = []string{"apps.list"}, []string{"shop"}
	for _, order := range [][]op.Caller{{all, few, shop}, {few, shop, all}, {shop, all, few}} {
		b := newBed(t)
		for _, c := range order {
			f, err := b.surfaceFor(Launch{Profile: profileFull}, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range b.ordered {
				if _, there := f.tools[m.Tool()]; there != m.Visible(c) {
					t.Errorf("%+v: %s is there: %v", c.Scope, m.ID(), there)
				}
			}
		}
	}
}

// TestEntries: every tool says what it is.
func TestEntries(t *testing.T) {
	_, line := listed(t, newBed(t), `{"profile":"full"}`)
	var r struct {
		Result struct {
			Tools []struct {
				Name, Title, Description  string
				InputSchema, OutputSchema struct {
					Type       string
					Properties map[string]any
				}
				Annotations map[string]bool
				Meta        map[string]any `json:"_meta"`
			}
		}
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatal(err)
	}
	want := map[string][4]bool{ // read only, destructive, idempotent, open world
		"apps_list": {true, false, true, false}, "apps_start": {false, false, true, false}, "apps_stop": {false, true, true, false},
		"apps_purge": {false, true, false, false}, "apps_note": {false, false, false, false},
	}
	for _, tool := range r.Result.Tools {
		if tool.Title == "" || tool.Description == "" || tool.InputSchema.Type != "object" || tool.OutputSchema.Type != "object" || len(tool.Annotations) != 4 {
			t.Errorf("%s is incomplete: %+v", tool.Name, tool)
		}
		if p := tool.InputSchema.Properties; p["dry_run"] != nil || (p["confirm"] != nil) != (tool.Name == "apps_stop" || tool.Name == "apps_purge") {
			t.Errorf("%s shows %v", tool.Name, p)
		}
		a := tool.Annotations
		if w, ok := want[tool.Name]; ok && w != [4]bool{a["readOnlyHint"], a["destructiveHint"], a["idempotentHint"], a["openWorldHint"]} {
			t.Errorf("%s has hints %v", tool.Name, a)
		}
		if core := slices.Contains([]string{"apps_list", "apps_stop"}, tool.Name); core && tool.Meta["anthropic/alwaysLoad"] != true || tool.Name == "apps_purge" && tool.Meta != nil {
			t.Errorf("%s: _meta %v", tool.Name, tool.Meta)
		}
	}
}

// TestEscalation: what a connection was not given it cannot get.
func TestEscalation(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]struct{ launch, line, want string }{
		"above the role":           {`{"role":"viewer","profile":"full"}`, call(1, "apps_start", `{"names":["web"]}`), `"code":"denied","reason":"role"`},
		"above the role, by meta":  {`{"role":"viewer"}`, call(1, "ops_write", `{"method":"apps.start","input":{"names":["web"]}}`), `"code":"denied","reason":"role"`},
		"above the role, by role":  {`{"role":"operator"}`, call(1, "ops_write", `{"method":"apps.purge","input":{"names":["web"]}}`), `"code":"denied","reason":"role"`},
		"read only, by meta":       {`{"read_only":true}`, call(1, "ops_write", `{"method":"apps.start","input":{"names":["web"]}}`), "unknown tool"},
		"read only, by profile":    {`{"profile":"readonly"}`, call(1, "ops_write", `{"method":"apps.start"}`), "unknown tool"},
		"a local method":           {`{"role":"admin"}`, call(1, "ops_read", `{"method":"apps.local"}`), "not_found"},
		"a native method":          {``, `{"jsonrpc":"2.0","id":1,"method":"apps.start","params":{"names":["web"]}}`, "-32601"},
		"launch in a second":       {`{"role":"viewer"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"omnitron/launch":{"role":"admin"}},"name":"ops_write","arguments":{"method":"apps.start","input":{"names":["web"]}}}}`, `"code":"denied"`},
		"launch in a second hello": {`{"role":"viewer","profile":"full"}`, strings.Replace(hello(`{"role":"admin"}`), `"id":"hello"`, `"id":1`, 1), `"result"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.peer(t)
			p.send(hello(c.launch))
			p.next()
			p.send(c.line)
			if r := p.reply(); !strings.Contains(r.line, c.want) {
				t.Errorf("want %s, got %s", c.want, r.line)
			}
			p.send(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
			if names := toolNames(p.reply()); strings.Contains(c.launch, "viewer") && slices.Contains(names, "apps_start") {
				t.Errorf("the list has grown: %v", names)
			}
		})
	}
	if n := b.stopped.Load(); n != 0 || len(b.kernel.Held.Asked()) != 0 {
		t.Errorf("something was done or asked for: %d", n)
	}
}

// TestRefusedLaunch: a launch that asks for too much ends the connection.
func TestRefusedLaunch(t *testing.T) {
	b := newBed(t)
	was := owner
	defer func() { owner = was }()
	owner.Ceiling = op.Operator
	for _, launch := range []string{`{"role":"admin"}`, `{"role":"node"}`, `{"role":"root"}`, `{"profile":"all"}`, `{"toolsets":["nope"]}`, `{"role":5}`, `{"readonly":true}`, `{"role":"public"}`, `[]`, `"viewer"`,
		`{"toolsets":["apps"` + strings.Repeat(`,"apps"`, 64) + `]}`} {
		p := b.peer(t)
		p.send(hello(launch))
		if r := p.reply(); r.Error == nil || r.Error.Code != -32602 || !strings.Contains(r.line, `"reason":"launch_options"`) {
			t.Errorf("%s: %s", launch, r.line)
		}
		if l, err := p.in.ReadString('\n'); err == nil {
			t.Errorf("%s: the connection goes on: %s", launch, l)
		}
	}
}

// TestLaunched: what a launch says reaches the caller that calls are made by, and nothing of it is kept twice.
func TestLaunched(t *testing.T) {
	for launch, want := range map[string]op.Caller{
		"":                  {Ceiling: op.Admin, Role: op.Operator, Plane: "unix"},
		`{}`:                {Ceiling: op.Admin, Role: op.Operator, Plane: "stdio"},
		`{"role":"viewer"}`: {Ceiling: op.Viewer, Role: op.Viewer, Plane: "stdio"},
		`{"role":"admin"}`:  {Ceiling: op.Admin, Role: op.Admin, Plane: "stdio"},
		`{"profile":"readonly","toolsets":["apps","apps","apps"]}`: {Ceiling: op.Admin, Role: op.Operator, Plane: "stdio", ReadOnly: true, Toolsets: []string{"apps"}},
	} {
		b := newBed(t)
		p := b.peer(t)
		p.send(hello(launch))
		p.next()
		got := b.o.Sessions.List()
		if len(got) != 1 {
			t.Fatalf("%s: %d sessions", launch, len(got))
		}
		if c := b.o.Sessions.Of(got[0].ID).Caller(); c.Ceiling != want.Ceiling || c.Role != want.Role || c.Plane != want.Plane || c.ReadOnly != want.ReadOnly || !slices.Equal(c.Toolsets, want.Toolsets) {
			t.Errorf("%s: %+v", launch, c)
		}
	}
}
