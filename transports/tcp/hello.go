package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"github.com/omnitron-dev/omnitron/transports/wire/door"
)

const (
	// Hello is the message that says who calls. It is the plane's own, as a TLS handshake is: no method.
	Hello = "auth.hello"

	maxHello = 16 << 10 // bytes of a message before the hello
	before   = 4        // messages before the hello is due
)

// hello is what a connection says of itself.
type hello struct {
	Token   string     `json:"token"`
	Channel op.Channel `json:"channel"` // lowers that of the token
	Launch  launch     `json:"launch"`
}

// launch lowers what the connection may do, as that of omnitron mcp does on the socket.
type launch struct {
	Role     string   `json:"role"`
	ReadOnly bool     `json:"read_only"`
	Toolsets []string `json:"toolsets"`
}

// Welcome is the answer to a hello.
type Welcome struct {
	User    string     `json:"user"`
	Channel op.Channel `json:"channel"`
	Role    string     `json:"role"`                // that it acts with
	Ceiling string     `json:"ceiling"`             // what it has at most
	Session string     `json:"session"`             //
	Expires time.Time  `json:"expires_at,omitzero"` // of the credential; the connection ends a minute later
	Ping    bool       `json:"ping"`                // {"method":"$/ping"} is answered, so that silence means something
}

// take starts serving a connection, or refuses it before anything is allocated for it.
func (s *Server) take(ctx context.Context, c *net.TCPConn) {
	addr, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		_ = c.Close()
		return
	}
	from := addr.Addr().Unmap()
	if door.Scarce(c) {
		s.full.Log(s.Log, "refusing connections: few file descriptors are left")
		s.refused(from, fault.New(fault.Limited, "the daemon has few file descriptors left").WithReason("descriptors"))
		_ = c.Close()
		return
	}
	if !s.doors.enter(from) {
		s.full.Log(s.Log, "refusing TCP connections: too many are open", "from", from)
		s.refused(from, fault.New(fault.Limited, "too many connections are open").WithReason("connections"))
		_ = c.SetLinger(0) // nothing is kept of it
		_ = c.Close()
		return
	}
	s.begin(func() { s.serve(ctx, c, from) })
}

// begin runs f beside the others; Run waits for all of them.
func (s *Server) begin(f func()) { s.group.Go(f) }

func (s *Server) refused(from netip.Addr, why *fault.Error) {
	if s.Refused != nil {
		s.Refused(from, why)
	}
}

// serve is the life of one connection.
func (s *Server) serve(ctx context.Context, raw *net.TCPConn, from netip.Addr) {
	known := false
	defer func() { s.doors.leave(from, known) }()
	defer raw.Close()
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("a TCP connection panicked", "err", r, "stack", string(debug.Stack()))
		}
	}()
	late := time.Now().Add(s.HelloTimeout)
	_ = raw.SetDeadline(late)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	c := &conn{Conn: tls.Server(raw, s.tls.Load()), raw: raw}
	if err := c.HandshakeContext(ctx); err != nil {
		stop()
		s.noTLS(raw, from, err)
		return
	}
	id, m := s.greet(ctx, c, from, late)
	if !stop() || id == nil {
		_ = c.Close()
		return
	}
	s.doors.known(from)
	known = true
	_ = raw.SetDeadline(time.Time{})
	c.stall = s.Stall
	if err := s.live(ctx, c, id, m, from); err != nil {
		s.Log.Info("a TCP connection ended", "caller", id.Caller.Principal(), "from", from, "err", err)
	}
}

// noTLS says why a handshake failed, in plain words to whoever spoke plainly.
func (s *Server) noTLS(raw net.Conn, from netip.Addr, err error) {
	if h, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		f := fault.New(fault.Invalid, "this port speaks TLS 1.3").WithReason("tls_needed").WithHint("omnitron remote add ALIAS HOST:PORT")
		s.refused(from, f)
		if h.RecordHeader[0] == '{' {
			_, _ = raw.Write(wire.ErrorLine(nil, wire.FromFault(f)))
		}
		return
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
		return
	}
	s.refused(from, fault.New(fault.Invalid, "no TLS handshake").WithReason("tls_needed"))
}

// said is a message of the connection as an answer needs it.
type said struct {
	id      json.RawMessage
	launch  launch
	channel op.Channel
}

// greet waits for the hello, and answers the Public methods meanwhile. The answer to a hello that is granted is not yet
// written. nil: the connection is over.
func (s *Server) greet(ctx context.Context, c *conn, from netip.Addr, late time.Time) (*token.Identity, said) {
	ctx, over := context.WithDeadline(ctx, late)
	defer over()
	r := wire.NewReader(c, maxHello)
	defer r.Release()
	var p wire.Parser
	var last *fault.Error
	for range before {
		line, err := r.Next()
		switch {
		case errors.Is(err, wire.ErrTooLong):
			last = fault.New(fault.Invalid, "a message before %s may have %d bytes", Hello, maxHello).WithReason("protocol")
			s.refused(from, last)
			s.say(c, nil, last)
			wire.Linger(c)
			return nil, said{}
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.refused(from, fault.New(fault.Deadline, "no %s in time", Hello).WithReason("first_message"))
			return nil, said{}
		case err != nil:
			return nil, said{}
		}
		m, bad := p.Parse(line)
		m = m.Clone()
		if bad != nil {
			last = fault.New(fault.Invalid, "%s", bad.Message).WithReason("protocol")
			_, _ = c.Write(wire.ErrorLine(m.ID, bad))
			continue
		}
		var id *token.Identity
		var h said
		if id, h, last = s.early(ctx, c, m, from); id != nil {
			c.rest = r.Rest()
			return id, h
		}
	}
	if last == nil {
		last = fault.New(fault.Limited, "%d messages came before %s", before, Hello).WithReason("hello_first")
		s.say(c, nil, last)
	}
	s.refused(from, last)
	return nil, said{}
}

// early handles one message before the hello was granted.
func (s *Server) early(ctx context.Context, c *conn, m wire.Message, from netip.Addr) (*token.Identity, said, *fault.Error) {
	switch {
	case !m.Request():
		f := fault.New(fault.Invalid, "a call needs an id and a method").WithReason("protocol")
		s.say(c, m.ID, f)
		return nil, said{}, f
	case m.Method == Hello:
		id, h, err := s.admit(ctx, m.Params, from)
		if err != nil {
			f := fault.From(err)
			s.refused(from, f)
			s.say(c, m.ID, f)
			return nil, said{}, f
		}
		h.id = bytes.Clone(m.ID)
		return id, h, nil
	case !s.Public(m.Method):
		f := fault.New(fault.Unauthenticated, "say %s first: nobody is known on this connection", Hello).WithReason("hello_first").
			WithHint("omnitron remote add ALIAS HOST:PORT signs in")
		s.say(c, m.ID, f)
		return nil, said{}, f
	}
	stranger := op.Caller{User: "anonymous@" + from.String(), UID: -1, From: from, Plane: "tcp", Ceiling: op.Public, Role: op.Public}
	out, err := s.Handle(op.WithCaller(ctx, stranger), m.Method, m.Params, func(any) error { return errors.New("no stream before the hello") })
	if err != nil {
		s.say(c, m.ID, fault.From(err))
		return nil, said{}, nil
	}
	_, _ = c.Write(wire.ResultLine(m.ID, out))
	return nil, said{}, nil
}

func (s *Server) say(c *conn, id json.RawMessage, f *fault.Error) {
	_, _ = c.Write(wire.ErrorLine(id, wire.FromFault(f))) // its loss is the peer's
}

// admit finds out who a hello stands for.
func (s *Server) admit(ctx context.Context, params json.RawMessage, from netip.Addr) (*token.Identity, said, error) {
	var h hello
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if err := wire.Strict(params, &h); err != nil { // a misspelt read_only must not end in a connection that may write
		return nil, said{}, fault.New(fault.Invalid, "cannot read the hello: it has token, channel and launch {role, read_only, toolsets}").WithReason("launch_options")
	}
	switch h.Channel {
	case "", op.Person, op.Agent, op.App:
	default:
		return nil, said{}, fault.New(fault.Invalid, "a hello's channel is person, agent or app").WithReason("launch_options")
	}
	id, err := s.Authority.Admit(ctx, h.Token, from, h.Channel)
	if err != nil {
		return nil, said{}, err
	}
	own := *id
	if own.Caller, err = h.Launch.lower(own.Caller); err != nil {
		return nil, said{}, err
	}
	own.Caller.Plane, own.Caller.From, own.Caller.UID, own.Caller.PID = "tcp", from, -1, 0
	return &own, said{launch: h.Launch, channel: h.Channel}, nil
}

// maxToolsets is how many services a launch may name.
const maxToolsets = 64

// lower takes away what a launch does not want.
func (l launch) lower(c op.Caller) (op.Caller, error) {
	if l.Role != "" {
		role := op.ParseRole(l.Role)
		if role != op.Viewer && role != op.Operator && role != op.Admin {
			return c, fault.New(fault.Invalid, "unknown role %s", wire.Quote(l.Role, 32)).WithReason("launch_options").WithCandidates("viewer", "operator", "admin")
		}
		if !c.Ceiling.Covers(role) {
			return c, fault.New(fault.Invalid, "role %s is above what this connection may have (%s)", l.Role, c.Ceiling).WithReason("launch_options")
		}
		c.Ceiling, c.Role = role, min(role, c.Role) // an agent that asks for admin is held above operator all the same
	}
	c.ReadOnly = c.ReadOnly || l.ReadOnly
	if len(l.Toolsets) > maxToolsets {
		return c, fault.New(fault.Invalid, "%d toolsets are named, %d are the most", len(l.Toolsets), maxToolsets).WithReason("launch_options")
	}
	if len(c.Toolsets) == 0 {
		c.Toolsets = l.Toolsets
		return c, nil
	}
	for _, t := range l.Toolsets {
		if !contains(c.Toolsets, t) {
			return c, fault.New(fault.Invalid, "toolset %s is not among those that this connection may have", wire.Quote(t, 32)).WithReason("launch_options")
		}
	}
	if len(l.Toolsets) > 0 {
		c.Toolsets = l.Toolsets
	}
	return c, nil
}
