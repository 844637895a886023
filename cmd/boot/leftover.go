package boot

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// leftBehind reports whether programs may live on in a home that has neither daemon nor keeper: both were killed, or the
// machine went down. The keeper's record goes away with its orderly end.
func leftBehind(home string) bool {
	_, err := os.Lstat(filepath.Join(home, "keeper.json"))
	return err == nil && !lockedBy(filepath.Join(home, "keeper.lock"))
}

// Sweep ends what lives on of a home whose daemon and keeper are both gone, and marks the home as down, without starting
// anything. It reports whether there was something to look for. Faults: conflict (home_taken: a daemon was faster),
// internal (state_not_durable), failed (left_behind).
func Sweep(ctx context.Context, home string) (bool, error) {
	abs, err := Home(home)
	if err != nil || !leftBehind(abs) {
		return false, err
	}
	l, err := Take(abs) // no daemon may come in between
	if err != nil {
		return false, err
	}
	defer l.Release()
	if err := markDown(ctx, filepath.Join(abs, "state.json")); err != nil {
		return false, err
	}
	path, args, err := keeperCommand(abs)
	if err != nil {
		return false, err
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--sweep")...)
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		return false, fault.Wrap(err, fault.Failed, "cannot end what the last keeper left behind: %v\n%s", err, out).WithReason("left_behind").WithHint("omnitron doctor")
	}
	return true, nil
}

// markDown notes in a state that nobody has open that the home is down.
func markDown(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err != nil {
		return nil // no daemon would start anything
	}
	state, err := store.OpenState(path, store.OS, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return state.Put(ctx, func(st *store.State) error { st.HomeDown = true; return nil })
}
