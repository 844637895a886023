package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/evals/descent"
	"github.com/omnitron-dev/omnitron/evals/rig"
)

// runit is Debian's runit: a runsv and a svlogd for each job.
type runit struct {
	*world
	jobs []job
	cmd  *exec.Cmd
}

func (r *runit) services() string           { return filepath.Join(r.dir, "sv") }
func (r *runit) logs(name string) string    { return filepath.Join(r.dir, "log", name) }
func (r *runit) own() []int                 { return descent.Named("runsvdir", "runsv", "svlogd") }
func (r *runit) main() int                  { return r.cmd.Process.Pid }
func (r *runit) service(name string) string { return filepath.Join(r.services(), name) }

func (r *runit) write(jobs []job) error {
	r.jobs = jobs
	for _, j := range jobs {
		rotate := j.rotate
		if rotate == 0 {
			rotate = 50_000_000
		}
		for path, text := range map[string]string{
			filepath.Join(r.service(j.name), "run"):        "#!/bin/sh\n" + j.script + "\n",
			filepath.Join(r.service(j.name), "log", "run"): "#!/bin/sh\nexec svlogd " + r.logs(j.name) + "\n",
			filepath.Join(r.logs(j.name), "config"):        fmt.Sprintf("s%d\nn50\n", rotate),
		} {
			if err := write(path, text, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runit) up(context.Context) (err error) {
	r.cmd, err = r.server("runsvdir", r.services())
	return err
}

func (r *runit) sv(ctx context.Context, args []string, names ...string) error {
	argv := append([]string{"sv"}, args...)
	for _, n := range names {
		argv = append(argv, r.service(n))
	}
	_, err := r.do(ctx, nil, argv...)
	return err
}

func (r *runit) all() (names []string) {
	for _, j := range r.jobs {
		names = append(names, j.name)
	}
	return names
}

func (r *runit) list(ctx context.Context) error { return r.sv(ctx, []string{"status"}, r.all()...) }

func (r *runit) restart(ctx context.Context, names ...string) error {
	return r.sv(ctx, []string{"restart"}, names...)
}

func (r *runit) stop(ctx context.Context, names ...string) error {
	for _, j := range r.jobs {
		if j.name == names[0] && j.timeout > 0 { // -w is how long it waits before it kills
			return r.sv(ctx, []string{"-w", fmt.Sprint(int(j.timeout / time.Second)), "force-stop"}, names...)
		}
	}
	return r.sv(ctx, []string{"force-stop"}, names...)
}

func (r *runit) down(ctx context.Context) error {
	err := r.sv(ctx, []string{"-w", "2", "force-shutdown"}, r.all()...)
	if r.cmd != nil {
		_ = r.cmd.Process.Signal(syscall.SIGHUP) // it may have been killed
		if werr := r.tree.Wait(r.cmd); werr != nil && r.cmd.ProcessState == nil {
			return werr
		}
	}
	return err
}

func (r *runit) stored(to io.Writer, name string) (int64, error) {
	files, err := filepath.Glob(filepath.Join(r.logs(name), "@*"))
	if err != nil {
		return 0, err
	}
	slices.Sort(files)
	return copyFiles(to, append(files, filepath.Join(r.logs(name), "current")))
}

// supervisord is Debian's supervisor.
type supervisord struct {
	*world
	jobs []job
	cmd  *exec.Cmd
}

func (s *supervisord) conf() string            { return filepath.Join(s.dir, "supervisord.conf") }
func (s *supervisord) logs(name string) string { return filepath.Join(s.dir, "log", name) }
func (s *supervisord) own() []int              { return descent.Named("supervisord") }
func (s *supervisord) main() int               { return s.cmd.Process.Pid }

func (s *supervisord) write(jobs []job) error {
	s.jobs = jobs
	var t strings.Builder
	fmt.Fprintf(&t, "[supervisord]\nlogfile=%[1]s/supervisord.log\npidfile=%[1]s/pid\nchildlogdir=%[1]s\n"+
		"[unix_http_server]\nfile=%[1]s/sock\n[supervisorctl]\nserverurl=unix://%[1]s/sock\n"+
		"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n", s.dir)
	for _, j := range jobs {
		path, err := s.script(j.name, j.script)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(s.logs(j.name), 0o755); err != nil {
			return err
		}
		fmt.Fprintf(&t, "[program:%s]\ncommand=%s\nstopasgroup=true\nkillasgroup=true\nstdout_logfile=%s/out.log\nstdout_logfile_backups=50\n", j.name, path, s.logs(j.name))
		if j.always {
			fmt.Fprint(&t, "autorestart=true\nstartsecs=0\n")
		}
		if j.timeout > 0 {
			fmt.Fprintf(&t, "stopwaitsecs=%d\n", int(j.timeout/time.Second))
		}
		if j.rotate > 0 {
			fmt.Fprintf(&t, "stdout_logfile_maxbytes=%d\n", j.rotate)
		}
	}
	return os.WriteFile(s.conf(), []byte(t.String()), 0o600)
}

func (s *supervisord) up(context.Context) (err error) {
	s.cmd, err = s.server("supervisord", "-n", "-c", s.conf())
	return err
}

func (s *supervisord) ctl(ctx context.Context, args ...string) error {
	out, err := s.do(ctx, nil, append([]string{"supervisorctl", "-c", s.conf()}, args...)...)
	if err == nil && strings.Contains(out, "ERROR") {
		err = fmt.Errorf("supervisorctl %s: %s", strings.Join(args, " "), tail(out))
	}
	return err
}

func (s *supervisord) list(ctx context.Context) error { return s.ctl(ctx, "status") }
func (s *supervisord) restart(ctx context.Context, names ...string) error {
	return s.ctl(ctx, append([]string{"restart"}, names...)...)
}
func (s *supervisord) stop(ctx context.Context, names ...string) error {
	return s.ctl(ctx, append([]string{"stop"}, names...)...)
}

func (s *supervisord) down(context.Context) error {
	if s.cmd == nil {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have been killed
	err := s.tree.Wait(s.cmd)
	if s.cmd.ProcessState != nil {
		return nil
	}
	return err
}

func (s *supervisord) stored(to io.Writer, name string) (int64, error) {
	live := filepath.Join(s.logs(name), "out.log")
	files := []string{live}
	for n := 1; ; n++ {
		old := fmt.Sprintf("%s.%d", live, n)
		if _, err := os.Stat(old); err != nil {
			break
		}
		files = append(files, old)
	}
	slices.Reverse(files)
	return copyFiles(to, files)
}

// omnitron is us: the built binary in a home of its own.
type omnitron struct {
	*world
	more string // of config.yaml
}

func (o *omnitron) home() string  { return filepath.Join(o.dir, "h") }
func (o *omnitron) env() []string { return []string{"OMNITRON_HOME=" + o.home()} }
func (o *omnitron) logs(name string) string {
	return filepath.Join(o.home(), "logs", "bench", "dev", name)
}
func (o *omnitron) own() []int {
	return append(descent.Running("daemon", "serve"), descent.Named("omnitron-keeper")...)
}

func (o *omnitron) main() int {
	if pids := descent.Running("daemon", "serve"); len(pids) > 0 {
		return pids[0]
	}
	return 0
}

func (o *omnitron) write(jobs []job) error {
	var t strings.Builder
	t.WriteString("project: bench\napps:\n")
	for _, j := range jobs {
		path, err := o.script(j.name, j.script)
		if err != nil {
			return err
		}
		fmt.Fprintf(&t, "  - name: %s\n    command: [%s]\n    ready: {delay: 1ms}\n", j.name, path)
		if j.always {
			t.WriteString("    restart: {policy: always, maxRestarts: 1000, window: 1h, backoff: {type: fixed, initial: 0s, jitter: 0}}\n")
		}
		if j.timeout > 0 {
			fmt.Fprintf(&t, "    stop: {timeout: %s}\n", j.timeout)
		}
		compress := "none" // as the others
		if j.squeeze {
			compress = "zstd"
		}
		size := j.rotate
		if size == 0 {
			size = 50_000_000
		}
		fmt.Fprintf(&t, "    logging: {maxSize: %dB, maxFiles: 50, compress: %s}\n", size, compress)
	}
	if err := os.MkdirAll(o.home(), 0o700); err != nil {
		return err
	}
	if o.more != "" {
		if err := write(filepath.Join(o.home(), "config.yaml"), o.more, 0o600); err != nil {
			return err
		}
	}
	return write(filepath.Join(o.dir, "omnitron.yaml"), t.String(), 0o644)
}

func (o *omnitron) run(ctx context.Context, args ...string) (string, error) {
	return o.do(ctx, o.env(), append([]string{o.binary}, args...)...)
}

func (o *omnitron) up(ctx context.Context) error   { _, err := o.run(ctx, "up"); return err }
func (o *omnitron) list(ctx context.Context) error { _, err := o.run(ctx, "ls"); return err }
func (o *omnitron) down(ctx context.Context) error {
	_, err := o.run(ctx, "daemon", "shutdown")
	return err
}

func (o *omnitron) restart(ctx context.Context, names ...string) error {
	_, err := o.run(ctx, append([]string{"restart"}, names...)...)
	return err
}

func (o *omnitron) stop(ctx context.Context, names ...string) error {
	_, err := o.run(ctx, append([]string{"stop"}, names...)...)
	return err
}

func (o *omnitron) stored(to io.Writer, name string) (int64, error) {
	return rig.Stored(to, filepath.Join(o.logs(name), name+".1.out.log"))
}
