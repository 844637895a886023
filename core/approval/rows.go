package approval

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
)

// Filter says which approvals are wanted.
type Filter struct {
	Open   bool      // only those that wait
	Before time.Time // made before that; zero: all
	Limit  int       // 1 to 1000; 0: 20
}

// List gives approvals, the newest first: to a person all, to everybody else his own. more says that there are others.
func (a *Approvals) List(ctx context.Context, f Filter) (all []Approval, more bool, err error) {
	by, now := op.CallerOf(ctx), a.now()
	limit := min(cmp.Or(max(f.Limit, 0), 20), 1000)
	before := int64(1<<63 - 1)
	if !f.Before.IsZero() {
		before = f.Before.UnixNano()
	}
	principal := by.Full()
	if by.Channel == op.Person {
		principal = "*" // no account is called so
	}
	read := limit + 1
	if by.Scope.Bounded() { // more than anybody's own of a week; what of it he may see is known only afterwards
		read = 10_000
	}
	err = a.db.View(ctx, func(tx *sql.Tx) (err error) {
		all, err = many(tx, `WHERE created < ?1 AND (?2 = '*' OR principal = ?2) AND (?3 = 0 OR status = 'pending' AND expires > ?4) ORDER BY created DESC, id LIMIT ?5`,
			before, principal, f.Open, now.UnixNano(), read)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("cannot read the held calls: %w", err)
	}
	for i := range all {
		all[i] = all[i].at(now)
	}
	all = slices.DeleteFunc(all, func(h Approval) bool { return !visible(h, by) })
	if len(all) > limit {
		return all[:limit], true, nil
	}
	return all, false, nil
}

// who is the part of a caller that people are shown.
type who struct {
	User    string `json:"user"`
	Kind    string `json:"kind"`
	Channel string `json:"channel"`
	Client  string `json:"client"`
	Session string `json:"session"`
	Plane   string `json:"plane"`
}

const columns = "SELECT id, status, method, args, caller, targets, plan, rule, why, created, expires, decided, decider, note, use_by, used, call FROM approvals "

func one(tx *sql.Tx, where string, args ...any) (Approval, error) {
	return scan(tx.QueryRow(columns+where, args...))
}

func many(tx *sql.Tx, where string, args ...any) (all []Approval, err error) {
	rows, err := tx.Query(columns+where, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	for rows.Next() {
		h, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, nil
}

func scan(row interface{ Scan(...any) error }) (h Approval, err error) {
	var args, caller, targets, plan string
	var created, expires, decided, useBy, used int64
	if err := row.Scan(&h.ID, &h.Status, &h.Method, &args, &caller, &targets, &plan, &h.Rule, &h.Why, &created, &expires, &decided, &h.DecidedBy, &h.Note, &useBy, &used, &h.Call); err != nil {
		return h, err
	}
	var w who
	if err := errors.Join(json.Unmarshal([]byte(caller), &w), json.Unmarshal([]byte(targets), &h.Targets), json.Unmarshal([]byte(plan), &h.Plan)); err != nil {
		return h, err
	}
	h.Who, h.Kind, h.Channel, h.Client, h.Session, h.Plane = w.User, w.Kind, w.Channel, w.Client, w.Session, w.Plane
	h.Created, h.Expires, h.DecidedAt, h.UseBy, h.UsedAt = moment(created), moment(expires), moment(decided), moment(useBy), moment(used)
	if args != "" {
		h.Args = json.RawMessage(args)
	}
	return h, nil
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
