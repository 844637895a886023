package main

import (
	"context"
	"crypto/rand"
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
		Dial: dial, EnsureDaemon: ensure, Revive: revive, Sweep: sweep, Gone: gone, Held: held, Hung: hung, Kill: kill, MCP: speakMCP, Demo: demo, Doctor: examine, Exec: become, Remotes: remotes(), Staying: staying(),
		Config: cli.Config{References: config.References, Resolve: resolve, Show: showConfig, Schema: func() (json.RawMessage, error) { return config.Schema(), nil },
			Settings: func() (json.RawMessage, error) { return config.DaemonSchema(), nil }},
		Local: []cli.Local{
			{Path: []string{"daemon", "run"}, Short: "Run the daemon and its keeper in the foreground, for systemd and containers",
				Run: func(ctx context.Context, home string, _ *cobra.Command, _ []string) error {
					return runDaemon(ctx, home)
				}},
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

// become replaces this process by a program. Faults: not_found (exec_not_found), failed (not_executable).
func become(argv, env []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fault.New(fault.NotFound, "cannot run %s: %v", argv[0], err).WithReason("exec_not_found")
	}
	return fault.New(fault.Failed, "cannot run %s: %v", path, syscall.Exec(path, argv, env)).WithReason("not_executable")
}

func resolve(src config.Source) (json.RawMessage, []config.Warning, error) {
	def, warnings, err := config.Load(src)
	if err != nil {
		return nil, warnings, err
	}
	text, err := json.Marshal(config.Mask(def))
	return text, warnings, err
}

func showConfig(src config.Source) ([]byte, error) {
	def, _, err := config.Load(src)
	if err != nil {
		return nil, err
	}
	return config.Show(def), nil
}

// examine is the doctor of a home whose daemon cannot be asked, and why it cannot.
func examine(_ context.Context, home string, why error) (json.RawMessage, error) {
	abs, err := homeOf(home)
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

// held reports whether the keeper lives on without its daemon, and was told to leave it so.
func held(ctx context.Context, home string) bool {
	abs, err := homeOf(home)
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

// kill ends the daemon by force, and the keeper does not start it again. Apps live on.
func kill(ctx context.Context, home string) (cli.Killed, error) {
	abs, err := homeOf(home)
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

// forAgent is how an agent gets at the daemon, which is started when the agent begins, and later when it has died. What a
// person took down meanwhile stays down until a person says otherwise.
func forAgent(home string) bridge.Daemon {
	begun := false // only the bridge's connecting part calls these
	return bridge.Daemon{
		Dial: func(ctx context.Context) (io.ReadWriteCloser, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(home, "daemon.sock"))
			begun = begun || err == nil
			return c, err
		},
		Ensure: func(ctx context.Context) error {
			if begun && !daemonservice.Wanted(home) {
				return fault.New(fault.Unavailable, "a person took the daemon down while this agent was connected").WithReason("taken_down").
					WithHint("ask the person to run: omnitron up")
			}
			_, err := ensure(ctx, home)
			return err
		},
	}
}

// putOutAside gives the real standard output, and makes what writes there by mistake write to standard error.
func putOutAside() (*os.File, error) {
	out, err := unix.Dup(1)
	if err != nil {
		return nil, fmt.Errorf("cannot keep standard output: %w", err)
	}
	unix.CloseOnExec(out)
	if err := unix.Dup2(2, 1); err != nil {
		return nil, fmt.Errorf("cannot set standard output aside: %w", err)
	}
	return os.NewFile(uintptr(out), "stdout"), nil
}

// speakMCP serves MCP on standard input and output. Nothing else may write there: the real output is put aside first.
func speakMCP(ctx context.Context, home string, l cli.Launch) error {
	out, err := putOutAside()
	if err != nil {
		return err
	}
	abs, err := homeOf(home)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return bridge.Run(ctx, os.Stdin, out, forAgent(abs), mcp.Launch{Role: l.Role, Profile: l.Profile, Toolsets: l.Toolsets, ReadOnly: l.ReadOnly, Session: rand.Text()}, log)
}
