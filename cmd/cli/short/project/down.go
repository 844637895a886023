package project

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/omnitron-dev/omnitron/cmd/cli/method"
	"github.com/omnitron-dev/omnitron/cmd/cli/render"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// Down stops the apps of a project, and the daemon when nothing else runs.
func Down(s *session.Session) *cobra.Command {
	if !method.Has(s, "apps.list", "apps.stop", "daemon.shutdown") {
		return nil
	}
	var all, dryRun bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop this folder's project; the daemon too, when nothing else runs",
		Long: `Stop what up started. In a project's folder, while other projects run, only its apps are stopped, those of all of its stacks;
with --stack or OMNITRON_STACK only those of that one. Otherwise every app is stopped in order and the daemon ends, and
nothing is left behind; a daemon that was killed is started for it. Nothing to stop is no failure.
More than one method: apps.stop, or daemon.shutdown.`,
		Args: method.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return takeDown(cmd.Context(), s, all, dryRun) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "the daemon and every project, wherever this is called")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be stopped, change nothing")
	return cmd
}

// patience is how long down waits for the daemon to be gone.
const patience = 2 * time.Minute

func takeDown(ctx context.Context, s *session.Session, all, dryRun bool) error {
	_, err := s.Connect(ctx)
	if dryRun && fault.Is(err, fault.Unavailable) {
		return err // it starts no daemon, and only one knows what a keeper still holds
	}
	if fault.Is(err, fault.Unavailable) && s.Revive != nil { // apps may live on with a keeper whose daemon was killed
		revived, rerr := s.Revive(ctx, s.Home)
		if rerr != nil {
			return rerr
		}
		if revived {
			_, err = s.Connect(ctx)
		}
	}
	if fault.Is(err, fault.Unavailable) {
		return clear(ctx, s)
	}
	if err != nil {
		return err
	}
	if dir := projectDir(s); dir != "" && !all {
		own, others, err := running(ctx, s, dir)
		if err != nil {
			return err
		}
		if others != "" {
			return stopOwn(ctx, s, own, others, dryRun)
		}
	}
	if dryRun {
		raw, err := s.Call(ctx, "daemon.shutdown", map[string]any{"dry_run": true})
		if err != nil {
			return err
		}
		return method.ShowDry(ctx, s, raw)
	}
	raw, err := shutdown(ctx, s)
	if err != nil {
		return err
	}
	s.Close()
	if s.Gone != nil {
		ctx, cancel := context.WithTimeout(ctx, s.Patience(patience))
		defer cancel()
		if err := s.Gone(ctx, s.Home); err != nil {
			return err
		}
	}
	return s.Show(ctx, raw, nil, func(any, render.Options) { fmt.Fprintln(s.Stdout, "everything is stopped") })
}

// clear ends what was left behind where no daemon runs, and no keeper.
func clear(ctx context.Context, s *session.Session) error {
	found := false
	if s.Sweep != nil {
		var err error
		if found, err = s.Sweep(ctx, s.Home); err != nil {
			return err
		}
	}
	if !found {
		return nothing(ctx, s, "nothing to stop: no daemon runs")
	}
	return nothing(ctx, s, "no daemon and no keeper ran: what they had left behind is ended")
}

// shutdown ends everything, also when the daemon dies while it does: the next one is asked again, until there is none.
func shutdown(ctx context.Context, s *session.Session) (json.RawMessage, error) {
	for {
		raw, err := s.Call(ctx, "daemon.shutdown", map[string]any{})
		if err == nil || !session.Lost(err) {
			return raw, err
		}
		if rerr := s.Reconnect(ctx, err); rerr != nil {
			if ctx.Err() == nil && s.Gone != nil && s.Gone(ctx, s.Home) == nil { // it could not say any more that all is done
				return json.RawMessage(`{"status":"done","result":{}}`), nil
			}
			return nil, rerr
		}
	}
}

// projectDir names the project as the daemon takes it: --project, else the folder of the file found.
func projectDir(s *session.Session) string {
	if s.Project != "" {
		return s.Project
	}
	if path := s.FindConfig(); path != "" {
		return filepath.Dir(path)
	}
	return ""
}

// running gives a pattern of the apps that down is about, "" where there are none, and in a word what else runs, "" for
// nothing.
func running(ctx context.Context, s *session.Session, project string) (own, others string, err error) {
	scope := map[string]any{"project": project}
	stack := cmp.Or(s.Stack, s.Getenv("OMNITRON_STACK"))
	if stack != "" {
		scope["stack"] = stack
	}
	apps, err := s.Apps(ctx, scope)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return "", "", err
	}
	every, err := s.Apps(ctx, map[string]any{"all": true})
	if err != nil {
		return "", "", err
	}
	mine, name := map[string]bool{}, ""
	for _, a := range apps {
		mine[a.Key] = true
		name, _, _ = strings.Cut(a.Key, "/")
	}
	if name != "" {
		own = name + "/" + cmp.Or(stack, "*") + "/*"
	}
	for _, a := range every {
		switch a.State {
		case "stopped", "completed", "failed", "crashed":
			continue
		}
		if other, _, _ := strings.Cut(a.Key, "/"); !mine[a.Key] && other != name {
			return own, "projects", nil
		}
		if !mine[a.Key] {
			others = "stacks"
		}
	}
	return own, others, nil
}

// stopOwn stops only the apps that a pattern means.
func stopOwn(ctx context.Context, s *session.Session, own, others string, dryRun bool) error {
	if own == "" {
		return nothing(ctx, s, "nothing to stop: this project is not up")
	}
	in := map[string]any{"names": []any{own}}
	if dryRun {
		in["dry_run"] = true
	}
	raw, err := s.Change(ctx, "apps.stop", in)
	if err != nil {
		return err
	}
	if dryRun {
		return method.ShowDry(ctx, s, raw)
	}
	return s.Show(ctx, raw, nil, func(any, render.Options) {
		fmt.Fprintf(s.Stdout, "stopped; the daemon stays, because other %s run\n", others)
	})
}

// nothing says that there was nothing to do.
func nothing(ctx context.Context, s *session.Session, why string) error {
	answer := map[string]any{"status": "done", "result": map[string]any{"was_running": false}}
	return s.ShowValue(ctx, answer, func(render.Options) { fmt.Fprintln(s.Stdout, why) })
}
