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
	"github.com/omnitron-dev/omnitron/tools"
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
	methods map[string]*method // by id and alias
	ordered []*method          // by id
	seal    cipher.AEAD        // of the state that travels through a client

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
	s := &Server{reg: reg, o: o, methods: map[string]*method{}, surfaces: map[string]*surface{}}
	s.self = identity(o.Version)
	for _, d := range reg.Methods() {
		if d.Local {
			continue
		}
		m, err := newMethod(d)
		if err != nil {
			return nil, fmt.Errorf("cannot show %s: %w", d.ID(), err)
		}
		s.ordered = append(s.ordered, m)
		s.methods[d.ID()] = m
		for _, a := range d.Aliases {
			s.methods[a] = m
		}
	}
	slices.SortFunc(s.ordered, func(a, b *method) int { return strings.Compare(a.ID(), b.ID()) })
	var err error
	if s.seal, err = newSeal(); err != nil {
		return nil, err
	}
	_, err = s.surfaceFor(Launch{Profile: profileFull}, op.Caller{Channel: op.Agent, Ceiling: op.Admin}) // what is wrong with a resource shows here
	return s, err
}
