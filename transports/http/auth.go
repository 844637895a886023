package http

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/core/token"
)

// Browser is the sessions of browsers. A cookie alone is worth nothing: browsers send it to every port of a host, and whoever
// listens on one of them has it then. So a page also sends a key that it was given once, in a header, which no other origin can.
type Browser interface {
	// Browse gives a session a cookie and a key. Faults: not_found (session_unknown).
	Browse(ctx context.Context, session string) (cookie, key string, err error)
	// AdmitBrowser gives who a cookie stands for together with its key. Faults: unauthenticated (no_token, bad_token), limited
	// (too_many_guesses).
	AdmitBrowser(cookie, key string, from netip.Addr) (*token.Identity, error)
}

// keyHeader carries the key of a browser session.
const keyHeader = "X-Omnitron-Key"

// cookieName differs by port: a browser has one jar for all ports of a host.
func (s *Server) cookieName() string { return "omnitron_" + s.host.port }

var errNoToken = fault.New(fault.Unauthenticated, "this needs a bearer: an access token or a named token").WithReason("no_token").
	WithHint("send Authorization: Bearer TOKEN; an admin makes one: %s", fault.Do("tokens.create", "name", "laptop"))

// authenticate finds out who asks.
func (x *exchange) authenticate(a access) *refusal {
	if a == open {
		x.caller = x.anonymous()
		return nil
	}
	credential, has := "", false
	if h := x.r.Header.Get("Authorization"); h != "" {
		scheme, rest, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "bearer") {
			f := fault.New(fault.Unauthenticated, "only the scheme Bearer is known").WithReason("no_token")
			return &refusal{http.StatusUnauthorized, f}
		}
		credential, has = strings.TrimSpace(rest), true
	}
	lower := op.Channel("")
	if a == agent {
		lower = op.Agent
	}
	cookie, err := x.r.Cookie(x.s.cookieName())
	switch {
	case has:
		return x.identified(x.s.Authority.Admit(x.r.Context(), credential, x.from, lower))
	case a == signedIn && err == nil && x.s.Browser != nil:
		if x.r.Method != http.MethodGet && x.r.Header.Get("Origin") == "" {
			return &refusal{http.StatusUnauthorized, fault.New(fault.Unauthenticated, "a browser session is used from a page, and this request has no Origin").WithReason("bad_token")}
		}
		return x.identified(x.s.Browser.AdmitBrowser(cookie.Value, x.r.Header.Get(keyHeader), x.from))
	case a == signedIn && x.public():
		x.caller = x.anonymous()
		return nil
	}
	return &refusal{http.StatusUnauthorized, errNoToken}
}

// anonymous is the caller that the request has before anybody is known; a session that it begins keeps what it calls itself.
func (x *exchange) anonymous() op.Caller {
	c := anonymous(x.from)
	c.Client = client(x.r.UserAgent())
	return c
}

// public reports whether the path is that of a method that anybody may call.
func (x *exchange) public() bool {
	m, ok := x.s.Registry.Find(methodOf(x.path))
	return ok && m.Role == op.Public && !m.Local
}

func (x *exchange) identified(id *token.Identity, err error) *refusal {
	if err != nil {
		f := fault.From(err)
		return &refusal{statusOf(f), f}
	}
	select {
	case <-id.Revoked:
		return &refusal{http.StatusUnauthorized, errRevoked}
	default:
	}
	x.identity, x.caller = id, id.Caller
	x.caller.Plane, x.caller.Session, x.caller.From = plane, "", x.from
	x.caller.Client = client(x.r.UserAgent())
	x.caller.Trace = trace(x.r.Header.Get("Traceparent"))
	return nil
}

// client is what a program calls itself, made harmless.
func client(agent string) string {
	agent = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, agent)
	return agent[:min(len(agent), 90)]
}

// trace takes the trace out of a W3C traceparent, or gives "".
func trace(parent string) string {
	parts := strings.Split(parent, "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}

// visits are the sessions that callers have while they call. HTTP has no connections of callers, so one that was quiet for
// a while has left.
type visits struct {
	mu     sync.Mutex
	open   map[string]*visit
	closed bool
}

// visit is the session of one credential.
type visit struct {
	key     string
	session *session.Session // nil: it is kept elsewhere
	cut     chan struct{}    // closed when a person has ended it
	inside  int
	leaving *time.Timer
}

// stayFor is how long a caller is listed after its last call.
const stayFor = 2 * time.Minute

// enter gives the caller its session. Agents over MCP have sessions of their own.
func (v *visits) enter(all *session.Sessions, caller *op.Caller, elsewhere bool) *visit {
	if elsewhere || all == nil {
		return &visit{}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	key := caller.Principal() + " " + caller.Token
	one := v.open[key]
	if one == nil {
		one = &visit{key: key, cut: make(chan struct{})}
		cut := sync.OnceFunc(func() { close(one.cut) })
		one.session = all.Open(*caller, func() { cut(); v.forget(one) })
		v.open[key] = one
	}
	if one.leaving != nil {
		one.leaving.Stop()
		one.leaving = nil
	}
	one.inside++
	caller.Session = one.session.Caller().Session
	one.session.Became(*caller)
	return one
}

func (v *visits) leave(one *visit) {
	if one.session == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if one.inside--; one.inside == 0 && !v.closed && v.open[one.key] == one {
		one.leaving = time.AfterFunc(stayFor, func() { v.left(one) })
	}
}

// left takes out a visit, unless it goes on.
func (v *visits) left(one *visit) {
	v.mu.Lock()
	stays := one.inside > 0 || v.open[one.key] != one
	if !stays {
		delete(v.open, one.key)
	}
	v.mu.Unlock()
	if !stays {
		one.session.Close()
	}
}

// forget takes a visit out that a person has ended; the next call begins another one.
func (v *visits) forget(one *visit) {
	v.mu.Lock()
	if v.open[one.key] == one {
		delete(v.open, one.key)
	}
	v.mu.Unlock()
	one.session.Close()
}

// close ends all visits.
func (v *visits) close() {
	v.mu.Lock()
	v.closed = true
	all := v.open
	v.open = map[string]*visit{}
	v.mu.Unlock()
	for _, one := range all {
		if one.leaving != nil {
			one.leaving.Stop()
		}
		one.session.Close()
	}
}
