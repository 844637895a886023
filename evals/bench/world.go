package main

import (
	"bytes"
	"context"
	"fmt"
	"github.com/omnitron-dev/omnitron/evals/bench/role"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// job is one program to supervise.
type job struct {
	name    string
	script  string        // for /bin/sh, without the first line
	always  bool          // started again at once, without a pause, however often; else as the supervisor does by default
	timeout time.Duration // of a stop; 0: the default
	rotate  int64         // bytes of a log file; 0: the default
	squeeze bool          // omnitron: compress rotated files, as by default
}

// contender is one supervisor in a folder of its own.
type contender interface {
	write(jobs []job) error         // configure: before up
	up(ctx context.Context) error   // start the supervisor, which starts everything; back as soon as its command is
	own() []int                     // its living processes without the programs
	main() int                      // the process that a crash of the supervisor means
	list(ctx context.Context) error // show the state of everything
	restart(ctx context.Context, names ...string) error
	stop(ctx context.Context, names ...string) error
	down(ctx context.Context) error                  // stop everything, end the supervisor
	logs(name string) string                         // the folder of its stdout's files
	stored(to io.Writer, name string) (int64, error) // everything that is stored of a job's stdout, in order
}

// maker makes a contender.
type maker struct {
	name string
	make func(w *world) contender
}

func makers(list string) (ms []maker, err error) {
	all := []maker{
		{"runit", func(w *world) contender { return &runit{world: w} }},
		{"supervisord", func(w *world) contender { return &supervisord{world: w} }},
		{"omnitron", func(w *world) contender { return &omnitron{world: w} }},
	}
	needs := map[string]string{"runit": "runsvdir", "supervisord": "supervisord"}
	for _, m := range all {
		if !contains(list, m.name) {
			continue
		}
		if n := needs[m.name]; n != "" {
			if _, err := exec.LookPath(n); err != nil {
				return nil, fmt.Errorf("%w: run make setup, or leave %s out with -peers", err, m.name)
			}
		}
		ms = append(ms, m)
	}
	if len(ms) == 0 {
		return nil, fmt.Errorf("-peers %s names nobody", list)
	}
	return ms, nil
}

func names(ms []maker) (out []string) {
	for _, m := range ms {
		out = append(out, m.name)
	}
	return out
}

// world is where one contender works on one task.
type world struct {
	*bench
	dir   string
	beats *role.Beats
	super contender

	floors int // servers that were started to compare with
}

// in runs a task in a new world of a contender, and takes the world apart afterwards.
func (b *bench) in(ctx context.Context, m maker, jobs func(w *world) []job, task func(ctx context.Context, w *world) error) (err error) {
	b.seq++
	w := &world{bench: b, dir: filepath.Join(b.dir, fmt.Sprintf("%s%d", m.name[:1], b.seq))}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		return err
	}
	if w.beats, err = role.Listen(filepath.Join(w.dir, "beats")); err != nil {
		return err
	}
	defer w.beats.Close()
	w.super = m.make(w)
	if err := w.super.write(jobs(w)); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	b.say("  %s", m.name)
	err = task(ctx, w)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if derr := w.super.down(end); derr != nil && err == nil {
		b.say("  %s: %v", m.name, derr)
	}
	_ = until(end, 10*time.Second, "it has ended", func() bool { return len(w.super.own()) == 0 }) // else Sweep ends it
	w.tree.Sweep()
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// each runs a task for every contender, one after the other.
func (b *bench) each(ctx context.Context, jobs func(w *world) []job, task func(ctx context.Context, col string, w *world) error) error {
	for _, m := range b.peers {
		err := b.in(ctx, m, jobs, func(ctx context.Context, w *world) error { return task(ctx, m.name, w) })
		if err != nil {
			return err
		}
	}
	return nil
}

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill() // gone is as good
		_ = p.Release()
	}
}

// script writes a shell script and gives its path.
func (w *world) script(name, body string) (string, error) {
	dir := filepath.Join(w.dir, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755)
}

// beat is a script that says that it is there, with its pid, and then sits.
func (w *world) beat(name string) string { return w.here(name) + "exec sleep 1000000" }

// here is the line of a script that says that it is there.
func (w *world) here(name string) string {
	return fmt.Sprintf("echo %s $$ >%s\n", name, w.beats.Path)
}

// role is a script that says that it is there and becomes a role of this program.
func (w *world) role(name, role string, args ...string) string {
	return w.here(name) + fmt.Sprintf("exec %s program %s %s %s %s", w.self, role, name, w.beats.Path, strings.Join(args, " "))
}

// command prepares a command that belongs to this run.
func (w *world) command(ctx context.Context, env []string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = w.dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "LANG=C.UTF-8"}, env...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// do runs a command to its end.
func (w *world) do(ctx context.Context, env []string, argv ...string) (string, error) {
	cmd := w.command(ctx, env, argv...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := w.tree.Start(cmd); err != nil {
		return "", err
	}
	if err := w.tree.Wait(cmd); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(out.String()+errs.String()))
	}
	return out.String(), nil
}

// server starts a command that stays, with its output in a file.
func (w *world) server(argv ...string) (*exec.Cmd, error) {
	out, err := os.OpenFile(filepath.Join(w.dir, "server.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := w.command(context.Background(), nil, argv...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, w.tree.Start(cmd)
}

func tail(s string) string { return strings.TrimSpace(s[max(0, len(s)-400):]) }

// copyFiles copies files one after the other.
func copyFiles(to io.Writer, files []string) (total int64, err error) {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return total, err
		}
		n, err := io.Copy(to, f)
		f.Close()
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

// write makes a file and the folders above it.
func write(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}
