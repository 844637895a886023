package runner

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/journal"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/account"
	"github.com/omnitron-dev/omnitron/core/supervisor/errand"
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
	aside      *aside                   // the hook that runs beside it
	greeting   bool                     // postStart is still to be done, or under way
	bidding    bool                     // preStop is under way
	cleaned    bool                     // postStop has been seen to
	asked      time.Time                // when the stop signal was sent, where a hook came before it
	adopted    bool                     // an earlier daemon started it
	lived      bool                     // adopted while its main process ran
	behind     int                      // processes that were left when its main process had ended well by itself
}

// program is what runs as this generation of an instance.
func (g *generation) program(process string, n int) launch.Program {
	return launch.Program{App: g.app, Def: g.def, Process: process, Number: n, Ports: g.ports, Secrets: g.secrets}
}

// start asks the keeper for the program, once the hook before it has been done; that is given up when its context ends.
func (g *generation) start(hook context.Context, c *Common, process string, n int) error {
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
	if g.def.Hooks.PreStart != nil {
		began := c.Now()
		if err = c.hook(hook, g, process, n, "preStart", g.def.Hooks.PreStart); err != nil {
			c.Ports.Free(g.ports)
			return &hookError{err, c.Now().Sub(began)}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), spawnTimeout)
	defer cancel()
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

// hookError is why the hook before a program failed.
type hookError struct {
	err error
	ran time.Duration
}

func (e *hookError) Error() string { return "the preStart hook " + e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// hook runs a hook beside an instance, as it would run, and leaves nothing of it.
func (c *Common) hook(ctx context.Context, g *generation, process string, n int, name string, h *config.Hook, more ...string) error {
	who, program, err := c.beside(g, process, n)
	if err != nil {
		return fmt.Errorf("cannot be run: %w", err)
	}
	return errand.Errands{Keeper: c.Keeper, LogDir: c.LogDir, Log: c.Log}.Hook(ctx, program, who, name, h, more...)
}

// aside is a hook that runs while its instance goes on living, or after it.
type aside struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing of it is left
}

// accompany runs a hook beside g, after giving up the one that still runs, and tells the runner's goroutine how it went, unless it was
// given up itself.
func (r *Runner) accompany(u *unit, g *generation, name string, h *config.Hook, more []string, then func(error)) {
	ctx, cancel := context.WithCancel(r.c.ctx)
	former, a := g.dismiss(), &aside{cancel, make(chan struct{})}
	g.aside = a
	r.c.Go(func() {
		<-former
		err := r.c.hook(ctx, g, u.process, u.number, name, h, more...)
		given := ctx.Err() != nil
		cancel()
		close(a.done)
		if given {
			return
		}
		r.mail.Post(func() {
			if u.gen != g || g.aside != a {
				return
			}
			g.aside = nil
			if err != nil {
				r.missed(u, "the "+name+" hook "+r.c.Hide(err.Error()))
			}
			then(err)
		})
	})
}

// missed tells that a hook failed whose failure changes nothing.
func (r *Runner) missed(u *unit, text string) {
	r.c.Bus.Publish(bus.Event{At: r.c.Now(), Topic: "apps", Type: "hook_failed", Key: r.Key, Slot: u.name(r.app.Name), Text: text})
}

// dismiss gives up the hook that runs beside g; what it gives is closed when nothing of it is left.
func (g *generation) dismiss() <-chan struct{} {
	a := g.aside
	g.aside, g.greeting, g.bidding = nil, false, false
	if a == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	a.cancel()
	return a.done
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
	case u.phase == ending && u.timer != nil && d > u.grace(r.c.Now()):
		u.delay += d - u.grace(r.c.Now()) // what is left of it, its children get
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
	aside := g.dismiss()
	p, sig := g.proc, launch.Signal(g.live.Stop.Signal)
	count := u.end.cause == byItself && u.end.success && !g.app.Oneshot
	r.c.Go(func() {
		<-aside
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
