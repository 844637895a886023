package short

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// codes says of each fault code what it means and what to do about it.
var codes = map[fault.Code][2]string{
	fault.Invalid:         {"The input is wrong: a flag, a name, a value, a line of a file.", "Mend what the problems name; --help shows what is taken."},
	fault.NotFound:        {"There is no such thing.", "Look at the candidates, or list: omnitron ls --all."},
	fault.Conflict:        {"It cannot be done as things are now.", "Look (omnitron ls, omnitron why), then decide; a call overtaken by a later one answers this too (reason superseded)."},
	fault.Internal:        {"Something went wrong inside the daemon; it is our fault.", "The call id leads to the lines in ~/.omnitron/logs/daemon.log; omnitron doctor."},
	fault.Unavailable:     {"The daemon is not reachable.", "omnitron up starts it; omnitron doctor says what is in the way."},
	fault.Failed:          {"Some or all targets failed; each has its own result.", "omnitron why <app> says why."},
	fault.Cancelled:       {"The caller gave up. What was begun may go on.", "omnitron ls shows how things stand."},
	fault.Unauthenticated: {"It is not known who calls.", "Sign in, or give a token."},
	fault.Denied:          {"This principal may not do that.", "Ask somebody with more rights; docs/access.md says which role each method needs."},
	fault.Held:            {"A person said no, or a person has to decide first.", "Look at the approval."},
	fault.Deadline:        {"It took longer than was allowed; the work goes on.", "Look again later, or give a longer --timeout."},
	fault.Limited:         {"Too much at once.", "Try again after the time that the answer names."},
}

// Explanation is what explain tells of one thing.
type Explanation struct {
	What   string  `json:"what"`
	Kind   string  `json:"kind"`
	Text   string  `json:"text"`
	Do     string  `json:"do,omitempty"`
	Exit   int     `json:"exit_code,omitempty"`
	Role   string  `json:"role,omitempty"`
	Effect string  `json:"effect,omitempty"`
	Type   string  `json:"type,omitempty"`
	Fields []Field `json:"fields,omitempty"`
}

// Field is a part of what is explained.
type Field struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
	Text string `json:"text,omitempty"`
}

func explain(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:   "explain <config.path | settings.path | fault code | reason | method>",
		Short: "Explain a key of a file, a fault code, the reason of a failure or a method",
		Long: `Explain a key of omnitron.yaml (config.apps.health) or of the daemon's config.yaml (settings.policy.rules), a fault code
(not_found), the reason of a failure (port_in_use) or a method (apps.start).
For why an app is down: omnitron why <app>.
Local: no method.`,
		Example: "  omnitron explain config.apps.ready\n  omnitron explain port_in_use\n  omnitron explain apps.scale -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !s.Machine() {
				return nil
			}
			return method.Exactly("what")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			e, err := explanation(s, args[0])
			if err != nil {
				return err
			}
			return s.ShowValue(cmd.Context(), e, func(o render.Options) { writeExplanation(s.Stdout, e, o) })
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(subjects(s), "config.", "settings."), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
	}
}

func subjects(s *session.Session) []string {
	var words []string
	for _, c := range fault.Codes {
		words = append(words, string(c))
	}
	for _, spec := range s.Specs {
		words = append(words, spec.ID())
	}
	for _, v := range config.EnvVars {
		words = append(words, v.Name)
	}
	return append(words, slices.Sorted(maps.Keys(fault.Reasons))...)
}

func explanation(s *session.Session, what string) (Explanation, error) {
	if text, ok := codes[fault.Code(what)]; ok {
		return Explanation{What: what, Kind: "fault code", Text: text[0], Do: text[1], Exit: session.ExitCode(fault.Code(what))}, nil
	}
	if r, ok := fault.Reasons[what]; ok {
		return Explanation{What: what, Kind: "reason", Text: r.Means, Do: r.Next}, nil
	}
	for _, v := range config.EnvVars {
		if what == v.Name {
			return Explanation{What: what, Kind: "environment variable", Text: strings.ToUpper(v.Doc[:1]) + v.Doc[1:] + "."}, nil
		}
	}
	for _, spec := range s.Specs {
		if what == spec.ID() || what == spec.Tool() || slices.Contains(spec.Aliases, what) {
			return ofMethod(spec), nil
		}
	}
	switch root, _, _ := strings.Cut(what, "."); root {
	case "config":
		return ofFile(what, s.Config.Schema)
	case "settings":
		return ofFile(what, s.Config.Settings)
	}
	e := fault.New(fault.Invalid, "there is nothing to explain about %q", what).WithReason("unknown_subject").
		WithHint("omnitron explain config        the keys of omnitron.yaml\nomnitron explain settings        those of the daemon's config.yaml\nomnitron help exit-codes        the fault codes\nomnitron why <app>        why an app is down")
	if near := fault.Near(what, subjects(s)); near != "" {
		e = e.WithCandidates(near)
	}
	return Explanation{}, e
}

func ofMethod(spec op.Spec) Explanation {
	e := Explanation{What: spec.ID(), Kind: "method", Text: spec.Doc, Role: spec.Role.String(), Effect: spec.Effect.String(),
		Do: "omnitron " + spec.Service + " " + spec.Verb + field.Usage(field.Of(spec.In))}
	for _, f := range field.Of(spec.In) {
		kind := f.Kind()
		if kind == "" {
			kind = "bool"
		}
		e.Fields = append(e.Fields, Field{f.Name, kind, f.Doc})
	}
	return e
}

// ofFile walks the JSON Schema of a file along a path of keys; lists are walked through.
func ofFile(what string, schema func() (json.RawMessage, error)) (Explanation, error) {
	if schema == nil {
		return Explanation{}, fault.New(fault.Invalid, "there is no schema to explain %q with", what).WithReason("unknown_subject")
	}
	raw, err := schema()
	if err != nil {
		return Explanation{}, err
	}
	v, err := render.Decode(raw)
	if err != nil {
		return Explanation{}, err
	}
	root, _ := v.(render.Object)
	node := root
	path := strings.Split(what, ".")
	keys := path[1:]
	for i, key := range keys {
		props := properties(root, node)
		next, ok := props.Get(key).(render.Object)
		if !ok {
			var names []string
			for _, m := range props {
				names = append(names, m.Key)
			}
			at := strings.Join(path[:i+1], ".")
			e := fault.New(fault.Invalid, "%s has no key %q", at, key).WithReason("unknown_subject").WithHint("omnitron explain %s", at)
			if near := fault.Near(key, names); near != "" {
				e = e.WithCandidates(at + "." + near)
			}
			return Explanation{}, e
		}
		node = next
	}
	e := Explanation{What: what, Kind: "configuration", Text: node.Text("description"), Type: kindOf(root, node)}
	for _, m := range properties(root, node) {
		p, _ := m.Value.(render.Object)
		e.Fields = append(e.Fields, Field{m.Key, kindOf(root, p), p.Text("description")})
	}
	return e, nil
}

// deref follows a reference within the schema.
func deref(root, node render.Object) render.Object {
	for range 16 {
		ref := node.Text("$ref")
		if !strings.HasPrefix(ref, "#/") {
			return node
		}
		var v any = root
		for key := range strings.SplitSeq(ref[2:], "/") {
			obj, _ := v.(render.Object)
			v = obj.Get(key)
		}
		node, _ = v.(render.Object)
	}
	return node
}

// properties gives the keys below a node: its own, those of its alternatives, those of a list's items, and those of what
// has names of its own, such as stacks.
func properties(root, node render.Object) render.Object {
	node = deref(root, node)
	var all render.Object
	if p, ok := node.Get("properties").(render.Object); ok {
		all = append(all, p...)
	}
	if items, ok := node.Get("items").(render.Object); ok {
		all = append(all, properties(root, items)...)
	}
	if named, ok := node.Get("additionalProperties").(render.Object); ok && named.Get("properties") != nil {
		all = append(all, properties(root, named)...)
	}
	for _, word := range []string{"anyOf", "oneOf", "allOf"} {
		list, _ := node.Get(word).([]any)
		for _, e := range list {
			if alt, ok := e.(render.Object); ok {
				all = append(all, properties(root, alt)...)
			}
		}
	}
	return all
}

func kindOf(root, node render.Object) string {
	node = deref(root, node)
	switch t := node.Get("type").(type) {
	case string:
		return t
	case []any:
		var words []string
		for _, w := range t {
			words = append(words, fmt.Sprint(w))
		}
		return strings.Join(words, "|")
	}
	var words []string
	for _, word := range []string{"anyOf", "oneOf"} {
		list, _ := node.Get(word).([]any)
		for _, e := range list {
			if alt, ok := e.(render.Object); ok {
				if k := kindOf(root, alt); k != "" && !slices.Contains(words, k) {
					words = append(words, k)
				}
			}
		}
	}
	if enum, ok := node.Get("enum").([]any); ok {
		for _, e := range enum {
			words = append(words, fmt.Sprint(e))
		}
	}
	return strings.Join(words, "|")
}

func writeExplanation(w io.Writer, e Explanation, o render.Options) {
	head := e.Kind
	for _, part := range []string{e.Type, e.Role, e.Effect} {
		if part != "" {
			head += ", " + part
		}
	}
	if e.Kind == "fault code" {
		head += fmt.Sprintf(", exit code %d", e.Exit)
	}
	fmt.Fprintf(w, "%s (%s)\n", o.Style.Paint(render.Loud, e.What), head)
	for _, text := range []string{e.Text, e.Do} {
		if text != "" {
			fmt.Fprintln(w, render.Fold("  "+text, 2, o.Width))
		}
	}
	if len(e.Fields) == 0 {
		return
	}
	fmt.Fprintln(w)
	name, kind := 0, 0
	for _, f := range e.Fields {
		name, kind = max(name, len(f.Name)), max(kind, min(len(f.Type), 24))
	}
	for _, f := range e.Fields {
		line := strings.TrimRight(fmt.Sprintf("  %-*s  %-*s  %s", name, f.Name, kind, f.Type, f.Text), " ")
		fmt.Fprintln(w, render.Fold(line, name+kind+6, o.Width))
	}
}
