package tcp

import (
	"context"
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/token"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	// Grace is how long a connection outlives its credential, so that it can be renewed.
	Grace = time.Minute

	maxRenewals = 8 // credentials of one connection that have not ended yet
)

func contains(list []string, word string) bool { return slices.Contains(list, word) }

// live is a connection that has said who it is.
type live struct {
	s       *Server
	from    netip.Addr
	said    said
	session *session.Session
	ctx     context.Context // of what the connection does
	end     context.CancelCauseFunc

	mu      sync.Mutex
	now     *token.Identity // the newest
	watched int             // credentials whose end is waited for
}

// live serves a connection until it ends, or its credential does.
func (s *Server) live(ctx context.Context, c *conn, id *token.Identity, m said, from netip.Addr) error {
	ctx, end := context.WithCancelCause(ctx)
	l := &live{s: s, from: from, said: m, ctx: ctx, end: end, now: id}
	defer end(nil)
	l.session = s.Sessions.Open(id.Caller, func() {
		end(fault.New(fault.Denied, "a person has disconnected this client").WithReason("disconnected").WithHint("ask before you connect again"))
	})
	defer l.session.Close()
	l.watch(id)
	if _, err := c.Write(wire.ResultLine(m.id, l.welcome(id))); err != nil {
		return err
	}
	return wire.Serve(ctx, c, nil, l.handle, s.Options)
}

func (l *live) welcome(id *token.Identity) Welcome {
	c := l.session.Caller()
	return Welcome{User: c.User, Channel: c.Channel, Role: c.Role.String(), Ceiling: c.Ceiling.String(), Session: c.Session, Expires: id.Expires, Ping: true}
}

// handle makes one call.
func (l *live) handle(ctx context.Context, method string, params json.RawMessage, emit op.Emit) (any, error) {
	if method == Hello {
		return l.renew(ctx, params)
	}
	if why := l.over(); why != nil {
		l.end(why)
		return nil, why
	}
	return l.s.Handle(op.WithCaller(ctx, l.session.Caller()), method, params, emit)
}

// over says why the credential counts no more, or nil.
func (l *live) over() *fault.Error {
	l.mu.Lock()
	id := l.now
	l.mu.Unlock()
	select {
	case <-id.Revoked:
		return revoked()
	default:
	}
	if !id.Expires.IsZero() && l.s.Now().After(id.Expires.Add(Grace)) {
		return expired()
	}
	return nil
}

func revoked() *fault.Error {
	return fault.New(fault.Unauthenticated, "the credential of this connection was revoked").WithReason("revoked").WithHint("sign in again, or ask whoever runs the daemon for another token")
}

func expired() *fault.Error {
	return fault.New(fault.Unauthenticated, "the credential of this connection has ended and was not renewed").WithReason("credential_expired").WithHint("say %s with a fresh token before the end", Hello)
}

// renew takes another credential of the same principal with the same rights; what is on its way goes on under both.
func (l *live) renew(ctx context.Context, params json.RawMessage) (any, error) {
	if why := l.over(); why != nil {
		l.end(why)
		return nil, why
	}
	id, _, err := l.s.admit(ctx, params, l.from)
	if err != nil {
		if f := fault.From(err); f.Code == fault.Unauthenticated || f.Code == fault.Limited {
			l.s.refused(l.from, f)
		}
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !same(id.Caller, l.now.Caller) {
		return nil, fault.New(fault.Conflict, "this connection is that of %s, and the credential is not, or has other rights", l.now.Caller.Principal()).
			WithReason("other_identity").WithHint("open another connection for it")
	}
	if l.watched >= maxRenewals {
		return nil, fault.New(fault.Limited, "the connection has %d credentials that have not ended", l.watched).WithReason("renewals").WithHint("renew it shortly before its end")
	}
	l.now = id
	l.watchLocked(id)
	caller := id.Caller
	caller.Client = l.session.Caller().Client
	l.session.Became(caller)
	return l.welcome(id), nil
}

// same reports whether two credentials are of one principal with one set of rights.
func same(a, b op.Caller) bool {
	a.Token, a.Session, a.Client, a.Trace = b.Token, b.Session, b.Client, b.Trace
	return reflect.DeepEqual(a, b)
}

// watch cuts the connection when a credential counts no more. Every one that it was given stays watched until it ends by
// itself: what was begun under one is not to outlive its revocation.
func (l *live) watch(id *token.Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchLocked(id)
}

func (l *live) watchLocked(id *token.Identity) {
	l.watched++
	l.s.begin(func() {
		defer func() { l.mu.Lock(); l.watched--; l.mu.Unlock() }()
		var late <-chan time.Time
		if !id.Expires.IsZero() {
			t := time.NewTimer(id.Expires.Add(Grace).Sub(l.s.Now()))
			defer t.Stop()
			late = t.C
		}
		select {
		case <-l.ctx.Done():
		case <-id.Revoked:
			l.end(revoked())
		case <-late:
			l.mu.Lock()
			newest := l.now == id
			l.mu.Unlock()
			if newest {
				l.end(expired())
			}
		}
	})
}
