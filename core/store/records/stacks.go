package records

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Stack is a stack that was created beside the file of its project. What is in it is nobody's secret: those are named in it
// and lie in the vault.
type Stack struct {
	Project string
	Name    string
	Created time.Time
	By      string
	Says    string // JSON: what omnitron.yaml would say of it
}

// Stacks is the repository of them.
type Stacks struct{ db database }

// NewStacks gives the repository in db.
func NewStacks(db database) *Stacks { return &Stacks{db} }

// Add keeps a stack. Faults: conflict (stack_exists), internal (state_not_durable).
func (s *Stacks) Add(ctx context.Context, st Stack) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO stacks (project, name, created, author, says) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			st.Project, st.Name, st.Created.UnixNano(), st.By, st.Says)
		if err != nil {
			return fmt.Errorf("cannot keep a stack: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fault.New(fault.Conflict, "the stack %s of %s was created before", st.Name, st.Project).WithReason("stack_exists").
				WithHint("%s", fault.Do("stacks.get", "name", st.Name, "project", st.Project))
		}
		return nil
	})
}

// List gives the stacks of a project by name, or of all.
func (s *Stacks) List(ctx context.Context, project string) (all []Stack, err error) {
	err = s.db.View(ctx, func(tx *sql.Tx) error {
		all, err = collect(ctx, tx, func(rows *sql.Rows) (st Stack, err error) {
			var created int64
			err = rows.Scan(&st.Project, &st.Name, &created, &st.By, &st.Says)
			st.Created = time.Unix(0, created)
			return st, err
		}, `SELECT project, name, created, author, says FROM stacks WHERE ? = '' OR project = ? ORDER BY project, name`, project, project)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the created stacks: %w", err)
	}
	return all, nil
}

// Delete forgets a stack, or all of a project where name is "". What is not there is no failure.
func (s *Stacks) Delete(ctx context.Context, project, name string) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM stacks WHERE project = ? AND (? = '' OR name = ?)`, project, name, name); err != nil {
			return fmt.Errorf("cannot forget a stack: %w", err)
		}
		return nil
	})
}
