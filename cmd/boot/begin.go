// Package boot is what is done to a home from outside: who has it, how its daemon is begun, reached, ended, and what is left of one
// that was killed.
package boot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/cmd/cli/field"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// startTimeout is how long a daemon may take to answer.
const startTimeout = 20 * time.Second

// Ensure starts the daemon when there is none, and returns when it answers.
func Ensure(ctx context.Context, home string) (bool, error) {
	if err := ping(ctx, home); err == nil || isHung(err) {
		return false, err
	}
	abs, err := Home(home)
	if err != nil {
		return false, err
	}
	if err := wire.CheckSocketPath(filepath.Join(abs, "daemon.sock")); err != nil {
		return false, err
	}
	if err := Prepare(abs); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	_, held, err := owned(abs)
	if err != nil {
		return false, err
	}
	keeper, began := 0, time.Now()
	switch {
	case held: // it is coming up, or busy
	case proc.HoldDaemon(ctx, proc.Socket(abs), false, true) == nil: // a keeper whose daemon was killed
	default:
		if keeper, err = background(abs); err != nil {
			return false, err
		}
	}
	up, tries := false, 0
	_ = until(ctx, 5*time.Millisecond, func() bool { // up says how it ended
		if tries++; tries%20 == 0 && willNotRun(abs, began) {
			return true
		}
		if keeper != 0 {
			if pid, _ := unix.Wait4(keeper, nil, unix.WNOHANG, nil); pid == keeper {
				keeper = 0
				up = answers(ctx, home) == nil
				return up || !lockedBy(filepath.Join(abs, "keeper.lock")) // it gave up, unless another one was there first
			}
		}
		up = answers(ctx, home) == nil
		return up
	})
	if !up {
		words := lastWords(abs, began)
		f := fault.New(fault.Unavailable, "the daemon does not come up: %s", words).WithReason("daemon_not_up")
		switch {
		case !strings.HasPrefix(words, "config.yaml: "):
			return false, f.WithHint("tail %s", filepath.Join(abs, "logs", "daemon.log"))
		case home != "":
			return false, f.WithHint("mend the lines named, then look again with: omnitron config check --home %s", field.Quote(abs))
		}
		return false, f.WithHint("mend the lines named, then look again with: omnitron config check")
	}
	return true, nil
}

// Revive starts the daemon of a home whose keeper lives on without one.
func Revive(ctx context.Context, home string) (bool, error) {
	abs, err := Home(home)
	if err != nil || !lockedBy(filepath.Join(abs, "keeper.lock")) {
		return false, err
	}
	_, err = Ensure(ctx, home)
	return err == nil, err
}

func answers(ctx context.Context, home string) error {
	c, err := Dial(ctx, home)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(ctx, "daemon.ping", struct{}{})
	return err
}

// pingTime is how long a daemon may take to answer to a ping, which waits for nothing: one that does not is hung.
const pingTime = 5 * time.Second

// ping asks the daemon whether it is there, in bounded time. Faults: those of dial; unavailable (daemon_hung) when it is there
// and does not answer.
func ping(ctx context.Context, home string) error {
	within, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	err := answers(within, home)
	if err == nil || within.Err() == nil || ctx.Err() != nil {
		return err
	}
	abs, err := Home(home)
	if err != nil {
		return err
	}
	pid, _, err := owned(abs)
	if err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "the daemon (pid %d) does not answer", pid).WithReason("daemon_hung").
		WithHint("omnitron kill        end it; apps live on\nomnitron up        start it again")
}

func isHung(err error) bool { return err != nil && fault.From(err).Reason == "daemon_hung" }

// Hung gives the fault of a daemon that is there and does not answer, else nil.
func Hung(ctx context.Context, home string) error {
	if err := ping(ctx, home); isHung(err) {
		return err
	}
	return nil
}

// background starts the keeper in a session of its own, and the keeper the daemon. It gives the keeper's pid.
func background(home string) (int, error) {
	path, args, err := keeperCommand(home)
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(filepath.Join(home, "logs", "keeper.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fault.Wrap(err, fault.Conflict, "cannot write the keeper's log: %v", err).WithReason("home_not_made")
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = "/", out, out, config.DaemonEnv(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot start the keeper: %w", err)
	}
	return cmd.Process.Pid, nil
}

// words is what a line of a log says.
type words struct {
	Time            time.Time
	Level, Msg, Err string
}

// told gives what a log has been told since a moment, newest first. Of what is no JSON only the word of a crash is of
// interest; it has no time, and what is older than it is not looked at.
func told(path string, since time.Time) (all []words) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for _, line := range slices.Backward(bytes.Split(data, []byte("\n"))) {
		var l words
		switch err := json.Unmarshal(line, &l); {
		case err != nil && (bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: "))):
			return append(all, words{Level: "error", Msg: string(line)})
		case err != nil:
			continue
		case l.Time.Before(since):
			return all
		}
		all = append(all, l)
	}
	return all
}

// willNotRun reports whether the keeper has said since a moment that its daemon will not run.
func willNotRun(home string, since time.Time) bool {
	return slices.ContainsFunc(told(filepath.Join(home, "logs", "keeper.log"), since), func(l words) bool { return l.Msg == protocol.WillNotRun })
}

// lastWords is why a daemon that was started at a moment does not run, as the logs have it.
func lastWords(home string, since time.Time) string {
	for _, name := range []string{"daemon.log", "keeper.log"} {
		for _, l := range told(filepath.Join(home, "logs", name), since) {
			if strings.EqualFold(l.Level, "error") {
				return cmp.Or(strings.ReplaceAll(l.Err, "\n\n", "\n"), l.Msg)
			}
		}
	}
	return "it does not say why"
}

// supervised reports whether systemd started us, and waits to hear that the daemon is ready.
func supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// takeOver prepares to become the keeper in the place of one that runs: of a daemon that was started by hand, or that started
// a keeper itself when systemd's was killed. The daemon that lives has not heard of systemd, so we say that it is ready.
func takeOver(ctx context.Context, home string, held bool) error {
	if !held { // killed for good: whoever starts the service wants it
		if err := proc.HoldDaemon(ctx, proc.Socket(home), false, true); err != nil && !fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	TellSystemd(slog.Default(), systemd.SdNotifyReady)
	return nil
}

// TellSystemd says how we stand to systemd, where it asks.
func TellSystemd(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Error("cannot tell systemd", "state", state, "err", err)
	}
}

// Run becomes the keeper: the same process, so that whoever started us sees it end. systemd's takes the place of a
// keeper that runs.
//
// Faults: conflict (home_taken) where daemon or keeper run already.
func Run(ctx context.Context, home string) error {
	abs, err := Home(home)
	if err != nil {
		return err
	}
	if err := Prepare(abs); err != nil {
		return err
	}
	path, args, err := keeperCommand(abs)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, time.Second) // one that is just ending is waited for
	defer cancel()
	free := false
	_ = until(within, 10*time.Millisecond, func() bool { // free says how it ended
		free = !lockedBy(filepath.Join(abs, "keeper.lock"))
		return free || answers(within, home) == nil
	})
	pid, held, err := owned(abs)
	switch {
	case err != nil:
		return err
	case supervised() && (!free || held):
		if err := takeOver(ctx, abs, held); err != nil {
			return err
		}
		args = append(args, "--takeover")
	case !free && held:
		return fault.New(fault.Conflict, "a daemon (pid %d) runs in %s already", pid, abs).WithReason("home_taken").WithHint("omnitron status")
	case !free:
		return fault.New(fault.Conflict, "a keeper whose daemon is down has %s", abs).WithReason("home_taken").WithHint("omnitron up")
	case held: // a daemon whose keeper died: it has what runs
		args = append(args, "--takeover")
	}
	return fmt.Errorf("cannot become the keeper: %w", unix.Exec(path, append([]string{"omnitron-keeper"}, args...), os.Environ()))
}
