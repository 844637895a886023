// Package mcp serves the methods of a registry to agents as MCP tools, resources and prompts, over any byte stream: the
// daemon's unix socket and, through package bridge, the standard streams of a client. Both eras of the protocol are
// spoken, with a handshake (2024-11-05 to 2025-11-25) and without one (2026-07-28). mcp-go answers what is asked rarely;
// connections, calls, subscriptions and their order are our own.
package mcp

import (
	"context"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/mcp/lines"
	"github.com/omnitron-dev/omnitron/mcp/tool"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// Registry runs methods. An error of Do is always a *fault.Error.
type Registry interface {
	Methods() []*tools.Method
	Do(ctx context.Context, c tools.Call) (any, error)
}

// Options are what a server may be given. The zero value works.
type Options struct {
	Version  string // of the daemon; default dev
	Log      *slog.Logger
	Sessions *session.Sessions // where connections are listed and cut; nil: nowhere
	Bus      *bus.Bus          // says when a resource has changed; nil: nobody does

	// Complete gives the values of a kind that contain what was typed; this plane asks for the keys of applications,
	// project/stack/app, by the kind keys. Nil: nothing is completed.
	Complete func(ctx context.Context, kind, typed string) []string

	Extra     Extra         // for the conformance suite; nil: nothing
	MaxLine   int           // bytes of one message, default 4 MiB
	MaxFlight int           // requests in flight on one connection, default 256
	Stall     time.Duration // how long one write may take before the reader is cut off, default 30 s
}

// Launch is what omnitron mcp was started with. It travels in the first message of a connection and can only lower what
// the connection may do.
type Launch struct {
	Role     string   `json:"role,omitempty"`      // viewer, operator or admin; default: acts as operator, more is held
	ReadOnly bool     `json:"read_only,omitempty"` // nothing but reads
	Profile  string   `json:"profile,omitempty"`   // core (default), full or readonly
	Toolsets []string `json:"toolsets,omitempty"`  // services; none means all
	Session  string   `json:"session,omitempty"`   // random: a client keeps on its next connection what was approved for it
}

// MetaLaunch is the key under which the launch travels in the first message's _meta.
const MetaLaunch = "omnitron/launch"

// MetaError is the key under which a result carries the fault.
const MetaError = "omnitron/error"

// Server serves any number of connections.
type Server struct {
	reg     Registry
	o       Options
	methods map[string]*tool.Tool // by id and alias
	ordered []*tool.Tool          // by id
	seal    cipher.AEAD           // of the state that travels through a client

	self json.RawMessage // what the server calls itself

	mu       sync.Mutex
	surfaces map[string]*surface
}

// New makes a server of the registry's methods. It fails when a method cannot be shown: a schema that is none, two
// resources with one name.
func New(reg Registry, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Sessions == nil {
		o.Sessions = session.New(time.Now)
	}
	if o.MaxLine == 0 {
		o.MaxLine = 4 << 20
	}
	if o.MaxFlight == 0 {
		o.MaxFlight = 256
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	s := &Server{reg: reg, o: o, methods: map[string]*tool.Tool{}, surfaces: map[string]*surface{}}
	s.self = identity(o.Version)
	for _, d := range reg.Methods() {
		if d.Local {
			continue
		}
		m, err := tool.New(d)
		if err != nil {
			return nil, fmt.Errorf("cannot show %s: %w", d.ID(), err)
		}
		s.ordered = append(s.ordered, m)
		s.methods[d.ID()] = m
		for _, a := range d.Aliases {
			s.methods[a] = m
		}
	}
	slices.SortFunc(s.ordered, func(a, b *tool.Tool) int { return strings.Compare(a.ID(), b.ID()) })
	var err error
	if s.seal, err = newSeal(); err != nil {
		return nil, err
	}
	_, err = s.surfaceFor(Launch{Profile: profileFull}, op.Caller{Channel: op.Agent, Ceiling: op.Admin}) // what is wrong with a resource shows here
	return s, err
}

// Out is a way back to a client. The lines are the caller's: who keeps them copies them.
type Out interface {
	Write(line []byte) error  // a notification, or a question of ours
	Answer(line []byte) error // the last word on the request
	Post(line []byte)         // Answer that does not wait for a slow reader
}

// Lacking is an Out of a plane that has words of its own for a call above its caller's rights. It is told which are missing, and
// the answer is an error of the protocol; elsewhere the fault is a result.
type Lacking interface{ Lacks(scope string) }

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
