package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// validate checks the input against the schema and the input's own Validate, mends what is unambiguous and takes the
// controls out. Everything wrong is told at once.
func (r *Registry) validate(ctx context.Context, c *call) (context.Context, error) {
	in, problems := c.Method.in.Check(c.raw)
	if len(problems) > 0 {
		return ctx, c.invalid(problems)
	}
	c.in, c.selectors, c.project, c.stack = in.JSON, in.Selectors, in.Project, in.Stack
	for name, raw := range in.Controls {
		if err := c.control(name, raw); err != nil {
			return ctx, err
		}
	}
	if c.Stream && c.emit == nil {
		return ctx, fault.New(fault.Invalid, "%s is a stream, and this call takes one answer", c.ID()).WithReason("stream")
	}
	if check := c.handler.Check; check != nil {
		if err := check(c.in); err != nil {
			if _, ok := errors.AsType[*fault.Error](err); ok {
				return ctx, err
			}
			return ctx, fault.Wrap(err, fault.Invalid, "%s", err)
		}
	}
	return ctx, nil
}

func (c *call) control(name string, raw json.RawMessage) error {
	var to any
	switch name {
	case "dry_run":
		to = &c.controls.DryRun
	case "confirm":
		to = &c.controls.Confirm
	case "idempotency_key":
		to = &c.controls.IdempotencyKey
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	return nil
}

// invalid is the fault of an input with these problems. Its message says them all, for planes that show only text.
func (c *call) invalid(problems []fault.Problem) error {
	var b strings.Builder
	for i, p := range problems {
		if i > 0 {
			b.WriteString("; ")
		}
		if p.Path != "" {
			b.WriteString(p.Path + ": ")
		}
		b.WriteString(p.Message)
	}
	f := fault.New(fault.Invalid, "%s", b.String()).WithReason("input")
	f.Problems = problems
	if len(c.Examples) > 0 && c.Examples[0].Fails == "" {
		f = f.WithHint("for example %s %s", c.ID(), c.Examples[0].In) // a call, as fault.Call spells it
	}
	return f
}
