package boot

import (
	"context"
	"time"
)

// Daemon is the one of a home on this machine, for who replaces its program.
type Daemon struct{}

// PID is the process that answers there.
func (Daemon) PID(ctx context.Context, home string) (int, error) {
	if err := ping(ctx, home); err != nil {
		return 0, err
	}
	pid, _, err := owned(home)
	return pid, err
}

// Restart has it replaced by the program as it is now; apps live on.
func (Daemon) Restart(ctx context.Context, home string) error {
	c, err := Dial(ctx, home)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(ctx, "daemon.restart", struct{}{})
	return err
}

// Hold ends it, and has nobody start it again; apps live on.
func (Daemon) Hold(ctx context.Context, home string) error {
	_, err := Kill(ctx, home)
	return err
}

// Start brings one up.
func (Daemon) Start(ctx context.Context, home string) error {
	_, err := Ensure(ctx, home)
	return err
}

// Words are the last that it said since a moment.
func (Daemon) Words(home string, since time.Time) string { return lastWords(home, since) }
