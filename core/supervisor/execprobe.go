package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/omnitron-dev/omnitron/core/proc"
)

// probeOutput is how much of an exec probe's output is looked at.
const probeOutput = 4 << 10

// probes numbers the exec probes, so that each has a generation and a cgroup of its own.
var probes atomic.Uint64

// execProbe gives the function that runs a command as an instance would run: same user, folder and environment, in a
// cgroup of its own, ended with everything it started when ctx ends.
func (s *Supervisor) execProbe(g *generation, process string, n int) func(ctx context.Context, argv []string) (int, []byte, error) {
	return func(ctx context.Context, argv []string) (int, []byte, error) {
		who, err := lookup(g.def)
		if err != nil {
			return 0, nil, err
		}
		k := probes.Add(1)
		out := filepath.Join(s.RunDir, fmt.Sprintf("probe-%d-%d.out", os.Getpid(), k))
		p, err := s.Keeper.Spawn(ctx, proc.Spec{
			ID: fmt.Sprintf("probe!%s:%s#%d!%d.%d", g.app.Key, process, n, os.Getpid(), k), Group: fmt.Sprintf("probe.%d.%d", os.Getpid(), k), Kind: "probe",
			Argv: argv, Dir: g.def.Dir, Env: environment(g, who, process, n), UID: who.uid, GID: who.gid, Groups: who.groups, Umask: -1,
			Out: out, Err: out, OnFull: "drop", DieWithDaemon: true,
		})
		if err != nil {
			return 0, nil, err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.Background(), killTimeout)
			defer cancel()
			if err := p.Kill(end); err != nil {
				s.Log.Warn("an exec probe does not die", "app", g.app.Key, "err", err)
				return
			}
			<-p.Done()
			if err := p.Forget(end); err != nil {
				s.Log.Warn("cannot forget an exec probe", "app", g.app.Key, "err", err)
			}
			for _, f := range []string{out, out + ".idx"} {
				_ = os.Remove(f)
			}
		}()
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-p.Done():
		}
		x := p.Exit()
		return x.Code, head(out), nil
	}
}

// isProbe reports whether a generation is an exec probe.
func isProbe(p *proc.Process) bool { return strings.HasPrefix(p.ID(), "probe!") }

// leftovers gives the files of exec probes that an earlier daemon did not live to remove.
func (s *Supervisor) leftovers() []string {
	found, _ := filepath.Glob(filepath.Join(s.RunDir, "probe-*.out*")) // the pattern is well-formed
	return found
}

// head reads the beginning of a probe's output.
func head(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, probeOutput))
	return text
}
