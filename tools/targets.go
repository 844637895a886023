package tools

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/op"
)

// target resolves the names in the input, once, so that policy, plan, record and handler speak of the same things. A
// method whose input names no apps has no targets, even where it takes a project: that one may not exist yet.
func (r *Registry) target(ctx context.Context, c *call) (context.Context, error) {
	if !c.Targets {
		return ctx, nil
	}
	targets, err := r.Resolver.Resolve(ctx, c.selectors, c.project, c.stack)
	if err != nil {
		return ctx, err
	}
	c.targets = targets
	return op.WithTargets(ctx, targets), nil
}

// targetNames are the targets as the record and questions to people have them.
func targetNames(targets []op.Target) []string {
	if len(targets) == 0 {
		return nil
	}
	names := make([]string, 0, len(targets))
	for _, t := range targets {
		if t.Process == "" && t.Instance == 0 || len(t.Slots) == 0 {
			names = append(names, t.Key)
			continue
		}
		for _, slot := range t.Slots {
			names = append(names, t.Project+"/"+t.Stack+"/"+slot)
		}
	}
	return names
}
