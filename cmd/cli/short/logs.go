package short

import (
	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/op"
)

// logs is logs.query, or logs.follow with -f.
func logs(s *session.Session, spec op.Spec) *cobra.Command {
	c := method.New(s, spec, "logs", nil).Bind()
	following(c, "logs.follow", "follow the output as it is printed")
	c.Example = "  omnitron logs api -n 50\n  omnitron logs -f --level warn\n  omnitron logs api worker --since 10m --grep 'timeout|refused'"
	return c.Command
}

// following gives a reading command -f, which makes it the stream beside it, and -n for the number of items.
func following(c *method.Command, stream, doc string) {
	set := c.Flags()
	if limit := set.Lookup("limit"); limit != nil && limit.Shorthand == "" && set.ShorthandLookup("n") == nil {
		set.VarP(limit.Value, "lines", "n", "same as --limit")
	}
	spec, ok := c.Session.Spec(stream)
	if !ok {
		return
	}
	var follow bool
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
