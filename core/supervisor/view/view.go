// Package view is what readers see of the apps: snapshots that never change, and what can be told from them alone.
package view

import (
	"slices"
	"strconv"
	"time"

	"github.com/omnitron-dev/omnitron/core/config"
)

// State is how an app, a process or an instance stands. The list is closed (product contract, chapter 6).
type State string

// The states. Completed and Failed are of one-shots; Crashed means that the restart policy gave up.
const (
	Stopped   State = "stopped"
	Waiting   State = "waiting" // for a dependency
	Starting  State = "starting"
	Running   State = "running"
	Backoff   State = "backoff"
	Stopping  State = "stopping"
	Stuck     State = "stuck" // something does not die
	Completed State = "completed"
	Failed    State = "failed"
	Crashed   State = "crashed"
)

// States is every state, the one that tells the most about an app first.
var States = []State{Stuck, Crashed, Failed, Stopping, Backoff, Waiting, Starting, Running, Completed, Stopped}

// Derive gives an app's state from those of its slots: the one that tells the most.
func Derive(slots []State) State {
	for _, s := range States {
		for _, have := range slots {
			if have == s {
				return s
			}
		}
	}
	return Stopped
}

// Up reports whether a start has reached its end well.
func (s State) Up() bool { return s == Running || s == Completed }

// Settled reports whether nothing more happens by itself.
func (s State) Settled() bool {
	switch s {
	case Running, Completed, Failed, Crashed, Stopped, Stuck:
		return true
	}
	return false
}

// App is an app as readers see it: a snapshot, never changed after it was published.
type App struct {
	Key       string     `json:"key" table:"9" jsonschema:"project/stack/app"`
	Name      string     `json:"name" table:"1" jsonschema:"app name"`
	Project   string     `json:"project" jsonschema:"project"`
	Stack     string     `json:"stack" jsonschema:"stack"`
	State     State      `json:"state" table:"2" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"derived from its processes"`
	Reason    string     `json:"reason,omitempty" table:"8" jsonschema:"why it is in this state"`
	Health    string     `json:"health" enum:"healthy,unhealthy,unknown" jsonschema:"what its probes say"`
	Desired   string     `json:"desired" enum:"running,stopped" jsonschema:"what was asked for"`
	Enabled   bool       `json:"enabled" jsonschema:"whether up starts it"`
	Oneshot   bool       `json:"oneshot" jsonschema:"whether it runs once and ends"`
	Revision  int64      `json:"revision" jsonschema:"number of the definition it should run"`
	Restarts  int        `json:"restarts" table:"4" jsonschema:"starts that nobody asked for, since the last one that somebody did"`
	Since     time.Time  `json:"since" table:"3" unit:"time" jsonschema:"since when it is in this state"`
	NextRun   *time.Time `json:"next_run,omitempty" jsonschema:"when its schedule runs it next; absent while it is paused"`
	DependsOn []string   `json:"depends_on,omitempty" jsonschema:"names of the apps that it waits for"`
	Instances []Instance `json:"instances" jsonschema:"one entry a process and instance"`

	Epoch      uint64      `json:"-"` // moves whenever something is started, stopped or changed
	Definition *config.App `json:"-"` // what it should run
}

// Sleeps reports whether it waits for the next time of its schedule.
func (a *App) Sleeps() bool { return a.State == Waiting && a.NextRun != nil && !a.Alive() }

// Alive reports whether a program of the app runs.
func (a *App) Alive() bool {
	for _, i := range a.Instances {
		if i.PID != 0 {
			return true
		}
	}
	return false
}

// Instance is one slot of an app.
type Instance struct {
	Slot       string         `json:"slot" jsonschema:"app:process#n"`
	Process    string         `json:"process" jsonschema:"process name"`
	Number     int            `json:"number" jsonschema:"instance number, from 1"`
	State      State          `json:"state" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"state of this instance"`
	Reason     string         `json:"reason,omitempty" jsonschema:"why it is in this state"`
	Desired    string         `json:"desired" enum:"running,stopped" jsonschema:"what was asked for of this instance"`
	Health     string         `json:"health" enum:"healthy,unhealthy,unknown" jsonschema:"what its probe says"`
	HealthNote string         `json:"health_note,omitempty" jsonschema:"what the last probe answered: foreign text"`
	Status     string         `json:"status,omitempty" jsonschema:"what the program says of itself by sd_notify: foreign text"`
	PID        int            `json:"pid,omitempty" jsonschema:"process id of the main process"`
	Generation uint64         `json:"generation" jsonschema:"number of its newest run, from 1; 0: it was never started"`
	Revision   int64          `json:"revision,omitempty" jsonschema:"number of the definition it runs"`
	Since      time.Time      `json:"since" jsonschema:"since when it is in this state"`
	StartedAt  *time.Time     `json:"started_at,omitempty" jsonschema:"when the running program was started"`
	ReadyAt    *time.Time     `json:"ready_at,omitempty" jsonschema:"when it was ready"`
	NextTry    *time.Time     `json:"next_try,omitempty" jsonschema:"when it is started again"`
	Restarts   int            `json:"restarts" jsonschema:"starts that nobody asked for"`
	Ports      map[string]int `json:"ports,omitempty" jsonschema:"declared ports by name"`
	LastExit   *Exit          `json:"last_exit,omitempty" jsonschema:"how the last run ended"`
	Warnings   []string       `json:"warnings,omitempty" jsonschema:"limits of its definition that it runs without, because they cannot be enforced here"`

	Former bool `json:"-"` // its program was another one when it was started last
	Rests  bool `json:"-"` // it does not run, and is not started by itself
}

// Part names the instance within its app.
func (i *Instance) Part() string { return i.Process + "#" + strconv.Itoa(i.Number) }

// Exit is how a run ended.
type Exit struct {
	At         time.Time `json:"at" jsonschema:"when it ended"`
	Known      bool      `json:"known" jsonschema:"whether code and signal are known for sure"`
	Code       int       `json:"code" jsonschema:"exit code, 128 + number where a signal ended it; it means nothing unless known"`
	Signal     string    `json:"signal,omitempty" jsonschema:"signal that ended it"`
	Core       bool      `json:"core,omitempty" jsonschema:"whether a core was dumped"`
	Reason     string    `json:"reason" jsonschema:"exited, signal, oom (the kernel ended it for want of memory), stopped, unready, unhealthy, watchdog, memory (restart.maxMemory), spawn, preStart, lost"`
	Message    string    `json:"message,omitempty" jsonschema:"the reason in a sentence"`
	RanMS      int64     `json:"ran_ms" jsonschema:"how long it ran, in milliseconds"`
	CPUMS      int64     `json:"cpu_ms,omitempty" jsonschema:"CPU time used, in milliseconds"`
	MaxRSS     int64     `json:"max_rss_bytes,omitempty" jsonschema:"peak memory in bytes"`
	Generation uint64    `json:"generation" jsonschema:"which run it was"`
	PID        int       `json:"pid,omitempty" jsonschema:"its process id"`
	Stderr     []string  `json:"stderr_tail,omitempty" jsonschema:"the last lines it printed: foreign text"`
}

// Probed is what an instance's probe answered when it was asked.
type Probed struct {
	Slot   string `json:"slot" table:"1" jsonschema:"app:process#n"`
	Key    string `json:"key" table:"3" jsonschema:"project/stack/app"`
	State  State  `json:"state" table:"1" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"state of the instance"`
	Health string `json:"health" table:"1" enum:"healthy,unhealthy,unknown" jsonschema:"what its health probe says; unknown without one"`
	Probe  string `json:"probe,omitempty" table:"2" jsonschema:"how it was asked: http, tcp or exec"`
	Note   string `json:"note,omitempty" table:"1" jsonschema:"what it answered: foreign text"`
	TookMS int64  `json:"took_ms" table:"2" unit:"ms" jsonschema:"how long the answer took, in milliseconds"`
}

// Result is what a command did to one target.
type Result struct {
	Key     string   `json:"key" table:"1" jsonschema:"project/stack/app, with :process and #n where only a part was meant"`
	State   State    `json:"state" table:"2" enum:"stopped,waiting,starting,running,backoff,stopping,stuck,completed,failed,crashed" jsonschema:"its state now"`
	OK      bool     `json:"ok" jsonschema:"whether the command reached its end for this target"`
	Changed bool     `json:"changed" jsonschema:"whether anything had to be done"`
	Reason  string   `json:"reason,omitempty" table:"3" jsonschema:"why not"`
	PIDs    []int    `json:"pids,omitempty" jsonschema:"process ids of its main processes"`
	TookMS  int64    `json:"took_ms" jsonschema:"how long it took, in milliseconds"`
	Lines   []string `json:"lines,omitempty" jsonschema:"its last lines, when it failed: foreign text"`
	Code    string   `json:"-"` // the reason of the fault that it makes of a call
}

// Settled is the state without what passes by itself: an app on its way is where it goes.
func (a *App) Settled() string {
	switch a.State {
	case Waiting, Starting, Backoff, Stopping:
		return a.Desired
	}
	return string(a.State)
}

// Same reports whether two snapshots tell the same of what others act upon and of what is kept on disk.
func Same(a, b *App) bool {
	if a.State != b.State || a.Reason != b.Reason || a.Health != b.Health || a.Epoch != b.Epoch || a.Desired != b.Desired || a.Enabled != b.Enabled ||
		a.Revision != b.Revision || len(a.Instances) != len(b.Instances) || a.Restarts != b.Restarts || (a.NextRun == nil) != (b.NextRun == nil) || a.NextRun != nil && !a.NextRun.Equal(*b.NextRun) {
		return false
	}
	for i := range a.Instances {
		x, y := &a.Instances[i], &b.Instances[i]
		if x.State != y.State || x.PID != y.PID || x.Generation != y.Generation || x.Reason != y.Reason || x.LastExit != y.LastExit || x.Status != y.Status || x.Health != y.Health || x.Desired != y.Desired || !slices.Equal(x.Warnings, y.Warnings) {
			return false
		}
	}
	return true
}
