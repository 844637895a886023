package project

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// planning is what plan was asked to do.
type planning struct {
	*session.Session
	files    []string
	exitCode bool
}

// Plan shows what up would change of what runs.
func Plan(s *session.Session) *cobra.Command {
	spec, ok := s.Spec("apps.plan")
	if !ok {
		return nil
	}
	p := &planning{Session: s}
	cmd := &cobra.Command{
		Use: "plan", Short: "Show what applying the project's file would change, key by key, and what of it needs a restart",
		Long: `Show what up would change: which apps are added, changed and removed, the keys that differ with their values now and then, and how
each is taken up: live, or by a restart. An env file's content counts; a value of the shell only where the file names it
(inheritEnv), others are in force after the next restart. Nothing is changed.
With --project and no file here: what the files that the project was made of say now.
Method apps.plan: role viewer, effect reads.`,
		Example:     "  omnitron plan\n  omnitron plan --exit-code || echo not in force yet",
		Args:        method.NoArgs,
		Annotations: map[string]string{"method": spec.ID()},
		RunE:        func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context()) },
	}
	cmd.Flags().StringArrayVarP(&p.files, "config", "c", nil, "`file` instead of the one found (repeatable)")
	cmd.Flags().BoolVar(&p.exitCode, "exit-code", false, "exit with 6 when changes are pending")
	return cmd
}

func (p *planning) run(ctx context.Context) error {
	spec, _ := p.Spec("apps.plan") // it is why there is this command
	in := map[string]any{}
	if p.Project != "" && len(p.files) == 0 {
		in["project"] = p.Project
		if p.Stack != "" {
			in["stack"] = p.Stack
		}
	} else {
		src, err := read(p.Session, p.files)
		if err != nil {
			return err
		}
		in = application(src)
	}
	raw, err := p.Read(ctx, spec.ID(), in)
	if err != nil {
		return err
	}
	var out planned
	if err := json.Unmarshal(raw, &out); err != nil {
		return fault.New(fault.Internal, "the daemon's answer to apps.plan cannot be read: %v", err)
	}
	if err := p.Show(ctx, raw, spec.Out, func(v any, o render.Options) {
		if len(o.Columns) > 0 || o.Wide {
			render.Text(p.Stdout, v, spec.Out, o)
			return
		}
		dir := "" // where each key is said is of use where there are several files
		if files, _ := in["files"].([]config.File); len(files) > 1 {
			dir = p.Dir
		}
		out.write(p.Stdout, dir, o)
	}); err != nil {
		return err
	}
	if p.exitCode && out.Pending {
		return session.Exit(session.Pending)
	}
	return nil
}

// planned is the answer of apps.plan as far as it is shown.
type planned struct {
	Project, Stack          string
	Pending                 bool
	Added, Changed, Removed int
	Apps                    []struct {
		Key, Name, Change, Effect string
		Keys                      []plannedKey
	}
	Shared   []plannedKey
	Warnings []string
}

type plannedKey struct{ Key, From, To, Takes, Where string }

// signs say at the beginning of a line what happens to an app.
var signs = map[string]struct{ sign, color string }{"added": {"+", render.Good}, "changed": {"~", render.Warn}, "removed": {"-", render.Bad}, "unchanged": {" ", render.Dim}}

// write shows a plan to a person: only what is different, each app with its keys below it; dir: with their files, relative to that.
func (d planned) write(w io.Writer, dir string, o render.Options) {
	for _, text := range d.Warnings {
		fmt.Fprintf(w, "%s %s\n", o.Style.Paint(render.Warn, "warning:"), render.EscapeLines(text))
	}
	same, later := 0, false
	for _, a := range d.Apps {
		if a.Change == "unchanged" {
			same++
			if len(a.Keys) == 0 {
				continue
			}
		}
		s := signs[a.Change]
		fmt.Fprintf(w, "%s %s  %s\n", o.Style.Paint(s.color, s.sign), o.Style.Paint(render.Loud, render.Escape(a.Name)), o.Style.Paint(render.Dim, render.Escape(a.Effect)))
		writeKeys(w, a.Keys, dir, o)
	}
	if len(d.Shared) > 0 {
		fmt.Fprintf(w, "%s %s\n", o.Style.Paint(render.Warn, "~"), "for all apps")
		writeKeys(w, d.Shared, dir, o)
	}
	for _, a := range d.Apps {
		for _, k := range a.Keys {
			later = later || k.Takes == "next"
		}
	}
	var parts []string
	for _, n := range []struct {
		n    int
		word string
	}{{d.Added, "added"}, {d.Changed, "changed"}, {d.Removed, "removed"}, {same, "unchanged"}} {
		if n.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n.n, n.word))
		}
	}
	stack := render.Escape(d.Project + "/" + d.Stack)
	switch {
	case !d.Pending && later:
		fmt.Fprintf(w, "%s: nothing to change; what the shell says otherwise is in force after the next restart\n", stack)
	case !d.Pending:
		fmt.Fprintf(w, "%s: nothing to change\n", stack)
	default:
		fmt.Fprintf(w, "%s: %s\n", stack, strings.Join(parts, ", "))
	}
}

// takes are the words for how a key is taken up.
var takes = map[string]string{"live": "live", "restart": "restart", "next": "at the next restart"}

func writeKeys(w io.Writer, keys []plannedKey, dir string, o render.Options) {
	name, value := 0, 0
	texts := make([]string, len(keys))
	for i, k := range keys {
		from, to := shownValue(k.From), shownValue(k.To)
		texts[i] = from + " → " + to
		name, value = max(name, render.Width(render.Escape(k.Key))), max(value, min(render.Width(texts[i]), widest))
	}
	for i, k := range keys {
		line := fmt.Sprintf("    %s%*s  %s%*s  %s", render.Escape(k.Key), name-render.Width(render.Escape(k.Key)), "", texts[i], max(0, value-render.Width(texts[i])), "", o.Style.Paint(render.Dim, takes[k.Takes]))
		if k.Where != "" && dir != "" {
			line += o.Style.Paint(render.Dim, "  "+render.Escape(strings.TrimPrefix(k.Where, dir+"/")))
		}
		fmt.Fprintln(w, line)
	}
}

// widest is the column up to which values are lined up: one long command is no reason to move all words away.
const widest = 60

func shownValue(text string) string {
	if text == "" {
		return "(none)"
	}
	return render.Escape(text)
}
