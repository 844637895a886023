package runner

import (
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
	"github.com/omnitron-dev/omnitron/core/supervisor/restart"
	"github.com/omnitron-dev/omnitron/core/supervisor/view"
)

// A slot is one place in which a generation of a program runs: (app, process, n). What happens to it is decided here,
// by a pure function of its state and an event; runner.go does what the actions say.
//
//	                 start                    deps met                spawned               ready
//	        idle ───────────► waiting ───────────────► spawning ─────────────► starting ─────────► running
//	          ▲                  ▲                        │ failed                │ exited,            │ exited,
//	          │ no restart       │ delay over             ▼                       │ not ready          │ unhealthy,
//	          ├──────────── backoff ◄─────── settle ◄── killing ◄─────────────────┴──── ending ◄───────┤ stop
//	          │                                           │ ▲      main gone, or the time is up        │
//	          └───────────────────────────────────────────┘ └── stuck: SIGKILL did not help, still asked
//
// The table, as TestTransitions prints it (phase event → phase actions; what is not listed changes nothing):
//
//	idle      start        → waiting    ask
//	waiting   stop         → idle
//	waiting   met          → spawning   spawn
//	spawning  stop         → spawning   abort
//	spawning  spawned      → starting   probe          (ending signal,timer if a stop came meanwhile)
//	spawning  spawnfailed  → backoff    timer          (idle when it cannot be helped)
//	starting  ready        → running    health
//	starting  unready      → ending     signal,timer
//	starting  heavy        → ending     signal,timer
//	starting  exited       → killing    kill
//	starting  stop         → ending     signal,timer
//	running   exited       → killing    kill
//	running   unhealthy    → ending     signal,timer
//	running   heavy        → ending     signal,timer
//	running   silent       → ending     signal,timer
//	running   stop         → ending     signal,timer
//	ending    exited       → killing    linger
//	ending    late         → killing    kill
//	killing   gone         → idle                      (waiting or backoff when it runs again)
//	killing   wontdie      → stuck
//	stuck     gone         → idle
//	backoff   over         → waiting    ask
//	backoff   start        → waiting    ask
//	backoff   stop         → idle

// phase is where a slot is; State is what people are told of it.
type phase string

const (
	idle     phase = "idle"
	waiting  phase = "waiting"
	spawning phase = "spawning"
	starting phase = "starting"
	running  phase = "running"
	ending   phase = "ending"
	killing  phase = "killing"
	stuck    phase = "stuck"
	backoff  phase = "backoff"
)

// event is what can happen to a slot.
type event string

const (
	evStart       event = "start"
	evStop        event = "stop"
	evMet         event = "met"         // what it depends on is there
	evSpawned     event = "spawned"     //
	evSpawnFailed event = "spawnfailed" //
	evReady       event = "ready"       //
	evUnready     event = "unready"     // not ready in time
	evUnhealthy   event = "unhealthy"   // probes failed retries times
	evHeavy       event = "heavy"       // it uses more memory than it may
	evSilent      event = "silent"      // its watchdog heard nothing of it for too long
	evExited      event = "exited"      // the main process is gone
	evLate        event = "late"        // the stop timeout is over
	evGone        event = "gone"        // nothing of the tree is left
	evWontDie     event = "wontdie"     // something of it is left after SIGKILL
	evOver        event = "over"        // the back-off is over
)

// action is what the runner has to do after a step.
type action string

const (
	actAsk    action = "ask"    // look at the dependencies, now and whenever they move
	actSpawn  action = "spawn"  // start a new generation
	actProbe  action = "probe"  // watch for readiness
	actHealth action = "health" // watch its health
	actSignal action = "signal" // send the stop signal to the main process
	actTimer  action = "timer"  // arm the timer: stop timeout or back-off
	actLinger action = "linger" // the main is gone in time: the rest gets what is left of the timeout, then SIGKILL
	actAbort  action = "abort"  // give up a hook that runs before the program
	actKill   action = "kill"   // SIGKILL to everything that it ever started
)

// cause is why a generation ends.
type cause string

const (
	byItself    cause = ""          // it exited
	byStop      cause = "stop"      // somebody asked
	byUnready   cause = "unready"   //
	byUnhealthy cause = "unhealthy" //
	byWatchdog  cause = "watchdog"  // it did not report in time
	byMemory    cause = "memory"    // it used more than its definition allows
	bySpawn     cause = "spawn"     // it never started
)

// ended is how the last generation ended, as far as the policy needs to know.
type ended struct {
	cause     cause
	success   bool
	ran       time.Duration
	permanent bool // another try cannot help: no such program, no such user
}

// slot is the machine's state.
type slot struct {
	phase   phase
	outcome view.State // of an idle slot: stopped, completed, failed, crashed
	again   bool       // start once it has ended
	doomed  bool       // a stop came while it was being spawned
	end     ended
	hist    restart.History
	delay   time.Duration // of the timer that actTimer arms
	reason  string        // why it is where it is, for people
}

// rules is what the machine needs of a process's definition.
type rules struct {
	restart config.Restart
	stop    time.Duration
	oneshot bool
}

// step gives the slot after an event, and what to do. end carries how the generation ended (evExited, evSpawnFailed);
// roll is a random number in [0, 1).
func step(s slot, e event, end ended, r rules, roll float64) (slot, []action) {
	switch s.phase {
	case idle:
		if e == evStart {
			return s.begin(), []action{actAsk}
		}
		if e == evStop {
			s.outcome, s.reason = view.Stopped, ""
		}
	case waiting:
		switch e {
		case evStop:
			return s.rest(view.Stopped, ""), nil
		case evMet:
			s.phase, s.doomed, s.reason = spawning, false, ""
			return s, []action{actSpawn}
		}
	case spawning:
		switch e {
		case evStop:
			s.doomed, s.again = true, false
			return s, []action{actAbort}
		case evStart:
			s.again = s.doomed
		case evSpawned:
			if s.doomed {
				return s.finish(byStop, r)
			}
			s.phase = starting
			return s, []action{actProbe}
		case evSpawnFailed:
			end.cause = bySpawn
			s.end = end
			if s.doomed {
				s.end.cause = byStop
			}
			return s.settle(r, roll)
		}
	case starting, running:
		switch e {
		case evReady:
			if s.phase == starting {
				s.phase = running
				return s, []action{actHealth}
			}
		case evUnready:
			if s.phase == starting {
				return s.finish(byUnready, r)
			}
		case evUnhealthy:
			if s.phase == running {
				return s.finish(byUnhealthy, r)
			}
		case evSilent:
			if s.phase == running {
				return s.finish(byWatchdog, r)
			}
		case evHeavy:
			return s.finish(byMemory, r)
		case evStop:
			s.again = false
			return s.finish(byStop, r)
		case evExited:
			s.phase, s.end = killing, end
			return s, []action{actKill}
		}
	case ending:
		switch e {
		case evStart:
			s.again = true
		case evStop:
			s.again, s.end.cause = false, byStop
		case evExited:
			s.phase = killing
			s.end.success, s.end.ran = end.success, end.ran
			return s, []action{actLinger}
		case evLate:
			s.phase = killing
			return s, []action{actKill}
		}
	case killing, stuck:
		switch e {
		case evStart:
			s.again = true
		case evStop:
			s.again, s.end.cause = false, byStop
		case evExited:
			s.end.success, s.end.ran = end.success, end.ran
		case evWontDie:
			s.phase = stuck
		case evGone:
			return s.settle(r, roll)
		}
	case backoff:
		switch e {
		case evOver:
			s.phase = waiting
			return s, []action{actAsk}
		case evStart:
			return s.begin(), []action{actAsk}
		case evStop:
			return s.rest(view.Stopped, ""), nil
		}
	}
	return s, nil
}

// begin is another start. What the restart policy remembers stays: the runner forgets it when somebody asked for the
// start, but not when a sibling's failure did.
func (s slot) begin() slot {
	return slot{phase: waiting, hist: s.hist}
}

func (s slot) rest(outcome view.State, reason string) slot {
	s.phase, s.outcome, s.again, s.doomed, s.reason = idle, outcome, false, false, reason
	return s
}

// finish asks a living generation to end.
func (s slot) finish(c cause, r rules) (slot, []action) {
	s.phase, s.doomed, s.delay = ending, false, r.stop
	s.end = ended{cause: c}
	return s, []action{actSignal, actTimer}
}

// settle decides what follows once nothing of a generation is left.
func (s slot) settle(r rules, roll float64) (slot, []action) {
	if s.again {
		return s.begin(), []action{actAsk}
	}
	if s.end.cause == byStop {
		return s.rest(view.Stopped, ""), nil
	}
	success := s.end.cause == byItself && s.end.success
	if r.oneshot && success {
		return s.rest(view.Completed, ""), nil
	}
	gaveUp := view.Crashed
	if r.oneshot {
		gaveUp = view.Failed
	}
	if s.end.permanent {
		return s.rest(gaveUp, "another try cannot help"), nil
	}
	hist, v := s.hist.After(r.restart, s.end.ran, success, roll)
	s.hist = hist
	switch {
	case v.Again:
		s.phase, s.delay = backoff, v.Delay
		return s, []action{actTimer}
	case success && r.restart.Policy != "always": // else it has given up: nobody said that it may rest
		return s.rest(view.Stopped, v.Reason), nil
	default:
		return s.rest(gaveUp, v.Reason), nil
	}
}

// state is what people are told.
func (s slot) state() view.State {
	switch s.phase {
	case waiting:
		return view.Waiting
	case spawning, starting:
		return view.Starting
	case running:
		return view.Running
	case ending, killing:
		return view.Stopping
	case stuck:
		return view.Stuck
	case backoff:
		return view.Backoff
	}
	return s.outcome
}
