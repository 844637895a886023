package session_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
)

var agent = op.Caller{User: "alice", Channel: op.Agent, Plane: "unix", Role: op.Operator, Ceiling: op.Admin, PID: 7}

func TestSessionsAreListedWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(time.Now)
		one := s.Open(agent, func() {})
		<-time.After(time.Second)
		two := s.Open(op.Caller{User: "bob", Channel: op.Person, Session: "given"}, func() {})
		if id := two.Caller().Session; id != "given" {
			t.Errorf("the id was replaced by %q", id)
		}
		if id := one.Caller().Session; len(id) != 16 || s.Of(id) != one {
			t.Errorf("a session without an id gets one: %q", id)
		}
		<-time.After(time.Second)
		one.Started("apps.list")
		one.Started("apps.stop")
		one.Ended(session.Call{Changed: true})
		list := s.List()
		if len(list) != 2 || list[1].ID != "given" {
			t.Fatalf("%+v", list)
		}
		i := list[0]
		if i.Principal != "alice/agent" || i.Channel != "agent" || i.Role != "operator" || i.PID != 7 || i.Calls != 2 || i.Changed != 1 ||
			i.InFlight != 1 || i.LastCall != "apps.stop" || i.LastSeen.Sub(i.Since) != 2*time.Second {
			t.Errorf("%+v", i)
		}
		one.Close()
		one.Close()
		if list := s.List(); len(list) != 1 || s.Of(i.ID) != nil {
			t.Errorf("%+v", list)
		}
	})
}

func TestASessionLearnsWhoItIs(t *testing.T) {
	s := session.New(time.Now)
	one := s.Open(agent, func() {})
	lowered := one.Caller()
	lowered.Client, lowered.Role, lowered.Session = "claude 2", op.Viewer, "forged"
	one.Became(lowered)
	if i := s.List()[0]; i.Client != "claude 2" || i.Role != "viewer" || i.ID == "forged" {
		t.Errorf("%+v", i)
	}
}

func TestNobodyIsCountedNowhere(t *testing.T) {
	var none *session.Sessions
	one := none.Of("x")
	one.Started("apps.list")
	one.Ended(session.Call{})
	if one != nil || session.New(time.Now).Of("") != nil {
		t.Error("there is a session")
	}
}

func TestPauseAndResume(t *testing.T) {
	s := session.New(time.Now)
	one, two := s.Open(agent, func() {}), s.Open(agent, func() {})
	a, b := one.Caller(), two.Caller()
	admitted := func(c op.Caller) bool { return s.Admit(c, op.Spec{}) == nil }
	if news, err := s.Pause(a.Session); !news || err != nil {
		t.Fatal(news, err)
	}
	if news, _ := s.Pause(a.Session); news {
		t.Error("pausing twice is no news")
	}
	if admitted(a) || !admitted(b) {
		t.Error("a session was paused, not its principal")
	}
	if l := s.List(); !l[0].Paused && !l[1].Paused || l[0].Paused && l[1].Paused {
		t.Errorf("%+v", l)
	}
	if _, err := s.Pause(a.Principal()); err != nil {
		t.Fatal(err)
	}
	if admitted(b) {
		t.Error("the principal was paused")
	}
	if err := s.Admit(a, op.Spec{}); fault.CodeOf(err) != fault.Denied || fault.From(err).Reason != "paused" {
		t.Errorf("%v", err)
	}
	one.Close()
	two.Close()
	again := s.Open(agent, func() {})
	if admitted(again.Caller()) {
		t.Error("reconnecting ends no pause of the principal")
	}
	if news, err := s.Resume(a.Principal()); !news || err != nil || !admitted(again.Caller()) {
		t.Error(news, err)
	}
	if news, err := s.Resume(a.Principal()); news || err != nil {
		t.Error("resuming twice is no news and no error", err)
	}
	for _, err := range []error{second(s.Pause("nope")), second(s.Resume("nope"))} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
	near := again.Caller().Session[:15] + "!"
	if _, err := s.Pause(near); len(fault.From(err).Candidates) != 1 {
		t.Errorf("the session is not suggested: %+v", fault.From(err))
	}
}

// TestAnAccountIsNobodyOfTheSocket: an account that is called like a user of the socket is paused and disconnected by itself.
func TestAnAccountIsNobodyOfTheSocket(t *testing.T) {
	s := session.New(time.Now)
	twin, ended := agent, 0
	twin.UID, twin.Twin = -1, true
	own, other := s.Open(agent, func() { t.Error("the user of the socket is disconnected") }), s.Open(twin, func() { ended++ })
	a, b := own.Caller(), other.Caller()
	if a.Principal() == b.Principal() || a.Named() != b.Named() {
		t.Fatal(a.Principal(), b.Principal())
	}
	for _, c := range []struct{ paused, free op.Caller }{{a, b}, {b, a}} {
		if _, err := s.Pause(c.paused.Principal()); err != nil {
			t.Fatal(err)
		}
		if s.Admit(c.paused, op.Spec{}) == nil || s.Admit(c.free, op.Spec{}) != nil {
			t.Errorf("%s was paused, not %s", c.paused.Principal(), c.free.Principal())
		}
		if _, err := s.Resume(c.paused.Principal()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Disconnect(b.Principal()); n != 1 || ended != 1 || err != nil {
		t.Error(n, ended, err)
	}
}

func second[A any](_ A, err error) error { return err }

func TestDisconnect(t *testing.T) {
	s := session.New(time.Now)
	ended := map[string]int{}
	open := func(name string, c op.Caller) *session.Session {
		var one *session.Session
		one = s.Open(c, func() { ended[name]++; one.Close() })
		return one
	}
	one := open("one", agent)
	open("two", agent)
	open("other", op.Caller{User: "bob", Channel: op.Agent})
	for name, want := range map[string]int{one.Caller().Session: 1, agent.Principal(): 2, "carol/agent": 0} {
		if n, err := s.Count(name); n != want || err != nil {
			t.Errorf("%s: %d open, want %d: %v", name, n, want, err)
		}
	}
	if n, err := s.Count("nope"); n != 0 || !fault.Is(err, fault.NotFound) {
		t.Error(n, err)
	}
	if n, err := s.Disconnect(one.Caller().Session); n != 1 || err != nil || ended["one"] != 1 {
		t.Error(n, err, ended)
	}
	if n, err := s.Disconnect(agent.Principal()); n != 1 || err != nil || ended["two"] != 1 {
		t.Error(n, err, ended)
	}
	if n, err := s.Disconnect("nope"); n != 0 || !fault.Is(err, fault.NotFound) {
		t.Error(n, err)
	}
	if len(s.List()) != 1 {
		t.Errorf("%+v", s.List())
	}
}

func TestSessionsAreSafeTogether(t *testing.T) {
	s := session.New(time.Now)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				one := s.Open(agent, func() {})
				one.Started("a.b")
				_ = s.List()
				_ = s.Admit(one.Caller(), op.Spec{})
				one.Ended(session.Call{Held: true})
				one.Close()
			}
		})
	}
	all.Wait()
	if len(s.List()) != 0 {
		t.Error("sessions are left")
	}
}
