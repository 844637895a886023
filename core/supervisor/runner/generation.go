package runner

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/config"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
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
	beat       time.Time                // when it said last that it is alive, or when that began to count
	doubted    bool                     // nothing was heard of it in time: it is looked at once more
	dog        *time.Timer              // the next look
	deadline   time.Time                // until when it has to be ready, where it says so itself
	extended   bool                     // it asked for more time than its definition gives
	fault      string                   // what it is ended for, in words, where no probe says it
	reloading  bool                     // it said so, and has not said that it is ready again
	reloaded   time.Time                // when it said that it was
	steady     bool                     // a start of it has succeeded: for a one-shot that is a moment after it is ready
	stop       context.CancelFunc       // of the watchers of readiness and health
	from       map[journal.Stream]int64 // where its output begins, for ready: {log: …}
	closing    bool                     // its end is being seen to
	over       bool                     // its main process has ended
	adopted    bool                     // an earlier daemon started it
	lived      bool                     // adopted while its main process ran
	behind     int                      // processes that were left when its main process had ended well by itself
}

// program is what runs as this generation of an instance.
func (g *generation) program(process string, n int) launch.Program {
	return launch.Program{App: g.app, Def: g.def, Process: process, Number: n, Ports: g.ports, Secrets: g.secrets}
}

// start asks the keeper for the program.
func (g *generation) start(c *Common, process string, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
	defer cancel()
	who, err := account.Of(g.def)
	if err != nil {
		return err
	}
	if g.secrets, err = launch.Values(c.Secret, g.app.Key, g.def); err != nil {
		return err
	}
	if g.ports, err = c.Ports.Draw(g.def, n); err != nil {
		return err
	}
	if err = sockets.Open(ctx, c.Keeper, g.app.Key, process, g.def, who); err != nil {
		c.Ports.Free(g.ports)
		return err
	}
	program := g.program(process, n)
	spec := program.Spec(who, g.number, g.rev, c.LogDir)
	if g.def.Ready.Kind == "log" {
		g.from = c.Lines.Ends(program.Stream())
	}
	g.at = c.Now()
	g.proc, err = c.Keeper.Spawn(ctx, spec)
	if err != nil {
		c.Ports.Free(g.ports)
	}
	return err
}

// watch follows a living generation until its main process ends.
func (g *generation) watch(r *Runner, u *unit) {
	p := g.proc
	r.c.Go(func() {
		for {
			select {
			case <-p.Done():
				r.mail.Post(func() { r.exited(u, g) })
				return
			case n := <-p.Notices():
				r.mail.Post(func() { r.noticed(u, g, n) })
			case <-r.c.ctx.Done():
				return
			}
		}
	})
}

// noticed takes what a program said of itself.
func (r *Runner) noticed(u *unit, g *generation, n proc.Notice) {
	if u.gen != g {
		return
	}
	if n.Status != "" {
		g.status = n.Status
	}
	if n.Watchdog {
		g.beat, g.doubted = time.Now(), false
	}
	switch {
	case n.Ready: // whatever else is in the same notice came before
		if g.reloading, g.reloaded = false, r.c.Now(); u.reason == reloading {
			u.reason = ""
		}
	case n.Reloading:
		if g.reloading = true; u.phase == running {
			u.reason = reloading
		}
	}
	if n.Extend > 0 {
		r.extend(u, min(n.Extend, mostExtension))
	}
	if n.Stopping {
		u.reason = "it says that it is stopping"
	}
	if n.Ready && g.readiness().Kind == "notify" {
		r.send(u, evReady, ended{})
	}
}

// reloading is the reason of an instance that says RELOADING=1, until it is ready again.
const reloading = "it says that it is reloading"

// mostExtension is how far a program can move the end of its start or stop at one go.
const mostExtension = time.Hour

// extend moves the end of a start or of a stop, as the program asks for with EXTEND_TIMEOUT_USEC: it takes so much longer from
// now on, unless there is more time left anyhow.
func (r *Runner) extend(u *unit, d time.Duration) {
	g := u.gen
	switch until := time.Now().Add(d); {
	case u.phase == starting && g.readiness().Kind == "notify" && until.After(g.deadline):
		g.quiet()
		g.deadline, g.extended = until, true
		g.watchReady(r, u)
	case u.phase == ending && u.timer != nil && r.c.Now().Sub(u.since)+d > u.delay:
		u.delay = r.c.Now().Sub(u.since) + d // what is left of it, its children get
		r.waitFor(u, evLate, d)
	}
}

// allowed is how long it may take until it is ready, in words.
func (g *generation) allowed() string {
	if g.extended {
		return "the time that it asked for"
	}
	return g.readiness().Timeout.String()
}

// watchDog has a ready program report again and again. Silence is looked at twice: what it said may be on its way to us still.
func (r *Runner) watchDog(u *unit, in time.Duration) {
	g := u.gen
	if g.def.Watchdog <= 0 {
		return
	}
	g.dog = time.AfterFunc(in, func() {
		r.mail.Post(func() {
			if u.gen != g || g.over || u.phase != running {
				return
			}
			left := g.def.Watchdog - time.Since(g.beat)
			switch {
			case left > 0:
				g.doubted = false
				r.watchDog(u, left)
			case !g.doubted:
				g.doubted = true
				r.watchDog(u, min(g.def.Watchdog/4, time.Second))
			default:
				g.fault = fmt.Sprintf("did not say WATCHDOG=1 for %s, which is longer than its watchdog allows", units.FormatDuration(g.def.Watchdog))
				u.reason = g.fault
				r.send(u, evSilent, ended{})
			}
		})
	})
}

// readiness says when its start has succeeded. One that was given no socket to say so goes on by what it began with.
func (g *generation) readiness() *config.Ready {
	if g.live.Ready.Kind == "notify" && g.def.Ready.Kind != "notify" {
		return &g.def.Ready
	}
	return &g.live.Ready
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
func (g *generation) end(r *Runner, u *unit, grace time.Duration) {
	if g.closing {
		return
	}
	g.closing = true
	p, sig := g.proc, launch.Signal(g.live.Stop.Signal)
	count := u.end.cause == byItself && u.end.success && !g.app.Oneshot
	r.c.Go(func() {
		behind := 0
		if count {
			behind = g.left(r.c.ctx, p)
		}
		if grace > 0 {
			g.linger(r.c.ctx, p, sig, grace)
		}
		for told := false; ; {
			ctx, cancel := context.WithTimeout(r.c.ctx, killTimeout)
			err := p.Kill(ctx)
			cancel()
			if err == nil {
				select {
				case <-p.Done():
					r.mail.Post(func() { g.behind = behind; r.exited(u, g); r.gone(u, g, nil) })
				case <-r.c.ctx.Done():
				}
				return
			}
			if r.c.ctx.Err() != nil { // we end: whoever comes next goes on
				return
			}
			if !told {
				told = true
				r.mail.Post(func() { r.gone(u, g, err) })
			}
			select {
			case <-r.c.ctx.Done():
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
