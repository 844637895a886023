package stay

import (
	"context"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// cronLine starts the daemon at boot; it stays in the foreground there, and cron is content with that. A % would be the end
// of the line for cron.
func (w *work) cronLine() string {
	home := shellQuote(w.home)
	line := "exec " + shellQuote(w.Executable) + " daemon run --home " + home + " >>" + home + "/logs/keeper.log 2>&1"
	return "@reboot " + strings.ReplaceAll(line, "%", `\%`) + " # " + marker + " " + strings.TrimSuffix(w.out.Name, ".service")
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// table gives the lines of the crontab; a user without one has none.
func (w *work) table(ctx context.Context) ([]string, error) {
	text, err := w.Run(ctx, "", "crontab", "-l")
	if err != nil {
		if strings.Contains(err.Error(), "no crontab") {
			return nil, nil
		}
		return nil, fault.Wrap(err, fault.Failed, "crontab -l: %v", err).WithReason("command_failed")
	}
	if text = strings.TrimSuffix(text, "\n"); text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

func (w *work) installCron(ctx context.Context) error {
	lines, err := w.table(ctx)
	if err != nil {
		return err
	}
	want, kept, there := w.cronLine(), []string{}, false
	for _, l := range lines {
		switch {
		case l == want && !there:
			there = true
			kept = append(kept, l)
		case !w.mine(l):
			kept = append(kept, l)
		}
	}
	t := session.Touched{Path: "crontab of " + w.User, Done: "unchanged", Text: want + "\n"}
	if !there || len(kept) != len(lines) {
		if !there {
			kept = append(kept, want)
		}
		t.Done, w.out.Changed = "written", true
		if err := w.setTable(ctx, kept); err != nil {
			return err
		}
	}
	w.out.Files = append(w.out.Files, t)
	if w.o.NoStart || w.o.DryRun {
		return nil
	}
	started, err := w.Ensure(ctx, w.home)
	w.out.Changed = w.out.Changed || started
	return err
}

func (w *work) uninstallCron(ctx context.Context) error {
	lines, err := w.table(ctx)
	if err != nil {
		return err
	}
	kept := []string{}
	for _, l := range lines {
		if !w.mine(l) {
			kept = append(kept, l)
		}
	}
	if len(kept) == len(lines) {
		w.note("nothing to remove: no line of the crontab of %s is ours", w.User)
		return nil
	}
	w.out.Changed = true
	w.out.Files = append(w.out.Files, session.Touched{Path: "crontab of " + w.User, Done: "removed"})
	w.note("what runs goes on until: omnitron down")
	return w.setTable(ctx, kept)
}

// mine reports whether a line was written for this home.
func (w *work) mine(line string) bool {
	return strings.HasSuffix(line, "# "+marker+" "+strings.TrimSuffix(w.out.Name, ".service"))
}

func (w *work) setTable(ctx context.Context, lines []string) error {
	argv, text := []string{"crontab", "-"}, strings.Join(lines, "\n")+"\n"
	if len(lines) == 0 {
		argv, text = []string{"crontab", "-r"}, ""
	}
	w.out.Ran = append(w.out.Ran, argv)
	if w.o.DryRun {
		return nil
	}
	if _, err := w.Run(ctx, text, argv...); err != nil {
		return fault.Wrap(err, fault.Failed, "%s: %v", strings.Join(argv, " "), err).WithReason("command_failed")
	}
	return nil
}
