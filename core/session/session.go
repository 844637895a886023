// Package session knows who is connected: one session a connection, with what it has called. Transports open and close
// sessions, the pipeline counts in them, and people pause or disconnect them.
package session

import (
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// Info is what is known of a session.
type Info struct {
	ID        string    `json:"id" table:"1" jsonschema:"session id"`
	Principal string    `json:"principal" table:"2" jsonschema:"account and channel: what limits, records and pauses go by"`
	Channel   string    `json:"channel" table:"4" jsonschema:"person, agent, app or node"`
	Client    string    `json:"client,omitempty" table:"3" jsonschema:"name and version that the client gives itself"`
	Plane     string    `json:"plane" table:"5" jsonschema:"unix, stdio, tcp or http"`
	Role      string    `json:"role" table:"6" jsonschema:"role that it acts with"`
	PID       int       `json:"pid,omitempty" jsonschema:"process at the other end, where known"`
	Since     time.Time `json:"since" table:"7" unit:"time" jsonschema:"when it connected"`
	LastSeen  time.Time `json:"last_seen" table:"8" unit:"time" jsonschema:"when it called last; when it connected, if never"`
	LastCall  string    `json:"last_call,omitempty" jsonschema:"method that it called last"`
	Calls     int64     `json:"calls" table:"9" jsonschema:"how many calls it made"`
	Changed   int64     `json:"changed" table:"10" jsonschema:"calls that changed something"`
	Held      int64     `json:"held" table:"11" jsonschema:"calls that were held for a person"`
	Failed    int64     `json:"failed" table:"12" jsonschema:"calls that ended in an error"`
	InFlight  int64     `json:"in_flight" jsonschema:"calls that are running"`
	Paused    bool      `json:"paused" table:"13" jsonschema:"whether its changing calls are refused"`
}

// Sessions is every open session.
type Sessions struct {
	now func() time.Time

	mu     sync.RWMutex
	open   map[string]*Session
	paused map[string]bool // session ids and principals
}

// Session is one connection. The methods that count work on nil, which stands for a caller without a connection.
type Session struct {
	of    *Sessions
	end   func()
	since time.Time

	mu     sync.Mutex // caller, last
	caller op.Caller
	last   string

	seen                                 atomic.Int64 // unix nanoseconds
	calls, changed, held, failed, flying atomic.Int64
}

// New gives an empty list of sessions; now is the clock.
func New(now func() time.Time) *Sessions {
	return &Sessions{now: now, open: map[string]*Session{}, paused: map[string]bool{}}
}

// Open adds a session. An id is drawn when the caller has none; Caller tells it. Disconnect calls end, which has to make
// the connection end and may be called more than once.
func (s *Sessions) Open(caller op.Caller, end func()) *Session {
	if caller.Session == "" {
		caller.Session = strings.ToLower(rand.Text()[:16])
	}
	now := s.now()
	one := &Session{of: s, end: end, since: now, caller: caller}
	one.seen.Store(now.UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[caller.Session] = one
	return one
}

// Of gives the session of that id, or nil.
func (s *Sessions) Of(id string) *Session {
	if s == nil || id == "" {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.open[id]
}

// List gives all sessions, the oldest first.
func (s *Sessions) List() []Info {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]Info, 0, len(s.open))
	for _, one := range s.open {
		i := one.info()
		i.Paused = s.isPaused(i.ID, i.Principal)
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b Info) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Pause makes Admit refuse the session or the principal of that name until Resume. It reports whether that is news.
// A principal may be paused before it connects; a session has to be open (not_found).
func (s *Sessions) Pause(name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(name); err != nil {
		return false, err
	}
	news := !s.paused[name]
	s.paused[name] = true
	return news, nil
}

// Resume ends a pause. It reports whether there was one.
func (s *Sessions) Resume(name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.paused[name] {
		return false, s.known(name)
	}
	delete(s.paused, name)
	return true, nil
}

// Count gives how many open sessions are meant by the id of a session or the name of a principal. Faults: not_found.
func (s *Sessions) Count(name string) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := len(s.named(name))
	if n == 0 && !s.paused[name] {
		return 0, s.known(name)
	}
	return n, nil
}

// Disconnect ends the session, or all sessions of the principal, of that name, and says how many. Faults: not_found.
func (s *Sessions) Disconnect(name string) (int, error) {
	s.mu.RLock()
	ends := s.named(name)
	err := s.known(name)
	s.mu.RUnlock()
	for _, end := range ends { // without the lock: ending a session closes it
		end()
	}
	if len(ends) > 0 {
		err = nil
	}
	return len(ends), err
}

// named gives what ends the sessions of a name.
func (s *Sessions) named(name string) (ends []func()) {
	for id, one := range s.open {
		if id == name || one.Caller().Principal() == name {
			ends = append(ends, one.end)
		}
	}
	return ends
}

// Admit is the gate of changing calls: it refuses those of whoever is paused (denied, reason paused).
func (s *Sessions) Admit(caller op.Caller, _ op.Spec) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.isPaused(caller.Session, caller.Principal()) {
		return nil
	}
	return fault.New(fault.Denied, "this %s is paused: it may look but not change anything", caller.Channel).
		WithReason("paused").WithHint("a person resumes it with: omnitron agents resume %s", caller.Principal())
}

func (s *Sessions) isPaused(id, principal string) bool {
	return len(s.paused) > 0 && (s.paused[id] || s.paused[principal])
}

// known checks a name that a person gave: a principal has a slash, everything else has to be an open session.
func (s *Sessions) known(name string) error {
	if strings.Contains(name, "/") || s.open[name] != nil {
		return nil
	}
	names := make([]string, 0, len(s.open))
	for id := range s.open {
		names = append(names, id)
	}
	slices.Sort(names)
	f := fault.New(fault.NotFound, "no session %q is open", name).WithHint("%s", fault.Do("agents.list"))
	if near := fault.Near(name, names); near != "" {
		f = f.WithCandidates(near)
	}
	return f
}

// Caller is who the session belongs to, its id included.
func (one *Session) Caller() op.Caller {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.caller
}

// Became records what a connection has learnt of its caller since it was opened: the client's name, lowered rights. The
// id stays.
func (one *Session) Became(caller op.Caller) {
	one.mu.Lock()
	defer one.mu.Unlock()
	caller.Session = one.caller.Session
	one.caller = caller
}

// Close removes the session. A pause of it is forgotten; one of its principal stays.
func (one *Session) Close() {
	s, id := one.of, one.Caller().Session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id] == one {
		delete(s.open, id)
		delete(s.paused, id)
	}
}

// Call is how a call ended.
type Call struct{ Changed, Held, Failed bool }

// Started counts a call that begins.
func (one *Session) Started(method string) {
	if one == nil {
		return
	}
	one.calls.Add(1)
	one.flying.Add(1)
	one.seen.Store(one.of.now().UnixNano())
	one.mu.Lock()
	one.last = method
	one.mu.Unlock()
}

// Ended counts a call that has ended.
func (one *Session) Ended(c Call) {
	if one == nil {
		return
	}
	one.flying.Add(-1)
	if c.Changed {
		one.changed.Add(1)
	}
	if c.Held {
		one.held.Add(1)
	}
	if c.Failed {
		one.failed.Add(1)
	}
}

func (one *Session) info() Info {
	one.mu.Lock()
	c, last := one.caller, one.last
	one.mu.Unlock()
	return Info{
		ID: c.Session, Principal: c.Principal(), Channel: string(c.Channel), Client: c.Client, Plane: c.Plane, Role: c.Role.String(), PID: c.PID,
		Since: one.since, LastSeen: time.Unix(0, one.seen.Load()).In(one.since.Location()), LastCall: last,
		Calls: one.calls.Load(), Changed: one.changed.Load(), Held: one.held.Load(), Failed: one.failed.Load(), InFlight: one.flying.Load(),
	}
}
