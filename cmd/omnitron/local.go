package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/cmd/boot"
	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	daemonservice "github.com/omnitron-dev/omnitron/core/services/daemon"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/bridge"
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
		Dial: boot.Dial, EnsureDaemon: boot.Ensure, Revive: boot.Revive, Sweep: boot.Sweep, Gone: boot.Gone, Held: boot.Held, Hung: boot.Hung, Kill: boot.Kill, MCP: speakMCP, Demo: demo, Doctor: boot.Examine, Exec: become, Remotes: remotes(), Staying: staying(),
		Config: cli.Config{References: config.References, Resolve: resolve, Show: showConfig, Schema: func() (json.RawMessage, error) { return config.Schema(), nil },
			Settings: func() (json.RawMessage, error) { return config.DaemonSchema(), nil }},
		Local: []cli.Local{
			{Path: []string{"daemon", "run"}, Short: "Run the daemon and its keeper in the foreground, for systemd and containers",
				Run: func(ctx context.Context, home string, _ *cobra.Command, _ []string) error {
					return boot.Run(ctx, home)
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
	var head strings.Builder
	if origins := config.Origins(src); len(origins) > 0 {
		head.WriteString("# what the files behind the first decide:\n")
		for _, line := range origins {
			head.WriteString("#   " + line + "\n")
		}
	}
	return append([]byte(head.String()), config.Show(def)...), nil
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
			_, err := boot.Ensure(ctx, home)
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
	abs, err := boot.Home(home)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return bridge.Run(ctx, os.Stdin, out, forAgent(abs), mcp.Launch{Role: l.Role, Profile: l.Profile, Toolsets: l.Toolsets, ReadOnly: l.ReadOnly, Session: rand.Text()}, log)
}
