package supervisor

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/ports"
)

// spawnTimeout bounds one start by the keeper. It is long: a new keeper may have to be started first.
const spawnTimeout = 15 * time.Second

// killTimeout is how long SIGKILL may take before the slot counts as stuck.
const killTimeout = 5 * time.Second

// generation is one run of a slot's program.
type generation struct {
	number uint64
	rev    int64
	app    *config.App     // what it was started with
	def    *config.Process // the same
	live   *config.Process // whose live keys hold for it: def, or a younger definition of the same program
	at     time.Time
	proc   *proc.Process
	ports  map[string]int

	secrets    map[string]string // variable → value, as at its start; of an adopted one they are not known
	readyAt    time.Time
	status     string // what it says of itself
	health     string
	healthNote string
	steady     bool                     // a start of it has succeeded: for a one-shot that is a moment after it is ready
	stop       context.CancelFunc       // of the watchers of readiness and health
	from       map[journal.Stream]int64 // where its output begins, for ready: {log: …}
	closing    bool                     // its end is being seen to
	over       bool                     // its main process has ended
	adopted    bool                     // an earlier daemon started it
	lived      bool                     // adopted while its main process ran
	behind     int                      // processes that were left when its main process had ended well by itself
}

// start asks the keeper for the program.
func (g *generation) start(s *Supervisor, process string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
	defer cancel()
	who, err := account.Of(g.def)
	if err != nil {
		return err
	}
	if g.secrets, err = s.values(g.app.Key, g.def); err != nil {
		return err
	}
	if g.ports, err = s.ports.Draw(g.def, n); err != nil {
		return err
	}
	stream := journal.Stream{Project: naming.Project(g.app.Key), Stack: naming.Stack(g.app.Key), App: g.app.Name, Process: process, Instance: n}
	out, errs := stream, stream
	out.Name, errs.Name = "out", "err"
	spec := proc.Spec{
		ID:    naming.Generation(g.app.Key, process, n, g.number, g.rev, g.ports),
		Group: naming.Group(g.app.Key, process, n, g.number), Kind: "app",
		Argv: g.def.Argv, Dir: g.def.Dir, Env: environment(g, g.secrets, who, process, n),
		UID: who.UID, GID: who.GID, Groups: who.Groups, Umask: -1,
		Out: journal.Path(s.LogDir, out), Err: journal.Path(s.LogDir, errs),
		MaxSize: g.def.Logging.MaxSize, MaxFiles: g.def.Logging.MaxFiles, OnFull: g.def.Logging.OnFull,
		Notify: g.def.Ready.Kind == "notify", NotifyUID: who.UID,
		DieWithDaemon: g.app.OnDaemonExit == "stop",
	}
	if g.def.Umask != nil {
		spec.Umask = *g.def.Umask
	}
	if g.def.Ready.Kind == "log" {
		g.from = s.Lines.Ends(stream)
	}
	g.at = s.Now()
	g.proc, err = s.Keeper.Spawn(ctx, spec)
	if err != nil {
		s.ports.Free(g.ports)
	}
	return err
}

// permanent reports whether another try of the same start cannot help.
func permanent(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case "exec_not_found", "not_executable", "bad_interpreter", "cwd_missing", "no_such_user", "no_such_group", "not_permitted",
		"too_large", "path_too_long", "not_supported", "bad_spec", "no_such_port":
		return true
	}
	return false
}

// watch follows a living generation until its main process ends.
func (g *generation) watch(r *runner, u *unit) {
	p := g.proc
	r.s.calls.Go(func() {
		for {
			select {
			case <-p.Done():
				r.mail.post(func() { r.exited(u, g) })
				return
			case n := <-p.Notices():
				r.mail.post(func() { r.noticed(u, g, n) })
			case <-r.s.ctx.Done():
				return
			}
		}
	})
}

// noticed takes what a program said of itself.
func (r *runner) noticed(u *unit, g *generation, n proc.Notice) {
	if u.gen != g {
		return
	}
	if n.Status != "" {
		g.status = n.Status
	}
	if n.Stopping {
		u.reason = "it says that it is stopping"
	}
	if n.Ready && g.readiness().Kind == "notify" {
		r.send(u, evReady, ended{})
	}
}

// readiness says when its start has succeeded. One that was given no socket to say so goes on by what it began with.
func (g *generation) readiness() *config.Ready {
	if g.live.Ready.Kind == "notify" && g.def.Ready.Kind != "notify" {
		return &g.def.Ready
	}
	return &g.live.Ready
}

// takeUp makes the live keys of a definition hold for what runs in a slot.
func (r *runner) takeUp(u *unit) {
	g := u.gen
	if g == nil || u.former || g.live == u.def {
		return
	}
	was := g.live
	g.live = u.def
	switch {
	case u.phase == starting && !reflect.DeepEqual(was.Ready, g.live.Ready):
		g.quiet()
		g.watchReady(r, u)
	case u.phase == running && !reflect.DeepEqual(was.Health, g.live.Health):
		g.health, g.healthNote = "", ""
		g.watchHealth(r, u)
	}
}

// quiet ends the watchers of readiness and health.
func (g *generation) quiet() {
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
}

// end sees to it that nothing of the generation is left: whatever its main process left behind gets the stop signal and
// grace to follow it, then SIGKILL. It reports to the runner, again and again while something does not die.
func (g *generation) end(r *runner, u *unit, grace time.Duration) {
	if g.closing {
		return
	}
	g.closing = true
	p, sig := g.proc, signalNamed(g.live.Stop.Signal)
	count := u.end.cause == byItself && u.end.success && !g.app.Oneshot
	r.s.calls.Go(func() {
		behind := 0
		if count {
			behind = g.left(r.s.ctx, p)
		}
		if grace > 0 {
			g.linger(r.s.ctx, p, sig, grace)
		}
		for told := false; ; {
			ctx, cancel := context.WithTimeout(r.s.ctx, killTimeout)
			err := p.Kill(ctx)
			cancel()
			if err == nil {
				select {
				case <-p.Done():
					r.mail.post(func() { g.behind = behind; r.exited(u, g); r.gone(u, g, nil) })
				case <-r.s.ctx.Done():
				}
				return
			}
			if r.s.ctx.Err() != nil { // we end: whoever comes next goes on
				return
			}
			if !told {
				told = true
				r.mail.post(func() { r.gone(u, g, err) })
			}
			select {
			case <-r.s.ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	})
}

// left tells how many processes of a generation live on after its main process.
func (g *generation) left(ctx context.Context, p *proc.Process) int {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	pids, err := p.Tree(ctx)
	if err != nil {
		return 0 // then nothing is said of them
	}
	return len(pids)
}

// linger gives the rest of a tree the stop signal and waits for its end, at most for grace.
func (g *generation) linger(ctx context.Context, p *proc.Process, sig unix.Signal, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	asked := map[int]bool{}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := p.Tree(ctx)
		if err != nil || len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			if !asked[pid] {
				asked[pid] = true
				_ = unix.Kill(pid, sig) // it may be gone by now; the SIGKILL to the group follows in any case
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func signalNamed(name string) unix.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig
	}
	return unix.SIGTERM
}

// environment is the whole environment of an instance: what its definition resolved to, its secrets, then what is ours.
func environment(g *generation, secrets map[string]string, who account.Account, process string, n int) []string {
	env := map[string]string{}
	for k, v := range g.def.Env {
		env[k] = v
	}
	for k, v := range secrets {
		env[k] = v
	}
	if who.Name != "" { // unless the definition says otherwise, even that there is none
		for name, value := range map[string]string{"USER": who.Name, "LOGNAME": who.Name, "HOME": who.Home, "SHELL": who.Shell} {
			if _, set := env[name]; !set && value != "" && !slices.Contains(g.def.Unset, name) {
				env[name] = value
			}
		}
	}
	env["OMNITRON_PROJECT"], env["OMNITRON_STACK"], env["OMNITRON_APP"] = naming.Project(g.app.Key), naming.Stack(g.app.Key), g.app.Name
	env["OMNITRON_PROCESS"], env["OMNITRON_INSTANCE"] = process, strconv.Itoa(n)
	for name, port := range g.ports {
		env[ports.Variable(name)] = strconv.Itoa(port)
	}
	if len(g.def.Ports) == 1 {
		env["PORT"] = strconv.Itoa(g.ports[g.def.Ports[0].Name])
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}
