// Package agents shows who is connected, and holds agents back.
package agents

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
)

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("agents", "Connected clients, agents above all.",
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List connected clients with what they called, changed and were held for.",
		op.Global(), op.Keywords("clients sessions connected mcp who"), op.Shows("who is connected", `{}`), op.Fails("a channel that there is not", `{"channel":"robot"}`, "invalid")),
	op.Unary("pause", op.Admin, op.Interrupts, (*Service).Pause, "Refuse the changing calls of a session or of all agents of an account until resumed.",
		op.Global(), op.Planned((*Service).PlanPause), op.Undo("agents.resume"), op.Keywords("stop freeze block kill switch"), op.Shows("every agent of an account", `{"name":"root/agent"}`), op.Fails("a session that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("resume", op.Admin, op.Sets, (*Service).Resume, "Let a paused session or account change things again.",
		op.Global(), op.Planned((*Service).PlanResume), op.Undo("agents.pause"), op.Keywords("unpause continue allow"), op.Shows("every agent of an account", `{"name":"root/agent"}`), op.Fails("a session that is not there", `{"name":"nope"}`, "not_found")),
	op.Unary("disconnect", op.Admin, op.Interrupts, (*Service).Disconnect, "End the connections of a session or of an account.",
		op.Global(), op.Planned((*Service).PlanDisconnect), op.Keywords("kick drop close"), op.Shows("every app client of an account", `{"name":"nobody/app","dry_run":true}`), op.Fails("a session that is not there", `{"name":"nope"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	sessions *session.Sessions
	pauses   *session.Pauses
	bus      *bus.Bus
}

// New copies what the service needs from the host. Whoever was paused under the daemon before is paused.
func New(h *host.Host) (*Service, error) {
	pauses, err := session.OpenPauses(context.Background(), h.Store, h.Sessions)
	return &Service{h.Sessions, pauses, h.Bus}, err
}

// Which says who to list.
type Which struct {
	Channel string `json:"channel,omitempty" enum:"person,agent,app,node" jsonschema:"only this kind of caller"`
}

// List gives the connected clients.
func (s *Service) List(_ context.Context, in Which) (op.List[session.Info], error) {
	out := op.List[session.Info]{Items: []session.Info{}}
	for _, i := range s.sessions.List() {
		if in.Channel == "" || i.Channel == in.Channel {
			out.Items = append(out.Items, i)
		}
	}
	out.Total = len(out.Items)
	return out, nil
}

// Whom names a session or a principal.
type Whom struct {
	Name string `json:"name" cli:"arg" complete:"sessions" jsonschema:"session id, or account and channel such as root/agent"`
}

// Held is what became of it.
type Held struct {
	Name    string `json:"name" table:"1" jsonschema:"who"`
	Paused  bool   `json:"paused" table:"1" jsonschema:"whether changing calls are refused now"`
	Changed bool   `json:"changed" table:"1" jsonschema:"whether that is news"`
}

// Pause refuses changing calls, those of a principal in every later daemon too. Faults: not_found.
func (s *Service) Pause(ctx context.Context, in Whom) (Held, error) {
	news, err := s.sessions.Pause(in.Name)
	if err == nil {
		s.tell(ctx, "paused", in.Name)
		err = s.pauses.Keep(ctx, in.Name, true) // it holds already, whatever the disk says
	}
	return Held{in.Name, err == nil, news}, err
}

// Resume lets changing calls through again. Faults: not_found, denied (not_a_person).
func (s *Service) Resume(ctx context.Context, in Whom) (Held, error) {
	if op.CallerOf(ctx).Channel != op.Person {
		return Held{}, fault.New(fault.Denied, "only a person resumes who was paused").WithReason("not_a_person")
	}
	if err := s.pauses.Keep(ctx, in.Name, false); err != nil {
		return Held{}, err
	}
	news, err := s.sessions.Resume(in.Name)
	if err == nil {
		s.tell(ctx, "resumed", in.Name)
	}
	return Held{in.Name, false, news}, err
}

// Disconnected is how many connections were ended.
type Disconnected struct {
	Name  string `json:"name" table:"1" jsonschema:"who"`
	Count int    `json:"count" table:"1" jsonschema:"how many connections were ended"`
}

// Disconnect ends connections. Faults: not_found.
func (s *Service) Disconnect(ctx context.Context, in Whom) (Disconnected, error) {
	n, err := s.sessions.Disconnect(in.Name)
	if err == nil {
		s.tell(ctx, "disconnected", in.Name)
	}
	return Disconnected{in.Name, n}, err
}

func (s *Service) tell(ctx context.Context, what, whom string) {
	s.bus.Publish(bus.Event{Topic: "agents", Type: what, Text: whom + " " + what, Data: map[string]any{"by": op.CallerOf(ctx).Principal()}})
}

// PlanPause says who would be paused. Faults: not_found.
func (s *Service) PlanPause(_ context.Context, in Whom) (*op.Plan, error) {
	return s.plan(in.Name, "changing calls refused")
}

// PlanResume says who would be resumed. Faults: not_found.
func (s *Service) PlanResume(_ context.Context, in Whom) (*op.Plan, error) {
	return s.plan(in.Name, "changing calls let through")
}

// PlanDisconnect says who would be disconnected. Faults: not_found.
func (s *Service) PlanDisconnect(_ context.Context, in Whom) (*op.Plan, error) {
	return s.plan(in.Name, "disconnected")
}

// plan holds nothing that moves by itself: how many sessions are open does.
func (s *Service) plan(target, to string) (*op.Plan, error) {
	if _, err := s.sessions.Count(target); err != nil {
		return nil, err
	}
	return &op.Plan{Items: []op.Item{{Target: target, To: to}}}, nil
}
