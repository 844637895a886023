package apps

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/ledger"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

const shop = `
project: shop
apps:
  - {name: api, command: [./api, --port, "80"], dependsOn: [db], env: {SECRET: hunter2, LOG: debug}, ports: {http: 8080}}
  - {name: db, command: [./db]}
  - name: pool
    processes:
      - {name: web, command: [./web], instances: 2}
      - {name: worker, command: [./worker]}
`

var (
	person   = op.Caller{User: "tester", Channel: op.Person, Role: op.Admin, Ceiling: op.Admin}
	agent    = op.Caller{User: "tester", Channel: op.Agent, Role: op.Operator, Ceiling: op.Admin}
	adminBot = op.Caller{User: "tester", Channel: op.Agent, Role: op.Admin, Ceiling: op.Admin}
	viewer   = op.Caller{User: "tester", Channel: op.Person, Role: op.Viewer, Ceiling: op.Viewer}
)

func service(t *testing.T, yaml string) (*hosttest.Host, *Service) {
	t.Helper()
	h := hosttest.New(t)
	if yaml != "" {
		h.Declare(yaml)
	}
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return h, s
}

// crash has an app fail to start, so that it is crashed.
func crash(t *testing.T, h *hosttest.Host, s *Service, name string) {
	t.Helper()
	if _, err := s.Start(h.On(person, name), Beginning{}); err == nil {
		t.Fatalf("%s starts", name)
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	f := fault.From(err)
	return string(f.Code) + "/" + f.Reason
}

// TestListPages: the pages of a list are the list, in order, whatever their size.
func TestListPages(t *testing.T) {
	var text strings.Builder
	text.WriteString("project: shop\napps:\n")
	for i := range 23 {
		fmt.Fprintf(&text, "  - {name: app%02d, command: [./x]}\n", i)
	}
	h, s := service(t, text.String())
	for _, size := range []int{1, 5, 22, 23, 24, 0} {
		var names []string
		in := Listing{Page: op.Page{Limit: size}}
		for pages := 1; ; pages++ {
			l, err := s.List(h.On(viewer), in)
			if err != nil || l.Total != 23 || size > 0 && len(l.Items) > size || l.Truncated != (l.NextCursor != "") {
				t.Fatalf("size %d: %+v %v", size, l, err)
			}
			for _, r := range l.Items {
				names = append(names, r.Name)
			}
			if !l.Truncated {
				break
			}
			in.Cursor = l.NextCursor
		}
		if len(names) != 23 || !slices.IsSorted(names) || len(slices.Compact(names)) != 23 {
			t.Errorf("size %d: %v", size, names)
		}
	}
	if l, err := s.List(h.On(viewer), Listing{State: "running"}); err != nil || len(l.Items) != 0 || l.Total != 0 {
		t.Errorf("%+v %v", l, err)
	}
	if _, err := s.List(h.On(viewer), Listing{Project: "nope"}); reason(err) != "not_found/project_unknown" {
		t.Errorf("%v", err)
	}
	h.DeclareIn(t.TempDir(), "project: blog\napps:\n  - {name: cms, command: [./x]}\n")
	if _, err := s.List(op.WithCaller(t.Context(), viewer), Listing{}); reason(err) != "invalid/ambiguous" {
		t.Errorf("of which project: %v", err)
	}
	if l, err := s.List(op.WithCaller(t.Context(), viewer), Listing{All: true}); err != nil || l.Total != 24 {
		t.Errorf("%+v %v", l, err)
	}
	if l, err := s.List(op.WithCaller(t.Context(), viewer), Listing{Project: op.ProjectRef(h.Home)}); err != nil || l.Total == 0 {
		t.Errorf("by its folder: %+v %v", l, err)
	}
}

// TestPlans say what a command would change, and change nothing.
func TestPlans(t *testing.T) {
	h, s := service(t, shop)
	crash(t, h, s, "pool")
	show := func(p *op.Plan, err error) string {
		t.Helper()
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, i := range p.Items {
			out = append(out, fmt.Sprintf("%s: %s → %s", i.Target, i.From, i.To))
		}
		return strings.Join(out, "; ")
	}
	one := h.On(person, "api")
	for what, c := range map[string][2]string{
		"start":   {show(s.PlanStart(one, Beginning{})), "shop/dev/db: stopped → running; shop/dev/api: stopped → running"},
		"stop":    {show(s.PlanStop(h.On(person, "pool", "api"), Order{})), "shop/dev/pool: crashed → stopped"},
		"restart": {show(s.PlanRestart(h.On(person, "pool:web#2"), Order{})), "shop/dev/pool:web#2: crashed → stopped, then running"},
		"scale":   {show(s.PlanScale(h.On(person, "pool:web"), Scaling{Instances: 5})), "shop/dev/pool: 2 instances → 5 instances"},
		"same":    {show(s.PlanScale(h.On(person, "pool:web"), Scaling{Instances: 2})), ""},
		"reset":   {show(s.PlanReset(h.On(person, "pool", "api"), op.Selection{})), "shop/dev/pool: crashed → stopped"},
		"enable":  {show(s.PlanEnable(one, op.Selection{})), ""},
		"disable": {show(s.PlanDisable(one, Order{})), "shop/dev/api: stopped → disabled, stopped"},
		"signal":  {show(s.PlanSignal(one, Signalling{Signal: "HUP"})), "shop/dev/api: stopped → gets HUP"},
		"apply": {show(s.PlanApply(t.Context(), Application{Files: []File{{Path: filepath.Join(h.Home, "omnitron.yaml"), Text: "project: shop\napps:\n  - {name: db, command: [./other]}\n  - {name: new, command: [./new]}\n"}}})),
			"shop/dev/api: declared → stopped and removed; shop/dev/db: declared → changed; shop/dev/new:  → added; shop/dev/pool: declared → stopped and removed"},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %s\nwant: %s", what, c[0], c[1])
		}
	}
	if v := h.Supervisor.App("shop/dev/pool"); v.State != view.Crashed || len(v.Instances) != 3 || h.Supervisor.App("shop/dev/new") != nil {
		t.Errorf("a plan changed something: %+v", v)
	}
}

// TestEnvMasks: values are shown to a person who is an admin and asks for them, and to nobody else.
func TestEnvMasks(t *testing.T) {
	h, s := service(t, shop)
	for who, c := range map[string]struct {
		caller op.Caller
		reveal bool
		want   string // the value of SECRET, or a reason
	}{
		"a viewer": {viewer, false, "•••"}, "an agent": {agent, false, "•••"}, "an admin": {person, false, "•••"},
		"a viewer who asks": {viewer, true, "denied/reveal_denied"}, "an agent that asks": {agent, true, "denied/reveal_denied"},
		"an agent with the role of an admin": {adminBot, true, "denied/reveal_denied"}, "an admin who asks": {person, true, "hunter2"},
	} {
		e, err := s.Env(h.On(c.caller, "api"), Variables{Reveal: c.reveal})
		got := reason(err)
		if err == nil {
			vars := e.Processes[0].Variables
			i := slices.IndexFunc(vars, func(v Variable) bool { return v.Name == "SECRET" })
			if got = vars[i].Value; e.Masked == c.reveal {
				t.Errorf("%s: masked %v", who, e.Masked)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", who, got, c.want)
		}
		if text, _ := json.Marshal(e); c.want == "•••" && strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: a value is somewhere in %s", who, text)
		}
	}
	in, err := s.Inspect(h.On(viewer, "api"), op.One{})
	text, _ := json.Marshal(in)
	if err != nil || strings.Contains(string(text), "hunter2") || len(in.Processes) != 1 || in.Processes[0].Argv[2] != "80" || !slices.Equal(in.Depends, []string{"db (ready)"}) {
		t.Errorf("%s %v", text, err)
	}
}

// TestPart: of a part of an app nothing is said that is true of another one.
func TestPart(t *testing.T) {
	h, s := service(t, shop)
	crash(t, h, s, "pool")
	if _, err := s.Stop(h.On(person, "pool:web#2"), Order{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pool": "crashed running [pool:web#1 pool:web#2 pool:worker#1] [web worker] 6", "pool:web": "crashed running [pool:web#1 pool:web#2] [web] 4",
		"pool:web#2": "stopped stopped [pool:web#2] [web] 2", "pool:worker": "crashed running [pool:worker#1] [worker] 2",
	} {
		in, err := s.Inspect(h.On(viewer, name), op.One{})
		app, gerr := s.Get(h.On(viewer, name), op.One{})
		if err != nil || gerr != nil {
			t.Fatal(err, gerr)
		}
		var slots, processes []string
		for _, i := range in.App.Instances {
			slots = append(slots, i.Slot)
		}
		for _, p := range in.Processes {
			processes = append(processes, p.Name)
		}
		if got := fmt.Sprint(in.App.State, " ", in.App.Desired, " ", slots, " ", processes, " ", len(in.Logs)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if got, want := fmt.Sprint(app.State, len(app.Instances)), fmt.Sprint(in.App.State, len(in.App.Instances)); got != want {
			t.Errorf("%s: get says %s, inspect %s", name, got, want)
		}
	}
	for _, target := range []string{"shop/dev/pool:web#2", "shop/dev/pool:worker", "shop/dev/pool:web", "shop/dev/pool", "shop/dev/api"} {
		if _, err := h.Ledger.Begin(t.Context(), ledger.Entry{Time: time.Now(), User: "me", Channel: "agent", Method: "apps." + target[9:], Targets: []string{target}, Changes: true}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"pool:web#2": "pool pool:web pool:web#2", "pool:web#1": "pool pool:web", "pool:web": "pool pool:web pool:web#2",
		"pool:worker": "pool pool:worker", "pool": "pool pool:web pool:web#2 pool:worker", "api": "api"} {
		e, err := s.Explain(h.On(viewer, name), op.One{})
		var got []string
		for _, c := range e.Changes {
			if what, is := strings.CutPrefix(c.What, "apps."); is {
				got = append(got, strings.TrimSuffix(what, " → running"))
			}
		}
		if slices.Sort(got); err != nil || strings.Join(got, " ") != want {
			t.Errorf("what was done to %s: %v %v, want %s", name, got, err, want)
		}
	}
	e, err := s.Explain(h.On(viewer, "pool:web#2"), op.One{})
	if err != nil || e.State != view.Stopped || !strings.HasPrefix(e.Summary, "pool:web#2 is stopped") || !slices.Equal(e.Next, []fault.Hint{`apps.start {"names":["pool:web#2"]}`}) {
		t.Errorf("%+v %v", e, err)
	}
}

// TestApply: what is the same is no new revision, and nothing is kept of what is not right.
func TestApply(t *testing.T) {
	h, s := service(t, "")
	files := func(text string) Application {
		return Application{Files: []File{{Path: filepath.Join(h.Home, "omnitron.yaml"), Text: text}}, Env: map[string]string{"PATH": "/bin", "HOME": h.Home}}
	}
	ctx := op.WithCaller(t.Context(), person)
	a, err := s.Apply(ctx, files(shop))
	if err != nil || a.Revision != 1 || len(a.Apps) != 3 || a.Apps[0].Change != "added" || !a.Apps[0].Enabled || a.Apps[2].Name != "pool" {
		t.Fatalf("%+v %v", a, err)
	}
	if a, err = s.Apply(ctx, files(shop)); err != nil || a.Revision != 1 || a.Apps[0].Change != "unchanged" {
		t.Errorf("again: %+v %v", a, err)
	}
	if _, err := s.Disable(h.On(person, "api"), Order{}); err != nil {
		t.Fatal(err)
	}
	if a, err = s.Apply(ctx, files(shop)); err != nil || a.Apps[0].Enabled || !a.Apps[1].Enabled {
		t.Errorf("what was disabled is not enabled by up: %+v %v", a, err)
	}
	if _, err = s.Apply(ctx, files("apps:\n  - {name: api, comand: x}\n  - {name: api, command: [x], dependsOn: [none]}\n")); reason(err) != "invalid/config_invalid" {
		t.Errorf("%v", err)
	}
	if a, err = s.Apply(ctx, files("project: shop\napps:\n  - {name: db, command: [./other]}\n")); err != nil || a.Revision != 2 || len(a.Results) != 2 {
		t.Errorf("%+v %v", a, err)
	}
	rev, err := h.Revisions.Get(ctx, "shop", "dev", 2)
	if err != nil || rev.By != "tester/person" || !strings.Contains(string(rev.Files), "./other") {
		t.Errorf("%+v %v", rev, err)
	}
	h.Disk.Fill(true)
	if _, err = s.Apply(ctx, files(shop)); reason(err) != "internal/state_not_durable" || len(h.Supervisor.Apps()) != 1 {
		t.Errorf("%v, %d apps", err, len(h.Supervisor.Apps()))
	}
	h.Disk.Fill(false)
}

// TestApplyAtOnce: of several who apply the same text at once everyone succeeds, and one revision is kept.
func TestApplyAtOnce(t *testing.T) {
	h, s := service(t, shop)
	app := Application{Files: []File{{Path: filepath.Join(h.Home, "omnitron.yaml"), Text: "project: shop\napps:\n  - {name: db, command: [./other]}\n"}}, Env: map[string]string{"PATH": "/bin"}}
	var all sync.WaitGroup
	begin, ctx := make(chan struct{}), op.WithCaller(t.Context(), person)
	for range 16 {
		all.Go(func() {
			<-begin
			if a, err := s.Apply(ctx, app); err != nil || a.Revision != 2 {
				t.Errorf("revision %d %v", a.Revision, err)
			}
		})
	}
	close(begin)
	all.Wait()
	if last, err := h.Revisions.Latest(ctx, "shop", "dev"); err != nil || last.Rev != 2 {
		t.Errorf("revision %d %v", last.Rev, err)
	}
}

// TestExplain: the answer tells what happened, what it printed and what to do, and is small whatever the app printed.
func TestExplain(t *testing.T) {
	h, s := service(t, shop)
	ctx := h.On(person, "api")
	e, err := s.Explain(ctx, op.One{})
	if err != nil || e.Summary != "api is stopped because somebody asked for it, or nobody has started it yet" || !slices.Equal(e.Next, []fault.Hint{`apps.start {"names":["api"]}`}) || len(e.Exits) != 0 {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := h.Ledger.Begin(ctx, ledger.Entry{Time: time.Now(), User: "me", Channel: "agent", Method: "apps.start", Targets: []string{"shop/dev/api"}, Changes: true}); err != nil {
		t.Fatal(err)
	}
	crash(t, h, s, "api")
	h.Printed("shop/dev/api", "err", "one\ntwo\n")
	e, err = s.Explain(ctx, op.One{})
	if err != nil || e.State != view.Waiting || !slices.Equal(e.WaitsFor, []string{"db is crashed, and has to be ready"}) || !strings.Contains(e.Summary, "waits for db (crashed)") || e.Next[0] != `apps.explain {"name":"db"}` {
		t.Errorf("%+v %v", e, err)
	}
	if len(e.Stderr) != 2 || e.Stderr[1].Text != "two" || e.Stderr[1].Slot != "api:api#1" || len(e.Stdout) != 0 {
		t.Errorf("printed %+v %+v", e.Stderr, e.Stdout)
	}
	if i := slices.IndexFunc(e.Changes, func(c Happening) bool { return c.What == "apps.start → running" && c.Who == "me (agent)" }); i < 0 {
		t.Errorf("changes %+v", e.Changes)
	}
	e, err = s.Explain(h.On(person, "db"), op.One{})
	if err != nil || !strings.HasPrefix(e.Summary, "db is crashed: there is no program") || len(e.Exits) != 1 || e.Exits[0].Slot != "db:db#1" || e.Exits[0].Code != nil || e.Next[0] != `logs.query {"limit":100,"names":["db"]}` {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := s.Explain(h.On(person, "db", "api"), op.One{}); reason(err) != "invalid/ambiguous" {
		t.Errorf("%v", err)
	}
	h.DeclareIn(t.TempDir(), "project: blog\napps:\n  - {name: db, command: [./x]}\n")
	e, err = s.Explain(h.On(person, "shop/dev/db"), op.One{})
	if err != nil || e.Next[0] != `logs.query {"limit":100,"names":["shop/dev/db"]}` {
		t.Errorf("a name that is not unique: %v %v", e.Next, err)
	}
}

// TestReadiness: what a starting app waits for is the reason.
func TestReadiness(t *testing.T) {
	h, s := service(t, "project: shop\napps:\n  - {name: slow, command: [./x], ready: {tcp: \"127.0.0.1:1\", timeout: 30s}}\n  - {name: late, command: [./x], ready: {delay: 1m}}\n")
	for name, want := range map[string]string{"slow": "tcp probe of its readiness, 12s of 30s: connection refused", "late": "until it has run a while, 12s of 1m0s"} {
		app, err := s.sup.Resolve(h.On(person), []op.Selector{op.Selector(name)}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		v := *s.sup.App(app[0].Key)
		now := time.Now()
		v.State, v.Instances = view.Starting, slices.Clone(v.Instances)
		v.Instances[0].State, v.Instances[0].Since = view.Starting, now.Add(-12*time.Second)
		if name == "slow" {
			v.Instances[0].HealthNote = "connection refused"
		}
		if got := readiness(&v, now); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestExplainIsSmall: at most 25 kB of JSON, and valid text in it.
func TestExplainIsSmall(t *testing.T) {
	for name, line := range map[string]string{
		"long lines": strings.Repeat("x", 60<<10), "control characters": strings.Repeat("\x1b\x01", 30<<10), "no text at all": strings.Repeat("\xff\xfe", 30<<10),
		"wide characters": strings.Repeat("語", 20<<10), "quotes": strings.Repeat(`"\`, 30<<10), "short ones": "x",
	} {
		h, s := service(t, shop)
		crash(t, h, s, "db")
		h.Printed("shop/dev/db", "err", strings.Repeat(line+"\n", 40))
		for i := range 60 {
			h.Bus.Publish(bus.Event{Topic: "apps", Type: "note", Key: "shop/dev/db", Slot: "db:db#1", Text: fmt.Sprint(i, line)})
			h.Bus.Publish(bus.Event{Topic: "apps", Type: "exited", Key: "shop/dev/db", Slot: "db:db#1", Text: fmt.Sprint(i, line), Data: map[string]any{"code": i, "reason": "exited"}})
		}
		e, err := s.Explain(h.On(person, "db"), op.One{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(e)
		if err != nil || len(text) > 25_000 || len(e.Stderr) < 3 || len(e.Exits) < 3 || len(e.Changes) < 3 || e.Summary == "" {
			t.Errorf("%s: %d bytes, %d lines, %d exits, %d changes", name, len(text), len(e.Stderr), len(e.Exits), len(e.Changes))
		}
		if e.Truncated != (len(line) > 1) {
			t.Errorf("%s: truncated is %v", name, e.Truncated)
		}
		if got := e.Stderr[len(e.Stderr)-1].Text; !strings.HasPrefix(got, strings.ToValidUTF8(line[:min(len(line), 3)], "")) || !strings.Contains(string(text), `"db:db#1"`) {
			t.Errorf("%s: %.40q", name, got)
		}
	}
}

// TestHistory: events of the apps that were asked about, newest first, page after page, those of this moment included.
func TestHistory(t *testing.T) {
	h, s := service(t, shop)
	for i := range 25 {
		h.Bus.Publish(bus.Event{Topic: "apps", Type: "exited", Key: "shop/dev/api", Slot: "api:api#1", Text: fmt.Sprint("run ", i), Data: map[string]any{"code": i, "ran_ms": int64(i)}})
		h.Bus.Publish(bus.Event{Topic: "apps", Type: "other", Key: "shop/dev/db", Text: "not asked for"})
	}
	var codes []int
	in := Past{Page: op.Page{Limit: 7}}
	for {
		l, err := s.History(h.On(viewer, "api"), in)
		if err != nil || len(l.Items) > 7 {
			t.Fatalf("%+v %v", l, err)
		}
		for _, e := range l.Items {
			if e.Type == "exited" {
				codes = append(codes, *e.Code)
			}
		}
		if in.Cursor = l.NextCursor; !l.Truncated {
			break
		}
	}
	if len(codes) != 25 || codes[0] != 24 || codes[24] != 0 {
		t.Errorf("%v", codes)
	}
	if _, err := s.History(h.On(viewer, "api"), Past{Page: op.Page{Cursor: "x"}}); reason(err) != "invalid/bad_cursor" {
		t.Errorf("%v", err)
	}
}

func TestGraph(t *testing.T) {
	h, s := service(t, shop)
	g, err := s.Graph(h.On(viewer), Scope{})
	if err != nil || !slices.Equal(g.Nodes, []string{"shop/dev/db", "shop/dev/pool", "shop/dev/api"}) || len(g.Waves) != 2 || len(g.Edges) != 1 || g.Edges[0] != (Edge{"api", "db", "ready"}) {
		t.Errorf("%+v %v", g, err)
	}
}

func TestSignalNames(t *testing.T) {
	for name, ok := range map[string]bool{"HUP": true, "SIGUSR1": true, "NOPE": false, "": false, "9": false} {
		if err := (Signalling{Signal: name}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
