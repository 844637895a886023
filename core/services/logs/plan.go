package logs

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/op"
)

// PlanPurge says whose output would be deleted; how much that is moves by itself.
func (s *Service) PlanPurge(ctx context.Context, _ op.Selection) (*op.Plan, error) {
	plan := &op.Plan{Items: []op.Item{}}
	ks := keys(ctx)
	if len(ks) == 0 {
		return plan, nil
	}
	stats, err := s.lines.Stats(ctx, ks...)
	if err != nil {
		return nil, err
	}
	printed := map[string]bool{}
	for _, st := range stats {
		if st.Files > 0 {
			printed[st.Project+"/"+st.Stack+"/"+st.App] = true
		}
	}
	for _, t := range op.TargetsOf(ctx) {
		if printed[t.Key] {
			plan.Items = append(plan.Items, op.Item{Target: t.Key, From: "its output", To: "deleted for good"})
		}
	}
	return plan, nil
}
