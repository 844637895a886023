package method

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/op"
)

// checkup reports whether a method's answer is what it found wrong: it is shown finding by finding, and decides how the
// command ends.
func checkup(spec op.Spec) bool { return spec.ID() == "daemon.doctor" }

// verdict is how a command ends whose answer is what it found: an error found is a failure, a warning is none, and a record
// that is not whole is one.
func (c *Command) verdict(raw json.RawMessage) error {
	record := c.Spec.ID() == "audit.verify"
	if !checkup(c.Spec) && !record {
		return nil
	}
	var found struct {
		OK     *bool `json:"ok"`
		Checks []struct {
			Status string `json:"status"`
		} `json:"checks"`
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return fmt.Errorf("cannot read the findings of %s: %w", c.Spec.ID(), err)
	}
	if record && found.OK != nil && !*found.OK {
		return session.Exit(session.Failed)
	}
	for _, f := range found.Checks {
		if f.Status == "error" {
			return session.Exit(session.Failed)
		}
	}
	return nil
}

// findings writes a checkup for a terminal: a table would cut what was found, or leave out the command that mends it.
func findings(w io.Writer, obj render.Object, o render.Options) {
	checks, _ := obj.Get("checks").([]any)
	const mark = 2
	name := 0
	for _, v := range checks {
		f, _ := v.(render.Object)
		name = max(name, render.Width(render.Escape(f.Text("name"))))
	}
	indent := mark + name + 2
	for _, v := range checks {
		f, _ := v.(render.Object)
		symbol, color := render.Symbol(f.Text("status"))
		lead := render.Escape(f.Text("name"))
		text := render.Fold(fmt.Sprintf("%*s%s%*s%s", mark, "", lead, indent-mark-render.Width(lead), "", render.Escape(f.Text("what"))), indent, o.Width)
		fmt.Fprintln(w, o.Style.Paint(color, symbol)+" "+text[mark:])
		if why := f.Text("why"); why != "" {
			fmt.Fprintln(w, o.Style.Paint(render.Dim, render.Fold(fmt.Sprintf("%*s%s", indent, "", render.Escape(why)), indent, o.Width)))
		}
		if fix := f.Text("fix"); fix != "" { // never folded: it is to be pasted
			fmt.Fprintf(w, "%*s%s %s\n", indent, "", o.Style.Paint(render.Dim, "try"), render.Escape(fix))
		}
	}
}
