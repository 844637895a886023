package auth

import (
	"context"
	"net/netip"
	"testing"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
)

const good = "correct horse battery"

// world is the service with two users.
type world struct {
	*Service
	*hosttest.Host
	t *testing.T
}

func newWorld(t *testing.T) *world {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]op.Role{"alice": op.Admin, "bob": op.Viewer} {
		if _, err := h.Tokens.Create(t.Context(), name, role, good); err != nil {
			t.Fatal(err)
		}
	}
	return &world{s, h, t}
}

// in signs in as the pipeline does, and gives what comes of it and who that is.
func (w *world) in(name string) (Credentials, context.Context) {
	w.t.Helper()
	who, err := w.ProveSignIn(op.WithCaller(w.t.Context(), op.Caller{Plane: "tcp", From: netip.MustParseAddr("192.0.2.7")}), Login{name, good})
	if err != nil {
		w.t.Fatal(err)
	}
	who.Plane, who.Client = "tcp", "a test"
	c, err := w.SignIn(op.WithCaller(w.t.Context(), who), Login{})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.Tokens.Admit(w.t.Context(), c.AccessToken, netip.Addr{}, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return c, op.WithCaller(w.t.Context(), id.Caller)
}

func owner(t *testing.T) context.Context {
	return op.WithCaller(t.Context(), op.Caller{User: "root", UID: 0, Channel: op.Person, Plane: "unix", Ceiling: op.Admin, Role: op.Admin})
}

func reason(err error) string {
	if f := fault.From(err); f != nil {
		return f.Reason
	}
	return ""
}

func TestSigningInAndOut(t *testing.T) {
	w := newWorld(t)
	sub := w.Host.Bus.Subscribe(bus.Filter{Topics: []string{"auth"}}, 8)
	defer sub.Close()
	c, me := w.in("alice")
	if c.Name != "alice" || c.Role != "admin" || c.Session == "" || c.RefreshToken == "" {
		t.Errorf("%+v", c)
	}
	if ev, _, err := sub.Next(t.Context()); err != nil || ev.Type != "signed_in" {
		t.Errorf("%+v %v", ev, err)
	}
	who, _ := w.Whoami(me, Nothing{})
	if who.Name != "alice" || who.Rights != "admin" || who.Role != "admin" || !who.Console || who.Session != c.Session || who.Channel != "person" {
		t.Errorf("%+v", who)
	}
	owned, err := w.ProveRefresh(t.Context(), Renewal{c.RefreshToken})
	if err != nil || owned.User != "alice" {
		t.Errorf("%+v %v", owned, err)
	}
	next, err := w.Refresh(t.Context(), Renewal{c.RefreshToken})
	if err != nil || next.RefreshToken == c.RefreshToken || next.Session != c.Session {
		t.Errorf("%+v %v", next, err)
	}
	if out, err := w.SignOut(me, Nothing{}); err != nil || !out.Ended {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := w.Refresh(t.Context(), Renewal{next.RefreshToken}); reason(err) != "bad_token" {
		t.Error(err)
	}
	if out, err := w.SignOut(me, Nothing{}); err != nil || !out.Ended {
		t.Errorf("again: %+v %v", out, err)
	}
	if out, err := w.SignOut(owner(t), Nothing{}); err != nil || out.Ended || out.Note == "" {
		t.Errorf("on the socket: %+v %v", out, err)
	}
}

// TestTheSocketIsNotLimited: whoever floods from outside keeps nobody from his own socket.
func TestTheSocketIsNotLimited(t *testing.T) {
	w := newWorld(t)
	limited := false
	for range 12 {
		_, err := w.ProveSignIn(op.WithCaller(t.Context(), op.Caller{Plane: "http", From: netip.MustParseAddr("192.0.2.7")}), Login{"alice", "wrong"})
		limited = limited || fault.Is(err, fault.Limited)
	}
	if _, err := w.ProveSignIn(owner(t), Login{"alice", good}); err != nil || !limited {
		t.Errorf("%v, limited outside: %v", err, limited)
	}
	if _, err := w.ProveSignIn(op.WithCaller(t.Context(), op.Caller{Plane: "unix"}), Login{"alice", good}); !fault.Is(err, fault.Limited) {
		t.Errorf("nobody says that he is on the socket: %v", err)
	}
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	a, alice := w.in("alice")
	b, bob := w.in("bob")
	all, err := w.Sessions(alice, op.Page{})
	if err != nil || len(all.Items) != 2 || all.Total != 2 {
		t.Fatalf("an admin sees all: %+v %v", all, err)
	}
	first, _ := w.Sessions(owner(t), op.Page{Limit: 1})
	rest, _ := w.Sessions(owner(t), op.Page{Cursor: first.NextCursor})
	if !first.Truncated || len(rest.Items) != 1 || rest.Items[0].ID == first.Items[0].ID || rest.Items[0].Own {
		t.Errorf("%+v %+v", first, rest)
	}
	own, _ := w.Sessions(bob, op.Page{})
	if len(own.Items) != 1 || own.Items[0].ID != b.Session || !own.Items[0].Own || own.Items[0].Client != "a test" {
		t.Errorf("others see their own: %+v", own)
	}
	if _, err := w.Sessions(alice, op.Page{Cursor: "x"}); reason(err) != "bad_cursor" {
		t.Error(err)
	}
	for _, in := range []What{{}, {Session: "x", Name: "bob"}} {
		if in.Validate() == nil {
			t.Errorf("%+v", in)
		}
	}
	if p, err := w.PlanRevoke(alice, What{Session: a.Session}); err != nil || len(p.Items) != 1 || p.Items[0].From != "alice" {
		t.Errorf("%+v %v", p, err)
	}
	for _, in := range []What{{Session: "nope"}, {Name: "nobody"}} {
		if _, err := w.PlanRevoke(alice, in); !fault.Is(err, fault.NotFound) {
			t.Errorf("%+v: %v", in, err)
		}
		if _, err := w.Revoke(alice, in); !fault.Is(err, fault.NotFound) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if out, err := w.Revoke(alice, What{Name: "bob"}); err != nil || out.Sessions != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if out, err := w.Revoke(alice, What{Session: a.Session}); err != nil || out.Sessions != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := w.Tokens.Admit(t.Context(), b.AccessToken, netip.Addr{}, ""); reason(err) != "revoked" {
		t.Error(err)
	}
}

func TestPassword(t *testing.T) {
	w := newWorld(t)
	w.in("bob")
	_, bob := w.in("bob")
	if _, err := w.Password(owner(t), Change{good, "staple of wet paper"}); reason(err) != "no_account" {
		t.Errorf("on the socket: %v", err)
	}
	if out, err := w.Password(bob, Change{good, "staple of wet paper"}); err != nil || out.Sessions != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := w.ProveSignIn(owner(t), Login{"bob", good}); reason(err) != "bad_credentials" {
		t.Error(err)
	}
}

func TestRotate(t *testing.T) {
	w := newWorld(t)
	for atOnce, want := range map[bool]string{false: "", true: "bad_token"} {
		c, alice := w.in("alice")
		if p, err := w.PlanRotate(alice, Renewing{atOnce}); err != nil || len(p.Items) != 1 {
			t.Errorf("%+v %v", p, err)
		}
		if out, err := w.Rotate(alice, Renewing{atOnce}); err != nil || out.Key == "" || out.Former.IsZero() {
			t.Errorf("%+v %v", out, err)
		}
		if _, err := w.Tokens.Admit(t.Context(), c.AccessToken, netip.Addr{}, ""); reason(err) != want {
			t.Errorf("at once %v: %v", atOnce, err)
		}
	}
}
