// Package tcp is the network plane for the native dialect: TLS 1.3, and a hello with a credential before anything else.
// Whoever has not said it may call the Public methods a few times and is gone after ten seconds; whoever has is cut off
// when the credential is revoked, and a minute after it has ended by itself.
package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/omnitron-dev/omnitron/core/cert"
	"github.com/omnitron-dev/omnitron/core/config/setting"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/transports/wire"
	"github.com/omnitron-dev/omnitron/transports/wire/door"
)

// retryEvery is how often a listener that cannot be had is tried again.
const retryEvery = time.Second

// Server is the plane. Its exported fields are set before Run.
type Server struct {
	Certificates *cert.Certificates
	Authority    token.Authority
	Ready        func(context.Context) error // nil once credentials can be told apart, before which nobody is let in; may be nil
	Sessions     *session.Sessions
	Handle       wire.Handler             // makes a call of the caller in the context
	Public       func(method string) bool // whether a method may be called without a credential
	Options      wire.Options
	Refused      func(from netip.Addr, why *fault.Error) // called for whoever is turned away; may be nil
	Log          *slog.Logger
	Now          func() time.Time // default time.Now

	MaxConns     int           // default 2048
	MaxAddress   int           // of one address; default 1024
	MaxStrangers int           // that have not said hello; default 256, of one address a quarter
	HelloTimeout time.Duration // from the connection to the end of the hello; default 10 s
	Stall        time.Duration // how long a message may take to arrive, beside a second for each 64 KiB; default 10 s

	tls   atomic.Pointer[tls.Config] // what the next handshake uses
	group wire.Group                 // connections, acceptors and those who watch credentials
	doors places
	full  door.Quiet

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before and after
	want    setting.Listener
	have    setting.Listener // what the listener was made of
	served  *cert.Served
	l       net.Listener
	conns   context.Context    // ends when the plane is switched off
	cut     context.CancelFunc // of conns
	trouble error              // why want is not what is
}

// Status is how the plane stands.
type Status struct {
	Enabled bool
	Listen  string // where it listens; "" while it does not
	Pin     string // of the key that it shows
	Trouble error  // what keeps it from being as config.yaml says, or is wrong with its certificate
}

func (s *Server) complete() {
	def := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	def(&s.MaxConns, 2048)
	def(&s.MaxAddress, 1024)
	def(&s.MaxStrangers, 256)
	for _, d := range []*time.Duration{&s.HelloTimeout, &s.Stall} {
		if *d <= 0 {
			*d = 10 * time.Second
		}
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.doors = places{by: map[netip.Addr]*place{}, all: s.MaxConns, address: s.MaxAddress, strangers: s.MaxStrangers, few: max(1, s.MaxStrangers/4)}
}

// Run serves until ctx ends and every connection has. ready is called once the first settings were followed, whether or
// not that worked: a daemon whose port is taken supervises all the same.
func (s *Server) Run(ctx context.Context, ready func()) error {
	s.complete()
	s.mu.Lock()
	s.ctx = ctx
	s.follow()
	s.mu.Unlock()
	ready()
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.mu.Lock()
			if s.trouble != nil {
				s.follow()
			}
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.close()
	s.ctx = nil
	s.mu.Unlock()
	s.group.Wait()
	return nil
}

// Use takes settings up: it starts, stops or moves the listener. Connections stay, unless the plane is switched off.
func (s *Server) Use(l setting.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = l
	if s.ctx != nil {
		s.follow()
	}
}

// Status tells how the plane stands.
func (s *Server) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Enabled: s.want.Enabled, Trouble: s.trouble}
	if s.l != nil {
		st.Listen = s.l.Addr().String()
	}
	if s.served != nil && st.Enabled {
		st.Pin = s.served.Pin()
		if st.Trouble == nil {
			st.Trouble = s.served.Trouble()
		}
	}
	return st
}

// follow makes the listener what is wanted. It is called with mu held.
func (s *Server) follow() {
	err := s.try()
	if err != nil && (s.trouble == nil || s.trouble.Error() != err.Error()) {
		s.Log.Error("the TCP plane is not as config.yaml says", "listen", s.want.Listen, "err", err)
	}
	s.trouble = err
}

func (s *Server) try() error {
	if !s.want.Enabled {
		s.close()
		return nil
	}
	if s.Ready != nil {
		if err := s.Ready(s.ctx); err != nil {
			s.leave() // what was let in stays
			return err
		}
	}
	served, err := s.Certificates.Serve(cert.Use{Names: s.want.Names, Cert: s.want.Cert, Key: s.want.Key})
	if err != nil {
		return err // what listens goes on with what it has
	}
	s.served = served
	s.tls.Store(served.Config())
	if s.l != nil && s.have.Listen == s.want.Listen {
		return nil
	}
	return s.move()
}

// move listens where it is wanted, and no longer where it was.
func (s *Server) move() error {
	_, before := s.have.Address()
	_, port := s.want.Address()
	same := s.l != nil && before == port // one of the two may be every address: both together cannot be had
	if same {
		s.leave()
	}
	l, err := s.listen(s.want.Listen)
	if err != nil {
		if same {
			if l, again := s.listen(s.have.Listen); again == nil {
				s.accept(l)
			}
		}
		return err
	}
	s.leave()
	s.have = s.want
	s.accept(l)
	s.Log.Info("the TCP plane listens", "address", l.Addr().String(), "key", s.served.Pin())
	return nil
}

func (s *Server) listen(address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	l, err := lc.Listen(s.ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fault.Wrap(err, fault.Conflict, "cannot listen on %s: another process does", address).WithReason("listen_failed").
			WithHint("give tcp.listen another port in config.yaml, or end that process; it is tried again every second")
	}
	return nil, fault.Wrap(err, fault.Conflict, "cannot listen on %s: %v", address, err).WithReason("listen_failed").
		WithHint("give tcp.listen an address that this machine has; it is tried again every second")
}

func (s *Server) accept(l net.Listener) {
	if s.conns == nil {
		s.conns, s.cut = context.WithCancel(s.ctx)
	}
	ctx := s.conns
	s.l = l
	over := func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.l != l }
	s.begin(func() {
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		defer l.Close()
		if err := door.Accept(ctx, l, &s.full, s.Log, over, func(c net.Conn) { s.take(ctx, c.(*net.TCPConn)) }); err != nil {
			s.Log.Error("the TCP plane takes no more connections for now", "err", err)
			s.mu.Lock()
			if s.l == l { // Run makes another
				s.l, s.trouble = nil, err
			}
			s.mu.Unlock()
		}
	})
}

// leave closes the listener and keeps what it has let in.
func (s *Server) leave() {
	if s.l != nil {
		l := s.l
		s.l = nil
		_ = l.Close()
	}
}

// close ends the listener and everything that came through it, in order.
func (s *Server) close() {
	if s.cut == nil {
		return
	}
	s.leave()
	s.cut()
	s.conns, s.cut, s.have = nil, nil, setting.Listener{}
	s.Log.Info("the TCP plane is closed")
}
