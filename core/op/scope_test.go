package op_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
)

func TestScope(t *testing.T) {
	shop := op.Scope{Projects: []string{"shop", "web*"}, Stacks: []string{"dev"}, Methods: []string{"apps.*", "logs.query"}}
	for key, want := range map[string]bool{"shop/dev/api": true, "website/dev/x": true, "shop/prod/api": false, "shopping/dev/api": false, "other/dev/api": false, "": false, "api": false, "dev/api": false, "shop/dev": true, "shop/prod": false, "shop": false} {
		if shop.CoversKey(key) != want {
			t.Errorf("%q: %v", key, !want)
		}
	}
	for method, want := range map[string]bool{"apps.list": true, "logs.query": true, "logs.follow": false, "daemon.status": false} {
		if shop.Allows(method) != want {
			t.Errorf("%s: %v", method, !want)
		}
	}
	if all := (op.Scope{}); all.Bounded() || !all.CoversKey("") || !all.Covers("x", "y") || !all.Allows("z") {
		t.Error("nothing limits, and yet something is out")
	}
	if (op.Scope{Projects: []string{"["}}).CoversKey("x/dev/a") || !(op.Scope{Stacks: []string{"dev"}}).Bounded() {
		t.Error("a glob that is none")
	}
}

func TestScopeWithinAnother(t *testing.T) {
	methods := func(globs ...string) op.Scope { return op.Scope{Methods: globs} }
	for _, c := range []struct {
		inner, outer op.Scope
		want         bool
	}{
		{op.Scope{}, op.Scope{}, true},
		{methods("apps.list"), op.Scope{}, true},
		{op.Scope{}, methods("apps.*"), false},
		{methods("apps.*"), methods("logs.*", "apps.*"), true},
		{methods("apps.list"), methods("apps.*"), true},
		{methods("apps.list", "logs.query"), methods("apps.*"), false},
		{methods("*"), methods("apps.*"), false},
		{methods("app?.*"), methods("apps.*"), false},
		{op.Scope{Projects: []string{"shop"}, Methods: []string{"apps.list"}}, methods("apps.list"), true},
		{methods("apps.list"), op.Scope{Projects: []string{"shop"}}, false},
		{op.Scope{Projects: []string{"shop"}, Stacks: []string{"dev"}}, op.Scope{Projects: []string{"sh*"}, Stacks: []string{"dev", "test"}}, true},
	} {
		if got := c.inner.Within(c.outer); got != c.want {
			t.Errorf("%+v within %+v: %v", c.inner, c.outer, got)
		}
	}
}
