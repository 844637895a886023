package cli

import (
	"strings"
	"testing"
)

// planned has the fake daemon answer apps.plan.
func planned(b *bench, pending bool) {
	apps := []any{map[string]any{"key": "shop/dev/same", "name": "same", "change": "unchanged", "effect": "unchanged"}}
	if pending {
		apps = append(apps, map[string]any{"key": "shop/dev/api", "name": "api\x1b", "change": "changed", "effect": "changed, restarted", "keys": []any{
			map[string]any{"key": "env.LOG", "from": "in\x1bfo", "to": "debug", "takes": "restart"}, map[string]any{"key": "env.TZ", "to": "UTC", "takes": "next"}}})
	}
	b.on("apps.plan", map[string]any{"project": "shop", "stack": "dev", "pending": pending, "changed": map[bool]int{true: 1}[pending], "apps": apps})
}

// TestPlan: what differs is shown key by key, control characters escaped; --exit-code says by 6 that something does.
func TestPlan(t *testing.T) {
	b := newBench(t)
	if r := b.run(t, "plan"); r.code != 1 || !strings.Contains(r.err, "omnitron.yaml") {
		t.Errorf("without a file: %+v", r)
	}
	path := b.project(t, "apps: []")
	for _, c := range []struct {
		pending bool
		args    []string
		code    int
	}{{true, []string{"plan"}, 0}, {true, []string{"plan", "--exit-code"}, 6}, {true, []string{"plan", "--exit-code", "-o", "json"}, 6}, {false, []string{"plan", "--exit-code"}, 0}} {
		planned(b, c.pending)
		r := b.run(t, c.args...)
		if r.code != c.code || r.err != "" {
			t.Errorf("%v: %+v", c.args, r)
		}
		if c.pending && len(c.args) < 3 {
			want := "~ api\\x1b  changed, restarted\n    env.LOG  in\\x1bfo → debug  restart\n    env.TZ   (none) → UTC      at the next restart\nshop/dev: 1 changed, 1 unchanged\n"
			if r.out != want {
				t.Errorf("%v:\n%s\nwant:\n%s", c.args, r.out, want)
			}
		}
		if !c.pending && r.out != "shop/dev: nothing to change\n" {
			t.Errorf("%v: %s", c.args, r.out)
		}
	}
	in := b.named("apps.plan")[0]
	if files, _ := in["files"].([]any); len(files) != 1 || files[0].(map[string]any)["path"] != path || in["env"].(map[string]any)["PATH"] != "/bin" {
		t.Errorf("it asks with %v", in)
	}
	if r := b.run(t, "plan", "--project", "shop"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if asked := b.named("apps.plan"); len(asked) != 5 || len(asked[4]) != 1 || asked[4]["project"] != "shop" {
		t.Errorf("of a project by its name it asks with %v", asked)
	}
}
