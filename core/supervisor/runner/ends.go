package runner

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/omnitron-dev/omnitron/core/bus"
	units "github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/naming"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// The last lines of a run that failed are kept with its exit: so many, and so much of each.
const (
	lastLines = 10
	lastBytes = 400
)

// spawn starts the next generation of u. The keeper is asked on another goroutine: a stop must get through meanwhile.
func (r *Runner) spawn(u *unit) {
	u.last = max(u.last, u.top) + 1
	r.moved()
	r.spawns++
	u.former = false
	r.opened(u)
	g := &generation{number: u.last, rev: r.rev, def: u.def, live: u.def, app: r.app, at: r.c.Now()}
	hook, abort := context.WithCancel(r.c.ctx)
	u.abort = abort
	r.c.Go(func() {
		err := g.start(hook, r.c, u.process, u.number)
		given := hook.Err() != nil
		abort()
		r.mail.Post(func() {
			r.spawns--
			u.abort = nil
			if err != nil {
				if !given { // else it was a stop that ended the hook, and nothing has failed
					r.unspawned(u, g, err)
				}
				r.send(u, evSpawnFailed, ended{permanent: launch.Permanent(err)})
				return
			}
			u.gen = g
			r.takeUp(u) // another definition may have come meanwhile
			for _, text := range g.proc.Skipped() {
				r.c.Bus.Publish(bus.Event{At: r.c.Now(), Topic: "apps", Type: "unlimited", Key: r.Key, Slot: u.name(r.app.Name), Text: "runs without a limit: " + text})
			}
			g.watch(r, u)
			r.send(u, evSpawned, ended{})
		})
	})
}

// unspawned keeps why a generation did not come to be.
func (r *Runner) unspawned(u *unit, g *generation, err error) {
	u.exit = &view.Exit{At: r.c.Now(), Reason: "spawn", Message: r.c.Hide(err.Error()), Generation: g.number}
	if failed, ok := errors.AsType[*hookError](err); ok {
		u.exit.Reason, u.exit.RanMS = "preStart", failed.ran.Milliseconds()
		exit := u.exit
		r.later = append(r.later, func() { r.quote(u, exit, exit.At) })
	}
	r.ended(u, u.exit)
}

// farewell runs the hook that comes when nothing of a run is left; it reports whether there is one, and then gone comes again.
func (r *Runner) farewell(u *unit, g *generation) bool {
	h := g.live.Hooks.PostStop
	if h == nil || g.cleaned {
		return false
	}
	g.cleaned = true
	code, sig, why := "", "", "lost"
	if x := u.exit; x != nil && x.Generation == g.number {
		why, sig = x.Reason, x.Signal
		switch {
		case x.Known && sig != "":
			code = strconv.Itoa(128 + int(launch.Signal(sig)))
		case x.Known:
			code = strconv.Itoa(x.Code)
		}
	}
	r.accompany(u, g, "postStop", h, []string{"OMNITRON_EXIT_CODE=" + code, "OMNITRON_EXIT_SIGNAL=" + sig, "OMNITRON_EXIT_REASON=" + why}, func(error) { r.gone(u, g, nil) })
	return true
}

// exited takes the end of u's main process.
func (r *Runner) exited(u *unit, g *generation) {
	if u.gen != g || g.over {
		return
	}
	g.over = true
	if g.dog != nil {
		g.dog.Stop()
	}
	x := g.proc.Exit()
	ran := g.ran(r.c.Now(), x)
	u.exit = exitOf(x, g, u, ran)
	if u.phase == starting || u.phase == running {
		u.reason = u.exit.Message
	}
	r.ended(u, u.exit)
	r.send(u, evExited, ended{success: x.Known && g.live.Succeeds(x.Code), ran: ran})
}

// ran is how long a generation has run, on a clock that nobody sets where that can be had.
func (g *generation) ran(now time.Time, x proc.Exit) time.Duration {
	switch {
	case !g.adopted:
		return now.Sub(g.at)
	case g.lived: // the kernel counts the start of a process in ticks since boot
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err == nil {
			return max(0, time.Duration(ts.Nano())-time.Duration(g.proc.Identity().Start)*(time.Second/ticks))
		}
	}
	return max(0, x.At.Sub(g.at)) // it ended while no daemon was there
}

// ticks is USER_HZ: what /proc counts in, the same on every machine that Linux runs on today.
const ticks = 100

// gone takes the news that nothing of a generation is left (or that something is, and does not die).
func (r *Runner) gone(u *unit, g *generation, err error) {
	if u.gen != g {
		return
	}
	if err != nil {
		u.reason = err.Error()
		r.send(u, evWontDie, ended{})
		return
	}
	g.quiet()
	if r.farewell(u, g) {
		return
	}
	r.c.Ports.Free(g.ports)
	r.later = append(r.later, func() { r.bury(g) })
	failed := u.exit != nil && u.exit.Generation == g.number && u.end.cause != byStop && !(u.end.cause == byItself && u.end.success)
	forked := g.behind > 0 && u.exit != nil && u.exit.Generation == g.number && u.end.cause == byItself
	if forked {
		with := *u.exit // an exit is never changed: readers have it
		with.Message += background(g)
		u.exit = &with
	}
	u.gen = nil
	r.moved()
	r.send(u, evGone, ended{})
	if forked && u.state() == view.Stopped {
		u.reason = u.exit.Message
	}
	if failed {
		exit, until := u.exit, r.c.Now() // what comes later is the next run's
		r.later = append(r.later, func() { r.quote(u, exit, until) })
	}
}

// foreground is how well-known programs are kept from going into the background.
var foreground = map[string]string{
	"nginx": "nginx -g 'daemon off;'", "redis-server": "redis-server --daemonize no", "apache2": "apache2 -D FOREGROUND", "httpd": "httpd -D FOREGROUND",
	"apachectl": "apachectl -D FOREGROUND", "php-fpm": "php-fpm --nodaemonize", "sshd": "sshd -D", "pg_ctl": "postgres itself instead of pg_ctl",
	"mongod": "mongod without --fork", "memcached": "memcached without -d", "haproxy": "haproxy without -D",
}

// background says what a program did that left its work to others and ended.
func background(g *generation) string {
	text := fmt.Sprintf("; it went into the background, and the %d processes that it left there were ended: have it run in the foreground", g.behind)
	if g.behind == 1 {
		text = "; it went into the background, and the 1 process that it left there was ended: have it run in the foreground"
	}
	for _, word := range strings.Fields(strings.Join(g.def.Argv, " ")) {
		if how, known := foreground[path.Base(word)]; known {
			return text + " (" + how + ")"
		}
	}
	return text
}

// quote adds what a run that failed printed last to its exit, once it has been read.
func (r *Runner) quote(u *unit, exit *view.Exit, until time.Time) {
	slot, since := naming.Instance(r.Key, u.process, u.number), began(exit)
	r.c.Go(func() {
		within, cancel := context.WithTimeout(r.c.ctx, 2*time.Second)
		defer cancel()
		lines := r.c.Lines.Tail(within, slot, since, until, lastLines)
		if len(lines) == 0 {
			return
		}
		for i, l := range lines {
			if len(l) > lastBytes {
				lines[i] = strings.ToValidUTF8(l[:lastBytes], "") + "…"
			}
		}
		r.mail.Post(func() {
			if u.exit == exit { // an exit is never changed: readers have it
				with := *exit
				with.Stderr = lines
				u.exit = &with
			}
		})
	})
}

// began is a moment before the first line of the run that ended so.
func began(x *view.Exit) time.Time {
	if x == nil {
		return time.Time{}
	}
	return x.At.Add(-time.Duration(x.RanMS)*time.Millisecond - 100*time.Millisecond)
}

// unhurried does what an end leaves to do, once no start is under way: nothing of it may be in the way of one.
func (r *Runner) unhurried() {
	if r.spawns > 0 {
		return
	}
	for _, fn := range r.later {
		fn()
	}
	r.later = nil
}

// bury has the keeper forget a generation of which nothing is left, but not before the end is on disk: a daemon that comes
// after us would otherwise know of neither.
func (r *Runner) bury(g *generation) {
	r.c.Go(func() {
		for r.c.State.Put(r.c.ctx, func(*store.State) error { return nil }) != nil {
			select {
			case <-r.c.ctx.Done(): // whoever comes next sees both
				return
			case <-time.After(time.Second):
			}
		}
		r.c.forget(g.proc)
	})
}

// forget drops the keeper's record of a generation.
func (c *Common) forget(p *proc.Process) {
	ctx, cancel := context.WithTimeout(c.ctx, spawnTimeout)
	defer cancel()
	if err := p.Forget(ctx); err != nil && c.ctx.Err() == nil {
		c.Log.Warn("cannot forget a generation", "generation", p.ID(), "err", err)
	}
}

// tell tells the world of a change of state. What a slot only passed through while one message was handled is left out,
// and so is the clearing away of what a program that ended by itself left behind.
func (r *Runner) tell(u *unit) {
	from, to := u.told, u.state()
	if from == "" {
		from = view.Stopped
	}
	if from == to && (u.toldGen == u.last || to == view.Stopped) || u.phase == killing && u.end.cause == byItself {
		return
	}
	u.told, u.toldGen = to, u.last
	ev := bus.Event{At: r.c.Now(), Topic: "apps", Type: string(to), Key: r.Key, Slot: u.name(r.app.Name), Data: map[string]any{"from": string(from)}}
	ev.Text = string(to)
	if u.reason != "" {
		ev.Text += ": " + u.reason
	}
	if u.gen != nil {
		ev.Data["pid"] = u.gen.proc.Identity().PID
	}
	if to == view.Backoff {
		ev.Data["delay_ms"] = u.delay.Milliseconds()
		ev.Data["try"] = len(u.hist.Restarts)
		ev.Data["max"] = u.rules(r.app).restart.MaxRestarts
	}
	r.c.Bus.Publish(ev)
	if to == view.Crashed || to == view.Failed {
		r.c.Others.GaveUp(r.app, u.reason)
	}
}

// ended tells the world how a run ended.
func (r *Runner) ended(u *unit, x *view.Exit) {
	data := map[string]any{"signal": x.Signal, "reason": x.Reason, "ran_ms": x.RanMS, "generation": x.Generation, "pid": x.PID}
	if x.Known {
		data["code"] = x.Code
	}
	r.c.Bus.Publish(bus.Event{At: x.At, Topic: "apps", Type: "exited", Key: r.Key, Slot: u.name(r.app.Name), Text: x.Message, Data: data})
}

func exitOf(x proc.Exit, g *generation, u *unit, ran time.Duration) *view.Exit {
	e := &view.Exit{At: x.At, Known: x.Known, Code: x.Code, Signal: x.Signal, Core: x.CoreDumped, RanMS: ran.Milliseconds(),
		CPUMS: (x.User + x.Sys).Milliseconds(), MaxRSS: x.MaxRSS, Generation: g.number, PID: g.proc.Identity().PID}
	after := fmt.Sprintf("after %s", ran.Round(time.Millisecond))
	switch {
	case !x.Known:
		e.Reason, e.Message = "lost", "ended "+after+", nobody saw how"
	case x.Signal == "SIGKILL" && x.Starved > 0 && g.limit() > 0:
		e.Reason, e.Message = "oom", fmt.Sprintf("ended by the kernel %s because it needed more memory than its limit of %s (limits.memory)", after, units.FormatSize(g.limit()))
	case x.Signal == "SIGKILL" && x.Starved > 0:
		e.Reason, e.Message = "oom", "ended by the kernel "+after+" because memory was short"
	case x.Signal != "":
		e.Reason, e.Message = "signal", "ended by "+x.Signal+" "+after
	default:
		e.Reason, e.Message = "exited", fmt.Sprintf("exited %d %s", x.Code, after)
	}
	if n := x.Starved; n > 0 && e.Reason != "oom" {
		e.Message += fmt.Sprintf("; before, the kernel had ended %d of its processes for want of memory", n)
		if g.limit() > 0 {
			e.Message += fmt.Sprintf(": its limit is %s (limits.memory)", units.FormatSize(g.limit()))
		}
	}
	switch g.proc.Ending() {
	case protocol.DaemonDied:
		e.Reason, e.Message = "stopped", "ended with its daemon, which died (onDaemonExit: stop)"
		return e
	case protocol.BothDied:
		e.Reason, e.Message = "lost", "ended because daemon and keeper died at once"
		return e
	}
	if u.phase == ending || u.phase == killing || u.phase == stuck {
		switch u.end.cause {
		case byStop:
			e.Reason = "stopped"
		case byUnready:
			e.Reason, e.Message = "unready", "was not ready within "+g.allowed()
		case byUnhealthy:
			e.Reason, e.Message = "unhealthy", "its health probe failed: "+g.healthNote
		case byWatchdog:
			if e.Reason, e.Message = "watchdog", g.fault; g.fault == "" {
				e.Message = "did not say WATCHDOG=1 for as long as its watchdog allows"
			}
		case byMemory:
			if e.Reason, e.Message = "memory", g.fault; g.fault == "" { // the daemon that saw it is no more
				e.Message = "used more memory than its restart.maxMemory"
			}
		}
	}
	return e
}

// limit is how much memory it may use, in bytes; 0: it has no limit of its own.
func (g *generation) limit() int64 {
	if g.def.Limits == nil {
		return 0
	}
	return g.def.Limits.Memory
}
