// Package method makes a command of a method's declaration: arguments, flags, help, completion, the call, the question
// before something is destroyed, and the answer.
package method

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/progress"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Command is the command of a method and what it is made of, so that a short form can add to it.
type Command struct {
	*cobra.Command
	Spec    op.Spec
	Session *session.Session

	fields   []field.Field
	flags    *field.Flags
	change   change
	watch    bool
	progress string
	drawn    bool // the terminal shows how the call ended
	paint    painter
	place    string
	before   func(ctx context.Context) error
}

// change is what every changing command takes beside its own flags.
type change struct {
	dryRun, yes  bool
	confirm, key string
}

// New outlines the command of a method at a place: "apps start", or the short form "start". That is enough to list it;
// before it is run or explained it needs Bind. before may be nil; it runs before the call, for the methods that start
// the daemon.
func New(s *session.Session, spec op.Spec, place string, before func(context.Context) error) *Command {
	c := &Command{Spec: spec, Session: s, paint: painterOf(spec), before: before, place: place}
	c.Command = &cobra.Command{
		Use:         place[strings.LastIndexByte(place, ' ')+1:],
		Short:       strings.TrimSuffix(spec.Doc, "."),
		Annotations: map[string]string{"method": spec.ID()},
		RunE:        func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) },
	}
	return c
}

// Bind gives the command its arguments, flags, help and completion. A run of the command line does it for the command
// that was typed, not for all: with every method it would be a good part of the time that a short command takes.
func (c *Command) Bind() *Command {
	c.fields = field.Of(c.Spec.In)
	c.Use += field.Usage(c.fields)
	c.Long = c.long(c.place)
	c.Args = func(cmd *cobra.Command, args []string) error { return field.Check(c.fields, args, cmd.CommandPath()) }
	c.ValidArgsFunction = c.completeArgs
	c.flags = field.Bind(c.Flags(), c.fields)
	c.completeFlags()
	set := c.Flags()
	if c.Spec.Effect.Changes() {
		own(set, "dry-run", func() { set.BoolVar(&c.change.dryRun, "dry-run", false, "show what would change, change nothing") })
		own(set, "yes", func() { set.BoolVarP(&c.change.yes, "yes", "y", false, "answer the question beforehand") })
		own(set, "confirm", func() { set.StringVar(&c.change.confirm, "confirm", "", "token of an answer that asked to confirm") })
		own(set, "idempotency-key", func() {
			set.StringVar(&c.change.key, "idempotency-key", "", "the same key within 24 hours is the same call")
		})
	} else if !c.Spec.Stream {
		own(set, "watch", func() {
			set.BoolVarP(&c.watch, "watch", "w", false, "show it again whenever something changes, until Ctrl-C")
		})
	}
	if c.starts() {
		own(set, "progress", func() { progress.Flag(c.Command, &c.progress) })
	}
	if c.paint != nil {
		c.lines()
	}
	c.examples()
	return c
}

// own adds a flag unless the method's input has one of that name.
func own(set *pflag.FlagSet, name string, add func()) {
	if set.Lookup(name) == nil {
		add()
	}
}

// starts reports whether the method brings apps up and waits for them.
func (c *Command) starts() bool {
	return slices.Contains([]string{"apps.start", "apps.restart", "apps.reload", "apps.scale"}, c.Spec.ID())
}

// waits reports whether an input asks to wait for the apps.
func waits(in map[string]any) bool {
	return in["dry_run"] == nil && in["no_wait"] != true && in["wait"] != false
}

func (c *Command) run(ctx context.Context, args []string) error {
	in, err := c.Input(args)
	if err != nil {
		return err
	}
	if err := render.CheckColumns(c.Spec.Out, c.Session.Columns); err != nil {
		return err
	}
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			return err
		}
	}
	return c.Do(ctx, in)
}

// Input makes the input of what was typed. Fault: invalid.
func (c *Command) Input(args []string) (map[string]any, error) {
	in, err := c.flags.Input(args, c.Session.Now(), func(what string, line bool) (string, error) { return c.Session.Secret(c.Context(), what, line) })
	if err != nil {
		return nil, err
	}
	return in, c.Session.Ambient(c.CommandPath(), c.fields, in)
}

// Do makes the call with an input and shows the answer.
func (c *Command) Do(ctx context.Context, in map[string]any) error {
	switch {
	case c.Spec.Stream:
		return c.stream(ctx, in)
	case c.watch:
		return c.again(ctx, in)
	case c.paged():
		return c.pages(ctx, in)
	case !c.Spec.Effect.Changes():
		raw, err := c.Session.Read(ctx, c.Spec.ID(), in)
		if err != nil {
			return err
		}
		return c.Answer(ctx, raw)
	}
	return c.changes(ctx, in)
}

// changes makes a call that changes something, asking first where that is due.
func (c *Command) changes(ctx context.Context, in map[string]any) error {
	if c.change.key != "" {
		in["idempotency_key"] = c.change.key
	}
	if c.change.confirm != "" {
		in["confirm"] = c.change.confirm
	}
	if c.change.dryRun {
		in["dry_run"] = true
	}
	if c.Spec.Effect == op.Destroys && !c.change.dryRun && !c.change.yes && c.change.confirm == "" {
		if err := c.ask(ctx, in); err != nil {
			return err
		}
	}
	raw, out, err := c.call(ctx, in)
	if err != nil {
		return err
	}
	if out.Status == op.Confirm && out.Confirm != nil && !c.change.dryRun {
		yes := c.change.yes
		if !yes && c.Session.CanAsk() {
			if yes, err = c.agreed(ctx, raw); err != nil {
				return err
			}
		}
		if yes {
			in["confirm"] = out.Confirm.Token
			if raw, out, err = c.call(ctx, in); err != nil {
				return err
			}
		}
	}
	if err := c.showOutcome(ctx, raw, out); err != nil {
		return err
	}
	if out.Status == op.Waiting || out.Status == op.Confirm && !c.change.dryRun {
		return session.Exit(session.Held)
	}
	return nil
}

// outcome is an answer as far as the command line acts on it.
type outcome struct {
	Status   op.Status       `json:"status"`
	Result   json.RawMessage `json:"result"`
	Plan     *op.Plan        `json:"plan"`
	Job      *op.JobRef      `json:"job"`
	Approval *op.ApprovalRef `json:"approval"`
	Confirm  *op.ConfirmRef  `json:"confirm"`
	Next     []op.Next       `json:"next"`
}

func (c *Command) call(ctx context.Context, in map[string]any) (raw json.RawMessage, out outcome, err error) {
	call := func(ctx context.Context) (err error) {
		raw, err = c.Session.Change(ctx, c.Spec.ID(), in)
		return err
	}
	if c.starts() && waits(in) {
		c.drawn = c.Session.Redraws() && progress.Draws(c.Session, c.progress)
		err = progress.Follow(ctx, c.Session, c.progress, in, call)
	} else {
		err = call(ctx)
	}
	if err != nil {
		return nil, out, err
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, out, fault.New(fault.Internal, "the daemon's answer to %s is no outcome: %v", c.Spec.ID(), err)
	}
	return raw, out, nil
}

// ask shows what a destroying call would do and wants a yes. Faults: invalid without a person to ask; cancelled.
func (c *Command) ask(ctx context.Context, in map[string]any) error {
	if !c.Session.CanAsk() {
		return fault.New(fault.Invalid, "%s destroys for good, and there is nobody to ask", c.CommandPath()).
			WithReason("confirmation_needed").WithHint("%s --yes\n%s --dry-run        see first what would go", c.line(in), c.line(in))
	}
	dry := map[string]any{"dry_run": true}
	for k, v := range in {
		dry[k] = v
	}
	raw, err := c.Session.Call(ctx, c.Spec.ID(), dry)
	if err != nil {
		return err
	}
	yes, err := c.agreed(ctx, raw)
	if err == nil && !yes {
		err = session.Declined()
	}
	return err
}

// agreed shows the plan of an answer on standard error and asks whether to go on.
func (c *Command) agreed(ctx context.Context, raw json.RawMessage) (bool, error) {
	s := c.Session
	var out outcome
	if json.Unmarshal(raw, &out) == nil && out.Plan != nil {
		plan(s.Stderr, out.Plan, s.ErrOptions())
	}
	question := "This cannot be undone. Go on?"
	if c.Spec.Effect != op.Destroys {
		question = "Go on?"
	}
	return s.Ask(ctx, strings.TrimSuffix(c.Spec.Doc, ".")+". "+question)
}

// line is the command that makes an input, to be pasted.
func (c *Command) line(in map[string]any) string {
	typed := map[string]any{}
	for k, v := range in {
		if f, ok := field.Find(c.fields, k); ok && !f.Ambient() {
			typed[k] = v
		}
	}
	return field.Line(c.CommandPath(), c.fields, typed)
}

func (c *Command) long(place string) string {
	var b strings.Builder
	b.WriteString(c.Spec.Doc + "\n\n")
	id := c.Spec.Service + " " + c.Spec.Verb
	if place != id {
		fmt.Fprintf(&b, "Short for `omnitron %s`. ", id)
	}
	fmt.Fprintf(&b, "Method %s: role %s, effect %s", c.Spec.ID(), c.Spec.Role, c.Spec.Effect)
	if c.Spec.Stream {
		b.WriteString(", a stream")
	}
	b.WriteString(".")
	if len(c.Spec.Aliases) > 0 {
		b.WriteString(" Formerly " + strings.Join(c.Spec.Aliases, ", ") + ".")
	}
	return b.String()
}
