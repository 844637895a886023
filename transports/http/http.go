// Package http is the plane for browsers, programs and agents on other machines: REST with its OpenAPI document, MCP over
// streamable HTTP, figures for Prometheus, all on one listener. Whoever calls shows a bearer, or on REST the cookie and key of
// a browser session. What a page of another origin, a name that was bound to this address, or a connection that takes its time
// could do is refused before anything is read, on every route alike.
package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/tools"
)

// The bounds of the plane.
const (
	maxHeader  = 16 << 10         // bytes of a request's head
	maxBody    = 4 << 20          // bytes of a request's body
	maxUnknown = bodyStep         // the same while nobody knows whose it is
	maxFrame   = 16 << 10         // bytes of a frame of HTTP/2, which are kept for each connection
	maxAhead   = 256 << 10        // bytes of bodies that an HTTP/2 client may send before they are read, of a stream and in all
	askAfter   = 5 * time.Second  // how long nothing whole may come on an HTTP/2 connection before it is asked whether it is there; a head that never ends is nothing whole
	answerFor  = 4 * time.Second  // how long it may take to answer that
	sendFor    = 10 * time.Second // how long a request may take to come in whole
	takeFor    = 10 * time.Second // how long a client may leave what it is sent unread
	idleFor    = time.Minute      // how long a connection may wait for its next request
	drainFor   = 5 * time.Second  // how long calls may go on once the plane ends
	leeway     = time.Minute      // how long what is open outlives its credential
)

// Registry runs methods. An error of Do is always a *fault.Error.
type Registry interface {
	Methods() []*tools.Method
	Find(id string) (*tools.Method, bool)
	Do(ctx context.Context, c tools.Call) (any, error)
}

// Launch is what the path of an MCP client asks for; it can only lower what the client may do.
type Launch struct {
	Profile  string // core, full or readonly
	Toolsets []string
}

// Agents serves MCP to a client that was let in. The caller is in the request's context, which ends when the credential is
// worth nothing any more; body is what was posted. What it has not begun to answer then is answered for it. lacks sets the
// headers of an answer that refuses a call for want of rights.
type Agents interface {
	ServeMCP(w http.ResponseWriter, r *http.Request, body []byte, l Launch, lacks func(scope string))
}

// Server is the plane. Authority, Registry and Log are needed; what else is nil is not offered.
type Server struct {
	Listen  string         // address and port
	Names   []string       // by which it is reached, beside localhost and the address
	TLS     *tls.Config    // nil: plain, and on loopback only
	REST    bool           // offer /api/v1 and /openapi.json
	Proxies []netip.Prefix // whose word on where a request comes from counts

	Authority token.Authority
	Browser   Browser // sessions of browsers
	Registry  Registry
	Sessions  *session.Sessions // where who calls is listed and cut
	Agents    Agents
	Log       *slog.Logger
	Version   string

	Keys    func(ctx context.Context) ([]byte, error) // the JSON Web Key Set
	Ready   func() error                              // why the daemon does not serve yet
	Metrics func(ctx context.Context, m *Metrics)     // adds the daemon's figures

	Refused  func(from netip.Addr, why *fault.Error) // called for each request of whoever was not let in
	OnListen func(addr net.Addr)                     // called once, when clients can connect
	MaxConns int                                     // default 1024; one address has half of them at most

	host    hosts
	routes  map[string]*route
	gate    gate
	visits  visits
	openAPI []byte
	served  served
	calls   sync.WaitGroup // changing calls, which outlive their requests
}

// Run listens until ctx ends; then it takes nothing more, ends what streams and lets calls finish for a while. The fault
// before it listens is denied (plain_beyond_loopback).
func (s *Server) Run(ctx context.Context) error {
	if s.MaxConns <= 0 {
		s.MaxConns = 1024
	}
	if err := s.safe(); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", s.Listen, err)
	}
	if err := s.prepare(l.Addr()); err != nil {
		_ = l.Close()
		return err
	}
	streams, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	srv := s.server(streams)
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		end(errDraining)
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
		defer cancel()
		if srv.Shutdown(within) != nil {
			_ = srv.Close()
		}
	})
	if s.OnListen != nil {
		s.OnListen(l.Addr())
	}
	bounded := &bounded{Listener: l, most: s.MaxConns, by: map[netip.Addr]int{}}
	if s.TLS != nil {
		err = srv.ServeTLS(bounded, "", "")
	} else {
		err = srv.Serve(bounded)
	}
	if !stop() {
		<-drained
	}
	s.visits.close()
	s.calls.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("cannot serve on %s: %w", s.Listen, err)
}

var errDraining = fault.New(fault.Unavailable, "the daemon ends, or takes this plane down").WithReason("draining").WithRetryAfter(1)

// server is the library's part: it reads requests, within bounds of ours.
func (s *Server) server(streams context.Context) *http.Server {
	srv := &http.Server{
		Handler: s, DisableGeneralOptionsHandler: true, ReadHeaderTimeout: sendFor, ReadTimeout: sendFor, IdleTimeout: idleFor, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return streams },
		ErrorLog:    slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // what strangers do to a socket is no news
		Protocols:   &http.Protocols{},
	}
	srv.Protocols.SetHTTP1(true)
	if s.TLS != nil {
		srv.TLSConfig = s.TLS.Clone()
		srv.TLSConfig.NextProtos = nil
		srv.Protocols.SetHTTP2(true)
		srv.HTTP2 = &http.HTTP2Config{
			MaxConcurrentStreams: 128, MaxReadFrameSize: maxFrame, MaxReceiveBufferPerConnection: maxAhead, MaxReceiveBufferPerStream: maxAhead,
			SendPingTimeout: askAfter, PingTimeout: answerFor, WriteByteTimeout: takeFor,
		}
	}
	return srv
}

// safe refuses to show bearers to a network.
func (s *Server) safe() error {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", s.Listen, err)
	}
	if ip, err := netip.ParseAddr(host); s.TLS != nil || host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fault.New(fault.Denied, "http.listen is %s, which others can reach, and there is no certificate: tokens would be shown to the network", s.Listen).
		WithReason("plain_beyond_loopback").WithHint("name cert and key, or listen on 127.0.0.1")
}

// prepare makes what depends on the address.
func (s *Server) prepare(addr net.Addr) error {
	s.host = newHosts(s.Names, addr, s.TLS != nil)
	s.gate = gate{by: map[string]*share{}}
	s.visits = visits{open: map[string]*visit{}}
	s.route()
	if s.REST {
		doc, err := OpenAPI(s.Registry.Methods(), s.Version)
		if err != nil {
			return err
		}
		s.openAPI = doc
	}
	return nil
}

// from is where a request comes from: the peer, or whom a trusted proxy names.
func (s *Server) from(r *http.Request) (addr netip.Addr, proxied bool) {
	peer := peerOf(r.RemoteAddr)
	if !s.trusted(peer) {
		return peer, false
	}
	return s.forwarded(r, peer), true
}

func peerOf(remote string) netip.Addr {
	ap, _ := netip.ParseAddrPort(remote)
	return ap.Addr().Unmap().WithZone("")
}

// anonymous is a caller of whom nothing is known but the address.
func anonymous(from netip.Addr) op.Caller {
	return op.Caller{User: "anonymous@" + from.String(), UID: -1, From: from, Plane: plane, Ceiling: op.Public, Role: op.Public}
}

const plane = "http"
