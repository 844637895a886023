package logs

import (
	"context"
	"fmt"

	"github.com/omnitron-dev/omnitron/core/op"
)

// PlanPurge says how much would be deleted.
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
	files := map[string]int{}
	for _, st := range stats {
		key := st.Project + "/" + st.Stack + "/" + st.App
		files[key] += st.Files
	}
	for _, t := range op.TargetsOf(ctx) {
		if files[t.Key] > 0 {
			plan.Items = append(plan.Items, op.Item{Target: t.Key, From: fmt.Sprintf("%d files of output", files[t.Key]), To: "deleted for good"})
		}
	}
	return plan, nil
}
