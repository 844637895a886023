package runner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/supervisor/launch"
	"github.com/omnitron-dev/omnitron/core/supervisor/mailbox"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// Runner owns one app. Everything below its mailbox is touched by its own goroutine only; readers take the snapshot.
type Runner struct {
	c        *Common
	Key      string // of the app
	mail     *mailbox.Box
	snapshot atomic.Pointer[view.App]
	declared atomic.Pointer[config.App] // the newest definition; the runner may not have come to it yet
	pending  atomic.Int32               // commands to start that are on their way: until then the snapshot does not tell what is to come
	renewals atomic.Int32               // of those, restarts because of another definition

	app        *config.App
	rev        int64
	desired    bool            // running
	parts      map[string]bool // of processes and process#n that were commanded by themselves, until the whole app is
	enabled    bool
	scale      map[string]int // process → instances, until the file's number changes
	units      []*unit
	waiters    []*Waiter
	extra      []*unit  // second generations of slots, while they are reloaded: those that are not ready yet, and those that end
	unfinished []string // at boot: process#n that the reload of the daemon before had not come to
	roll       *roll    // the reload that is under way
	spawns     int      // starts that the keeper has not answered yet
	later      []func() // what is left to do once there are none
	epoch      uint64
	obeyed     int32           // of pending, what was carried out since the last snapshot
	halting    bool            // the daemon ends: stop, but leave what is desired alone
	open       map[string]bool // the sockets, by id, that were opened for it
	shed       bool            // something was too much and is ending, or has ended, which the command that asked for it does not know yet
	plan       store.Schedule  // how far its schedule has come
	next       time.Time       // when it is due next, as far as was told
	began      bool            // a run of its schedule is under way
	removed    bool            // the definition has it no more: when nothing of it is left, neither is the runner
}

// unit is a slot and what runs in it.
type unit struct {
	slot
	process string
	number  int
	def     *config.Process // of the next start; gen.def is of the running one
	former  bool            // the program was another one when it was started last
	gen     *generation
	last    uint64 // number of the last generation
	seq     int64  // record of the last command
	up      bool   // what that command wanted
	since   time.Time
	nextTry time.Time
	timer   *time.Timer
	starts  int // restarts that nobody asked for
	exit    *view.Exit
	heir    bool               // the second generation of a slot: it is not started again by itself
	top     uint64             // the highest number that was given to a generation, if that is not last
	sleeps  bool               // it is idle between the runs of a schedule
	abort   context.CancelFunc // gives up the hook before a program that is being started; nil: none is
	owes    uint64             // at boot: the generation whose postStart hook the daemon before did not live to see through
	parting bool               // scaled away or removed: forget it once it is idle
	was     view.State         // at boot: how it stood when the daemon before died; "" when nothing is remembered
	ready   uint64             // at boot: the generation that was ready then, since readyAt
	readyAt time.Time
	ancient bool       // at boot: it was started last before the machine was
	told    view.State // what the world was told last
	toldGen uint64
}

func (u *unit) name(app string) string { return app + ":" + u.instance() }

// instance names the slot within its app, process#n.
func (u *unit) instance() string { return u.process + "#" + strconv.Itoa(u.number) }

// New makes the runner of an app whose definition is of revision rev; Launch sets it going.
func New(c *Common, app *config.App, rev int64) *Runner {
	r := &Runner{c: c, Key: app.Key, mail: mailbox.New(), open: map[string]bool{}, enabled: app.Enabled, epoch: uint64(c.Now().UnixNano())}
	r.declared.Store(app)
	r.adopt(app, rev)
	return r
}

// moved marks that something was started, stopped or changed. A mark is the time of it, and later than those before: none comes
// again in the life of another daemon.
func (r *Runner) moved() { r.epoch = max(r.epoch+1, uint64(r.c.Now().UnixNano())) }

// loop is the runner's goroutine.
func (r *Runner) loop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for _, u := range slices.Concat(r.units, r.extra) { // the watchers see for themselves that it is over
				u.disarm()
			}
			return
		case <-r.mail.Signal:
			for _, fn := range r.mail.Take() {
				fn()
			}
			r.settle()
			if r.removed && len(r.units)+len(r.extra) == 0 {
				r.leave()
				return
			}
		}
	}
}

// leave is the end of a runner whose app was removed: whoever still waits is told so.
func (r *Runner) leave() {
	for _, fn := range r.mail.Close() {
		fn()
	}
	r.c.Others.Gone(r)
	r.c.Others.Stirred(r.Key)
	for _, w := range slices.Clone(r.waiters) {
		r.reply(w, Unknown(w.Kind, r.Key))
	}
}

// settle publishes what the last messages made of the app and answers whoever waited for it.
func (r *Runner) settle() {
	r.recheck()
	r.advance()
	for _, u := range r.units {
		r.tell(u)
	}
	if r.app.Schedule != nil {
		r.slumber()
		for _, u := range r.units { // that it waits for its next time comes after how it has ended
			r.tell(u)
		}
	}
	r.part()
	r.tend()
	r.publish()
	r.unhurried()
	if r.obeyed > 0 {
		r.pending.Add(-r.obeyed)
		r.obeyed = 0
		r.c.Others.Stirred(r.Key)
	}
	r.answer()
}

// noop wakes a runner: its settle looks at everything that waits.
func (r *Runner) noop() {}

// recollect takes over what the state says of the app. Whoever has changed the state posts it afterwards, so that the
// last one to run sees the last change, in whatever order they come.
func (r *Runner) recollect() {
	st := r.c.State.View()
	if a, ok := st.App(r.Key); ok {
		r.intent(a)
	}
}

func (r *Runner) intent(a store.AppState) {
	r.desired, r.enabled = a.Desired == store.WantRunning, a.Enabled
	r.plan.Until = a.Schedule.Until
	r.parts, r.scale = map[string]bool{}, a.Scale
	for part, want := range a.Parts {
		r.parts[part] = want == store.WantRunning
	}
}

// wanted reports whether a slot should run: what was said of it, else of its process, else of the app.
func (r *Runner) wanted(u *unit) bool {
	if up, ok := r.parts[u.instance()]; ok {
		return up
	}
	if up, ok := r.parts[u.process]; ok {
		return up
	}
	return r.desired
}

func (r *Runner) unit(process string, number int) *unit {
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
		d, app = u.gen.live, u.gen.app
	}
	again := d.Restart
	if u.heir {
		again.Policy = "never"
	}
	return rules{restart: again, stop: d.Stop.Timeout, oneshot: app.Oneshot}
}

// send lets an event happen to a slot and does what follows from it.
func (r *Runner) send(u *unit, e event, end ended) {
	before := u.slot.state()
	next, acts := step(u.slot, e, end, u.rules(r.app), rand.Float64())
	u.slot = next
	if u.phase == idle || u.phase == waiting {
		u.disarm()
	}
	if now := u.slot.state(); now != before {
		u.since = r.c.Now()
		u.explain(now)
	}
	for _, a := range acts {
		r.act(u, a)
	}
}

// explain joins what happened and what follows from it to one clear reason.
func (u *unit) explain(now view.State) {
	if u.exit == nil {
		return
	}
	switch now {
	case view.Crashed, view.Failed:
		if u.end.permanent { // the message says it all
			u.reason = u.exit.Message
			return
		}
		u.reason = fmt.Sprintf("%s; not started again: %s", u.exit.Message, u.reason)
	case view.Backoff:
		u.reason = fmt.Sprintf("%s; try %d of %d in %s", u.exit.Message, len(u.hist.Restarts), u.def.Restart.MaxRestarts, u.delay.Round(10*time.Millisecond))
	}
}

func (r *Runner) act(u *unit, a action) {
	switch a {
	case actAsk:
		r.ask(u)
	case actSpawn:
		r.spawn(u)
	case actProbe:
		u.gen.watchReady(r, u)
	case actHealth:
		u.gen.readyAt = r.c.Now()
		u.gen.watchHealth(r, u)
		u.gen.beat = time.Now()
		r.watchDog(u, u.gen.def.Watchdog)
		r.greet(u)
	case actSignal:
		u.gen.quiet()
		r.bid(u)
	case actTimer:
		if u.phase != ending || !u.gen.bidding { // else it runs from the signal on
			r.arm(u)
		}
	case actAbort:
		if u.abort != nil {
			u.abort()
		}
	case actLinger:
		u.gen.quiet()
		u.gen.end(r, u, u.grace(r.c.Now()))
	case actKill:
		u.disarm()
		u.gen.quiet()
		u.gen.end(r, u, 0)
	}
}

// greet runs the hook that comes once a program is ready. A start has succeeded when it is done, however it went.
func (r *Runner) greet(u *unit) {
	g := u.gen
	h := g.live.Hooks.PostStart
	if h == nil {
		return
	}
	r.accompany(u, g, "postStart", h, nil, func(err error) {
		g.greeting = false
		if err != nil {
			u.reason = "the postStart hook " + r.c.Hide(err.Error())
		}
	})
	g.greeting = true
}

// bid asks a program to end: the hook that comes before that, then the signal.
func (r *Runner) bid(u *unit) {
	g := u.gen
	if over(g.proc) { // it has ended for another reason
		g.dismiss()
		return
	}
	g.proc.SetEnding(string(u.end.cause)) // first: we may not live to see how it ends
	signal := func() {
		if err := g.proc.Signal(launch.Signal(g.live.Stop.Signal)); err != nil {
			r.c.Log.Warn("cannot signal", "app", r.Key, "slot", u.name(r.app.Name), "err", err)
		}
	}
	h := g.live.Hooks.PreStop
	if h == nil {
		g.dismiss()
		signal()
		return
	}
	r.accompany(u, g, "preStop", h, nil, func(error) {
		if g.bidding = false; u.phase == ending {
			g.asked = r.c.Now()
			signal()
			r.arm(u)
		}
	})
	g.bidding = true
}

// grace is what is left of the time to end in, once the main process has.
func (u *unit) grace(now time.Time) time.Duration {
	switch g := u.gen; {
	case g.bidding: // nothing of it has been used up
		return u.delay
	case !g.asked.IsZero():
		return u.delay - now.Sub(g.asked)
	}
	return u.delay - now.Sub(u.since)
}

// arm starts the timer of the stop timeout or of the back-off.
func (r *Runner) arm(u *unit) {
	u.disarm()
	if u.phase != backoff {
		r.wait(u, evLate)
		return
	}
	u.starts++
	r.together(u)
	if u.delay <= 0 { // no detour over a timer: a respawn without back-off is a matter of microseconds
		r.send(u, evOver, ended{})
		return
	}
	r.wait(u, evOver)
}

// wait lets an event happen to a slot when its delay is over.
func (r *Runner) wait(u *unit, e event) {
	if e == evOver {
		u.nextTry = r.c.Now().Add(u.delay)
	}
	r.waitFor(u, e, u.delay)
}

// waitFor lets an event happen to a slot after d, instead of what was to happen.
func (r *Runner) waitFor(u *unit, e event, d time.Duration) {
	if u.timer != nil {
		u.timer.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		r.mail.Post(func() {
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
