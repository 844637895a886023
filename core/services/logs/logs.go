// Package logs answers for what supervised applications have printed.
package logs

import (
	"context"
	"iter"

	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("logs", "What applications have printed.",
	op.Unary("query", op.Viewer, op.Reads, (*Service).Query, "Search the stored output of applications; a page of the newest lines, in order of time.",
		op.Top("logs"), op.Core(), op.Redacts(), op.Resource("omnitron://logs/{project}/{stack}/{app}", "logs"), op.Keywords("log output stdout stderr print search grep errors lines tail"),
		op.Shows("the last lines of one app", `{"names":["web"],"limit":5}`), op.Fails("a regular expression that is none", `{"names":["web"],"grep":"("}`, "invalid")),
	op.Stream("follow", op.Viewer, op.Reads, (*Service).Follow, "Follow lines as they are printed, across rotation and restarts.",
		op.Redacts(), op.Keywords("tail watch live stream"), op.Shows("one app from its last lines on", `{"names":["web"],"limit":5}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("stats", op.Viewer, op.Reads, (*Service).Stats, "Show how much output is stored, lost and retired, by stream.",
		op.Keywords("size disk usage lost bytes archives"), op.Shows("one app", `{"names":["web"]}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("purge", op.Admin, op.Destroys, (*Service).Purge, "Delete the stored output of applications for good.",
		op.Planned((*Service).PlanPurge), op.Keywords("clear delete remove truncate empty"), op.Shows("what would go", `{"names":["web"],"dry_run":true}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
)

// Service implements Methods.
type Service struct{ lines lines }

// lines is the part of *journal.Journal that the service uses.
type lines interface {
	Query(ctx context.Context, f journal.Filter) (lines []journal.Line, next string, truncated bool, err error)
	Follow(ctx context.Context, f journal.Filter) iter.Seq2[journal.Line, error]
	Stats(ctx context.Context, keys ...string) ([]journal.Stat, error)
	Purge(ctx context.Context, keys ...string) (journal.Purged, error)
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Journal}, nil }

// Search says which lines are wanted, of whom.
type Search struct {
	op.Selection
	journal.Filter
	Limit int `json:"limit,omitempty" min:"1" max:"1000" jsonschema:"how many lines at most, 1 to 1000; without it 100"`
}

// Following says which lines are wanted, of whom, and how many of those that are stored.
type Following struct {
	op.Selection
	journal.Filter
	Limit *int `json:"limit,omitempty" min:"0" max:"1000" jsonschema:"how many stored lines come first, 0 to 1000; without it 100"`
}

// keys are the targets of the call as the journal names them. Without targets there is nothing to read: no project
// has an app yet.
func keys(ctx context.Context) []string {
	var out []string
	for _, t := range op.TargetsOf(ctx) {
		out = append(out, t.String())
	}
	return out
}

// Query gives a page of lines. Faults: not_found, invalid (grep, level, cursor).
func (s *Service) Query(ctx context.Context, in Search) (op.List[journal.Line], error) {
	out := op.List[journal.Line]{Items: []journal.Line{}}
	f := in.Filter
	f.Limit = in.Limit
	if f.Keys = keys(ctx); len(f.Keys) == 0 {
		return out, nil
	}
	found, next, truncated, err := s.lines.Query(ctx, f)
	if err != nil {
		return out, err
	}
	out.Items, out.NextCursor, out.Truncated = append(out.Items, found...), next, truncated
	return out, nil
}

// Follow gives lines until the caller goes away; it starts no goroutine. What is missing is an item of its own. Faults:
// not_found, invalid.
func (s *Service) Follow(ctx context.Context, in Following) iter.Seq2[journal.Line, error] {
	f := in.Filter
	if in.Limit != nil {
		if f.Limit = *in.Limit; f.Limit == 0 {
			f.Limit = -1
		}
	}
	if f.Keys = keys(ctx); len(f.Keys) == 0 {
		return func(func(journal.Line, error) bool) {}
	}
	return s.lines.Follow(ctx, f)
}

// Stats tells how much is stored. Faults: not_found.
func (s *Service) Stats(ctx context.Context, _ op.Selection) (op.List[journal.Stat], error) {
	out := op.List[journal.Stat]{Items: []journal.Stat{}}
	ks := keys(ctx)
	if len(ks) == 0 {
		return out, nil
	}
	stats, err := s.lines.Stats(ctx, ks...)
	out.Items = append(out.Items, stats...)
	out.Total = len(out.Items)
	return out, err
}

// Purge deletes stored output; what is printed from now on is kept as before. Faults: not_found.
func (s *Service) Purge(ctx context.Context, _ op.Selection) (journal.Purged, error) {
	ks := keys(ctx)
	if len(ks) == 0 {
		return journal.Purged{}, nil
	}
	return s.lines.Purge(ctx, ks...)
}
