package stay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// work is one install or uninstall under way.
type work struct {
	Machine
	o    session.InstallOptions
	home string
	out  session.Installed
}

func (m Machine) begin(home string, o session.InstallOptions) (*work, error) {
	if err := writable(home, m.Executable); err != nil {
		return nil, err
	}
	w := &work{Machine: m, o: o, home: home}
	w.out = session.Installed{Manager: o.Manager, Scope: m.scope(), Home: home, DryRun: o.DryRun, Name: m.unitName(home), Files: []session.Touched{}, Ran: [][]string{}, Notes: []string{}}
	switch {
	case o.Manager == "" && m.booted():
		w.out.Manager = "systemd"
	case o.Manager == "" && m.Find("crontab"):
		w.out.Manager = "cron"
	case o.Manager == "":
		return nil, fault.New(fault.Failed, "neither systemd nor cron is here, so nothing can start the daemon at boot").WithReason("no_init").
			WithHint("omnitron daemon run        for whatever starts programs here: it stays in the foreground")
	case o.Manager == "systemd" && !m.booted() && !o.DryRun:
		return nil, fault.New(fault.Failed, "systemd does not run here").WithReason("no_init").WithHint("omnitron install --manager cron\nomnitron install --manager systemd --dry-run")
	case o.Manager == "cron" && !m.Find("crontab"):
		return nil, fault.New(fault.Failed, "there is no crontab here").WithReason("no_init").WithHint("omnitron daemon run        for whatever starts programs here: it stays in the foreground")
	}
	return w, nil
}

// Install has the daemon of a home started at boot, and now. What runs already is not touched: the service takes over from
// the keeper that is there. To do it again changes nothing.
//
// Faults: failed (no_init: nothing here starts programs at boot; command_failed), conflict (not_ours: somebody else's file is in
// the way; not_written), invalid (bad_value).
func (m Machine) Install(ctx context.Context, home string, o session.InstallOptions) (session.Installed, error) {
	w, err := m.begin(home, o)
	if err != nil {
		return session.Installed{}, err
	}
	if strings.HasPrefix(m.Executable, os.TempDir()+"/") {
		w.note("%s lies in a folder for temporary files: put it where it stays", m.Executable)
	}
	if w.out.Manager == "cron" {
		return w.out, w.installCron(ctx)
	}
	return w.out, w.installUnit(ctx)
}

// Uninstall takes back what Install did. Apps are stopped in order with their service; what should run is remembered.
// Faults: failed (command_failed), conflict (not_ours, not_written).
func (m Machine) Uninstall(ctx context.Context, home string, o session.InstallOptions) (session.Installed, error) {
	w, err := m.begin(home, o)
	if err != nil {
		return session.Installed{}, err
	}
	if w.out.Manager == "cron" {
		return w.out, w.uninstallCron(ctx)
	}
	return w.out, w.uninstallUnit(ctx)
}

func (w *work) installUnit(ctx context.Context) error {
	path := filepath.Join(w.unitDir(), w.out.Name)
	if w.UID != 0 { // first: it starts the systemd that is asked next
		if err := w.linger(ctx); err != nil {
			return err
		}
	}
	if packaged := w.packaged(); packaged != "" {
		w.out.Files = append(w.out.Files, session.Touched{Path: packaged, Done: "unchanged"})
	} else {
		if err := w.write(path, Unit(w.out.Scope, w.Executable, w.home, w.UserHome)); err != nil {
			return err
		}
		if w.out.Changed {
			if err := w.systemctl(ctx, "daemon-reload"); err != nil {
				return err
			}
		}
	}
	if !w.is(ctx, "is-enabled") {
		w.out.Changed = true
		if err := w.systemctl(ctx, "enable", w.out.Name); err != nil {
			return err
		}
	}
	switch {
	case w.o.NoStart:
	case w.is(ctx, "is-active"):
		if w.out.Changed {
			w.note("the service runs already and was not restarted; what is new about it holds from its next start on")
		}
	default:
		w.out.Changed = true
		return w.systemctl(ctx, "start", w.out.Name)
	}
	return nil
}

// packaged is the unit that a package has brought for the usual home, "" for none.
func (w *work) packaged() string {
	for _, dir := range []string{"lib", "usr/lib"} {
		if p := w.path(dir, "systemd", "system", w.out.Name); w.UID == 0 && w.has(dir, "systemd", "system", w.out.Name) {
			return p
		}
	}
	return ""
}

// linger lets a user's services run while nobody is logged in, or says that they do not.
func (w *work) linger(ctx context.Context) error {
	switch {
	case w.has("var", "lib", "systemd", "linger", w.User):
	case w.o.Linger:
		w.out.Changed = true
		return w.run(ctx, "loginctl", "enable-linger", w.User)
	default:
		w.note("it starts when you log in, and ends when you log out: omnitron install --linger, or loginctl enable-linger %s, makes it start at boot", w.User)
	}
	return nil
}

func (w *work) uninstallUnit(ctx context.Context) error {
	path := filepath.Join(w.unitDir(), w.out.Name)
	if packaged := w.packaged(); packaged != "" && !w.exists(path) {
		w.out.Files = append(w.out.Files, session.Touched{Path: packaged, Done: "unchanged"})
		w.note("%s belongs to a package and stays, disabled; apt remove omnitron removes it", packaged)
		if !w.is(ctx, "is-enabled") && !w.is(ctx, "is-active") {
			return nil
		}
		w.out.Changed = true
		return w.systemctl(ctx, "disable", "--now", w.out.Name)
	}
	switch ours, err := w.ours(path); {
	case errors.Is(err, fs.ErrNotExist):
		w.note("nothing to remove: there is no %s", path)
		return nil
	case err != nil || !ours:
		return w.notOurs(path, err)
	}
	w.out.Changed = true
	if w.booted() {
		if err := w.systemctl(ctx, "disable", "--now", w.out.Name); err != nil {
			return err
		}
	}
	if err := w.remove(path); err != nil {
		return err
	}
	if w.booted() {
		if err := w.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
		_ = w.systemctl(ctx, "reset-failed", w.out.Name) // it may not have failed, which is an error there
	}
	return nil
}

// write makes a file what it is to be, if nobody else's is there.
func (w *work) write(path, text string) error {
	have, err := os.ReadFile(path)
	t := session.Touched{Path: path, Done: "unchanged", Text: text}
	switch {
	case err == nil && string(have) == text:
		w.out.Files = append(w.out.Files, t)
		return nil
	case err == nil && !strings.Contains(string(have), marker):
		return w.notOurs(path, nil)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return w.notOurs(path, err)
	}
	t.Done, w.out.Changed = "written", true
	w.out.Files = append(w.out.Files, t)
	if w.o.DryRun {
		return nil
	}
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = replace(path, strings.NewReader(text), 0o644)
	}
	if err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot write %s: %v", path, err).WithReason("not_written")
	}
	return nil
}

func (w *work) remove(path string) error {
	w.out.Files = append(w.out.Files, session.Touched{Path: path, Done: "removed"})
	if w.o.DryRun {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fault.Wrap(err, fault.Conflict, "cannot remove %s: %v", path, err).WithReason("not_written")
	}
	return nil
}

func (w *work) ours(path string) (bool, error) {
	text, err := os.ReadFile(path)
	return strings.Contains(string(text), marker), err
}

func (w *work) exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (w *work) notOurs(path string, why error) error {
	if why != nil {
		return fault.Wrap(why, fault.Conflict, "cannot read %s: %v", path, why).WithReason("not_written")
	}
	return fault.New(fault.Conflict, "%s was not written by omnitron install; nothing was touched", path).WithReason("not_ours").WithHint("move it away, if it is not needed")
}

func (w *work) note(format string, args ...any) {
	w.out.Notes = append(w.out.Notes, fmt.Sprintf(format, args...))
}

// is asks systemctl about the unit.
func (w *work) is(ctx context.Context, what string) bool {
	if w.o.DryRun && !w.booted() {
		return false
	}
	_, err := w.Run(ctx, "", append(w.control(), what, "--quiet", w.out.Name)...)
	return err == nil
}

func (w *work) control() []string {
	if w.UID == 0 {
		return []string{"systemctl"}
	}
	return []string{"systemctl", "--user"}
}

func (w *work) systemctl(ctx context.Context, args ...string) error {
	return w.run(ctx, append(w.control(), args...)...)
}

// run does what it says, unless nothing is to be done.
func (w *work) run(ctx context.Context, argv ...string) error {
	w.out.Ran = append(w.out.Ran, argv)
	if w.o.DryRun {
		return nil
	}
	if _, err := w.Run(ctx, "", argv...); err != nil {
		f := fault.Wrap(err, fault.Failed, "%s: %v", strings.Join(argv, " "), err).WithReason("command_failed")
		switch {
		case w.UID != 0 && argv[0] == "systemctl":
			return f.WithHint("loginctl enable-linger %s        then log in anew: your services need a session of yours\nsystemctl --user status", w.User)
		case argv[0] == "systemctl":
			return f.WithHint("journalctl -u %s -n 20", w.out.Name)
		}
		return f
	}
	return nil
}
