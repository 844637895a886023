package policy

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
)

// Engine decides by the rules in force, and keeps the budgets of those that have one. It is safe for concurrent use.
type Engine struct {
	db    database
	now   func() time.Time
	rules atomic.Pointer[Rules]
}

// NewEngine gives an engine with the defaults of the product. Budgets are kept in db, so that a new daemon does not begin
// them anew; now is the clock.
func NewEngine(db database, now func() time.Time) *Engine {
	e := &Engine{db: db, now: now}
	e.Use(setting.Policy{})
	return e
}

// Use puts the rules of config.yaml in force, before the defaults.
func (e *Engine) Use(p setting.Policy) {
	var rules Rules
	for _, r := range p.Rules {
		rules = append(rules, Rule{Name: r.Name, Channels: r.When.Channel, Roles: r.When.Role, Users: r.When.User, Effects: r.When.Effect, Methods: r.When.Method,
			Projects: r.When.Project, Stacks: r.When.Stack, Verdict: Verdict(r.Then), PerHour: r.PerHour})
	}
	rules = append(rules, Default()...)
	e.rules.Store(&rules)
}

// Decide says what may happen to a call. It has no effect; what it lets through still has to Spend.
func (e *Engine) Decide(r Request) Decision { return e.rules.Load().Decide(r) }

// Spend takes the call that d lets through off the budgets of its rules. When one is used up the call is held instead, and
// nothing is taken. What was taken is durable when Spend returns.
func (e *Engine) Spend(ctx context.Context, d Decision) (Decision, error) {
	if len(d.Budgets) == 0 {
		return d, nil
	}
	now, left := e.now(), d
	err := e.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM spent WHERE at <= ?", now.Add(-time.Hour).UnixNano()); err != nil {
			return err
		}
		var err error
		if left, err = e.left(ctx, tx, d, now); err != nil || left.Verdict == Hold {
			return err
		}
		for _, b := range d.Budgets {
			if _, err := tx.ExecContext(ctx, "INSERT INTO spent (rule, at) VALUES (?, ?)", b.Rule, now.UnixNano()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Decision{}, fmt.Errorf("cannot keep the budget of a rule: %w", err)
	}
	return left, nil
}

// Left is what Spend would answer.
func (e *Engine) Left(ctx context.Context, d Decision) (left Decision, err error) {
	err = e.db.View(ctx, func(tx *sql.Tx) error {
		left, err = e.left(ctx, tx, d, e.now())
		return err
	})
	if err != nil {
		return Decision{}, fmt.Errorf("cannot read the budget of a rule: %w", err)
	}
	return left, nil
}

func (e *Engine) left(ctx context.Context, tx *sql.Tx, d Decision, now time.Time) (Decision, error) {
	for _, b := range d.Budgets {
		var n int
		var oldest sql.NullInt64
		err := tx.QueryRowContext(ctx, "SELECT count(*), min(at) FROM spent WHERE rule = ? AND at > ?", b.Rule, now.Add(-time.Hour).UnixNano()).Scan(&n, &oldest)
		if err != nil {
			return d, err
		}
		if n >= b.PerHour {
			again := time.Unix(0, oldest.Int64).Add(time.Hour).UTC().Format(time.RFC3339)
			return Decision{Verdict: Hold, Rule: b.Rule, Why: fmt.Sprintf("the rule %q of config.yaml lets %d calls an hour through, and they are used up until %s", b.Rule, b.PerHour, again)}, nil
		}
	}
	return d, nil
}
