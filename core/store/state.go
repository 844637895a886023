package store

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Desired is what a user wants of an app.
type Desired string

// The two things a user can want.
const (
	WantRunning Desired = "running"
	WantStopped Desired = "stopped"
)

// State is durable intent and last known status: the content of state.json. It is a value: a copy is a snapshot that
// nobody else changes, and changing it changes nothing but itself. Only the mutation that is handed to StateFile.Put or
// Touch works on the real one.
type State struct {
	HomeDown bool // `omnitron down` was said: start nothing until up or start
	Cluster  Cluster

	apps   map[string]*app
	shared bool     // apps belongs to another State too: copy before writing
	undo   []undone // what a mutation replaced, newest last; nil outside of one
	noting bool
}

// Cluster is the place of this daemon among its peers.
type Cluster struct {
	Role   string `json:"role,omitempty"`
	Leader string `json:"leader,omitempty"`
	Term   uint64 `json:"term,omitempty"`
}

// AppState is what is known and wanted of one app.
type AppState struct {
	Name       string             `json:"name"`
	Key        string             `json:"key"` // project/stack/name
	Status     string             `json:"status"`
	Desired    Desired            `json:"desired"`
	Parts      map[string]Desired `json:"parts,omitempty"` // of processes and process#n that were commanded by themselves
	Enabled    bool               `json:"enabled"`
	Revision   int64              `json:"revision"` // the definition that is wanted
	Hash       string             `json:"definitionHash,omitempty"`
	Scale      map[string]int     `json:"scale,omitempty"`     // process → instances, until the file's number changes
	ScaleBase  map[string]int     `json:"scaleBase,omitempty"` // the file's numbers when scale was said
	Numbers    map[string]int64   `json:"numbers,omitempty"`   // ledger numbers of what Parts and Scale (as process*) say
	PID        int                `json:"pid,omitempty"`       // of the first slot, with its StartTime and BootID
	StartTime  uint64             `json:"startTime,omitempty"` // clock ticks since boot
	BootID     string             `json:"bootId,omitempty"`
	StartedAt  time.Time          `json:"startedAt,omitzero"`
	LastError  string             `json:"lastError,omitempty"`
	LastExit   *Exit              `json:"lastExit,omitempty"`
	Restarts   int                `json:"restarts"`
	Generation uint64             `json:"generation"`        // moves whenever the app is started, stopped or changed
	Command    int64              `json:"command,omitempty"` // ledger number of the last command on the whole app
	Processes  []Slot             `json:"processes,omitempty"`
	Reloading  []string           `json:"reloading,omitempty"` // process#n that a reload has not come to yet
	Schedule   Schedule           `json:"schedule,omitzero"`
}

// Schedule is how far an app with a schedule has come.
type Schedule struct {
	Until  time.Time `json:"until,omitzero"`   // what was due up to here is dealt with
	Owed   bool      `json:"owed,omitempty"`   // a run was due and is not over
	Queued bool      `json:"queued,omitempty"` // another one follows it
}

// Slot is one place for a process to run in, app:process#instance, and the generation that fills it.
type Slot struct {
	Name         string          `json:"name"` // of the process
	Instance     int             `json:"instance"`
	Status       string          `json:"status"`
	Health       string          `json:"health,omitempty"`
	Generation   uint64          `json:"generation"`
	Revision     int64           `json:"revision,omitempty"` // the definition that it runs
	PID          int             `json:"pid,omitempty"`
	StartTime    uint64          `json:"startTime,omitempty"` // clock ticks since boot
	BootID       string          `json:"bootId,omitempty"`
	PIDNS        string          `json:"pidNs,omitempty"`
	Group        string          `json:"group,omitempty"`    // cgroup leaf
	KeeperID     string          `json:"keeperId,omitempty"` // the keeper's name of the generation
	StartedAt    time.Time       `json:"startedAt,omitzero"`
	ReadyAt      time.Time       `json:"readyAt,omitzero"`
	Greeting     bool            `json:"greeting,omitempty"` // its postStart hook is not done yet
	Restarts     int             `json:"restarts"`
	Active       time.Duration   `json:"activeNs,omitempty"`     // how long it has run in all, in nanoseconds
	RestartsAt   []time.Duration `json:"restartsAtNs,omitempty"` // Active at each restart that still counts, in nanoseconds
	Attempt      int             `json:"attempt,omitempty"`      // how far the back-off has come
	BackoffUntil time.Time       `json:"backoffUntil,omitzero"`
	LastError    string          `json:"lastError,omitempty"`
	LastExit     *Exit           `json:"lastExit,omitempty"`
	Ports        []PortState     `json:"ports,omitempty"`
}

// PortState is the port that a slot was given for a name.
type PortState struct {
	Name string `json:"name"`
	Port int    `json:"port"`
}

// Exit is how a process ended.
type Exit struct {
	Known      bool      `json:"known"` // false: it is gone and nobody saw how
	Code       int       `json:"code"`
	Signal     string    `json:"signal,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"` // the reason in a sentence
	RanMS      int64     `json:"ranMs,omitempty"`   // how long it ran, in milliseconds
	Generation uint64    `json:"generation,omitempty"`
	PID        int       `json:"pid,omitempty"`
	StderrTail []string  `json:"stderrTail,omitempty"`
}

// app is an immutable entry: a change makes a new one, so that snapshots share what did not change and only what did is
// encoded again.
type app struct {
	AppState
	text []byte // its JSON; written and read by the leader of a write only
}

// undone is an entry as it was before a mutation; nil: there was none.
type undone struct {
	key string
	was *app
}

// Len is the number of apps.
func (s State) Len() int { return len(s.apps) }

// Keys gives the keys of all apps in order.
func (s State) Keys() []string { return slices.Sorted(maps.Keys(s.apps)) }

// App gives a copy of an app's entry, which is the caller's own.
func (s State) App(key string) (AppState, bool) {
	a, ok := s.apps[key]
	if !ok {
		return AppState{}, false
	}
	return a.clone(), true
}

// Apps gives copies of all entries in the order of their keys.
func (s State) Apps() iter.Seq[AppState] {
	return func(yield func(AppState) bool) {
		for _, key := range s.Keys() {
			if !yield(s.apps[key].clone()) {
				return
			}
		}
	}
}

// Set puts an entry in the place of the one with its key. The entry is copied.
func (s *State) Set(a AppState) { s.put(a.Key, &app{AppState: a.clone()}) }

// Edit changes an entry in place; a key that is not there yet is made, with only its Key set.
func (s *State) Edit(key string, fn func(*AppState)) {
	a, ok := s.App(key)
	if !ok {
		a.Key = key
	}
	fn(&a)
	a.Key = key
	s.put(key, &app{AppState: a})
}

// Delete takes an entry out.
func (s *State) Delete(key string) {
	if _, ok := s.apps[key]; ok {
		s.put(key, nil)
	}
}

func (s *State) put(key string, a *app) {
	if s.shared || s.apps == nil {
		s.apps, s.shared = maps.Clone(s.apps), false
		if s.apps == nil {
			s.apps = map[string]*app{}
		}
	}
	if s.noting {
		s.undo = append(s.undo, undone{key, s.apps[key]})
	}
	if a == nil {
		delete(s.apps, key)
		return
	}
	s.apps[key] = a
}

// mutate applies fn as a whole: after an error or a panic s is as it was.
func (s *State) mutate(fn func(*State) error) error {
	down, cluster := s.HomeDown, s.Cluster
	done := false
	s.noting = true
	defer func() {
		s.noting = false
		if !done {
			s.HomeDown, s.Cluster = down, cluster
			for _, u := range slices.Backward(s.undo) {
				s.put(u.key, u.was)
			}
		}
		s.undo = s.undo[:0]
	}()
	err := fn(s)
	done = err == nil
	return err
}

// snapshot gives a copy that shares the entries until one of the two is changed.
func (s *State) snapshot() State {
	s.shared = true
	return State{HomeDown: s.HomeDown, Cluster: s.Cluster, apps: s.apps, shared: true}
}

func (a AppState) clone() AppState {
	a.Scale, a.ScaleBase, a.Parts, a.Numbers = maps.Clone(a.Scale), maps.Clone(a.ScaleBase), maps.Clone(a.Parts), maps.Clone(a.Numbers)
	a.LastExit = a.LastExit.clone()
	a.Processes = slices.Clone(a.Processes)
	for i := range a.Processes {
		p := &a.Processes[i]
		p.RestartsAt, p.Ports, p.LastExit = slices.Clone(p.RestartsAt), slices.Clone(p.Ports), p.LastExit.clone()
	}
	return a
}

func (e *Exit) clone() *Exit {
	if e == nil {
		return nil
	}
	c := *e
	c.StderrTail = slices.Clone(e.StderrTail)
	return &c
}
