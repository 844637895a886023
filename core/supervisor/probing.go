package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// probesAtOnce is how many probes one call asks at a time.
const probesAtOnce = 16

// asked is one instance that is asked how it is.
type asked struct {
	view.Probed
	probe config.Probe
	limit time.Duration
	ready bool // it has no health probe: that of its readiness is asked, which says nothing of its health
	g     *generation
	u     *unit
}

// Probe asks the instances of targets how they are, now: by their health probe, else by the probe of their readiness,
// whose answer is a note only: their health is unknown, here as everywhere. It gives one entry an instance, in the order of the targets; when ctx ends first, those that were not asked are unknown.
func (s *Supervisor) Probe(ctx context.Context, targets []op.Target) []view.Probed {
	var list []asked
	for _, t := range targets {
		list = append(list, s.questions(ctx, t)...)
	}
	var all sync.WaitGroup
	room := make(chan struct{}, probesAtOnce)
	for i := range list {
		q := &list[i]
		if q.Probed.Probe = q.probe.Kind(); q.Probed.Probe == "" || q.g == nil {
			continue
		}
		all.Go(func() {
			select {
			case <-ctx.Done():
				return
			case room <- struct{}{}:
			}
			defer func() { <-room }()
			within, cancel := context.WithTimeout(ctx, q.limit)
			defer cancel()
			began := s.Now()
			res := s.Check(within, q.g.target(s, q.probe, q.u))
			q.Note, q.TookMS = res.Message, s.Now().Sub(began).Milliseconds()
			switch {
			case q.ready && res.Healthy:
				q.Note = "ready; " + q.Note
			case q.ready:
				q.Note = "not ready; " + q.Note
			case res.Healthy:
				q.Health = "healthy"
			default:
				q.Health = "unhealthy"
			}
		})
	}
	all.Wait()
	out := make([]view.Probed, len(list))
	for i := range list {
		out[i] = list[i].Probed
	}
	return out
}

// questions gives the instances that a target means, with what they are to be asked.
func (s *Supervisor) questions(ctx context.Context, t op.Target) []asked {
	r := s.runner(t.Key)
	if r == nil {
		return nil
	}
	got := make(chan []asked, 1)
	posted := r.mail.post(func() {
		var list []asked
		for _, u := range r.units {
			if !means(t, u) {
				continue
			}
			q := asked{Probed: view.Probed{Slot: u.name(r.app.Name), Key: r.key, State: u.state(), Health: "unknown"}, g: u.gen, u: u, limit: readyAsk}
			d := u.def
			if u.gen != nil {
				d = u.gen.live
			}
			if q.probe, q.ready = d.Ready.Probe, d.Health == nil; !q.ready {
				q.probe, q.limit = d.Health.Probe, d.Health.Timeout
			}
			list = append(list, q)
		}
		got <- list
	})
	if !posted {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case list := <-got:
		return list
	}
}

// probeOutput is how much of an exec probe's output is looked at.
const probeOutput = 4 << 10

// probes numbers the exec probes, so that each has a generation and a cgroup of its own.
var probes atomic.Uint64

// execProbe gives the function that runs a command as an instance would run: same user, folder and environment, in a
// cgroup of its own, ended with everything it started when ctx ends.
func (s *Supervisor) execProbe(g *generation, process string, n int) func(ctx context.Context, argv []string) (int, []byte, error) {
	return func(ctx context.Context, argv []string) (int, []byte, error) {
		who, err := account.Of(g.def)
		if err != nil {
			return 0, nil, err
		}
		secrets := g.secrets
		if secrets == nil { // adopted: another value may be in force by now, but that is all that is known
			if secrets, err = launch.Values(s.Secret, g.app.Key, g.def); err != nil {
				return 0, nil, err
			}
		}
		program := g.program(process, n)
		program.Secrets = secrets
		k := probes.Add(1)
		out := filepath.Join(s.RunDir, fmt.Sprintf("probe-%d-%d.out", os.Getpid(), k))
		spec := proc.Spec{
			ID: fmt.Sprintf("probe!%s:%s#%d!%d.%d", g.app.Key, process, n, os.Getpid(), k), Group: fmt.Sprintf("probe.%d.%d", os.Getpid(), k), Kind: "probe",
			Argv: argv, Dir: g.def.Dir, Env: program.Environment(who), UID: who.UID, GID: who.GID, Groups: who.Groups, Umask: -1,
			Out: out, Err: out, OnFull: "drop", DieWithDaemon: true,
		}
		if g.def.Umask != nil {
			spec.Umask = *g.def.Umask
		}
		p, err := s.Keeper.Spawn(ctx, spec)
		if err != nil {
			return 0, nil, err
		}
		defer s.endProbe(g.app.Key, p, out)
		select {
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-p.Done():
		}
		x := p.Exit()
		if !x.Known {
			return 0, nil, fmt.Errorf("it ended and nobody saw how")
		}
		return x.Code, head(out), nil
	}
}

// endProbe leaves nothing of an exec probe.
func (s *Supervisor) endProbe(key string, p *proc.Process, out string) {
	end, cancel := context.WithTimeout(context.Background(), killTimeout)
	defer cancel()
	if err := p.Kill(end); err != nil {
		s.Log.Warn("an exec probe does not die", "app", key, "err", err)
		return
	}
	if err := p.Forget(end); err != nil {
		s.Log.Warn("cannot forget an exec probe", "app", key, "err", err)
	}
	for _, f := range []string{out, out + ".idx"} {
		_ = os.Remove(f)
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
