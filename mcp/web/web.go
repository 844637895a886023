// Package web serves MCP over streamable HTTP to clients that a plane has let in. Both eras are served at one address, told
// apart request by request: with a handshake a client has a session, which a header names, its streams can be taken up again,
// and it may listen by GET; without one each request stands alone.
package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	mcplib "github.com/mark3labs/mcp-go/mcp"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	sessionHeader = "Mcp-Session-Id"
	eventHeader   = "Last-Event-ID"

	perToken   = 64               // sessions of one credential
	all        = 1024             // sessions
	idleFor    = 30 * time.Minute // how long a session stays without a request
	aloneFor   = 5 * time.Minute  // the same for a client without a handshake
	patience   = 3 * time.Second  // how long an answer may take before its client hears that it is being worked on
	aliveEvery = 15 * time.Second // so often a stream without news shows that it is there
)

// Handler serves clients of a server. Close ends it.
type Handler struct {
	server *mcp.Server
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	open   map[string]*client // by session id, or by what they are known by
	calls  sync.WaitGroup
}

// New makes a handler of a server's methods.
func New(s *mcp.Server, log *slog.Logger) *Handler {
	return &Handler{server: s, log: log, open: map[string]*client{}}
}

// client is a session, or all requests without one of a credential at an address.
type client struct {
	*mcp.Client
	h      *Handler
	id     string
	token  string
	life   context.Context
	cancel context.CancelFunc
	replay replay

	mu       sync.Mutex // of what follows
	inside   int
	listener context.CancelFunc // of the GET that is listened on
	idle     *time.Timer
	seen     time.Time
}

// ServeMCP answers one request. The caller is in its context, which ends with a fault as its cause when the credential counts
// no more: what has not been answered by then is left to the plane. A call above the caller's rights is answered with 403, and
// lacks, which sets the plane's headers, hears before which are missing.
func (h *Handler) ServeMCP(w http.ResponseWriter, r *http.Request, body []byte, l mcp.Launch, lacks func(scope string)) {
	switch r.Method {
	case http.MethodPost:
		h.post(w, r, body, l, lacks)
	case http.MethodGet, http.MethodDelete:
		if mcplib.IsModernProtocol(r.Header.Get(mcplib.HeaderProtocolVersion)) {
			w.Header().Set("Allow", http.MethodPost)
			fail(w, http.StatusMethodNotAllowed, nil, wire.CodeInvalidRequest, "in this version of the protocol there are no sessions: listen with subscriptions/listen")
			return
		}
		c := h.session(w, r, l, nil)
		switch {
		case c == nil:
		case r.Method == http.MethodGet:
			defer c.leave()
			c.listen(w, r)
		default:
			c.leave()
			h.end(c)
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

// post takes one message.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, body []byte, l mcp.Launch, lacks func(scope string)) {
	var p wire.Parser
	m, bad := p.Parse(body)
	if bad != nil {
		fail(w, http.StatusBadRequest, m.ID, bad.Code, bad.Message)
		return
	}
	meta := object.String(object.Get(m.Params, "_meta"), mcplib.MetaKeyProtocolVersion)
	header := r.Header.Get(mcplib.HeaderProtocolVersion)
	modern := mcplib.IsModernProtocol(meta) || mcplib.IsModernProtocol(header)
	accepts := r.Header.Get("Accept")
	if accepts != "" && !takes(accepts, "application/json") {
		fail(w, http.StatusNotAcceptable, m.ID, wire.CodeInvalidRequest, "answers are application/json or text/event-stream: Accept both")
		return
	}
	switch {
	case m.ID == nil && (modern || r.Header.Get(sessionHeader) == ""): // such as notifications/cancelled, which some clients send bare: to hang up cancels
		w.WriteHeader(http.StatusAccepted)
	case modern:
		if code, why := agrees(r, m, header, meta); why != "" {
			fail(w, http.StatusBadRequest, m.ID, code, why)
			return
		}
		h.once(w, r, m, l, lacks)
	case header != "" && !mcplib.IsValidProtocolVersion(header):
		fail(w, http.StatusBadRequest, m.ID, wire.CodeInvalidRequest, "unknown version of the protocol: "+wire.Quote(header, 40))
	case m.Method == "initialize":
		h.greet(w, r, m, l)
	case meta != "" && !mcplib.IsValidProtocolVersion(meta):
		h.once(w, r, m, l, lacks) // whose answer lists the versions
	default:
		c := h.session(w, r, l, m.ID)
		if c == nil {
			return
		}
		defer c.leave()
		if !m.Request() {
			c.Serve(r.Context(), m, nil)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		ctx, stop := c.outlasting(r)
		s := c.replay.begin()
		h.calls.Go(func() { defer stop(); c.Serve(ctx, m, s); s.end() })
		if s.answer(w, r, false, refusing(lacks, s)) { // it was no stream: there is nothing to come back for
			c.replay.drop(s)
		}
	}
}

// takes reports whether an Accept header lets a type through.
func takes(accept, kind string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		major, _, _ := strings.Cut(kind, "/")
		if name == kind || name == "*/*" || name == major+"/*" {
			return true
		}
	}
	return false
}

// agrees checks that the headers of a request without a handshake say what its body says: whoever decides by the headers, such
// as a proxy, must not be shown another request than the one that is served.
func agrees(r *http.Request, m wire.Message, header, meta string) (code int, why string) {
	switch {
	case r.Header.Get(eventHeader) != "":
		return mcplib.HEADER_MISMATCH, "streams cannot be taken up again in this version: make the request again"
	case header == "":
		return mcplib.HEADER_MISMATCH, mcplib.HeaderProtocolVersion + " is missing"
	case meta == "":
		return mcplib.INVALID_PARAMS, "missing _meta field " + mcplib.MetaKeyProtocolVersion
	case header != meta:
		return mcplib.HEADER_MISMATCH, mcplib.HeaderProtocolVersion + " and _meta name two versions"
	}
	if err := mcplib.ValidateStandardHeaders(r.Header.Get, meta, mcplib.MCPMethod(m.Method), m.Params); err != nil {
		return mcplib.HEADER_MISMATCH, err.Error()
	}
	return 0, ""
}

// once serves a request that stands alone. Its client has gone when it hangs up, and then the work ends.
func (h *Handler) once(w http.ResponseWriter, r *http.Request, m wire.Message, l mcp.Launch, lacks func(scope string)) {
	caller := op.CallerOf(r.Context())
	key := strings.Join(append([]string{caller.Principal(), caller.Token, l.Profile}, l.Toolsets...), " ")
	c, err := h.enter(key, caller, l, aloneFor)
	if err != nil {
		refused(w, m.ID, err)
		return
	}
	defer c.leave()
	s := newStream("")
	h.calls.Go(func() { c.Once(r.Context(), m.Clone(), s); s.end() })
	s.answer(w, r, true, refusing(lacks, s))
}

// greet begins a session.
func (h *Handler) greet(w http.ResponseWriter, r *http.Request, m wire.Message, l mcp.Launch) {
	c, err := h.enter(rand.Text(), op.CallerOf(r.Context()), l, idleFor)
	if err != nil {
		refused(w, m.ID, err)
		return
	}
	defer c.leave()
	s := newStream("")
	c.Serve(r.Context(), m, s)
	s.end()
	if object.Get(json.RawMessage(s.last()), "error") != nil {
		h.end(c)
		s.answer(w, r, false, nil)
		return
	}
	s.answer(w, r, false, func() { w.Header().Set(sessionHeader, c.id) })
}

// session gives the session that a request names, if it is its caller's.
func (h *Handler) session(w http.ResponseWriter, r *http.Request, l mcp.Launch, id json.RawMessage) *client {
	name := r.Header.Get(sessionHeader)
	if name == "" {
		fail(w, http.StatusBadRequest, id, wire.CodeInvalidRequest, sessionHeader+" is missing: begin with initialize")
		return nil
	}
	h.mu.Lock()
	c := h.open[name]
	h.mu.Unlock()
	if c == nil || c.id == "" || !c.Fits(op.CallerOf(r.Context()), l) || !c.come() {
		fail(w, http.StatusNotFound, id, wire.CodeInvalidRequest, "there is no such session: begin again with initialize")
		return nil
	}
	return c
}

// enter gives the client of a key, or makes it. Of a session the key is its id.
func (h *Handler) enter(key string, caller op.Caller, l mcp.Launch, idle time.Duration) (*client, error) {
	h.mu.Lock()
	c := h.open[key]
	h.mu.Unlock()
	if c != nil && c.Fits(caller, l) && c.come() {
		return c, nil
	}
	if c != nil {
		h.end(c)
	}
	fresh := &client{h: h, token: caller.Principal() + " " + caller.Token, inside: 1}
	if idle == idleFor {
		fresh.id = key
	}
	fresh.life, fresh.cancel = context.WithCancel(context.Background())
	fresh.replay.init()
	fresh.idle = time.AfterFunc(idle, func() { h.lapse(key, fresh, idle) })
	caller.Session = ""
	var err error
	if fresh.Client, err = h.server.Connect(caller, l, fresh.replay.events, func() { go h.end(fresh) }); err != nil {
		fresh.idle.Stop()
		fresh.cancel()
		return nil, err
	}
	if err := h.take(key, fresh); err != nil {
		fresh.close()
		return nil, err
	}
	return fresh, nil
}

// take puts a client in its place. When its credential has as many as it may have, the one that was quiet longest makes room.
func (h *Handler) take(key string, fresh *client) error {
	h.mu.Lock()
	var oldest *client
	n := 0
	for _, c := range h.open {
		if c.token == fresh.token {
			n++
			if quiet, since := c.quiet(); quiet && (oldest == nil || since.Before(oldest.seen)) {
				oldest = c
			}
		}
	}
	full := h.closed || len(h.open) >= all && oldest == nil || n >= perToken && oldest == nil
	if !full {
		h.open[key] = fresh
	}
	h.mu.Unlock()
	switch {
	case full:
		return fault.New(fault.Limited, "too many sessions are open").WithReason("sessions").WithRetryAfter(1)
	case n >= perToken:
		h.end(oldest)
	}
	return nil
}

// lapse ends a client that was quiet for long.
func (h *Handler) lapse(_ string, c *client, idle time.Duration) {
	if quiet, since := c.quiet(); !quiet || time.Since(since) < idle {
		c.idle.Reset(idle)
		return
	}
	h.end(c)
}

// end ends a client and everything that it has in flight.
func (h *Handler) end(c *client) {
	h.mu.Lock()
	for key, o := range h.open {
		if o == c {
			delete(h.open, key)
		}
	}
	h.mu.Unlock()
	c.close()
}

// Close ends all clients, takes no more, and returns when nothing of them is left.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.Clear()
}

// Clear ends all clients and returns when nothing of them is left.
func (h *Handler) Clear() {
	h.mu.Lock()
	open := h.open
	h.open = map[string]*client{}
	h.mu.Unlock()
	for _, c := range open {
		c.close()
	}
	h.calls.Wait()
}

func (c *client) close() {
	c.mu.Lock()
	c.idle.Stop()
	c.mu.Unlock()
	c.cancel()
	c.Client.Close()
	c.replay.close()
}

// come counts a request in, unless the client has ended.
func (c *client) come() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return false
	}
	c.inside++
	return true
}

func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside--
	c.seen = time.Now()
}

func (c *client) quiet() (bool, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inside == 0, c.seen
}

// outlasting gives a request of a session a context that its client does not end by hanging up, for it may come back for the
// answer; the end of the credential and that of the session do.
func (c *client) outlasting(r *http.Request) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	revoked := context.AfterFunc(r.Context(), func() {
		if why := context.Cause(r.Context()); fault.CodeOf(why) == fault.Unauthenticated {
			cancel(why)
		}
	})
	ended := context.AfterFunc(c.life, func() { cancel(context.Canceled) })
	return ctx, func() { revoked(); ended(); cancel(nil) }
}

// fail answers with an error of the protocol.
func fail(w http.ResponseWriter, status int, id json.RawMessage, code int, text string) {
	body := mcp.ErrorLine(id, &wire.Error{Code: code, Message: text})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs none
}

// refused answers with a fault of before any method ran.
func refused(w http.ResponseWriter, id json.RawMessage, err error) {
	f := fault.From(err)
	status := http.StatusBadRequest
	if f.Code == fault.Limited {
		status = http.StatusTooManyRequests
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mcp.ErrorLine(id, wire.FromFault(f))) // who has gone needs none
}
