package unix

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

func TestFirstMessagePinsTheDialect(t *testing.T) {
	const rpc = `{"jsonrpc":"2.0","id":1,`
	p := newPlane(home(t)).run(t)
	for _, c := range []struct {
		line    string
		code    int
		channel op.Channel // "" when the connection ends
	}{
		{rpc + `"method":"apps.list"}`, 0, op.Person},
		{rpc + `"method":"no_such-1.verb"}`, 0, op.Person},
		{rpc + `"method":"initialize"}`, 0, op.Agent},
		{rpc + `"method":"ping"}`, 0, op.Agent},
		{rpc + `"method":"server/discover"}`, 0, op.Agent},
		{rpc + `"method":"tools/call"}`, 0, op.Agent},
		{rpc + `"method":"apps\u002elist"}`, 0, op.Person},
		{rpc + `"method":"apps"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":".list"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"Apps.list"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"apps.list.all"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"__proto__"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"$/cancel"}`, wire.CodeInvalidRequest, ""},
		{rpc + `"result":{}}`, wire.CodeInvalidRequest, ""},
		{rpc + `"method":"apps.list","method":"initialize"}`, wire.CodeInvalidRequest, ""},
		{`[` + rpc + `"method":"apps.list"}]`, wire.CodeInvalidRequest, ""},
	} {
		t.Run(c.line, func(t *testing.T) {
			conn := p.dial(t)
			conn.send(c.line + "\n")
			a := conn.wantCode(c.code)
			if c.channel == "" {
				conn.wantEnd()
				return
			}
			var out struct{ Channel op.Channel }
			if err := json.Unmarshal(a.Result, &out); err != nil || out.Channel != c.channel {
				t.Errorf("channel %q, %v, want %q", out.Channel, err, c.channel)
			}
			conn.send(rpc + `"method":"apps.list"}` + "\n" + `{"jsonrpc":"2.0","id":2,` + `"method":"initialize"}` + "\n") // pinned
			for range 2 {
				a := conn.wantCode(0)
				if err := json.Unmarshal(a.Result, &out); err != nil || out.Channel != c.channel {
					t.Errorf("later: channel %q, %v, want %q", out.Channel, err, c.channel)
				}
			}
		})
	}
}

func TestCallers(t *testing.T) {
	p := newPlane(home(t)).run(t)
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"apps.list","params":{"_meta":{"omnitron/launch":{"role":"viewer"}}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize"}`,
	} {
		conn := p.dial(t)
		conn.send(line + "\n")
		conn.wantCode(0)
		_ = conn.Close()
	}
	type short struct {
		channel op.Channel
		ceiling op.Role
		role    op.Role
	}
	want := []short{{op.Person, op.Admin, op.Admin}, {op.Agent, op.Admin, op.Operator}}
	sessions := map[string]bool{}
	for i, c := range p.seen {
		if got := (short{c.Channel, c.Ceiling, c.Role}); got != want[i] {
			t.Errorf("caller %d: %+v, want %+v", i, got, want[i])
		}
		if c.Plane != "unix" || c.UID != os.Getuid() || c.PID != os.Getpid() || c.User == "" || len(c.Session) < 20 {
			t.Errorf("caller %d: %+v", i, c)
		}
		sessions[c.Session] = true
	}
	if len(sessions) != len(want) {
		t.Errorf("%d sessions", len(sessions))
	}
}

func TestBytesBehindTheFirstMessage(t *testing.T) {
	p := newPlane(home(t)).run(t)
	conn := p.dial(t)
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":%d,"method":"toy.echo","params":{"n":%d}}`+"\n", i, i)
	}
	conn.send(b.String())
	seen := map[string]bool{}
	for range 100 {
		a := conn.wantCode(0)
		if !strings.Contains(string(a.Result), `{"n":`+string(a.ID)+`}`) {
			t.Fatalf("%s: %s", a.ID, a.Result)
		}
		seen[string(a.ID)] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d answers", len(seen))
	}
}

func TestGarbageBeforeTheFirstMessage(t *testing.T) {
	p := newPlane(home(t)).run(t)
	conn := p.dial(t)
	conn.send("\n{\nGET / HTTP/1.1\r\n\xff\xfe\n" + `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	for range 4 {
		if a := conn.wantCode(wire.CodeParse); string(a.ID) != "null" {
			t.Errorf("id %s", a.ID)
		}
	}
	conn.wantCode(0)
}

func TestSilentClientIsCut(t *testing.T) {
	p := newPlane(home(t))
	p.FirstTimeout = 50 * time.Millisecond
	p.run(t)
	silent, half := p.dial(t), p.dial(t)
	half.send(`{"jsonrpc":`)
	for _, conn := range []*peer{silent, half} {
		if a := conn.wantCode(-32012); a.Error.Fault().Reason != "first_message" {
			t.Errorf("%+v", a.Error)
		}
		conn.wantEnd()
	}
}

func TestMoreConnectionsThanAllowed(t *testing.T) {
	p := newPlane(home(t))
	p.MaxConns = 4
	p.run(t)
	echo, ping := `{"jsonrpc":"2.0","id":1,"method":"toy.echo"}`+"\n", `{"jsonrpc":"2.0","id":2,"method":"daemon.ping"}`+"\n"
	var open []*peer
	for range 4 {
		conn := p.dial(t)
		conn.send(echo)
		conn.wantCode(0)
		open = append(open, conn)
	}
	over := p.dial(t)
	over.send(echo + ping)
	if a := over.wantCode(-32013); a.Error.Fault().Reason != "connections" {
		t.Errorf("%+v", a.Error)
	}
	over.wantCode(0)
	agent := p.dial(t)
	agent.send(`{"jsonrpc":"2.0","id":1,"method":"initialize"}` + "\n")
	agent.wantCode(-32013)
	agent.wantEnd()
	until(t, "the agent's connection is over", func() bool { return p.group.Len() == 5 })
	for range reserveConns - 1 {
		conn := p.dial(t)
		conn.send(ping)
		conn.wantCode(0)
	}
	last := p.dial(t)
	last.wantCode(-32013)
	last.wantEnd()
	_ = open[0].Close()
	_ = over.Close()
	until(t, "places are free", func() bool { return p.group.Len() < 4+reserveConns-1 })
	if n := strings.Count(p.logs.String(), "too many are open"); n != 1 {
		t.Errorf("%d lines in the log: %s", n, p.logs.String())
	}
}

func TestShutdownEndsConnections(t *testing.T) {
	p := newPlane(home(t))
	ctx, stop := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	p.OnListen = func() { close(up) }
	go func() { done <- p.Run(ctx) }()
	<-up
	silent, busy := p.dial(t), p.dial(t)
	busy.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	busy.wantCode(0)
	stop()
	silent.wantEnd()
	busy.wantEnd()
	must(t, <-done)
}

func TestPanicOfAPlaneEndsOnlyItsConnection(t *testing.T) {
	p := newPlane(home(t))
	p.MCP = func(context.Context, net.Conn, []byte) error { panic("oh no") }
	p.run(t)
	bad, good := p.dial(t), p.dial(t)
	bad.send(`{"jsonrpc":"2.0","id":1,"method":"initialize"}` + "\n")
	bad.wantEnd()
	good.send(`{"jsonrpc":"2.0","id":1,"method":"toy.echo"}` + "\n")
	good.wantCode(0)
	if !strings.Contains(p.logs.String(), "oh no") {
		t.Error("the log does not tell")
	}
}
