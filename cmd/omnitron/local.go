package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/proc"
	daemonservice "github.com/omnitron-dev/omnitron/core/services/daemon"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/bridge"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// startTimeout is how long a daemon may take to answer.
const startTimeout = 20 * time.Second

// environment is what the command line runs in.
func environment() cli.Env {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Environ: os.Environ, Dir: dir, Executable: exe, Version: about(),
		Dial: dial, EnsureDaemon: ensure, Gone: gone, Kill: kill, MCP: speakMCP, Demo: demo, Doctor: examine,
		Config: cli.Config{References: config.References, Resolve: resolve, Schema: func() (json.RawMessage, error) { return config.Schema(), nil }},
		Local: []cli.Local{
			{Path: []string{"daemon", "run"}, Short: "Run the daemon and its keeper in the foreground, for systemd and containers",
				Run: func(_ context.Context, home string, _ *cobra.Command, _ []string) error { return runDaemon(home) }},
			{Path: []string{"demo", "program"}, Short: "One of the programs of the sample project", Args: "NAME", Hidden: true,
				Run: func(ctx context.Context, _ string, _ *cobra.Command, args []string) error {
					return program(ctx, args[0])
				}},
		},
	}
}

func about() cli.Version {
	v := cli.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.time":
				v.Built = s.Value
			}
		}
	}
	return v
}

func resolve(src config.Source) (json.RawMessage, []config.Warning, error) {
	def, warnings, err := config.Load(src)
	if err != nil {
		return nil, warnings, err
	}
	text, err := json.Marshal(config.Mask(def))
	return text, warnings, err
}

// examine is the doctor of a home without a daemon.
func examine(_ context.Context, home string) (json.RawMessage, error) {
	abs, err := homeOf(home)
	if err != nil {
		return nil, err
	}
	return json.Marshal(daemonservice.WithoutDaemon(abs))
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

func dial(ctx context.Context, home string) (cli.Client, error) {
	home, err := homeOf(home)
	if err != nil {
		return nil, err
	}
	c, err := wire.Dial(ctx, "unix", filepath.Join(home, "daemon.sock"))
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// ensure starts the daemon when there is none, and returns when it answers.
func ensure(ctx context.Context, home string) (bool, error) {
	if answers(ctx, home) == nil {
		return false, nil
	}
	abs, err := homeOf(home)
	if err != nil {
		return false, err
	}
	if err := wire.CheckSocketPath(filepath.Join(abs, "daemon.sock")); err != nil {
		return false, err
	}
	if err := prepareHome(abs); err != nil {
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
	up := false
	_ = until(ctx, 5*time.Millisecond, func() bool { // up says how it ended
		var status unix.WaitStatus
		if keeper != 0 {
			if pid, _ := unix.Wait4(keeper, &status, unix.WNOHANG, nil); pid == keeper { // it gave up: the log says why
				keeper = 0
				up = answers(ctx, home) == nil
				return true
			}
		}
		up = answers(ctx, home) == nil
		return up
	})
	if !up {
		return false, fault.New(fault.Unavailable, "the daemon does not come up: %s", lastWords(abs, began)).WithReason("daemon_not_up").
			WithHint("tail %s", filepath.Join(abs, "logs", "daemon.log"))
	}
	return true, nil
}

func answers(ctx context.Context, home string) error {
	c, err := dial(ctx, home)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Call(ctx, "daemon.ping", struct{}{})
	return err
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
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("cannot start the keeper: %w", err)
	}
	return cmd.Process.Pid, nil
}

// lastWords is why a daemon that was started at a moment does not run, as the logs have it.
func lastWords(home string, since time.Time) string {
	for _, name := range []string{"daemon.log", "keeper.log"} {
		data, err := os.ReadFile(filepath.Join(home, "logs", name))
		if err != nil {
			continue
		}
		for _, line := range slices.Backward(bytes.Split(data, []byte("\n"))) {
			var l struct {
				Time            time.Time
				Level, Msg, Err string
			}
			if err := json.Unmarshal(line, &l); err != nil {
				if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
					return string(line)
				}
				continue
			}
			if l.Time.Before(since) {
				break
			}
			if strings.EqualFold(l.Level, "error") {
				return cmp.Or(strings.ReplaceAll(l.Err, "\n\n", "\n"), l.Msg)
			}
		}
	}
	return "it does not say why"
}

// runDaemon becomes the keeper: the same process, so that whoever started us sees it end.
func runDaemon(home string) error {
	abs, err := homeOf(home)
	if err != nil {
		return err
	}
	if err := prepareHome(abs); err != nil {
		return err
	}
	path, args, err := keeperCommand(abs)
	if err != nil {
		return err
	}
	if _, held, err := owned(abs); err != nil {
		return err
	} else if held {
		args = append(args, "--takeover")
	}
	return fmt.Errorf("cannot become the keeper: %w", unix.Exec(path, append([]string{"omnitron-keeper"}, args...), os.Environ()))
}

// gone returns when daemon and keeper have ended.
func gone(ctx context.Context, home string) error {
	abs, err := homeOf(home)
	if err != nil {
		return err
	}
	return until(ctx, 10*time.Millisecond, func() bool {
		_, held, err := owned(abs)
		return err == nil && !held && !lockedBy(filepath.Join(abs, "keeper.lock"))
	})
}

// lockedBy reports whether somebody holds a lock file.
func lockedBy(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// kill ends the daemon by force, and the keeper does not start it again. Apps live on.
func kill(ctx context.Context, home string) (cli.Killed, error) {
	abs, err := homeOf(home)
	if err != nil {
		return cli.Killed{}, err
	}
	pid, held, err := owned(abs)
	if err != nil || !held {
		return cli.Killed{}, err
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

// speakMCP serves MCP on standard input and output. Nothing else may write there: the real output is put aside first.
func speakMCP(ctx context.Context, home string, l cli.Launch) error {
	out, err := unix.Dup(1)
	if err != nil {
		return fmt.Errorf("cannot keep standard output: %w", err)
	}
	unix.CloseOnExec(out)
	if err := unix.Dup2(2, 1); err != nil {
		return fmt.Errorf("cannot set standard output aside: %w", err)
	}
	abs, err := homeOf(home)
	if err != nil {
		return err
	}
	d := bridge.Daemon{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(abs, "daemon.sock"))
		},
		Ensure: func(ctx context.Context) error { _, err := ensure(ctx, home); return err },
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return bridge.Run(ctx, os.Stdin, os.NewFile(uintptr(out), "stdout"), d, mcp.Launch{Role: l.Role, Profile: l.Profile, Toolsets: l.Toolsets, ReadOnly: l.ReadOnly}, log)
}
