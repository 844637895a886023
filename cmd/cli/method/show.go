package method

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Answer writes the answer of a read, and gives the exit code that it stands for.
func (c *Command) Answer(ctx context.Context, raw json.RawMessage) error {
	if err := c.show(ctx, raw); err != nil {
		return err
	}
	return c.verdict(raw)
}

// show writes the answer of a read.
func (c *Command) show(ctx context.Context, raw json.RawMessage) error {
	return c.Session.Show(ctx, raw, c.Spec.Out, func(v any, o render.Options) {
		obj, _ := v.(render.Object)
		switch {
		case checkup(c.Spec) && o.Width > 0 && len(o.Columns) == 0:
			findings(c.Session.Stdout, obj, o)
		case c.paint == nil || tabular(o):
			render.Text(c.Session.Stdout, v, c.Spec.Out, o)
			c.more(obj, o)
		default:
			items, _ := obj.Get("items").([]any)
			line := c.paint(c, o)
			for _, it := range items {
				if item, ok := it.(render.Object); ok {
					io.WriteString(c.Session.Stdout, line(item))
				}
			}
		}
	})
}

// tabular reports whether columns were asked for: then what would be shown as it was printed is a table like anything else.
func tabular(o render.Options) bool { return o.Wide || len(o.Columns) > 0 }

// more says to a person that a list goes on.
func (c *Command) more(obj render.Object, o render.Options) {
	if next := obj.Text("next_cursor"); next != "" && obj.Get("truncated") == true && o.Width > 0 {
		fmt.Fprintln(c.Session.Stdout, o.Style.Paint(render.Dim, "there is more: --cursor "+field.Quote(render.Escape(next))))
	}
}

// showOutcome writes the answer of a change.
func (c *Command) showOutcome(ctx context.Context, raw json.RawMessage, out outcome) error {
	s := c.Session
	return s.Show(ctx, raw, reflect.TypeFor[op.Outcome](), func(_ any, o render.Options) {
		w := s.Stdout
		switch out.Status {
		case op.Done:
			c.done(w, out, o)
		case op.Running:
			fmt.Fprintln(w, "it is being worked on")
			if out.Job != nil {
				fmt.Fprintf(w, "job %s: omnitron jobs follow %s\n", render.Escape(out.Job.ID), field.Quote(render.Escape(out.Job.ID)))
			}
		case op.Confirm:
			plan(w, out.Plan, o)
			if out.Confirm != nil {
				fmt.Fprintf(w, "confirm within %s: the same command with --confirm %s\n", until(out.Confirm.ExpiresAt, o.Now), field.Quote(render.Escape(out.Confirm.Token)))
			}
		case op.Waiting:
			plan(w, out.Plan, o)
			fmt.Fprintln(w, "held: a person has to decide; then the same command goes through once")
			if a := out.Approval; a != nil {
				if a.Why != "" {
					fmt.Fprintln(w, render.Escape(a.Why))
				}
				fmt.Fprintf(w, "approval %s, %s left: omnitron approve %s\n", render.Escape(a.ID), until(a.ExpiresAt, o.Now), field.Quote(render.Escape(a.ID)))
			}
		default:
			render.Text(w, render.Object{{Key: "status", Value: string(out.Status)}}, nil, o)
		}
		for _, n := range out.Next {
			fmt.Fprintf(w, "%s %s\n", o.Style.Paint(render.Dim, "next"), c.next(n))
		}
	})
}

func (c *Command) done(w io.Writer, out outcome, o render.Options) {
	if c.change.dryRun {
		dry(w, out.Plan, o)
		return
	}
	if c.drawn {
		return
	}
	v, err := render.Decode(out.Result)
	obj, _ := v.(render.Object)
	if err != nil || v == nil || v != nil && obj != nil && len(obj) == 0 {
		fmt.Fprintln(w, "done")
		return
	}
	render.Text(w, v, c.Spec.Out, o)
}

// ShowDry shows the answer of a dry run that a short form has made.
func ShowDry(ctx context.Context, s *session.Session, raw json.RawMessage) error {
	var out outcome
	if err := json.Unmarshal(raw, &out); err != nil {
		return fault.New(fault.Internal, "the daemon's answer cannot be read: %v", err)
	}
	return s.Show(ctx, raw, nil, func(_ any, o render.Options) { dry(s.Stdout, out.Plan, o) })
}

func dry(w io.Writer, p *op.Plan, o render.Options) {
	plan(w, p, o)
	fmt.Fprintln(w, o.Style.Paint(render.Dim, "a dry run: nothing was changed"))
}

// plan writes what a call would change.
func plan(w io.Writer, p *op.Plan, o render.Options) {
	if p == nil || len(p.Items) == 0 {
		fmt.Fprintln(w, "nothing would change")
		return
	}
	raw, err := json.Marshal(p.Items)
	if err != nil {
		return
	}
	v, err := render.Decode(raw)
	if err != nil {
		return
	}
	render.Text(w, v, reflect.TypeFor[[]op.Item](), o)
}

func until(t, now time.Time) string { return render.Span(t.Sub(now).Truncate(time.Second)) }

// next writes a call as the command that makes it.
func (c *Command) next(n op.Next) string {
	if line, ok := c.Session.Spell(n); ok {
		return render.Escape(line)
	}
	return render.Escape(n.Method)
}

// itemText writes an item of a stream for a person.
func (c *Command) itemText() func(any, render.Options) {
	var line func(render.Object) string
	if c.paint != nil && !tabular(c.Session.Options()) {
		line = c.paint(c, c.Session.Options())
	}
	return func(v any, o render.Options) {
		item, ok := v.(render.Object)
		if ok && line != nil && !(len(item) == 1 && item.Get("dropped") != nil) {
			io.WriteString(c.Session.Stdout, line(item))
			return
		}
		fmt.Fprintln(c.Session.Stdout, render.Line(v, c.Spec.Out, o))
	}
}

// stream writes items until the method or the caller ends.
func (c *Command) stream(ctx context.Context, in map[string]any) error {
	text := c.itemText()
	for {
		err := c.items(ctx, in, text)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.Session.Reconnect(ctx, err); err != nil {
			return err
		}
	}
}

// items shows the items of a stream until it ends, and notes in its input where to go on after a daemon that died.
func (c *Command) items(ctx context.Context, in map[string]any, text func(any, render.Options)) error {
	fields := field.Of(c.Spec.In)
	takes := func(name string) bool { _, ok := field.Find(fields, name); return ok }
	for raw, err := range c.Session.Stream(ctx, c.Spec.ID(), in) {
		if err != nil {
			return err
		}
		if err := c.Session.ShowItem(ctx, raw, c.Spec.Out, text); err != nil {
			return err
		}
		var at struct {
			Cursor string `json:"cursor"`
			Seq    uint64 `json:"seq"`
		}
		if json.Unmarshal(raw, &at) != nil {
			continue
		}
		switch {
		case at.Cursor != "" && takes("cursor"):
			in["cursor"] = at.Cursor
		case at.Seq > 0 && takes("since"):
			in["since"] = strconv.FormatUint(at.Seq, 10)
		}
	}
	return nil
}

// slow is the time between two answers of -w while nothing happens: what no event tells, such as CPU, moves on.
const slow = 5 * time.Second

// again shows the answer of a read whenever something happens, and every now and then: over itself on a terminal, else
// whenever it is another one; for a program as a line each.
func (c *Command) again(ctx context.Context, in map[string]any) error {
	s := c.Session
	var before []byte
	return s.Watch(ctx, c.topics(), slow, func(ctx context.Context) (bool, error) {
		raw, err := s.Call(ctx, c.Spec.ID(), in)
		for err != nil {
			if err := s.Reconnect(ctx, err); err != nil {
				return true, err
			}
			raw, err = s.Call(ctx, c.Spec.ID(), in)
		}
		switch {
		case s.Redraws() && !s.Machine():
			fmt.Fprintf(s.Stdout, "\x1b[H\x1b[J%s  until Ctrl-C: %s\n\n", s.Now().Format(time.TimeOnly), c.line(in))
			err = c.show(ctx, raw)
		case bytes.Equal(before, raw):
		case s.Machine():
			err = s.ShowItem(ctx, raw, c.Spec.Out, nil)
		default:
			err = c.show(ctx, raw)
		}
		before = raw
		return false, err
	})
}

// topics are those of the events that change the answer; none: any event does.
func (c *Command) topics() []string {
	if slices.Contains(c.Spec.Topics, "events") {
		return nil
	}
	return append([]string{"apps", "health"}, c.Spec.Topics...)
}
