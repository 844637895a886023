package tcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

func TestHelloThenCalls(t *testing.T) {
	p := newPlane(t, nil)
	c := p.dial(t)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"auth.hello","params":{"token":"good","channel":"agent","launch":{"role":"operator","read_only":true,"toolsets":["apps"]}}}`, call(2, "apps.list"))
	var w Welcome
	must(t, json.Unmarshal(c.want("").Result, &w))
	if w.User != "ann" || w.Channel != op.Agent || w.Role != "operator" || w.Ceiling != "operator" || w.Session == "" {
		t.Errorf("%+v", w)
	}
	c.want("")
	if got := p.callers[0]; got.Plane != "tcp" || got.Channel != op.Agent || !got.ReadOnly || len(got.Toolsets) != 1 || got.UID != -1 || got.Session != w.Session {
		t.Errorf("%+v", got)
	}
	if list := p.Sessions.List(); len(list) != 1 || list[0].Plane != "tcp" {
		t.Errorf("%+v", list)
	}
	_ = c.Close()
	until(t, "the session is closed", func() bool { return len(p.Sessions.List()) == 0 })
}

func TestBeforeHello(t *testing.T) {
	p := newPlane(t, nil)
	c := p.dial(t)
	c.send(call(1, "daemon.ping"), call(2, "apps.list"), call(3, "auth.signin"), greeting("good"))
	c.want("")
	c.want("hello_first")
	c.want("")
	c.want("")
	for _, got := range p.callers {
		if got.Ceiling != op.Public || got.Channel != "" || got.Plane != "tcp" || got.User != "anonymous@127.0.0.1" {
			t.Errorf("%+v", got)
		}
	}
	many := p.dial(t)
	many.send(call(1, "daemon.ping"), call(2, "daemon.ping"), call(3, "daemon.ping"), call(4, "daemon.ping"), greeting("good"))
	for range 4 {
		many.want("")
	}
	many.want("hello_first")
	many.wantEnd()
}

func TestHelloThatIsNotGranted(t *testing.T) {
	p := newPlane(t, nil)
	agent := person()
	agent.Channel, agent.Ceiling, agent.Role, agent.Toolsets = op.Agent, op.Operator, op.Operator, []string{"apps"}
	p.auth.give("agent", agent, time.Time{})
	for params, reason := range map[string]string{
		`{}`: "bad_token", `{"token":"forged"}`: "bad_token", `{"token":"` + strings.Repeat("x", 10_000) + `"}`: "bad_token",
		`{"TOKEN":"good"}`: "launch_options", `{"token":"good","launch":{"read_only":true,"Read_Only":false}}`: "launch_options",
		`{"token":"good","readonly":true}`: "launch_options", `{"token":"good","launch":{"readonly":true}}`: "launch_options", `{"token":"good","channel":"node"}`: "launch_options",
		`{"token":"good","launch":{"role":"node"}}`: "launch_options", `{"token":"agent","launch":{"role":"admin"}}`: "launch_options",
		`{"token":"agent","launch":{"toolsets":["secrets"]}}`: "launch_options", `{"token":1}`: "launch_options",
	} {
		c := p.dial(t)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"auth.hello","params":` + params + `}`)
		c.want(reason)
		c.send(call(2, "apps.list"))
		c.want("hello_first")
		_ = c.Close()
	}
	if p.refusals("bad_token") != 3 {
		t.Errorf("refusals: %v", p.turned)
	}
	for _, got := range p.callers {
		t.Errorf("a call got through: %+v", got)
	}
}

// TestLaunchRaisesNothing: an agent whose account may more than it does without a person asks for all of that by its launch,
// and acts with what it had.
func TestLaunchRaisesNothing(t *testing.T) {
	p := newPlane(t, nil)
	agent := person()
	agent.Channel, agent.Console, agent.Ceiling, agent.Role = op.Agent, false, op.Admin, op.Operator
	p.auth.give("agent", agent, time.Time{})
	for _, c := range []struct{ params, role, ceiling string }{
		{`{"token":"agent","launch":{"role":"admin"}}`, "operator", "admin"},
		{`{"token":"agent","launch":{"role":"operator"}}`, "operator", "operator"},
		{`{"token":"agent","launch":{"role":"viewer"}}`, "viewer", "viewer"},
		{`{"token":"agent"}`, "operator", "admin"},
		{`{"token":"good","launch":{"role":"admin"}}`, "admin", "admin"},
	} {
		conn := p.dial(t)
		conn.send(`{"jsonrpc":"2.0","id":1,"method":"auth.hello","params":` + c.params + `}`)
		var w Welcome
		must(t, json.Unmarshal(conn.want("").Result, &w))
		if w.Role != c.role || w.Ceiling != c.ceiling {
			t.Errorf("%s: acts as %s of %s", c.params, w.Role, w.Ceiling)
		}
		_ = conn.Close()
	}
}

func TestRevocationEndsEverything(t *testing.T) {
	p := newPlane(t, nil)
	calls, stream, idle := p.hello(t, "good"), p.hello(t, "good"), p.hello(t, "good")
	calls.send(call(1, "toy.block"), call(2, "toy.stubborn"))
	<-p.began
	<-p.began
	stream.send(call(1, "toy.count"))
	stream.read()
	at := time.Now()
	p.auth.revoke("good")
	if a := calls.want("revoked"); string(a.ID) != "1" {
		t.Errorf("%s was answered", a.ID)
	}
	stream.want("revoked")
	for _, c := range []*peer{calls, stream, idle} {
		c.wantEnd()
	}
	if took := time.Since(at); took > time.Second {
		t.Errorf("closed after %s", took)
	}
	if p.stubs.Load() != 0 {
		t.Error("it was ended")
	}
	close(p.release)
	until(t, "what was begun has run to its end", func() bool { return p.stubs.Load() == 1 })
}

// TestRevocationOfOneThatDoesNotRead: its stream waits for room that never comes.
func TestRevocationOfOneThatDoesNotRead(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	c.send(call(1, "toy.count"))
	c.read()
	p.auth.revoke("good")
	until(t, "the session is closed", func() bool { return len(p.Sessions.List()) == 0 })
}

func TestExpiryAndRenewal(t *testing.T) {
	p := newPlane(t, nil)
	end := time.Now().Add(300*time.Millisecond - 60*time.Second) // the connection lives a minute longer
	p.auth.give("short", person(), end)
	c, renewed := p.hello(t, "short"), p.hello(t, "short")
	renewed.send(call(1, "toy.count"))
	renewed.read()
	renewed.send(greeting("good"))
	renewed.want("")
	at := time.Now()
	c.wantEnd()
	if took := time.Since(at); took > time.Second {
		t.Errorf("ended after %s", took)
	}
	for range 200 { // 200 ms and more behind the end
		if a := renewed.read(); a.Method != "$/item" {
			t.Fatalf("the stream ended: %+v", a)
		}
	}
	p.auth.revoke("good")
	renewed.want("revoked")
	renewed.wantEnd()
}

func TestRenewalsThatAreNone(t *testing.T) {
	p := newPlane(t, nil)
	other, wider, token2 := person(), person(), person()
	other.User, wider.Scope = "bob", op.Scope{Projects: []string{"x"}}
	token2.Token = "session:2"
	p.auth.give("other", other, time.Time{})
	p.auth.give("wider", wider, time.Time{})
	p.auth.give("second", token2, time.Time{})
	c := p.hello(t, "good")
	for _, bearer := range []string{"other", "wider"} {
		c.send(greeting(bearer))
		c.want("other_identity")
	}
	c.send(greeting("forged"))
	c.want("bad_token")
	c.send(call(1, "apps.list"))
	c.want("")
	c.send(greeting("second"))
	c.want("")
	p.auth.revoke("good") // what was begun under the first is not to outlive it
	c.wantEnd()
	c = p.hello(t, "second")
	for range maxRenewals - 1 {
		c.send(greeting("second"))
		c.want("")
	}
	c.send(greeting("second"))
	c.want("renewals")
}

func TestDisconnectByAPerson(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	c.send(call(1, "toy.block"))
	<-p.began
	n, err := p.Sessions.Disconnect("ann/person")
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	c.want("disconnected")
	c.wantEnd()
}

func TestReloadMovesTheListener(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	first, _, _ := net.SplitHostPort(p.address)
	next := port(t)
	p.Use(setting.Listener{Enabled: true, Listen: next})
	if st := p.Status(); st.Listen != next || st.Trouble != nil || st.Pin != p.pin {
		t.Fatalf("%+v", st)
	}
	if _, err := net.Dial("tcp", p.address); err == nil {
		t.Error("the former address is still listened on")
	}
	p.address = next
	p.hello(t, "good")
	c.send(call(1, "apps.list"))
	c.want("") // who was let in stays

	_, port, _ := net.SplitHostPort(next)
	p.Use(setting.Listener{Enabled: true, Listen: "0.0.0.0:" + port}) // both at once cannot be had
	if st := p.Status(); st.Trouble != nil || !strings.HasSuffix(st.Listen, ":"+port) {
		t.Fatalf("%+v", st)
	}
	p.hello(t, "good")

	taken, err := net.Listen("tcp", first+":0")
	must(t, err)
	defer taken.Close()
	p.Use(setting.Listener{Enabled: true, Listen: taken.Addr().String()})
	if st := p.Status(); st.Trouble == nil || st.Listen == "" {
		t.Fatalf("a port that is taken: %+v", st)
	}
	p.hello(t, "good") // where it was before
	_ = taken.Close()
	until(t, "the port is free and taken up", func() bool { return p.Status().Trouble == nil && p.Status().Listen == taken.Addr().String() })

	p.Use(setting.Listener{Listen: next})
	if st := p.Status(); st.Enabled || st.Listen != "" || st.Trouble != nil {
		t.Fatalf("%+v", st)
	}
	c.wantEnd()
	p.Use(setting.Listener{Enabled: true, Listen: next})
	p.hello(t, "good")
}

func TestDrain(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	c.send(call(1, "toy.stubborn"), call(2, "toy.count"))
	<-p.began
	c.read()
	p.stop()
	c.want("shutting_down")
	close(p.release)
	if a := c.want(""); string(a.ID) != "1" {
		t.Errorf("%+v", a)
	}
	c.wantEnd()
}

func TestPortThatIsTakenAtTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &plane{auth: &authority{}, done: make(chan error, 1)}
	q := newPlane(t, nil)
	p.Server = &Server{Certificates: q.Certificates, Authority: q.auth, Sessions: q.Sessions, Handle: q.handle, Public: q.Public, Log: q.Log}
	p.Use(setting.Listener{Enabled: true, Listen: l.Addr().String()})
	ctx, stop := context.WithCancel(t.Context())
	up := make(chan struct{})
	go func() { p.done <- p.Run(ctx, func() { close(up) }) }()
	<-up
	if st := p.Status(); st.Trouble == nil || !strings.Contains(st.Trouble.Error(), "another process") {
		t.Errorf("%+v", st)
	}
	_ = l.Close()
	until(t, "it listens", func() bool { return p.Status().Listen != "" })
	stop()
	must(t, <-p.done)
}

// TestNotReady: while credentials cannot be told apart nobody is let in, and whoever is stays.
func TestNotReady(t *testing.T) {
	var sealed atomic.Bool
	sealed.Store(true)
	p := newPlane(t, func(s *Server) {
		s.Ready = func(context.Context) error {
			if sealed.Load() {
				return fault.New(fault.Unavailable, "the vault is sealed").WithReason("vault_sealed")
			}
			return nil
		}
	}, "vault_sealed")
	if st := p.Status(); st.Listen != "" {
		t.Errorf("%+v", st)
	}
	if _, err := net.Dial("tcp", p.address); err == nil {
		t.Error("it listens")
	}
	sealed.Store(false)
	until(t, "it listens", func() bool { return p.Status().Listen != "" && p.Status().Trouble == nil })
	c := p.hello(t, "good")
	sealed.Store(true)
	p.Use(setting.Listener{Enabled: true, Listen: p.address})
	if _, err := net.Dial("tcp", p.address); err == nil {
		t.Error("it listens on")
	}
	c.send(call(1, "apps.list"))
	c.want("")
}

func TestManyCallsOfMany(t *testing.T) {
	p := newPlane(t, nil)
	done := make(chan error, 16)
	for range cap(done) {
		go func() {
			raw := p.dial(t)
			raw.send(greeting("good"))
			raw.want("")
			c := wire.NewClient(raw.Conn)
			defer c.Close()
			for i := range 50 {
				var out struct{ User string }
				if err := c.Call(t.Context(), "apps.list", nil, &out); err != nil || out.User != "ann" {
					done <- fmt.Errorf("call %d: %+v %w", i, out, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range cap(done) {
		must(t, <-done)
	}
}

// TestHalfClosed: who has said that it sends nothing more still gets its answers, and then the connection ends; who has ended the
// connection, at once or then, has its calls cancelled.
func TestHalfClosed(t *testing.T) {
	p := newPlane(t, nil)
	c := p.hello(t, "good")
	c.send(call(1, "toy.stubborn"))
	<-p.began
	must(t, c.CloseWrite())
	close(p.release)
	if a := c.want(""); string(a.ID) != "1" {
		t.Errorf("%+v", a)
	}
	if d := c.wantEnd(); d > time.Second {
		t.Errorf("it ends after %s", d)
	}
	for name, end := range map[string]func(*peer) error{
		"at once":    (*peer).Close,
		"later":      func(c *peer) error { return errors.Join(c.CloseWrite(), c.raw.Close()) },
		"in silence": func(c *peer) error { return c.raw.Close() },
	} {
		until(t, "no session is left", func() bool { return len(p.Sessions.List()) == 0 })
		c := p.hello(t, "good")
		c.send(call(1, "toy.block"))
		<-p.began
		if open := len(p.Sessions.List()); open != 1 {
			t.Fatalf("%d sessions", open)
		}
		must(t, end(c))
		until(t, name+": its call has ended", func() bool { return len(p.Sessions.List()) == 0 })
	}
}
