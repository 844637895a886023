// Package errand runs short programs beside an instance: same user, folder and environment, in a cgroup of their own, and
// nothing of them is left when they end or are given up. Exec probes are such, and hooks.
package errand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
)

// killTimeout is how long SIGKILL may take before nobody waits for the end any more.
const killTimeout = 5 * time.Second

// output is how much of an errand's output is looked at.
const output = 4 << 10

// The kinds of errands, as the keeper knows them.
const (
	probe = "probe"
	hook  = "hook"
)

// keeper is the part of *proc.Keeper that starts programs.
type keeper interface {
	Spawn(ctx context.Context, s proc.Spec) (*proc.Process, error)
}

// Errands runs them.
type Errands struct {
	Keeper keeper
	Dir    string // for the output of those whose output is looked at
	LogDir string // root of the apps' log files, for the output of hooks
	Log    *slog.Logger
}

// numbers numbers the errands, so that each has a generation and a cgroup of its own.
var numbers atomic.Uint64

// spec is what the keeper is asked for, but for the output.
func spec(kind string, k uint64, p launch.Program, who account.Account, argv []string) proc.Spec {
	s := proc.Spec{
		ID: fmt.Sprintf("%s!%s:%s#%d!%d.%d", kind, p.App.Key, p.Process, p.Number, os.Getpid(), k), Group: fmt.Sprintf("%s.%d.%d", kind, os.Getpid(), k), Kind: kind,
		Argv: argv, Dir: p.Def.Dir, Env: p.Environment(who), UID: who.UID, GID: who.GID, Groups: who.Groups, Umask: -1,
		OnFull: "drop", DieWithDaemon: true,
	}
	if p.Def.Umask != nil {
		s.Umask = *p.Def.Umask
	}
	return s
}

// Run runs argv as the program beside it would run, and gives its exit code and the beginning of its output. It is ended,
// with everything that it started, when ctx ends.
func (e Errands) Run(ctx context.Context, p launch.Program, who account.Account, argv []string) (int, []byte, error) {
	k := numbers.Add(1)
	out := filepath.Join(e.Dir, fmt.Sprintf("probe-%d-%d.out", os.Getpid(), k))
	s := spec(probe, k, p, who, argv)
	s.Out, s.Err = out, out
	run, err := e.Keeper.Spawn(ctx, s)
	if err != nil {
		return 0, nil, err
	}
	defer func() {
		if e.end(p.App.Key, run) {
			for _, f := range []string{out, out + ".idx"} {
				_ = os.Remove(f)
			}
		}
	}()
	select {
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	case <-run.Done():
	}
	x := run.Exit()
	if !x.Known {
		return 0, nil, fmt.Errorf("it ended and nobody saw how")
	}
	return x.Code, head(out), nil
}

// Hook runs a hook of this name beside a program, with more in its environment. What it prints is in the program's log, and
// it may take as long as it says; its limits are those of the program, counted apart from it. An error tells, as a sentence without
// its subject, how it went wrong; that of ctx is given as it is.
func (e Errands) Hook(ctx context.Context, p launch.Program, who account.Account, name string, h *config.Hook, more ...string) error {
	s := spec(hook, numbers.Add(1), p, who, h.Argv)
	s.Env = append(append(s.Env, "OMNITRON_HOOK="+name), more...)
	out, errs := p.Stream(), p.Stream()
	out.Name, errs.Name = "out", "err"
	s.Out, s.Err = journal.Path(e.LogDir, out), journal.Path(e.LogDir, errs)
	if p.Def.Logging.Merge {
		s.Err = s.Out
	}
	s.Limits = launch.Limits(p.Def)
	s.MaxSize, s.MaxFiles, s.OnFull = p.Def.Logging.MaxSize, p.Def.Logging.MaxFiles, p.Def.Logging.OnFull
	within, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	run, err := e.Keeper.Spawn(within, s)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			e.end(p.App.Key, run)
		}
		return ctx.Err()
	case err != nil && within.Err() != nil:
		return tooLong(h)
	case err != nil:
		return fmt.Errorf("cannot be run: %w", err)
	}
	defer e.end(p.App.Key, run)
	select {
	case <-within.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return tooLong(h)
	case <-run.Done():
	}
	switch x := run.Exit(); {
	case !x.Known:
		return errors.New("ended, and nobody saw how")
	case x.Signal != "":
		return errors.New("was ended by " + x.Signal)
	case x.Code != 0:
		return fmt.Errorf("exited %d", x.Code)
	}
	return nil
}

func tooLong(h *config.Hook) error { return fmt.Errorf("was not done within %s", h.Timeout) }

// end leaves nothing of an errand, and reports whether it was able to.
func (e Errands) end(key string, p *proc.Process) bool {
	end, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if err := p.Kill(end); err != nil {
		e.Log.Warn("what runs beside a program does not die", "app", key, "kind", p.Kind(), "err", err)
		return false
	}
	if err := p.Forget(end); err != nil {
		e.Log.Warn("cannot forget what ran beside a program", "app", key, "kind", p.Kind(), "err", err)
	}
	return true
}

// Is reports whether a generation is an errand.
func Is(p *proc.Process) bool {
	kind, _, cut := strings.Cut(p.ID(), "!")
	return cut && (kind == probe || kind == hook)
}

// Leftovers gives the files of errands that an earlier daemon did not live to remove.
func Leftovers(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "probe-*.out*")) // the pattern is well-formed
	return found
}

// head reads the beginning of an errand's output.
func head(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, output))
	return text
}
