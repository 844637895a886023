// Package errand runs short programs beside an instance: same user, folder and environment, in a cgroup of their own, and
// nothing of them is left when they end or are given up. Exec probes are such.
package errand

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
)

// killTimeout is how long SIGKILL may take before nobody waits for the end any more.
const killTimeout = 5 * time.Second

// output is how much of an errand's output is looked at.
const output = 4 << 10

// keeper is the part of *proc.Keeper that starts programs.
type keeper interface {
	Spawn(ctx context.Context, s proc.Spec) (*proc.Process, error)
}

// Errands runs them.
type Errands struct {
	Keeper keeper
	Dir    string // for their output
	Log    *slog.Logger
}

// numbers numbers the errands, so that each has a generation and a cgroup of its own.
var numbers atomic.Uint64

// Run runs argv as the program beside it would run, and gives its exit code and the beginning of its output. It is ended,
// with everything that it started, when ctx ends.
func (e Errands) Run(ctx context.Context, p launch.Program, who account.Account, argv []string) (int, []byte, error) {
	k := numbers.Add(1)
	out := filepath.Join(e.Dir, fmt.Sprintf("probe-%d-%d.out", os.Getpid(), k))
	spec := proc.Spec{
		ID: fmt.Sprintf("probe!%s:%s#%d!%d.%d", p.App.Key, p.Process, p.Number, os.Getpid(), k), Group: fmt.Sprintf("probe.%d.%d", os.Getpid(), k), Kind: "probe",
		Argv: argv, Dir: p.Def.Dir, Env: p.Environment(who), UID: who.UID, GID: who.GID, Groups: who.Groups, Umask: -1,
		Out: out, Err: out, OnFull: "drop", DieWithDaemon: true,
	}
	if p.Def.Umask != nil {
		spec.Umask = *p.Def.Umask
	}
	run, err := e.Keeper.Spawn(ctx, spec)
	if err != nil {
		return 0, nil, err
	}
	defer e.end(p.App.Key, run, out)
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

// end leaves nothing of an errand.
func (e Errands) end(key string, p *proc.Process, out string) {
	end, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if err := p.Kill(end); err != nil {
		e.Log.Warn("an exec probe does not die", "app", key, "err", err)
		return
	}
	if err := p.Forget(end); err != nil {
		e.Log.Warn("cannot forget an exec probe", "app", key, "err", err)
	}
	for _, f := range []string{out, out + ".idx"} {
		_ = os.Remove(f)
	}
}

// Is reports whether a generation is an errand.
func Is(p *proc.Process) bool { return strings.HasPrefix(p.ID(), "probe!") }

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
