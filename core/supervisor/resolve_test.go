package supervisor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// still gives a supervisor of apps that nothing happens to, each "project/stack/app" and then its processes as name×n.
func still(apps ...string) *Supervisor {
	s := New(Deps{})
	for _, text := range apps {
		f := strings.Fields(text)
		app := &config.App{Key: f[0], Name: nameOf(f[0])}
		v := &App{Key: f[0], Name: app.Name, Project: projectOf(f[0]), Stack: stackOf(f[0]), Epoch: 7, def: app}
		if len(f) == 1 {
			f = append(f, app.Name+"×1")
		}
		for _, p := range f[1:] {
			name, count, _ := strings.Cut(p, "×")
			app.Processes = append(app.Processes, config.Process{Name: name})
			for n := range int(count[0] - '0') {
				v.Instances = append(v.Instances, Instance{Slot: fmt.Sprintf("%s:%s#%d", app.Name, name, n+1), Process: name, Number: n + 1})
			}
		}
		r := &runner{s: s, key: v.Key}
		r.snapshot.Store(v)
		r.declared.Store(app)
		s.apps[v.Key] = r
		s.projectDir[inStack(v.Key)] = project{dir: "/src/" + v.Project}
	}
	return s
}

func TestResolve(t *testing.T) {
	shops := []string{"shop/dev/api", "shop/dev/pool web×2 worker×1", "shop/prod/api", "blog/dev/api", "blog/dev/cms"}
	for _, c := range []struct {
		name           string
		apps           []string
		names          string
		project, stack string
		want           string // targets, or a code and a reason
		candidates     string
	}{
		{"a name", shops, "cms", "", "", "blog/dev/cms", ""},
		{"a suffix", shops, "prod/api", "", "", "shop/prod/api", ""},
		{"a key", shops, "shop/dev/api", "", "", "shop/dev/api", ""},
		{"no part of a name", shops, "pi", "", "", "not_found/app_unknown", "api"},
		{"a near miss", shops, "pol", "", "", "not_found/app_unknown", "pool"},
		{"nothing near: those of the folder", shops, "zzzzzz", "/src/blog", "", "not_found/app_unknown", "api cms"},
		{"elsewhere it is ambiguous", []string{"shop/dev/api", "blog/dev/api", "wiki/dev/web"}, "api", "/src/wiki", "", "invalid/ambiguous", "blog/dev/api shop/dev/api"},
		{"a near miss elsewhere", shops, "pol", "/src/blog", "", "not_found/app_unknown", "pool"},
		{"ambiguous", shops, "api", "", "", "invalid/ambiguous", "blog/dev/api shop/dev/api shop/prod/api"},
		{"a suffix that is ambiguous", shops, "dev/api", "", "", "invalid/ambiguous", "blog/dev/api shop/dev/api"},
		{"the stack makes it unique", shops, "api", "", "prod", "shop/prod/api", ""},
		{"the project makes it unique", shops, "api", "blog", "", "blog/dev/api", ""},
		{"the folder does", shops, "api", "/src/blog", "", "blog/dev/api", ""},
		{"what is not in the folder is looked for elsewhere", shops, "api pool", "/src/blog", "", "blog/dev/api shop/dev/pool", ""},
		{"not in a project that was named", shops, "pool", "blog", "", "not_found/app_unknown", "api cms"},
		{"a folder without a project", shops, "cms", "/src/other", "", "blog/dev/cms", ""},
		{"a project that there is not", shops, "cms", "nope", "", "not_found/project_unknown", "blog shop"},
		{"several, each once", shops, "cms pool blog/dev/cms", "", "", "blog/dev/cms shop/dev/pool", ""},
		{"a pattern", shops, "*o*", "", "", "shop/dev/pool", ""},
		{"a pattern of stacks", shops, "prod/*", "", "", "shop/prod/api", ""},
		{"a pattern of everything", shops, "*", "", "", "blog/dev/api blog/dev/cms shop/dev/api shop/dev/pool shop/prod/api", ""},
		{"a pattern that hits nothing", shops, "x*", "", "", "not_found/app_unknown", "api cms pool"},
		{"half a pattern", shops, "a[", "", "", "invalid/bad_selector", ""},
		{"a process", shops, "pool:web", "", "", "shop/dev/pool:web", ""},
		{"an instance", shops, "pool:web#2", "", "", "shop/dev/pool:web#2", ""},
		{"an instance of a classic app", shops, "cms#1", "", "", "blog/dev/cms:cms#1", ""},
		{"an instance of which process?", shops, "pool#1", "", "", "invalid/ambiguous", ""},
		{"a process that there is not", shops, "pool:db", "", "", "not_found/slot_unknown", "pool:web#1 pool:web#2 pool:worker#1"},
		{"an instance that there is not", shops, "pool:web#3", "", "", "not_found/slot_unknown", "pool:web#1 pool:web#2 pool:worker#1"},
		{"of many those that have the process", shops, "*:web", "", "", "shop/dev/pool:web", ""},
		{"every process", shops, "pool:*", "", "", "shop/dev/pool:web shop/dev/pool:worker", ""},
		{"a pattern of processes", shops, "pool:wo?ker", "", "", "shop/dev/pool:worker", ""},
		{"an instance of every process that has it", shops, "pool:w*#2", "", "", "shop/dev/pool:web#2", ""},
		{"patterns of both", shops, "c*:*", "", "", "blog/dev/cms:cms", ""},
		{"a pattern that hits no process", shops, "pool:x*", "", "", "not_found/slot_unknown", "pool:web#1 pool:web#2 pool:worker#1"},
		{"half a pattern of processes", shops, "pool:w[", "", "", "invalid/bad_selector", ""},
		{"an instance zero", shops, "pool:web#0", "", "", "invalid/bad_selector", ""},
		{"an instance in words", shops, "pool:web#two", "", "", "invalid/bad_selector", ""},
		{"a process without a name", shops, "pool:", "", "", "invalid/bad_selector", ""},
		{"nothing", []string{"shop/dev/api"}, `""`, "", "", "invalid/bad_selector", ""},
		{"no names: which project?", shops, "", "", "", "invalid/ambiguous", "blog shop"},
		{"no names: the project", shops, "", "blog", "", "blog/dev/api blog/dev/cms", ""},
		{"no names: the folder", shops, "", "/src/blog", "", "blog/dev/api blog/dev/cms", ""},
		{"no names: dev of several stacks", shops, "", "shop", "", "shop/dev/api shop/dev/pool", ""},
		{"no names: the stack", shops, "", "shop", "prod", "shop/prod/api", ""},
		{"no names: the only project", []string{"shop/prod/api"}, "", "", "", "shop/prod/api", ""},
		{"no names: which stack?", []string{"shop/prod/api", "shop/stage/api"}, "", "", "", "invalid/ambiguous", "prod stage"},
		{"no names: a folder without a project", shops, "", "/src/other", "", "not_found/project_unknown", "blog shop"},
		{"no names and no apps", nil, "", "", "", "", ""},
		{"a name and no apps", nil, "api", "", "", "not_found/app_unknown", ""},
	} {
		var names []op.Selector
		for _, n := range strings.Fields(c.names) {
			names = append(names, op.Selector(strings.Trim(n, `"`)))
		}
		ts, err := still(c.apps...).Resolve(t.Context(), names, op.ProjectRef(c.project), op.StackRef(c.stack))
		var got, candidates []string
		for _, target := range ts {
			got = append(got, target.String())
			if target.Generation != 7 || len(target.Slots) == 0 {
				t.Errorf("%s: %+v", c.name, target)
			}
		}
		if err != nil {
			got, candidates = []string{reason(err)}, fault.From(err).Candidates
		}
		if strings.Join(got, " ") != c.want || strings.Join(candidates, " ") != c.candidates {
			t.Errorf("%s: %v (%v), want %s (%s)", c.name, got, candidates, c.want, c.candidates)
		}
	}
}

// TestCalled: the name that an app is called by tells nothing of apps that are not there for who asks.
func TestCalled(t *testing.T) {
	s := still("shop/dev/api", "shop/prod/api", "blog/dev/api", "blog/dev/cms")
	for _, c := range []struct {
		scope     op.Scope
		key, want string
	}{
		{op.Scope{}, "blog/dev/cms", "cms"},
		{op.Scope{}, "blog/dev/api", "blog/dev/api"},
		{op.Scope{}, "shop/prod/api", "prod/api"},
		{op.Scope{Projects: []string{"blog"}}, "blog/dev/api", "api"},
		{op.Scope{Projects: []string{"shop"}}, "shop/dev/api", "dev/api"},
		{op.Scope{Projects: []string{"shop"}, Stacks: []string{"dev"}}, "shop/dev/api", "api"},
	} {
		ctx := op.WithCaller(t.Context(), op.Caller{User: "x", Scope: c.scope})
		if got := s.Called(ctx, c.key); got != c.want {
			t.Errorf("%s within %v is called %s, not %s", c.key, c.scope, got, c.want)
		}
	}
}
