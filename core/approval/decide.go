package approval

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Decide says yes or no to a call that waits. It has no other effect. The same answer given again changes nothing, so a
// yes lasts no longer for it.
//
// Faults: denied (not_a_person, console_needed, self_approval), not_found, conflict (already_decided, expired).
func (a *Approvals) Decide(ctx context.Context, id string, yes bool, note string) (h Approval, err error) {
	by := op.CallerOf(ctx)
	if err := a.may(by); err != nil {
		return h, err
	}
	status := map[bool]string{true: Approved, false: Denied}[yes]
	var news bool
	err = a.db.Update(ctx, func(tx *sql.Tx) (err error) {
		now := a.now()
		news = false
		if h, err = one(tx, "WHERE id = ?", id); err != nil {
			return missing(id, err)
		}
		if err := decidable(h, by, status, now); err != nil || h.Status == status {
			return err
		}
		news = true
		h.Status, h.DecidedBy, h.DecidedAt, h.Note = status, decider(by), now.Round(0), note
		if yes {
			h.UseBy = now.Add(Use).Round(0)
		}
		_, err = tx.ExecContext(ctx, "UPDATE approvals SET status = ?, decided = ?, decider = ?, note = ?, use_by = ? WHERE id = ?",
			h.Status, h.DecidedAt.UnixNano(), h.DecidedBy, h.Note, nanos(h.UseBy), id)
		return err
	})
	if err != nil {
		return Approval{}, asFault(err, "cannot keep the decision")
	}
	if news {
		a.tell(status, h)
	}
	return h, nil
}

// asker is who asked, as op.Caller's Full.
func (h Approval) asker() string { return h.Kind + ":" + h.Who + "/" + h.Channel }

// decider is how somebody who decides is remembered: an account that is called like a user of the socket is not taken for him.
func decider(by op.Caller) string {
	if by.Twin {
		return by.Kind() + ":" + by.User
	}
	return by.User
}

// may reports whether a caller may decide at all.
func (a *Approvals) may(by op.Caller) error {
	switch {
	case by.Channel != op.Person:
		return fault.New(fault.Denied, "only a person decides on held calls, and this is %s", article(by.Channel)).WithReason("not_a_person")
	case a.console.Load() && !by.Console:
		return fault.New(fault.Denied, "policy.approvers is console: only a person who signed in with a password decides").WithReason("console_needed").
			WithHint("sign in with a password, or set policy.approvers to any in config.yaml")
	}
	return nil
}

func article(c op.Channel) string {
	switch c {
	case "":
		return "nobody known"
	case op.Agent, op.App:
		return "an " + string(c)
	}
	return "a " + string(c)
}

// decidable says why an approval cannot be given a status by somebody.
func decidable(h Approval, by op.Caller, status string, now time.Time) error {
	switch {
	case h.Who+"/"+h.Channel == by.Named(): // by the bare name, for an account of his name may be his own
		return fault.New(fault.Denied, "nobody decides on calls of his own").WithReason("self_approval").WithHint("another person has to: %s", fault.Do("approvals.approve", "id", h.ID))
	case h.Status == status:
		return nil
	case h.Status == Expired || h.Status == Pending && !now.Before(h.Expires):
		return fault.New(fault.Conflict, "nobody answered until %s, and that is a no", h.Expires.UTC().Format(time.RFC3339)).WithReason("expired").
			WithHint("the caller makes the call again, and it is asked again")
	case h.Status != Pending:
		return fault.New(fault.Conflict, "%s has decided already: it is %s", h.DecidedBy, h.Status).WithReason("already_decided")
	}
	return nil
}

// Get gives an approval: to a person any, to everybody else one of his own. Faults: not_found.
func (a *Approvals) Get(ctx context.Context, id string) (h Approval, err error) {
	by := op.CallerOf(ctx)
	err = a.db.View(ctx, func(tx *sql.Tx) (err error) {
		if h, err = one(tx, "WHERE id = ?", id); err == nil && !visible(h, by) {
			err = sql.ErrNoRows
		}
		return missing(id, err)
	})
	if err != nil {
		return Approval{}, asFault(err, "cannot read an approval")
	}
	return h.at(a.now()), nil
}

// at is an approval as it stands: what has run out is expired, also when the sweep has not come by yet.
func (h Approval) at(now time.Time) Approval {
	if (h.Status == Pending || h.Status == Approved) && !h.open(now) {
		h.Status = Expired
	}
	return h
}

// visible reports whether somebody may see an approval: a person any, everybody else his own; and who is limited to some
// projects nothing of others, nor what is about no app.
func visible(h Approval, by op.Caller) bool {
	if by.Channel != op.Person && h.asker() != by.Full() {
		return false
	}
	return !by.Scope.Bounded() || len(h.Targets) > 0 && !slices.ContainsFunc(h.Targets, func(t string) bool { return !by.Scope.CoversKey(t) })
}

// Wait returns when a person has decided, and then what. Faults: not_found, held (denied_by_person, expired), deadline (still_waiting).
func (a *Approvals) Wait(ctx context.Context, id string, d time.Duration) (Approval, error) {
	sub := a.bus.Subscribe(bus.Filter{Topics: []string{Topic}}, 64) // before it is looked at, so that nothing is missed
	defer sub.Close()
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		h, err := a.Get(ctx, id)
		switch {
		case err != nil:
			return h, err
		case h.Status == Denied:
			return h, refusal(h)
		case h.Status == Expired:
			return h, fault.New(fault.Held, "nobody said yes in time, and that is a no").WithReason("expired").
				WithHint("if it is still needed, make the call again: a person is asked again").WithApproval(op.ApprovalRef{ID: h.ID, ExpiresAt: h.Expires, Rule: h.Rule, Why: h.Why})
		case h.Status != Pending:
			return h, nil
		}
		for {
			ev, lost, err := sub.Next(until)
			if ctx.Err() != nil {
				return h, ctx.Err()
			}
			if err != nil {
				return h, fault.New(fault.Deadline, "nobody has decided on %s yet", id).WithReason("still_waiting").
					WithHint("%s again, or look later", fault.Do("approvals.wait", "id", id)).WithApproval(op.ApprovalRef{ID: h.ID, ExpiresAt: h.Expires, Rule: h.Rule, Why: h.Why})
			}
			if lost > 0 || ev.Data["id"] == id {
				break
			}
		}
	}
}

// Sweep ends what nobody answered, or used, in time.
func (a *Approvals) Sweep(ctx context.Context) error {
	const late = "WHERE status = 'pending' AND expires <= ?1 OR status = 'approved' AND use_by <= ?1"
	now := a.now().UnixNano()
	var all []Approval
	err := a.db.View(ctx, func(tx *sql.Tx) (err error) {
		all, err = many(tx, late, now)
		return err
	})
	if err == nil && len(all) > 0 {
		err = a.db.Update(ctx, func(tx *sql.Tx) (err error) {
			if all, err = many(tx, late, now); err == nil {
				_, err = tx.ExecContext(ctx, "UPDATE approvals SET status = 'expired' "+late, now)
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("cannot end approvals: %w", err)
	}
	for _, h := range all {
		h.Status = Expired
		a.tell(Expired, h)
	}
	return nil
}

// missing makes a row that is not there a fault.
func missing(id string, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "there is no approval %q", id).WithReason("approval_unknown").WithHint("%s", fault.Do("approvals.list"))
	}
	return err
}

// asFault keeps a fault, and says of everything else what could not be done.
func asFault(err error, what string) error {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	return fmt.Errorf("%s: %w", what, err)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
