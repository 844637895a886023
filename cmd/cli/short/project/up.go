package project

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/progress"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// bringUp is what up was asked to do.
type bringUp struct {
	*session.Session
	files    []string
	names    []string
	noWait   bool
	dryRun   bool
	timeout  string
	progress string
}

// Up applies what the files say and starts the apps, with a daemon where there is none.
func Up(s *session.Session) *cobra.Command {
	if !method.Has(s, "apps.apply", "apps.start") {
		return nil
	}
	u := &bringUp{Session: s}
	cmd := &cobra.Command{
		Use:   "up [app…]",
		Short: "Start the daemon, apply the project's file, start every enabled app and wait until all are ready",
		Long: `Bring a project up: starts the daemon if there is none, applies the omnitron.yaml of this folder or above, and starts
every enabled app. Returns when all are ready or have failed, and says which and why.
More than one method: apps.apply, then apps.start.`,
		Example: "  omnitron up\n  omnitron up -c shop/omnitron.yaml --no-wait",
		RunE: func(cmd *cobra.Command, args []string) error {
			u.names = args
			return u.run(cmd.Context())
		},
		ValidArgsFunction: method.AppNames(s),
	}
	set := cmd.Flags()
	set.StringArrayVarP(&u.files, "config", "c", nil, "`file` to apply instead of the one found (repeatable)")
	set.BoolVar(&u.noWait, "no-wait", false, "return at once instead of when it is so")
	set.BoolVar(&u.dryRun, "dry-run", false, "show what applying would change, change nothing")
	set.StringVar(&u.timeout, "timeout", "", "how long to wait, such as 2m; the work goes on after that")
	progress.Flag(cmd, &u.progress)
	return cmd
}

// applied is what up needs of the answer of apps.apply.
type applied struct {
	Result struct {
		Project  string   `json:"project"`
		Stack    string   `json:"stack"`
		Revision int64    `json:"revision"`
		Warnings []string `json:"warnings"`
		Apps     []struct {
			Key     string `json:"key"`
			Change  string `json:"change"`
			Enabled bool   `json:"enabled"`
		} `json:"apps"`
	} `json:"result"`
}

func (u *bringUp) run(ctx context.Context) error {
	src, err := read(u.Session, u.files)
	if err != nil {
		return err
	}
	in := u.Fit("apps.apply", application(src))
	in["no_wait"] = true
	start := map[string]any{}
	if u.timeout != "" {
		d, err := field.Duration(u.timeout, time.Second)
		if err != nil {
			return fault.New(fault.Invalid, "--timeout: %v", err).WithReason("bad_value")
		}
		start["timeout_s"] = int64(max(1, d.Round(time.Second)/time.Second))
	}
	if u.dryRun { // which changes nothing: it starts no daemon either
		in["dry_run"] = true
		raw, err := u.Call(ctx, "apps.apply", in)
		if err != nil {
			return err
		}
		return method.ShowDry(ctx, u.Session, raw)
	}
	if err := u.daemon(ctx, src); err != nil {
		return err
	}
	raw, err := u.Change(ctx, "apps.apply", in)
	if err != nil {
		return err
	}
	var a applied
	if err := json.Unmarshal(raw, &a); err != nil {
		return fault.New(fault.Internal, "the daemon's answer to apps.apply cannot be read: %v", err)
	}
	u.tell(a)
	names := u.wanted(a)
	if len(names) == 0 {
		u.Note("no app is enabled: nothing to start")
		return u.Show(ctx, raw, nil, func(any, render.Options) {})
	}
	start["arm"] = len(u.names) == 0 // what has a schedule is ready when it waits for its time
	start["names"], start["project"], start["stack"], start["no_wait"] = names, a.Result.Project, a.Result.Stack, u.noWait
	start = u.Fit("apps.start", start)
	call := func(ctx context.Context) (err error) {
		raw, err = u.Change(ctx, "apps.start", start)
		return err
	}
	if u.noWait {
		err = call(ctx)
	} else {
		err = progress.Follow(ctx, u.Session, u.progress, start, call)
	}
	if err != nil {
		return err
	}
	return u.Show(ctx, raw, nil, func(_ any, o render.Options) { u.summary(len(names), o) })
}

// daemon starts the daemon when there is none, but not for a file that it would refuse: what is wrong with that is said
// here, with paths as they are seen from here.
func (u *bringUp) daemon(ctx context.Context, src config.Source) error {
	if u.Config.Resolve != nil {
		if _, _, err := u.Config.Resolve(src); err != nil {
			if _, away := u.Connect(ctx); src.Stack == "" || away != nil {
				return err
			}
			return nil // a stack may have been created beside the file, which only the daemon knows
		}
	}
	return Ensure(ctx, u.Session)
}

// application makes the input of a method that takes what files say.
func application(src config.Source) map[string]any {
	env := make([]any, 0, len(src.EnvFiles))
	for path, text := range src.EnvFiles {
		env = append(env, map[string]any{"path": path, "text": text})
	}
	in := map[string]any{"files": src.Files, "env": src.Env}
	if len(env) > 0 {
		in["env_files"] = env
	}
	if src.Stack != "" {
		in["stack"] = src.Stack
	}
	return in
}

// tell says what applying changed.
func (u *bringUp) tell(a applied) {
	count := map[string]int{}
	for _, app := range a.Result.Apps {
		count[app.Change]++
	}
	var parts []string
	for _, what := range []string{"added", "changed", "removed"} {
		if n := count[what]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	if len(parts) == 0 {
		parts = []string{"nothing changed"}
	}
	u.Note("%s/%s · %s · revision %d: %s", a.Result.Project, a.Result.Stack, apps(len(a.Result.Apps)-count["removed"]), a.Result.Revision, strings.Join(parts, ", "))
	for _, w := range a.Result.Warnings {
		u.Note("warning: %s", render.EscapeLines(w))
	}
}

// wanted gives what is to be started: every enabled app, or the ones that were named.
func (u *bringUp) wanted(a applied) []any {
	var names []any
	for _, n := range u.names {
		names = append(names, n)
	}
	if len(names) > 0 {
		return names
	}
	for _, app := range a.Result.Apps {
		if app.Enabled && app.Change != "removed" {
			names = append(names, app.Key)
		}
	}
	return names
}

func (u *bringUp) summary(n int, o render.Options) {
	what := "ready"
	if u.noWait {
		what = "starting"
	}
	fmt.Fprintf(u.Stdout, "%s\n", o.Style.Paint(render.Good, apps(n)+" "+what))
}

// Ensure starts the daemon when there is none. Faults: unavailable; failed.
func Ensure(ctx context.Context, s *session.Session) error {
	if s.EnsureDaemon == nil {
		return nil
	}
	started, err := s.EnsureDaemon(ctx, s.Home)
	if err != nil {
		return err
	}
	if started {
		s.Note("the daemon was started")
	}
	return nil
}
