package supervisor

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
)

// TestCalled: the name that an app is called by tells nothing of apps that are not there for who asks.
func TestCalled(t *testing.T) {
	s := New(Deps{})
	for _, key := range []string{"shop/dev/api", "shop/prod/api", "blog/dev/api", "blog/dev/cms"} {
		s.apps[key] = nil // names are all that counts
	}
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
