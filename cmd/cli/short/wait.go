package short

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// poll is the time between two looks of wait while nothing happens: times move on without events.
const poll = time.Second

func wait(s *session.Session) *cobra.Command {
	if !method.Has(s, "apps.get") {
		return nil
	}
	var conditions []string
	cmd := &cobra.Command{
		Use:   "wait <app…>",
		Short: "Wait until apps are so: ready, a state, a health, or a comparison",
		Long: `Wait until all conditions hold of all apps, judged on one and the same look at each.
A condition is ready, a state (running, stopped, completed, …), a health (healthy, unhealthy), or a field of apps.get compared
with a value: restarts==0, uptime_s>60, state!=running. Exits with 5 when --timeout (60s) ends, and with 1 at once when an app
that should get ready has given up. Asks apps.get.`,
		Example: "  omnitron wait api --for ready --timeout 30s\n  omnitron wait api worker --for ready --for 'restarts==0'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return method.Exactly("app")(cmd, args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(conditions) == 0 {
				conditions = []string{"ready"}
			}
			return waitFor(cmd.Context(), s, args, conditions)
		},
		ValidArgsFunction: method.AppNames(s),
	}
	cmd.Flags().StringArrayVar(&conditions, "for", nil, "condition (repeatable; default ready)")
	// It fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions([]string{"ready", "running", "stopped", "completed", "healthy"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// condition is one thing that has to be so of an app.
type condition struct {
	text, field, op, value string
}

// operators, longest first.
var operators = []string{"==", "!=", "<=", ">=", "<", ">", "="}

func parseCondition(text string) (condition, error) {
	for i := range len(text) {
		for _, o := range operators {
			if i > 0 && strings.HasPrefix(text[i:], o) {
				c := condition{text: text, field: strings.TrimSpace(text[:i]), op: o, value: strings.Trim(strings.TrimSpace(text[i+len(o):]), `"'`)}
				if o == "=" {
					c.op = "=="
				}
				return c, nil
			}
		}
	}
	switch text {
	case "ready":
		return condition{text: text, field: "ready"}, nil
	case "healthy", "unhealthy":
		return condition{text: text, field: "health", op: "==", value: text}, nil
	case "stopped", "waiting", "starting", "running", "backoff", "stopping", "stuck", "completed", "failed", "crashed":
		return condition{text: text, field: "state", op: "==", value: text}, nil
	}
	words := []string{"ready", "healthy", "unhealthy", "stopped", "waiting", "starting", "running", "backoff", "stopping", "stuck", "completed", "failed", "crashed"}
	e := fault.New(fault.Invalid, "--for: %q is no condition", text).WithReason("bad_value").WithHint("omnitron wait --help")
	if near := fault.Near(text, words); near != "" {
		e = e.WithCandidates(near)
	}
	return condition{}, e
}

// holds judges the condition on an app as apps.get gave it. Fault: invalid, for a field that is not there.
func (c condition) holds(app render.Object) (bool, error) {
	if c.field == "ready" && c.op == "" {
		state := app.Text("state")
		return state == "completed" || state == "running" && app.Text("health") != "unhealthy", nil
	}
	var v any = app
	for name := range strings.SplitSeq(c.field, ".") {
		obj, ok := v.(render.Object)
		if !ok || obj.Get(name) == nil {
			if name == c.field && zeroable(app, name) {
				v = json.Number("0")
				break
			}
			var names []string
			for _, m := range obj {
				names = append(names, m.Key)
			}
			e := fault.New(fault.Invalid, "--for %s: an app has no field %q", c.text, name).WithReason("bad_value")
			if near := fault.Near(name, names); near != "" {
				e = e.WithCandidates(near)
			}
			return false, e
		}
		v = obj.Get(name)
	}
	got := render.Format(v, "", time.Time{})
	if s, ok := v.(string); ok {
		got = s
	}
	if b, ok := v.(bool); ok {
		got = strconv.FormatBool(b)
	}
	a, errA := strconv.ParseFloat(got, 64)
	b, errB := strconv.ParseFloat(c.value, 64)
	if errA != nil || errB != nil {
		switch c.op {
		case "==":
			return got == c.value, nil
		case "!=":
			return got != c.value, nil
		}
		return false, fault.New(fault.Invalid, "--for %s: %q and %q are not both numbers", c.text, got, c.value).WithReason("bad_value")
	}
	return map[string]bool{"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[c.op], nil
}

// zeroable are numbers that an answer leaves out when they are zero.
func zeroable(app render.Object, name string) bool {
	return app.Get("state") != nil && (strings.HasSuffix(name, "_s") || name == "pid" || name == "restarts")
}

func waitFor(ctx context.Context, s *session.Session, names, texts []string) error {
	var conditions []condition
	for _, t := range texts {
		c, err := parseCondition(t)
		if err != nil {
			return err
		}
		conditions = append(conditions, c)
	}
	limit := s.Patience(time.Minute)
	until, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	open := "nothing was seen yet"
	err := s.Watch(until, []string{"apps", "health"}, poll, func(ctx context.Context) (bool, error) {
		still, apps, err := look(ctx, s, names, conditions)
		if err != nil {
			return true, err
		}
		if open = still; open != "" {
			return false, nil
		}
		return true, s.ShowValue(ctx, map[string]any{"items": apps, "truncated": false}, func(render.Options) {
			fmt.Fprintln(s.Stdout, "it is so: "+strings.Join(texts, " and "))
		})
	})
	if err != nil && until.Err() != nil && ctx.Err() == nil {
		return fault.New(fault.Deadline, "after %s it is still not so: %s", render.Span(limit), open).WithReason("timeout")
	}
	return err
}

// look judges all conditions once. open says what is not so yet, or is "".
func look(ctx context.Context, s *session.Session, names []string, conditions []condition) (open string, apps []json.RawMessage, err error) {
	for _, name := range names {
		in := s.Fit("apps.get", map[string]any{"name": name})
		spec, _ := s.Spec("apps.get")
		if err := s.Ambient("omnitron wait", field.Of(spec.In), in); err != nil {
			return "", nil, err
		}
		raw, err := s.Read(ctx, "apps.get", in)
		if err != nil {
			return "", nil, err
		}
		v, err := render.Decode(raw)
		if err != nil {
			return "", nil, err
		}
		app, _ := v.(render.Object)
		apps = append(apps, raw)
		for _, c := range conditions {
			ok, err := c.holds(app)
			if err != nil {
				return "", nil, err
			}
			if ok || open != "" {
				continue
			}
			state := app.Text("state")
			open = fmt.Sprintf("%s %s (it is %s)", name, c.text, state)
			if c.text == "ready" && (state == "crashed" || state == "failed") {
				return "", nil, fault.New(fault.Failed, "%s is %s and will not get ready: %s", name, state, app.Text("reason")).
					WithReason("gave_up").WithHint("omnitron why %s", name)
			}
		}
	}
	return open, apps, nil
}
