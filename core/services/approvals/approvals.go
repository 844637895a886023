// Package approvals shows the calls that wait for a person, takes the person's word, and says what the policy would say.
package approvals

import (
	"context"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/approval"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// sample is the approval of the examples.
const sample = `{"id":"ap-4wk2mz7q3c"}`

// Methods is the whole public surface of the service, on every plane.
var Methods = op.Of("approvals", "Calls that wait for a person, and the policy that holds them.",
	op.Unary("list", op.Viewer, op.Reads, (*Service).List, "List calls that wait for a person, newest first: who asked, for what, and what it would change.",
		op.Top("approvals"), op.Global(), op.AnyScope(), op.Resource("omnitron://approvals", approval.Topic), op.Keywords("pending held waiting requests queue decide"),
		op.Shows("those that wait, and those that did", `{"decided":true}`), op.Fails("a cursor of something else", `{"cursor":"x"}`, "invalid")),
	op.Unary("get", op.Viewer, op.Reads, (*Service).Get, "Show one held call: its input, its plan, why it waits and what was decided.",
		op.Global(), op.AnyScope(), op.Keywords("show details held request"), op.Shows("one", sample), op.Fails("one that is not there", `{"id":"ap-none"}`, "not_found")),
	op.Unary("wait", op.Viewer, op.Reads, (*Service).Wait, "Wait until a person has decided on a held call; a no, or silence, is a fault.",
		op.Global(), op.AnyScope(), op.Timeout(31*time.Minute), op.Keywords("poll until approved decision"), op.Shows("for a decision that is there", sample), op.Fails("one that is not there", `{"id":"ap-none"}`, "not_found")),
	op.Unary("approve", op.Admin, op.Sets, (*Service).Approve, "Let a held call through: the identical call, made again within 10 minutes, works once.",
		op.Top("approve"), op.Global(), op.Planned((*Service).PlanApprove), op.Keywords("yes accept grant permit allow"), op.Shows("one", sample), op.Fails("one that is not there", `{"id":"ap-none"}`, "not_found")),
	op.Unary("deny", op.Admin, op.Sets, (*Service).Deny, "Refuse a held call; the same call is refused for the next half hour.",
		op.Top("deny"), op.Global(), op.Planned((*Service).PlanDeny), op.Keywords("no reject refuse decline"), op.Shows("one, and why", `{"id":"ap-4wk2mz7q3c","note":"not before the release"}`), op.Fails("one that is not there", `{"id":"ap-none"}`, "not_found")),
	op.Unary("check", op.Viewer, op.Reads, (*Service).Check, "Say what the policy would do with a call, and which rule says so; nothing is called.",
		op.Global(), op.Keywords("policy rule dry run may allowed would happen"), op.Shows("an agent that deletes output", `{"method":"logs.purge","channel":"agent"}`), op.Fails("a method that there is not", `{"method":"apps.fly"}`, "not_found")),
)

// Service implements Methods.
type Service struct {
	held   *approval.Approvals
	policy *policy.Engine
	specs  map[string]op.Spec
}

// New copies what the service needs from the host.
func New(h *host.Host) (*Service, error) {
	s := &Service{held: h.Approvals, policy: h.Policy, specs: map[string]op.Spec{}}
	for _, spec := range h.Specs {
		s.specs[spec.ID()] = spec
	}
	return s, nil
}

// Which says which approvals to list.
type Which struct {
	op.Page
	Decided bool `json:"decided,omitempty" jsonschema:"those that were decided or ran out too; they are kept for a week"`
}

// List gives those that wait. Persons see all, everybody else his own. Faults: invalid (bad_cursor).
func (s *Service) List(ctx context.Context, in Which) (op.List[approval.Approval], error) {
	out := op.List[approval.Approval]{Items: []approval.Approval{}}
	f := approval.Filter{Open: !in.Decided, Limit: in.Limit}
	if in.Cursor != "" {
		n, err := strconv.ParseInt(in.Cursor, 10, 64)
		if err != nil {
			return out, fault.New(fault.Invalid, "%q is no cursor of this list", in.Cursor).WithReason("bad_cursor").WithHint("pass next_cursor of the answer before")
		}
		f.Before = time.Unix(0, n)
	}
	all, more, err := s.held.List(ctx, f)
	if err != nil {
		return out, err
	}
	out.Items = append(out.Items, all...)
	if out.Truncated = more; more {
		out.NextCursor = strconv.FormatInt(all[len(all)-1].Created.UnixNano(), 10)
	}
	return out, nil
}

// One names an approval.
type One struct {
	ID string `json:"id" cli:"arg" complete:"approvals" jsonschema:"approval id"`
}

// Get gives one. Faults: not_found.
func (s *Service) Get(ctx context.Context, in One) (approval.Approval, error) {
	return s.held.Get(ctx, in.ID)
}

// Waiting says what to wait for.
type Waiting struct {
	One
	Timeout int `json:"timeout_s,omitempty" min:"1" max:"1800" default:"50" jsonschema:"seconds to wait at most"`
}

// Wait answers when a person has agreed. Faults: not_found, held (denied_by_person, expired), deadline (still_waiting).
func (s *Service) Wait(ctx context.Context, in Waiting) (approval.Approval, error) {
	return s.held.Wait(ctx, in.ID, time.Duration(in.Timeout)*time.Second)
}

// Decision is a person's word.
type Decision struct {
	One
	Note string `json:"note,omitempty" cli:"short=m" max:"500" jsonschema:"a word to who asked"`
}

// Approve lets the identical call through once. Faults: not_found, denied (not_a_person, self_approval, console_needed),
// conflict (already_decided, expired).
func (s *Service) Approve(ctx context.Context, in Decision) (approval.Approval, error) {
	return s.held.Decide(ctx, in.ID, true, in.Note)
}

// Deny refuses it. Faults: as Approve.
func (s *Service) Deny(ctx context.Context, in Decision) (approval.Approval, error) {
	return s.held.Decide(ctx, in.ID, false, in.Note)
}

// PlanApprove says what would be let through.
func (s *Service) PlanApprove(ctx context.Context, in Decision) (*op.Plan, error) {
	return s.plan(ctx, in.ID, approval.Approved)
}

// PlanDeny says what would be refused.
func (s *Service) PlanDeny(ctx context.Context, in Decision) (*op.Plan, error) {
	return s.plan(ctx, in.ID, approval.Denied)
}

func (s *Service) plan(ctx context.Context, id, to string) (*op.Plan, error) {
	h, err := s.held.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &op.Plan{Items: []op.Item{{Target: h.ID + " " + h.Method, From: h.Status, To: to}}}, nil
}
