package method

import (
	"encoding/json"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/core/op"
)

// A painter makes the writer of items that deserve more than a table.
type painter func(c *Command, o render.Options) func(render.Object) string

// painterOf gives the special form of a method's items, or nil: lines of output are shown as they were printed.
func painterOf(spec op.Spec) painter {
	if spec.ID() == "logs.query" || spec.ID() == "logs.follow" {
		return func(c *Command, o render.Options) func(render.Object) string { return c.logs(o).Line }
	}
	return nil
}

// logs makes the writer of output lines that the command's flags ask for.
func (c *Command) logs(o render.Options) *render.Log {
	l := &render.Log{Style: o.Style}
	set := c.Flags()
	l.Raw, _ = set.GetBool("raw")
	l.Bare, _ = set.GetBool("no-prefix")
	l.Stamps, _ = set.GetBool("timestamps")
	return l
}

// lines adds the flags for how output lines are shown.
func (c *Command) lines() {
	set := c.Flags()
	own(set, "raw", func() { set.Bool("raw", false, "the bytes as printed: no prefix, control characters not escaped") })
	own(set, "no-prefix", func() { set.Bool("no-prefix", false, "no name before each line") })
	own(set, "timestamps", func() { set.BoolP("timestamps", "t", false, "whole time stamps") })
}

// examples makes the examples of the declaration commands.
func (c *Command) examples() {
	var b strings.Builder
	for _, e := range c.Spec.Examples {
		if e.Fails != "" {
			continue
		}
		if line := c.example(e.In); line != "" {
			b.WriteString("  " + line + "        " + e.Doc + "\n")
		}
	}
	c.Example = strings.TrimRight(b.String(), "\n")
}

// example makes the command of an example's input, or "" when it cannot be typed.
func (c *Command) example(in string) string {
	var values map[string]any
	if in == "" {
		in = "{}"
	}
	if json.Unmarshal([]byte(in), &values) != nil {
		return ""
	}
	line := field.Line("omnitron "+c.place, c.fields, values)
	if len(line) > 120 || strings.Contains(line, "'{") || strings.Contains(line, "'[") {
		return ""
	}
	return line
}
