package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/cmd/cli"
	"github.com/omnitron-dev/omnitron/core/fault"
)

//go:embed demo/omnitron.yaml
var demoProject string

// demo writes the sample project. Its home lies beside it, so that nothing of the person's own is touched.
func demo(_ context.Context, home string) (cli.Demo, error) {
	if home == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		home = filepath.Join(cache, "omnitron-demo", "home")
	}
	dir := filepath.Join(filepath.Dir(home), "project")
	for _, d := range []string{home, dir} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return cli.Demo{}, fault.Wrap(err, fault.Conflict, "cannot make %s: %v", d, err).WithReason("demo_not_written").WithHint("set HOME or --home to a folder that can be written")
		}
	}
	file := filepath.Join(dir, "omnitron.yaml")
	exe, err := os.Executable()
	if err != nil {
		return cli.Demo{}, fmt.Errorf("cannot find our own program: %w", err)
	}
	quoted := strings.NewReplacer(`\\`, `\\\\`, `"`, `\\"`, "$", "$$").Replace(exe)
	text := strings.ReplaceAll(demoProject, "@omnitron@", quoted)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return cli.Demo{}, fault.Wrap(err, fault.Conflict, "cannot write %s: %v", file, err).WithReason("demo_not_written")
	}
	return cli.Demo{Home: home, Dir: dir}, nil
}

// program is one of the sample project's programs.
func program(ctx context.Context, name string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch name {
	case "api":
		return serveSample(ctx)
	case "worker":
		return beat(ctx, time.Second, func(n int) string { return fmt.Sprintf("level=info msg=\"job done\" job=%d", n) })
	case "web":
		return beat(ctx, 2*time.Second, func(n int) string {
			return fmt.Sprintf(`{"level":"info","msg":"request served","instance":%q,"request":%d}`, os.Getenv("OMNITRON_INSTANCE"), n)
		})
	case "queue":
		return beat(ctx, 3*time.Second, func(n int) string { return fmt.Sprintf("INFO queue length %d", n%7) })
	case "migrate":
		fmt.Println("applied 3 migrations")
		return nil
	case "mailer":
		fmt.Fprintln(os.Stderr, "FATAL SMTP_URL is not set")
		os.Exit(1)
	}
	return fault.New(fault.Invalid, "the demo has no program %q", name).WithCandidates("api", "worker", "web", "queue", "migrate", "mailer")
}

// beat prints a line now and every interval until ctx ends.
func beat(ctx context.Context, every time.Duration, line func(n int) string) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		fmt.Println(line(n))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// serveSample is the sample project's HTTP server.
func serveSample(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("level=info msg=request path=%q\n", r.URL.Path)
		fmt.Fprintln(w, "hello from the omnitron demo")
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	fmt.Printf("level=info msg=listening addr=%s\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
