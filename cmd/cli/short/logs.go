package short

import (
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/spf13/cobra"
)

// logs is logs.query, or logs.follow with -f.
func logs(s *session.Session, spec op.Spec) *cobra.Command {
	c := method.New(s, spec, "logs", nil)
	c.Lines()
	following(c, "logs.follow", "follow the output as it is printed")
	c.Example = "  omnitron logs api -n 50\n  omnitron logs -f --level warn\n  omnitron logs api worker --since 10m --grep 'timeout|refused'"
	return c.Command
}

// events is events.list, or events.follow with -f.
func events(s *session.Session, spec op.Spec) *cobra.Command {
	c := method.New(s, spec, "events", nil)
	following(c, "events.follow", "follow events as they happen")
	c.Example = "  omnitron events\n  omnitron events -f -o jsonl"
	return c.Command
}

// following gives a reading command -f, which makes it the stream beside it, and -n for the number of items.
func following(c *method.Command, stream, doc string) {
	set := c.Flags()
	if limit := set.Lookup("limit"); limit != nil && limit.Shorthand == "" && set.ShorthandLookup("n") == nil {
		set.VarP(limit.Value, "lines", "n", "same as --limit")
	}
	var follow bool
	if spec, ok := c.Session.Spec(stream); ok {
		set.BoolVarP(&follow, "follow", "f", false, doc)
		c.Long += " With -f: method " + stream + "."
		read := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if !follow {
				return read(cmd, args)
			}
			in, err := c.Input(args)
			if err != nil {
				return err
			}
			c.Spec = spec
			return c.Do(cmd.Context(), c.Session.Fit(stream, in))
		}
	}
}

// since is events.list from a moment on.
func since(s *session.Session) *cobra.Command {
	spec, ok := s.Spec("events.list")
	if !ok {
		return nil
	}
	if _, ok := field.Find(field.Of(spec.In), "since"); !ok {
		return nil
	}
	c := method.New(s, spec, "since", nil)
	c.Use = "since <when>"
	c.Short = "What happened since a moment: 1h, 15:04, a date"
	c.Long = "What happened since a moment: a duration ago (1h), a time of today (15:04), a date, or RFC 3339.\n\nShort for `omnitron events list --since`. Method events.list."
	c.Args = exactly("when")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.Example = "  omnitron since 1h\n  omnitron since 09:00 -o jsonl"
	c.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := c.Input(nil)
		if err != nil {
			return err
		}
		at, err := field.Moment(args[0], s.Now())
		if err != nil {
			return fault.New(fault.Invalid, "<when>: %v", err).WithReason("bad_value")
		}
		in["since"] = at
		return c.Do(cmd.Context(), in)
	}
	return c.Command
}

// poll is the time between two looks of wait.
const poll = 300 * time.Millisecond
