package boot

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/proc"
	daemonservice "github.com/omnitron-dev/omnitron/core/services/daemon"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Examine is the doctor of a home whose daemon cannot be asked, and why it cannot.
func Examine(_ context.Context, home string, why error) (json.RawMessage, error) {
	abs, err := Home(home)
	if err != nil {
		return nil, err
	}
	return json.Marshal(daemonservice.WithoutDaemon(abs, lockedBy(filepath.Join(abs, "keeper.lock")), isHung(why)))
}

// client is a connection to the daemon.
type client struct{ *wire.Client }

func (c client) Call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	var out json.RawMessage
	err := c.Client.Call(ctx, method, params, &out)
	return out, err
}

func (c client) Stream(ctx context.Context, method string, params any) iter.Seq2[json.RawMessage, error] {
	return c.Client.Stream(ctx, method, params)
}

// Dial connects to the daemon of a home. Faults: invalid (no_home), those of wire.Dial.
func Dial(ctx context.Context, home string) (cli.Client, error) {
	home, err := Home(home)
	if err != nil {
		return nil, err
	}
	c, err := wire.Dial(ctx, "unix", filepath.Join(home, "daemon.sock"))
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// Gone returns when daemon and keeper have ended.
func Gone(ctx context.Context, home string) error {
	abs, err := Home(home)
	if err != nil {
		return err
	}
	return until(ctx, 10*time.Millisecond, func() bool {
		_, held, err := owned(abs)
		return err == nil && !held && !lockedBy(filepath.Join(abs, "keeper.lock"))
	})
}

// Held reports whether the keeper lives on without its daemon, and was told to leave it so.
func Held(ctx context.Context, home string) bool {
	abs, err := Home(home)
	if err != nil {
		return false
	}
	k, err := proc.Look(ctx, proc.Socket(abs))
	return err == nil && k.Held
}

// lockedBy reports whether somebody holds a lock file.
func lockedBy(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// Kill ends the daemon by force, and the keeper does not start it again. Apps live on.
func Kill(ctx context.Context, home string) (cli.Killed, error) {
	abs, err := Home(home)
	if err != nil {
		return cli.Killed{}, err
	}
	var pid int
	var held bool
	within, cancel := context.WithTimeout(ctx, 2*time.Second) // it says who it is right after it has the lock
	defer cancel()
	_ = until(within, 5*time.Millisecond, func() bool { pid, held, err = owned(abs); return err != nil || !held || pid != 0 }) // what was seen last counts
	switch {
	case err != nil || !held:
		return cli.Killed{}, err
	case pid == 0:
		return cli.Killed{}, fault.New(fault.Conflict, "a daemon has %s and does not say who it is", abs).WithReason("daemon_unknown").WithHint("omnitron doctor")
	}
	if err := proc.HoldDaemon(ctx, proc.Socket(abs), true, false); err != nil && !fault.Is(err, fault.Unavailable) {
		return cli.Killed{}, err
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return cli.Killed{}, fault.Wrap(err, fault.Conflict, "the daemon (pid %d) cannot be reached: %v", pid, err).WithReason("daemon_gone")
	}
	defer unix.Close(fd)
	// The pidfd is held: if the lock is still owned under this pid now, the pidfd is the daemon's and nobody else's.
	if now, held, err := owned(abs); err != nil || !held || now != pid {
		return cli.Killed{}, fault.New(fault.Conflict, "the daemon changed while it was looked at").WithReason("daemon_gone").WithHint("omnitron kill")
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return cli.Killed{}, fault.Wrap(err, fault.Denied, "cannot kill the daemon (pid %d): %v", pid, err)
	}
	err = until(ctx, 5*time.Millisecond, func() bool { _, held, err := owned(abs); return err == nil && !held })
	return cli.Killed{Was: true, PID: pid}, err
}
