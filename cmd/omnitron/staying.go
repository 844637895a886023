package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/boot"
	"github.com/omnitron-dev/omnitron/cmd/cli/session"
	"github.com/omnitron-dev/omnitron/cmd/stay"
	"github.com/omnitron-dev/omnitron/core/fault"
)

// staying is how this program stays on this machine.
func staying() session.Staying {
	with := func(do func(stay.Machine, context.Context, string, session.InstallOptions) (session.Installed, error)) func(context.Context, string, session.InstallOptions) (session.Installed, error) {
		return func(ctx context.Context, home string, o session.InstallOptions) (session.Installed, error) {
			abs, m, err := here(home)
			if err != nil {
				return session.Installed{}, err
			}
			if !o.DryRun {
				if err := boot.Prepare(abs); err != nil {
					return session.Installed{}, err
				}
			}
			return do(m, ctx, abs, o)
		}
	}
	return session.Staying{Install: with(stay.Machine.Install), Uninstall: with(stay.Machine.Uninstall),
		Upgrade: func(ctx context.Context, home string, o session.UpgradeOptions) (session.Upgraded, error) {
			abs, m, err := here(home)
			if err != nil {
				return session.Upgraded{}, err
			}
			return m.Upgrade(ctx, abs, boot.Daemon{}, o)
		}}
}

// here is this machine, and a home on it.
func here(home string) (string, stay.Machine, error) {
	abs, err := boot.Home(home)
	if err != nil {
		return "", stay.Machine{}, err
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", stay.Machine{}, fault.Wrap(err, fault.Conflict, "this program was replaced or removed while it ran: %v", err).WithReason("bad_binary")
	}
	if err != nil {
		return "", stay.Machine{}, fmt.Errorf("cannot find our own program: %w", err)
	}
	m := stay.Machine{Root: "/", UID: os.Geteuid(), User: boot.Owner(), UserHome: os.Getenv("HOME"), Executable: exe, Getenv: os.Getenv, Run: runHere, Ensure: boot.Ensure, Gone: boot.Gone}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		m.UserHome = u.HomeDir
	}
	m.Find = func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	}
	return abs, m, nil
}

// runHere runs a program; what it says on standard error is its error. A user's systemd is found also where no session says
// where it is.
func runHere(ctx context.Context, stdin string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	if os.Getenv("XDG_RUNTIME_DIR") == "" {
		cmd.Env = append(cmd.Env, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Geteuid()))
	}
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(errs.String()); said != "" {
			return out.String(), fmt.Errorf("%w: %s", err, said)
		}
		return out.String(), err
	}
	return out.String(), nil
}
