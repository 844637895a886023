package mcp

import (
	"context"
	"sync"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp/lines"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Out is a way back to a client. The lines are the caller's: who keeps them copies them.
type Out interface {
	Write(line []byte) error  // a notification, or a question of ours
	Answer(line []byte) error // the last word on the request
	Post(line []byte)         // Answer that does not wait for a slow reader
}

// inLine is the way back of a connection, on which all messages follow each other.
type inLine struct{ *lines.Writer }

// Answer writes a line like any other.
func (w inLine) Answer(line []byte) error { return w.Write(line) }

// Client is one client of a plane without connections: its messages come one by one, each with a way back of its own.
type Client struct {
	conn *conn
	stop context.CancelFunc
}

// Connect takes in a client that its plane knows as caller and that came by way of a launch, which can only lower what it may
// do. What belongs to none of its requests goes to events. When a person ends it, what it has in flight is stopped and hangUp is
// called. Faults: invalid (launch_options).
func (s *Server) Connect(caller op.Caller, l Launch, events Out, hangUp func()) (*Client, error) {
	lowered, f, err := s.admit(caller, l)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &conn{srv: s, life: ctx, events: events, results: &results{}, places: s.o.MaxFlight, launch: l, surface: f, hangUp: sync.OnceFunc(hangUp)}
	c.session = s.o.Sessions.Open(lowered, func() {
		c.dismissed.Store(true)
		c.flights.stop(func(*flight) bool { return true })
		_ = events.Write([]byte(`{"jsonrpc":"2.0","method":"` + Dismissed + `"}`)) // one that has gone needs no telling
		c.hangUp()
	})
	c.caller = c.session.Caller()
	if lowered.Token == "" { // nobody has signed in: it is this client and no other
		c.caller.Token = c.caller.Session
		c.session.Became(c.caller)
	}
	c.log = s.o.Log.With("caller", c.caller.Principal(), "session", c.caller.Session)
	return &Client{c, stop}, nil
}

// admit gives what a caller may do and what it sees.
func (s *Server) admit(caller op.Caller, l Launch) (op.Caller, *surface, error) {
	lowered, err := s.lower(caller, l)
	if err != nil {
		return caller, nil, err
	}
	f, err := s.surfaceFor(l, lowered)
	return lowered, f, err
}

// Fits reports whether a caller that came by way of a launch is the one that this client belongs to, with the same rights as ever.
func (k *Client) Fits(caller op.Caller, l Launch) bool {
	lowered, f, err := k.conn.srv.admit(caller, l)
	own := k.conn.caller
	return err == nil && f == k.conn.surface && lowered.Principal() == own.Principal() && lowered.Token == own.Token &&
		lowered.Role == own.Role && lowered.Ceiling == own.Ceiling && lowered.ReadOnly == own.ReadOnly
}

// Serve handles one message and returns once it is answered, or at once when it wants no answer. The context ends the work.
func (k *Client) Serve(ctx context.Context, m wire.Message, out Out) {
	if k.conn.dismissed.Load() {
		return
	}
	if f := k.conn.take(ctx, m, out); f != nil {
		k.conn.serve(f)
	}
}

// Once handles one message of the era without a handshake, which has nothing to do with any other.
func (k *Client) Once(ctx context.Context, m wire.Message, out Out) {
	of := k.conn
	if of.dismissed.Load() {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	c := &conn{srv: of.srv, session: of.session, life: ctx, events: out, results: of.results, places: of.places, launch: of.launch,
		surface: of.surface, caller: of.caller, log: of.log, hangUp: func() {}}
	if f := c.take(ctx, m, out); f != nil {
		ended := context.AfterFunc(of.life, stop)
		c.serve(f)
		ended()
	}
	stop()
	c.watches.Wait()
}

// Close ends what the client has in flight and everything that it began.
func (k *Client) Close() {
	k.stop()
	k.conn.flights.stop(func(*flight) bool { return true })
	k.conn.calls.Wait()
	k.conn.watches.Wait()
	k.conn.session.Close()
}
