package tcp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// pair is the two ends of a connection after its handshake; what is said to the client is read and dropped.
func pair(f *testing.F, config *tls.Config) *conn {
	f.Helper()
	ours, theirs := net.Pipe()
	client, server := tls.Client(theirs, &tls.Config{InsecureSkipVerify: true}), tls.Server(ours, config)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, client) // which shakes hands
	}()
	must(f, server.HandshakeContext(f.Context()))
	f.Cleanup(func() {
		_ = ours.Close()
		_ = theirs.Close()
		<-read
	})
	return &conn{Conn: server, raw: ours}
}

// FuzzHello says all kinds of first messages: whoever is let in is who the token stands for, with no more rights than it has,
// and nothing but a public method is called before.
func FuzzHello(f *testing.F) {
	p := newPlane(f, nil)
	agent := person()
	agent.User, agent.Channel, agent.Console, agent.Ceiling, agent.Role, agent.Toolsets = "bot", op.Agent, false, op.Operator, op.Operator, []string{"apps", "logs"}
	p.auth.give("agent", agent, time.Time{})
	ranks := map[op.Channel]int{op.Agent: 1, op.App: 2, op.Person: 3}
	p.Authority = raising{p.auth, ranks}
	c := pair(f, p.tls.Load())
	for _, params := range []string{
		`{"token":"good"}`, `{"token":"agent","channel":"agent"}`, `{"token":"good","channel":"app","launch":{"role":"viewer","read_only":true,"toolsets":["apps"]}}`, `{"token":"agent","launch":{"toolsets":["apps"]}}`,
		`{"token":"agent","launch":{"toolsets":["secrets"]}}`, `{"token":"agent","channel":"person"}`, `{"token":"agent","launch":{"role":"admin"}}`, `{"TOKEN":"agent","Launch":{"ROLE":"admin"}}`,
		`{"token":"agent","launch":{"role":"viewer"},"launch":{"role":"operator"}}`, `{"token":"forged"}`, `{"token":1}`, `[]`, `null`, `{"token":"good","launch":null,"channel":""}`, `{"token":"good","readonly":true}`,
	} {
		f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"auth.hello","params":` + params + `}`))
	}
	for _, line := range []string{call(1, "daemon.ping"), call(2, "apps.list"), `{"jsonrpc":"2.0","method":"auth.hello"}`, `{`, greeting("good"), `{"jsonrpc":"2.0","id":1,"method":"auth\u002ehello","params":{"token":"good"}}`} {
		f.Add([]byte(line))
	}
	from := netip.MustParseAddr("192.0.2.7")
	f.Fuzz(func(t *testing.T, line []byte) {
		if strings.Contains(string(line), "\n") || len(line) > maxHello {
			return
		}
		var parser wire.Parser
		m, bad := parser.Parse(line)
		if bad != nil {
			return
		}
		m = m.Clone()
		p.mu.Lock()
		p.callers, p.turned = nil, map[string]int{}
		p.mu.Unlock()
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		id, h, why := p.early(ctx, c, m, from)
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, caller := range p.callers {
			if !p.Public(m.Method) || caller.Ceiling != op.Public || caller.Role != op.Public || caller.Channel != "" {
				t.Fatalf("%s was called by %+v", m.Method, caller)
			}
		}
		if id == nil {
			return
		}
		var said struct{ Token string }
		if m.Method != Hello || !m.Request() || why != nil || json.Unmarshal(m.Params, &said) != nil {
			t.Fatalf("%q lets somebody in: %+v, %v", line, id, why)
		}
		p.auth.mu.Lock()
		given := p.auth.tokens[said.Token]
		p.auth.mu.Unlock()
		if given == nil {
			t.Fatalf("%q lets in whoever has no token", line)
		}
		got, has := id.Caller, given.Caller
		switch {
		case got.User != has.User || got.Token != has.Token || got.Plane != "tcp" || got.From != from || got.UID != -1:
			t.Fatalf("%q is somebody else: %+v", line, got)
		case !has.Ceiling.Covers(got.Ceiling) || !got.Ceiling.Covers(got.Role) || ranks[got.Channel] == 0 || ranks[got.Channel] > ranks[has.Channel]:
			t.Fatalf("%q has more than its token: %+v", line, got)
		case len(has.Toolsets) > 0 && (len(got.Toolsets) == 0 || slices.ContainsFunc(got.Toolsets, func(s string) bool { return !slices.Contains(has.Toolsets, s) })):
			t.Fatalf("%q has toolsets that its token has not: %+v", line, got)
		case got.ReadOnly != h.launch.ReadOnly || h.launch.Role != "" && got.Ceiling.String() != h.launch.Role:
			t.Fatalf("%q got not what it asked for: %+v", line, got)
		}
	})
}

// raising is an authority that lowers a channel and raises none.
type raising struct {
	*authority
	ranks map[op.Channel]int
}

func (r raising) Admit(ctx context.Context, bearer string, from netip.Addr, lower op.Channel) (*token.Identity, error) {
	id, err := r.authority.Admit(ctx, bearer, from, "")
	if err != nil || lower == "" {
		return id, err
	}
	if r.ranks[lower] == 0 || r.ranks[lower] > r.ranks[id.Caller.Channel] {
		return nil, fault.New(fault.Denied, "nothing raises a channel").WithReason("channel_raised")
	}
	id.Caller.Channel = lower
	return id, nil
}
