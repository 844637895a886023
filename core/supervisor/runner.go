package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
	"github.com/omnitron-dev/omnitron/core/proc"
)

// runner owns one app. Everything below its mailbox is touched by its own goroutine only; readers take the snapshot.
type runner struct {
	s        *Supervisor
	key      string
	mail     *mailbox
	snapshot atomic.Pointer[App]

	app     *config.App
	rev     int64
	desired bool            // running
	parts   map[string]bool // of processes and process#n that were commanded by themselves, until the whole app is
	enabled bool
	scale   map[string]int // process → instances, until the file's number changes
	units   []*unit
	waiters []*waiter
	epoch   uint64
	halting bool         // the daemon ends: stop, but leave what is desired alone
	pending atomic.Int32 // commands that are on their way: until then the snapshot does not tell what is to come
	obeyed  int32        // of those, what was carried out since the last snapshot
	removed bool
	done    chan struct{} // closed when a removed app is gone
}

// unit is a slot and what runs in it.
type unit struct {
	slot
	process string
	number  int
	def     *config.Process // of the next start; gen.def is of the running one
	gen     *generation
	last    uint64 // number of the last generation
	seq     int64  // record of the last command
	up      bool   // what that command wanted
	since   time.Time
	nextTry time.Time
	timer   *time.Timer
	starts  int // restarts that nobody asked for
	exit    *Exit
	parting bool   // scaled away or removed: forget it once it is idle
	was     State  // at boot: how it stood when the daemon before died; "" when nothing is remembered
	ready   uint64 // at boot: the generation that was ready then
	told    State  // what the world was told last
	toldGen uint64
}

func (u *unit) name(app string) string { return fmt.Sprintf("%s:%s#%d", app, u.process, u.number) }

func newRunner(s *Supervisor, app *config.App, rev int64) *runner {
	r := &runner{s: s, key: app.Key, mail: newMailbox(), enabled: app.Enabled, scale: map[string]int{}, done: make(chan struct{}),
		epoch: uint64(s.Now().UnixNano())}
	r.adopt(app, rev)
	return r
}

// loop is the runner's goroutine.
func (r *runner) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.mail.signal:
			for _, fn := range r.mail.take() {
				fn()
			}
			r.settle()
			if r.removed && len(r.units) == 0 {
				r.leave()
				return
			}
		}
	}
}

// leave is the end of a runner whose app was removed: whoever still waits is told so.
func (r *runner) leave() {
	for _, fn := range r.mail.close() {
		fn()
	}
	for _, w := range append([]*waiter(nil), r.waiters...) {
		r.reply(w, unknownNow(r.key))
	}
	close(r.done)
}

// settle publishes what the last messages made of the app and answers whoever waited for it.
func (r *runner) settle() {
	r.recheck()
	for _, u := range r.units {
		r.tell(u)
	}
	r.part()
	r.publish()
	if r.obeyed > 0 {
		r.pending.Add(-r.obeyed)
		r.obeyed = 0
		r.s.changed(r.key)
	}
	r.answer()
}

// adopt makes the slots follow a definition; running generations keep theirs.
func (r *runner) adopt(app *config.App, rev int64) {
	r.app, r.rev = app, rev
	r.s.Lines.Keep(app)
	want := map[string]bool{}
	for i := range app.Processes {
		p := &app.Processes[i]
		n := p.Instances
		if over, ok := r.scale[p.Name]; ok {
			n = over
		}
		for k := 1; k <= n; k++ {
			want[fmt.Sprintf("%s#%d", p.Name, k)] = true
			if u := r.unit(p.Name, k); u != nil {
				u.def, u.parting = p, false
				continue
			}
			r.units = append(r.units, &unit{slot: slot{phase: idle, outcome: Stopped}, process: p.Name, number: k, def: p, since: r.s.Now()})
		}
	}
	for _, u := range r.units {
		if !want[fmt.Sprintf("%s#%d", u.process, u.number)] {
			u.parting = true
			r.send(u, evStop, ended{})
		}
	}
	r.order()
}

// order sorts the slots as the definition has them.
func (r *runner) order() {
	rank := map[string]int{}
	for i, p := range r.app.Processes {
		rank[p.Name] = i + 1
	}
	for i := 1; i < len(r.units); i++ {
		for j := i; j > 0; j-- {
			a, b := r.units[j-1], r.units[j]
			ra, rb := rank[a.process], rank[b.process]
			if ra < rb || ra == rb && a.number <= b.number {
				break
			}
			r.units[j-1], r.units[j] = b, a
		}
	}
}

// part forgets the slots that are scaled away once nothing of them is left.
func (r *runner) part() {
	kept := r.units[:0]
	for _, u := range r.units {
		if !u.parting || u.phase != idle {
			kept = append(kept, u)
		}
	}
	clear(r.units[len(kept):])
	r.units = kept
}

func (r *runner) unit(process string, number int) *unit {
	for _, u := range r.units {
		if u.process == process && u.number == number {
			return u
		}
	}
	return nil
}

// rules is what the machine needs to know: of the running generation while there is one.
func (u *unit) rules(app *config.App) rules {
	d := u.def
	if u.gen != nil {
		d = u.gen.def
	}
	return rules{restart: d.Restart, stop: d.Stop.Timeout, oneshot: app.Oneshot}
}

// send lets an event happen to a slot and does what follows from it.
func (r *runner) send(u *unit, e event, end ended) {
	before := u.state()
	next, acts := step(u.slot, e, end, u.rules(r.app), rand.Float64())
	u.slot = next
	if u.phase == idle || u.phase == waiting {
		u.disarm()
	}
	if now := u.state(); now != before {
		u.since = r.s.Now()
		u.explain(now)
	}
	for _, a := range acts {
		r.act(u, a)
	}
}

// explain joins what happened and what follows from it to one clear reason.
func (u *unit) explain(now State) {
	if u.exit == nil {
		return
	}
	switch now {
	case Crashed, Failed:
		if u.end.permanent { // the message says it all
			u.reason = u.exit.Message
			return
		}
		u.reason = fmt.Sprintf("%s; not started again: %s", u.exit.Message, u.reason)
	case Backoff:
		u.reason = fmt.Sprintf("%s; try %d of %d in %s", u.exit.Message, len(u.hist.Restarts), u.def.Restart.MaxRestarts, u.delay.Round(10*time.Millisecond))
	}
}

func (r *runner) act(u *unit, a action) {
	switch a {
	case actAsk:
		r.ask(u)
	case actSpawn:
		r.spawn(u)
	case actProbe:
		u.gen.watchReady(r, u)
	case actHealth:
		u.gen.readyAt = r.s.Now()
		u.gen.watchHealth(r, u)
	case actSignal:
		u.gen.quiet()
		u.gen.proc.SetEnding(string(u.end.cause)) // first: we may not live to see how it ends
		if err := u.gen.proc.Signal(signalNamed(u.gen.def.Stop.Signal)); err != nil {
			r.s.Log.Warn("cannot signal", "app", r.key, "slot", u.name(r.app.Name), "err", err)
		}
	case actTimer:
		r.arm(u)
	case actLinger:
		u.gen.quiet()
		u.gen.end(r, u, u.delay-r.s.Now().Sub(u.since))
	case actKill:
		u.disarm()
		u.gen.quiet()
		u.gen.end(r, u, 0)
	}
}

// arm starts the timer of the stop timeout or of the back-off.
func (r *runner) arm(u *unit) {
	u.disarm()
	e := evLate
	if u.phase == backoff {
		e = evOver
		u.nextTry = r.s.Now().Add(u.delay)
		u.starts++
		r.together(u)
		if u.delay <= 0 { // no detour over a timer: a respawn without back-off is a matter of microseconds
			u.nextTry = time.Time{}
			r.send(u, evOver, ended{})
			return
		}
	}
	r.wait(u, e)
}

// wait lets an event happen to a slot when its delay is over.
func (r *runner) wait(u *unit, e event) {
	if e == evOver {
		u.nextTry = r.s.Now().Add(u.delay)
	}
	var t *time.Timer
	t = time.AfterFunc(u.delay, func() {
		r.mail.post(func() {
			if u.timer == t {
				u.timer = nil
				u.nextTry = time.Time{}
				r.send(u, e, ended{})
			}
		})
	})
	u.timer = t
}

func (u *unit) disarm() {
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	u.nextTry = time.Time{}
}

// together carries a failure to the siblings as the strategy says. A sibling that has to start again waits, like the
// failed one, until all of them are gone: the dependency check sees to it.
func (r *runner) together(failed *unit) {
	strategy := r.app.Supervision.Strategy
	if strategy != "one_for_all" && strategy != "rest_for_one" {
		r.s.spread(r.app)
		return
	}
	after := false
	for _, u := range r.units {
		if u == failed {
			after = true
			continue
		}
		if u.process == failed.process && strategy == "rest_for_one" {
			continue
		}
		if strategy == "one_for_all" || after {
			r.again(u)
		}
	}
	r.s.spread(r.app)
}

// again restarts a slot that runs, for another one's sake.
func (r *runner) again(u *unit) {
	switch u.phase {
	case starting, running, spawning:
		hist := u.hist
		r.send(u, evStop, ended{})
		r.send(u, evStart, ended{})
		u.hist = hist
	}
}

// ask looks whether everything is there that a start of u needs, and starts it if so.
func (r *runner) ask(u *unit) {
	if u.phase != waiting {
		return
	}
	if r.halting {
		r.send(u, evStop, ended{})
		return
	}
	if why := r.missing(u); why != "" {
		u.reason = why
		return
	}
	r.send(u, evMet, ended{})
}

// missing names what u has to wait for, or "".
func (r *runner) missing(u *unit) string {
	if s := r.app.Supervision.Strategy; s == "one_for_all" || s == "rest_for_one" {
		before := true
		for _, o := range r.units {
			if o == u {
				before = false
				continue
			}
			if o.again && (o.phase == ending || o.phase == killing) {
				return fmt.Sprintf("waits until %s has ended", o.name(r.app.Name))
			}
			if o.phase == backoff && (s == "one_for_all" || before) {
				return fmt.Sprintf("waits for %s, which failed and starts again", o.name(r.app.Name))
			}
		}
	}
	for _, d := range u.def.DependsOn {
		for _, o := range r.units {
			if o.process == d.Name && !satisfied(d.Until, o.state(), o.gen != nil) {
				return fmt.Sprintf("waits for %s (%s) to be %s", o.name(r.app.Name), o.state(), untilWord(d.Until))
			}
		}
	}
	for _, d := range r.app.DependsOn {
		view := r.s.view(siblingKey(r.app.Key, d.Name))
		switch {
		case view == nil:
			return fmt.Sprintf("waits for %s, which is not known", d.Name)
		case !satisfied(d.Until, view.State, view.alive()):
			return fmt.Sprintf("waits for %s (%s) to be %s", d.Name, view.State, untilWord(d.Until))
		}
	}
	return ""
}

func satisfied(until string, s State, alive bool) bool {
	switch until {
	case "started":
		return alive || s.up()
	case "completed":
		return s == Completed
	default:
		return s.up()
	}
}

func untilWord(until string) string {
	if until == "" {
		return "ready"
	}
	return until
}

// recheck looks again at every slot that waits.
func (r *runner) recheck() {
	for _, u := range r.units {
		r.ask(u)
	}
}

// spawn starts the next generation of u. The keeper is asked on another goroutine: a stop must get through meanwhile.
func (r *runner) spawn(u *unit) {
	u.last++
	r.epoch++
	g := &generation{number: u.last, rev: r.rev, def: u.def, app: r.app, at: r.s.Now()}
	r.s.calls.Go(func() {
		err := g.start(r.s, u.process, u.number)
		r.mail.post(func() {
			if err != nil {
				u.exit = &Exit{At: r.s.Now(), Reason: "spawn", Message: err.Error(), Generation: g.number}
				r.ended(u, u.exit)
				r.send(u, evSpawnFailed, ended{permanent: permanent(err)})
				return
			}
			u.gen = g
			g.watch(r, u)
			r.send(u, evSpawned, ended{})
		})
	})
}

// exited takes the end of u's main process.
func (r *runner) exited(u *unit, g *generation) {
	if u.gen != g || g.over {
		return
	}
	g.over = true
	x := g.proc.Exit()
	ran := max(0, x.At.Sub(g.at))
	u.exit = exitOf(x, g, u, ran)
	if u.phase == starting || u.phase == running {
		u.reason = u.exit.Message
	}
	r.ended(u, u.exit)
	r.send(u, evExited, ended{success: x.Known && x.Signal == "" && x.Code == 0, ran: ran})
}

// gone takes the news that nothing of a generation is left (or that something is, and does not die).
func (r *runner) gone(u *unit, g *generation, err error) {
	if u.gen != g {
		return
	}
	if err != nil {
		u.reason = err.Error()
		r.send(u, evWontDie, ended{})
		return
	}
	g.forget(r.s)
	u.gen = nil
	r.epoch++
	r.send(u, evGone, ended{})
}

// tell tells the world of a change of state. What a slot only passed through while one message was handled is left out,
// and so is the clearing away of what a program that ended by itself left behind.
func (r *runner) tell(u *unit) {
	from, to := u.told, u.state()
	if from == "" {
		from = Stopped
	}
	if from == to && (u.toldGen == u.last || to == Stopped) || u.phase == killing && u.end.cause == byItself {
		return
	}
	u.told, u.toldGen = to, u.last
	ev := bus.Event{At: r.s.Now(), Topic: "apps", Type: string(to), Key: r.key, Slot: u.name(r.app.Name), Data: map[string]any{"from": string(from)}}
	ev.Text = string(to)
	if u.reason != "" {
		ev.Text += ": " + u.reason
	}
	if u.gen != nil && u.gen.proc != nil {
		ev.Data["pid"] = u.gen.proc.Identity().PID
	}
	if to == Backoff {
		ev.Data["delay_ms"] = u.delay.Milliseconds()
		ev.Data["try"] = len(u.hist.Restarts)
		ev.Data["max"] = u.rules(r.app).restart.MaxRestarts
	}
	r.s.Bus.Publish(ev)
}

// ended tells the world how a run ended.
func (r *runner) ended(u *unit, x *Exit) {
	r.s.Bus.Publish(bus.Event{At: x.At, Topic: "apps", Type: "exited", Key: r.key, Slot: u.name(r.app.Name), Text: x.Message,
		Data: map[string]any{"code": x.Code, "signal": x.Signal, "reason": x.Reason, "ran_ms": x.RanMS, "generation": x.Generation, "pid": x.PID}})
}

func exitOf(x proc.Exit, g *generation, u *unit, ran time.Duration) *Exit {
	e := &Exit{At: x.At, Known: x.Known, Code: x.Code, Signal: x.Signal, Core: x.CoreDumped, RanMS: ran.Milliseconds(),
		CPUMS: (x.User + x.Sys).Milliseconds(), MaxRSS: x.MaxRSS, Generation: g.number, PID: g.proc.Identity().PID}
	after := fmt.Sprintf("after %s", ran.Round(time.Millisecond))
	switch {
	case !x.Known:
		e.Reason, e.Message = "lost", "ended "+after+", nobody saw how"
	case x.Signal != "":
		e.Reason, e.Message = "signal", "ended by "+x.Signal+" "+after
	default:
		e.Reason, e.Message = "exited", fmt.Sprintf("exited %d %s", x.Code, after)
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
			e.Reason, e.Message = "unready", fmt.Sprintf("was not ready within %s", g.def.Ready.Timeout)
		case byUnhealthy:
			e.Reason, e.Message = "unhealthy", "its health probe failed: "+g.healthNote
		}
	}
	return e
}
