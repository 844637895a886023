package stay

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// desk is a machine in a folder, whose programs only note that they were run.
type desk struct {
	Machine
	ran    []string
	yes    []string // what systemctl says yes to
	tab    *string  // crontab; nil: there is none
	denied string   // what fails
}

func newDesk(t *testing.T, uid int, systemd bool) *desk {
	t.Helper()
	d := &desk{}
	d.Machine = Machine{Root: t.TempDir(), UID: uid, User: "ann", UserHome: "/home/ann", Executable: "/opt/omni tron/bin/omnitron", Getenv: func(string) string { return "" },
		Find: func(name string) bool { return name == "crontab" && !systemd }, Run: d.run, Ensure: func(context.Context, string) (bool, error) { d.ran = append(d.ran, "ensure"); return true, nil }}
	if systemd {
		if err := os.MkdirAll(d.path("run", "systemd", "system"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (d *desk) run(_ context.Context, stdin string, argv ...string) (string, error) {
	line := strings.Join(argv, " ")
	switch {
	case d.denied != "" && strings.Contains(line, d.denied):
		return "", errors.New("exit status 1: no")
	case strings.Contains(line, "--quiet"):
		if !slices.Contains(d.yes, line) {
			return "", errors.New("exit status 3")
		}
		return "", nil
	case line == "crontab -l":
		if d.tab == nil {
			return "", errors.New("exit status 1: no crontab for ann")
		}
		return *d.tab, nil
	case line == "crontab -":
		d.tab = &stdin
	case line == "crontab -r":
		d.tab = nil
	}
	d.ran = append(d.ran, line)
	return "", nil
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

// TestUnit: the words that decide whether apps outlive their keeper.
func TestUnit(t *testing.T) {
	text := Unit("system", "/opt/omni tron/$x/omnitron", "/srv/100%", "/root")
	for _, want := range []string{"Type=notify\n", "NotifyAccess=all\n", "KillMode=process\n", "Delegate=yes\n", "OOMPolicy=continue\n", "Restart=always\n", "StartLimitIntervalSec=0\n",
		`ExecStart="/opt/omni tron/$$x/omnitron" daemon run --home /srv/100%%` + "\n", "WantedBy=multi-user.target\n", "Environment=HOME=/root\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "ExecStop") {
		t.Error("a shutdown marks the home as down")
	}
	if user := Unit("user", "/o", "/h", "/h"); !strings.Contains(user, "WantedBy=default.target") || strings.Contains(user, "Environment=") {
		t.Errorf("of a user:\n%s", user)
	}
}

func TestInstallUnit(t *testing.T) {
	d := newDesk(t, 0, true)
	ctx, home := t.Context(), "/home/ann/.omnitron"
	path := filepath.Join(d.Root, "etc/systemd/system/omnitron.service")
	if out, err := d.Install(ctx, home, session.InstallOptions{DryRun: true}); err != nil || !out.Changed || len(d.ran) != 0 || d.has("etc") || len(out.Ran) != 3 || out.Files[0].Done != "written" {
		t.Errorf("dry: %+v, %v, ran %q", out, err, d.ran)
	}
	out, err := d.Install(ctx, home, session.InstallOptions{})
	if err != nil || !out.Changed || strings.Join(d.ran, "; ") != "systemctl daemon-reload; systemctl enable omnitron.service; systemctl start omnitron.service" {
		t.Errorf("%+v, %v, ran %q", out, err, d.ran)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != Unit("system", d.Executable, home, "/home/ann") {
		t.Errorf("%v\n%s", err, text)
	}
	d.ran, d.yes = nil, []string{"systemctl is-enabled --quiet omnitron.service", "systemctl is-active --quiet omnitron.service"}
	if out, err := d.Install(ctx, home, session.InstallOptions{}); err != nil || out.Changed || len(d.ran) != 0 || out.Files[0].Done != "unchanged" {
		t.Errorf("again: %+v, %v, ran %q", out, err, d.ran)
	}
	d.Executable = "/usr/local/bin/omnitron"
	if out, err := d.Install(ctx, home, session.InstallOptions{}); err != nil || !out.Changed || strings.Join(d.ran, "; ") != "systemctl daemon-reload" || len(out.Notes) != 1 {
		t.Errorf("another program while it runs: %+v, %v, ran %q", out, err, d.ran)
	}
	d.ran, d.denied = nil, "disable"
	if _, err := d.Uninstall(ctx, home, session.InstallOptions{}); reason(err) != "command_failed" || !there(path) {
		t.Errorf("%v", err)
	}
	d.denied = ""
	if out, err := d.Uninstall(ctx, home, session.InstallOptions{}); err != nil || !out.Changed || there(path) || d.ran[0] != "systemctl disable --now omnitron.service" {
		t.Errorf("%+v, %v, ran %q", out, err, d.ran)
	}
	d.ran = nil
	if out, err := d.Uninstall(ctx, home, session.InstallOptions{}); err != nil || out.Changed || len(d.ran) != 0 {
		t.Errorf("again: %+v, %v, ran %q", out, err, d.ran)
	}
}

// TestOthersFiles: what somebody else has written is not touched.
func TestOthersFiles(t *testing.T) {
	d := newDesk(t, 1000, true)
	home := "/srv/other"
	name := d.unitName(home)
	path := filepath.Join(d.Root, "home/ann/.config/systemd/user", name)
	if name == "omnitron.service" || filepath.Dir(path) != d.unitDir() {
		t.Errorf("%s, %s", name, d.unitDir())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("[Service]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func(context.Context, string, session.InstallOptions) (session.Installed, error){"install": d.Install, "uninstall": d.Uninstall} {
		if _, err := do(t.Context(), home, session.InstallOptions{}); reason(err) != "not_ours" || len(d.ran) != 0 {
			t.Errorf("%s: %v, ran %q", what, err, d.ran)
		}
	}
	if _, err := d.Install(t.Context(), "/a\nExecStart=/bin/evil", session.InstallOptions{}); reason(err) != "bad_value" {
		t.Errorf("a line break: %v", err)
	}
}

func TestUserUnit(t *testing.T) {
	d := newDesk(t, 1000, true)
	home := "/home/ann/.omnitron"
	out, err := d.Install(t.Context(), home, session.InstallOptions{NoStart: true})
	if err != nil || len(out.Notes) != 1 || strings.Join(d.ran, "; ") != "systemctl --user daemon-reload; systemctl --user enable omnitron.service" {
		t.Errorf("%+v, %v, ran %q", out, err, d.ran)
	}
	d.ran = nil
	if out, err := d.Install(t.Context(), home, session.InstallOptions{Linger: true}); err != nil || d.ran[0] != "loginctl enable-linger ann" || len(out.Notes) != 0 {
		t.Errorf("%+v, %v, ran %q", out, err, d.ran)
	}
}

func TestCron(t *testing.T) {
	d := newDesk(t, 1000, false)
	ctx, home := t.Context(), "/home/ann/.omnitron"
	before := "5 4 * * * backup\n"
	d.tab = &before
	line := `@reboot exec '/opt/omni tron/bin/omnitron' daemon run --home '/home/ann/.omnitron' >>'/home/ann/.omnitron'/logs/keeper.log 2>&1 # ` + marker + ` omnitron`
	if out, err := d.Install(ctx, home, session.InstallOptions{}); err != nil || out.Manager != "cron" || !out.Changed || *d.tab != before+line+"\n" || d.ran[1] != "ensure" {
		t.Errorf("%+v, %v, %q, ran %q", out, err, *d.tab, d.ran)
	}
	if out, err := d.Install(ctx, home, session.InstallOptions{NoStart: true}); err != nil || out.Changed || *d.tab != before+line+"\n" {
		t.Errorf("again: %+v, %v, %q", out, err, *d.tab)
	}
	d.Executable = "/usr/bin/omnitron"
	if out, err := d.Install(ctx, home, session.InstallOptions{NoStart: true}); err != nil || !out.Changed || strings.Count(*d.tab, "@reboot") != 1 || !strings.Contains(*d.tab, "'/usr/bin/omnitron'") {
		t.Errorf("another program: %+v, %v, %q", out, err, *d.tab)
	}
	if _, err := d.Install(ctx, "/srv/100%", session.InstallOptions{NoStart: true}); err != nil || !strings.Contains(*d.tab, `'/srv/100\%'`) || strings.Count(*d.tab, "@reboot") != 2 {
		t.Errorf("another home: %v, %q", err, *d.tab)
	}
	for _, h := range []string{home, "/srv/100%"} {
		if out, err := d.Uninstall(ctx, h, session.InstallOptions{}); err != nil || !out.Changed {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if *d.tab != before {
		t.Errorf("left: %q", *d.tab)
	}
	d.tab = nil
	if out, err := d.Uninstall(ctx, home, session.InstallOptions{}); err != nil || out.Changed {
		t.Errorf("none: %+v, %v", out, err)
	}
	d.denied = "crontab -l"
	if _, err := d.Install(ctx, home, session.InstallOptions{}); reason(err) != "command_failed" {
		t.Errorf("%v", err)
	}
	d.Find = func(string) bool { return false }
	if _, err := d.Install(ctx, home, session.InstallOptions{}); reason(err) != "no_init" {
		t.Errorf("nothing is here: %v", err)
	}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// none is a home without a daemon.
type none struct{ Daemon }

func (none) PID(context.Context, string) (int, error) { return 0, fault.New(fault.Unavailable, "none") }

// TestUpgradeChecks: what is refused leaves the installed program as it is, and nothing beside it.
func TestUpgradeChecks(t *testing.T) {
	d := newDesk(t, 1000, true)
	dir := t.TempDir()
	installed, next := filepath.Join(dir, "bin", "omnitron"), filepath.Join(dir, "next")
	d.Run = func(ctx context.Context, _ string, argv ...string) (string, error) {
		if argv[0] == "dpkg" {
			return "", errors.New("exit status 1: no path found")
		}
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		return string(out), err
	}
	script := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	says := func(version string) string { return `echo '{"version":"` + version + `"}'` }
	script(installed, says("1"))
	old, err := sumOf(installed)
	if err != nil {
		t.Fatal(err)
	}
	o := session.UpgradeOptions{From: next, To: installed}
	refused := func(why string) {
		t.Helper()
		_, err := d.Upgrade(t.Context(), dir, none{}, o)
		now, serr := sumOf(installed)
		if files, _ := os.ReadDir(filepath.Dir(installed)); reason(err) != why || serr != nil || now != old || len(files) != 1 {
			t.Errorf("want %s: %v; %v, beside it %d files", why, err, serr, len(files))
		}
	}
	script(next, "exit 1")
	refused("no_checksum")
	o.SHA256 = old
	refused("bad_checksum")
	o.SHA256, err = sumOf(next)
	if err != nil {
		t.Fatal(err)
	}
	refused("bad_binary")
	script(next, "echo hello")
	o.SHA256, _ = sumOf(next) // a wrong one is refused as bad_checksum
	refused("bad_binary")
	script(next, says("2"))
	sum, err := sumOf(next)
	if err != nil {
		t.Fatal(err)
	}
	o.SHA256 = ""
	if err := os.WriteFile(next+".sha256", []byte(sum+"  next\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.Find = func(name string) bool { return name == "dpkg" }
	run := d.Run
	d.Run = func(ctx context.Context, stdin string, argv ...string) (string, error) {
		if argv[0] == "dpkg" {
			return "omnitron: " + installed, nil
		}
		return run(ctx, stdin, argv...)
	}
	refused("packaged")
	d.Run = run
	o.DryRun = true
	refused("")
	o.DryRun = false
	out, err := d.Upgrade(t.Context(), dir, none{}, o)
	if err != nil || out != (session.Upgraded{Path: installed, From: "1", To: "2", SHA256: sum, Changed: true, Daemon: "none"}) {
		t.Errorf("%+v, %v", out, err)
	}
	if now, err := sumOf(installed); err != nil || now != sum {
		t.Errorf("%s, %v", now, err)
	}
	if out, err := d.Upgrade(t.Context(), dir, none{}, o); err != nil || out.Changed {
		t.Errorf("again: %+v, %v", out, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(installed)); len(files) != 1 {
		t.Errorf("left beside it: %v", files)
	}
}

// TestRestore: only what was copied since the upgrade began is put back, without what belongs to the newer one.
func TestRestore(t *testing.T) {
	home := t.TempDir()
	db := filepath.Join(home, "omnitron.db")
	write := func(name, text string, at time.Time) {
		t.Helper()
		err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600)
		if err == nil {
			err = os.Chtimes(filepath.Join(home, name), at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	write("omnitron.db", "new", began)
	write("omnitron.db-wal", "newer", began)
	write("omnitron.db.v1", "long ago", began.Add(-time.Hour))
	if err := restore(home, began); err != nil || !there(db+"-wal") {
		t.Errorf("nothing was migrated: %v", err)
	}
	write("omnitron.db.v2", "before", began.Add(time.Second))
	if err := restore(home, began); err != nil || there(db+"-wal") {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(db); err != nil || string(text) != "before" {
		t.Errorf("%q, %v", text, err)
	}
}
