// Package health asks applications how they are.
package health

import (
	"context"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/supervisor"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("health", "How applications are, as their probes say.",
	op.Unary("check", op.Viewer, op.Reads, (*Service).Check, "Ask the probes of applications now, and say what they answer.",
		op.Core(), op.Timeout(2*time.Minute), op.Keywords("probe healthy unhealthy alive ok status"), op.Shows("every app of the project", `{}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
	op.Unary("history", op.Viewer, op.Reads, (*Service).History, "List changes of health, newest first.",
		op.Resource("omnitron://health", "health"), op.Keywords("past uptime flapping when"), op.Shows("the last ones", `{}`), op.Fails("a name that is not there", `{"names":["nope"]}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	sup    *supervisor.Supervisor
	events *records.Events
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) { return &Service{h.Supervisor, h.Events}, nil }

// Report is the answer of every probe that was asked.
type Report struct {
	OK    bool          `json:"ok" jsonschema:"whether nothing is unhealthy"`
	Items []view.Probed `json:"items" table:"1" jsonschema:"an entry an instance"`
}

// Check asks the probes now; an instance without one is unknown, whatever the probe of its readiness says. The checks do not count towards retries. Faults:
// not_found.
func (s *Service) Check(ctx context.Context, _ op.Selection) (Report, error) {
	r := Report{OK: true, Items: append([]view.Probed{}, s.sup.Probe(ctx, op.TargetsOf(ctx))...)}
	for _, p := range r.Items {
		r.OK = r.OK && p.Health != "unhealthy"
	}
	return r, nil
}

// Past asks for changes of health.
type Past struct {
	op.Page
	op.Selection
	Since time.Time `json:"since,omitzero" jsonschema:"only later; RFC 3339"`
}

// Change is a change of health.
type Change struct {
	At     time.Time `json:"at" table:"1" unit:"time" jsonschema:"when"`
	Key    string    `json:"key" table:"2" jsonschema:"project/stack/app"`
	Slot   string    `json:"slot" table:"1" jsonschema:"app:process#n"`
	Health string    `json:"health" table:"1" enum:"healthy,unhealthy,unknown" jsonschema:"what it became"`
	Note   string    `json:"note,omitempty" table:"1" jsonschema:"what the probe answered: foreign text"`
}

// History lists changes of health. Faults: not_found, invalid (bad_cursor).
func (s *Service) History(ctx context.Context, in Past) (op.List[Change], error) {
	out := op.List[Change]{Items: []Change{}}
	f := records.EventFilter{Topics: []string{"health"}, Since: in.Since, Limit: in.Limit}
	for _, t := range op.TargetsOf(ctx) {
		f.Keys = append(f.Keys, t.Key)
	}
	if len(f.Keys) == 0 {
		return out, nil
	}
	if in.Cursor != "" {
		n, err := strconv.ParseUint(in.Cursor, 10, 64)
		if err != nil {
			return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
		}
		f.Before = n
	}
	evs, more, err := s.events.List(ctx, f)
	if err != nil {
		return out, err
	}
	for _, ev := range evs {
		out.Items = append(out.Items, Change{At: ev.At, Key: ev.Key, Slot: ev.Slot, Health: ev.Type, Note: ev.Text})
	}
	if out.Truncated = more; more {
		out.NextCursor = strconv.FormatUint(evs[len(evs)-1].Seq, 10)
	}
	return out, nil
}
