package target

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// still is apps that nothing happens to.
type still []*view.App

func (s still) Apps() []*view.App { return s }

func (s still) Projects() []string {
	var out []string
	for _, v := range s {
		out = append(out, v.Project)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s still) ProjectAt(dir string) (string, bool) {
	name, in := strings.CutPrefix(dir, "/src/")
	return name, in && slices.Contains(s.Projects(), name)
}

// known gives apps, each "project/stack/app" and then its processes as name×n.
func known(apps ...string) still {
	var s still
	for _, text := range apps {
		f := strings.Fields(text)
		app := &config.App{Key: f[0], Name: naming.App(f[0])}
		v := &view.App{Key: f[0], Name: app.Name, Project: naming.Project(f[0]), Stack: naming.Stack(f[0]), Epoch: 7, Definition: app}
		if len(f) == 1 {
			f = append(f, app.Name+"×1")
		}
		for _, p := range f[1:] {
			name, count, _ := strings.Cut(p, "×")
			app.Processes = append(app.Processes, config.Process{Name: name})
			for n := range int(count[0] - '0') {
				v.Instances = append(v.Instances, view.Instance{Slot: fmt.Sprintf("%s:%s#%d", app.Name, name, n+1), Process: name, Number: n + 1})
			}
		}
		s = append(s, v)
	}
	slices.SortFunc(s, func(a, b *view.App) int { return strings.Compare(a.Key, b.Key) })
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
		ts, err := Resolver{known(c.apps...)}.Resolve(t.Context(), names, op.ProjectRef(c.project), op.StackRef(c.stack))
		var got, candidates []string
		for _, target := range ts {
			got = append(got, target.String())
			if target.Generation != 7 || len(target.Slots) == 0 {
				t.Errorf("%s: %+v", c.name, target)
			}
		}
		if err != nil {
			got, candidates = []string{string(fault.From(err).Code) + "/" + fault.From(err).Reason}, fault.From(err).Candidates
		}
		if strings.Join(got, " ") != c.want || strings.Join(candidates, " ") != c.candidates {
			t.Errorf("%s: %v (%v), want %s (%s)", c.name, got, candidates, c.want, c.candidates)
		}
	}
}
