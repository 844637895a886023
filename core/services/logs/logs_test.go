package logs

import (
	"context"
	"iter"
	"slices"
	"testing"

	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
)

// asked is a journal that notes what it is asked for.
type asked struct{ keys []string }

func (a *asked) Query(_ context.Context, f journal.Filter) ([]journal.Line, string, bool, error) {
	a.keys = f.Keys
	return []journal.Line{{Text: "x"}}, "next", true, nil
}

func (a *asked) Follow(_ context.Context, f journal.Filter) iter.Seq2[journal.Line, error] {
	a.keys = f.Keys
	return func(yield func(journal.Line, error) bool) { yield(journal.Line{Text: "x"}, nil) }
}

func (a *asked) Stats(_ context.Context, keys ...string) ([]journal.Stat, error) {
	a.keys = keys
	return []journal.Stat{{Project: "shop", Stack: "dev", App: "api", Files: 2}, {Project: "shop", Stack: "dev", App: "api", Files: 3}}, nil
}

func (a *asked) Purge(_ context.Context, keys ...string) (journal.Purged, error) {
	a.keys = keys
	return journal.Purged{}, nil
}

// TestTargets: every method reads, or deletes, what the call is about and nothing else; without targets that is nothing,
// never everything.
func TestTargets(t *testing.T) {
	for name, c := range map[string]struct {
		targets []op.Target
		want    []string
	}{
		"none": {nil, nil},
		"some": {[]op.Target{{Key: "shop/dev/api"}, {Key: "shop/dev/pool", Process: "web", Instance: 2}}, []string{"shop/dev/api", "shop/dev/pool:web#2"}},
	} {
		for method, call := range map[string]func(*Service, context.Context) error{
			"query": func(s *Service, ctx context.Context) error {
				_, err := s.Query(ctx, Search{Filter: journal.Filter{Keys: []string{"other"}}})
				return err
			},
			"stats": func(s *Service, ctx context.Context) error { _, err := s.Stats(ctx, op.Selection{}); return err },
			"purge": func(s *Service, ctx context.Context) error { _, err := s.Purge(ctx, op.Selection{}); return err },
			"plan":  func(s *Service, ctx context.Context) error { _, err := s.PlanPurge(ctx, op.Selection{}); return err },
			"follow": func(s *Service, ctx context.Context) error {
				for _, err := range s.Follow(ctx, Following{Filter: journal.Filter{Keys: []string{"other"}}}) {
					return err
				}
				return nil
			},
		} {
			a := &asked{}
			if err := call(&Service{a}, op.WithTargets(t.Context(), c.targets)); err != nil || !slices.Equal(a.keys, c.want) {
				t.Errorf("%s of %s: %v %v", method, name, a.keys, err)
			}
		}
	}
}

func TestPlanPurge(t *testing.T) {
	ctx := op.WithTargets(t.Context(), []op.Target{{Key: "shop/dev/api"}, {Key: "shop/dev/silent"}})
	p, err := (&Service{&asked{}}).PlanPurge(ctx, op.Selection{})
	if err != nil || len(p.Items) != 1 || p.Items[0] != (op.Item{Target: "shop/dev/api", From: "its output", To: "deleted for good"}) {
		t.Errorf("%+v %v", p, err)
	}
}
