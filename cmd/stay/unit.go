// Package stay makes a daemon come back after a reboot, by systemd or cron, and replaces the program by a newer one while
// what it runs goes on.
package stay

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper"
)

// marker stands in every file that is written here, and in no other: only such a file is changed or removed.
const marker = "Written by omnitron install"

// Machine is what is done things to, and who does them.
type Machine struct {
	Root       string // "/"; another folder in tests
	UID        int
	User       string // name
	UserHome   string // folder
	Executable string // absolute
	Getenv     func(string) string

	// Run runs a program and gives what it prints, on standard output alone. stdin may be empty.
	Run func(ctx context.Context, stdin string, argv ...string) (string, error)
	// Find finds a program, as the shell does.
	Find func(name string) bool
	// Ensure starts the daemon of a home when there is none.
	Ensure func(ctx context.Context, home string) (bool, error)
	// Gone waits until daemon and keeper of a home have ended.
	Gone func(ctx context.Context, home string) error
}

func (m Machine) path(elem ...string) string {
	return filepath.Join(append([]string{m.Root}, elem...)...)
}

func (m Machine) has(elem ...string) bool {
	_, err := os.Lstat(m.path(elem...))
	return err == nil
}

// scope is system for root, else user.
func (m Machine) scope() string {
	if m.UID == 0 {
		return "system"
	}
	return "user"
}

// booted reports whether systemd runs here, as sd_booted does.
func (m Machine) booted() bool { return m.has("run", "systemd", "system") }

// unitName is the name of a home's unit. The usual home's is what everybody types.
func (m Machine) unitName(home string) string {
	if home == filepath.Join(m.UserHome, ".omnitron") {
		return "omnitron.service"
	}
	return "omnitron-" + keeper.HomeID(home) + ".service"
}

// unitDir is where units of ours go.
func (m Machine) unitDir() string {
	if m.UID == 0 {
		return m.path("etc", "systemd", "system")
	}
	if dir := m.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "systemd", "user")
	}
	return m.path(m.UserHome, ".config", "systemd", "user")
}

// Unit is the text of the unit that runs the daemon of a home.
//
// The keeper is the main process, and everything that it runs is in the unit's group. So only the keeper is told to end, and
// ends the rest in order (KillMode); what one app does to its memory is no reason to stop the others (OOMPolicy); and
// there is no ExecStop, because a shutdown is remembered and would keep everything down after the next boot.
func Unit(scope, exe, home, userHome string) string {
	target, after := "default.target", ""
	env := ""
	if scope == "system" {
		target, after = "multi-user.target", "After=network.target\n"
		env = "Environment=" + quote("HOME="+userHome) + "\n"
	}
	return fmt.Sprintf(`# %s; omnitron uninstall removes it.
[Unit]
Description=Omnitron, which runs the apps in %s
Documentation=man:omnitron(1)
%sStartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
ExecStart=%s daemon run --home %s
ExecReload=%[4]s daemon reload --home %[5]s
%sKillMode=process
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
Restart=always
RestartSec=1
TimeoutStartSec=180
TimeoutStopSec=600
# Nothing is closed off here: whatever the daemon may not, no app of it may.

[Install]
WantedBy=%s
`, marker, escape(home), after, quote(exe), quote(home), env, target)
}

// quote writes a word as systemd reads it: blanks, quotes and backslashes are its own, and so are % and $.
func quote(s string) string {
	s = escape(s)
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", "$$").Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") {
		return `"` + s + `"`
	}
	return s
}

func escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// writable refuses what a line of a unit or a crontab cannot hold. Fault: invalid (bad_value).
func writable(words ...string) error {
	for _, w := range words {
		if strings.ContainsAny(w, "\n\r\x00") {
			return fault.New(fault.Invalid, "%q cannot stand in a unit: it has a line break", w).WithReason("bad_value")
		}
	}
	return nil
}
