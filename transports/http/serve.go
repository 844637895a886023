package http

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// access is what a route asks for.
type access uint8

const (
	open     access = iota // nothing: what it gives is no secret
	bearer                 // a bearer
	signedIn               // a bearer, or the cookie and key of a browser session; a Public method goes without
	agent                  // a bearer, which is lowered to the channel agent
)

// route is what is served at a path.
type route struct {
	methods []string
	access  access
	handle  func(*exchange)
}

// exchange is one request on its way to its answer.
type exchange struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	left    <-chan struct{} // closed when the client has, or the stream was reset
	from    netip.Addr
	proxied bool
	path    string // as it was sent

	identity *token.Identity // nil: nobody has signed in
	caller   op.Caller
	body     []byte
	cancel   context.CancelCauseFunc

	mu    sync.Mutex
	over  bool // nothing of the connection may be touched any more
	begun bool // something of the answer is out
}

// served counts answers, for the figures.
type served struct {
	total   [6]atomic.Int64 // by the first digit of the status
	open    atomic.Int64
	refused atomic.Int64
}

// ServeHTTP is the one way in: what is foreign or malformed is refused, then the route is found, then who asks, then the body
// is read, and only then anything happens.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.served.open.Add(1)
	defer s.served.open.Add(-1)
	maps.Copy(w.Header(), headers)
	x := &exchange{s: s, r: r, control: http.NewResponseController(w), left: r.Context().Done(), path: r.URL.EscapedPath()}
	x.w = &recorder{ResponseWriter: w, x: x}
	x.from, x.proxied = s.from(r)
	defer x.end()
	if r.ContentLength < 0 && r.ProtoMajor == 1 { // nothing behind a body of unknown length is taken for a request
		w.Header().Set("Connection", "close")
	}
	if why := x.serve(); why != nil {
		x.refuse(why)
	}
}

func (x *exchange) serve() *refusal {
	if why := x.s.guard(x.r, x.proxied); why != nil {
		return why
	}
	rt := x.s.find(x.path)
	if rt == nil {
		return &refusal{http.StatusNotFound, fault.New(fault.NotFound, "nothing is served at this path").WithReason("no_route")}
	}
	if !slices.Contains(rt.methods, x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(rt.methods, ", "))
		return &refusal{http.StatusMethodNotAllowed, fault.New(fault.Invalid, "%s is not served at this path", x.r.Method).WithReason("bad_request")}
	}
	switch {
	case x.r.Method == http.MethodPost:
		if why := jsonOnly(x.r); why != nil {
			return why
		}
	case x.r.ContentLength != 0:
		return badRequest("%s takes no body", x.r.Method)
	}
	if why := x.authenticate(rt.access); why != nil {
		return why
	}
	return x.admitted(rt)
}

// admitted serves a request of whoever may come in, within what he may have at a time.
func (x *exchange) admitted(rt *route) *refusal {
	who := x.caller.Principal()
	if x.identity == nil {
		who = x.from.String()
	}
	pass, why := x.s.gate.enter(who)
	if why != nil {
		return why
	}
	defer pass.leave()
	if x.r.Method == http.MethodPost {
		most := maxBody
		if x.identity == nil { // a password, a token: whoever nobody knows has no more to say
			most = maxUnknown
		}
		if x.body, why = pass.body(x.r, most); why != nil {
			return why
		}
	}
	_ = x.control.SetReadDeadline(time.Time{}) // it was for the request; that the client leaves is seen without
	if x.identity != nil {
		visit := x.s.visits.enter(x.s.Sessions, &x.caller, rt.access == agent)
		defer x.s.visits.leave(visit)
		defer x.watch(visit)()
	}
	x.r = x.r.WithContext(op.WithCaller(x.r.Context(), x.caller))
	rt.handle(x)
	return nil
}

// The ends of a request that its credential brings about.
var (
	errRevoked = fault.New(fault.Unauthenticated, "the credential counts no more: it, its session or its account was ended or changed").WithReason("revoked")
	errExpired = fault.New(fault.Unauthenticated, "the credential has expired").WithReason("expired")
	errCut     = fault.New(fault.Cancelled, "a person has ended this client's session").WithReason("disconnected")
)

// lastWord is how long a client may take to read why it is cut off.
const lastWord = 500 * time.Millisecond

// watch ends the request's context when the credential counts no more, when it has expired or when a person ends the visit. A
// client that does not read is cut off then.
func (x *exchange) watch(v *visit) (stop func()) {
	ctx, cancel := context.WithCancelCause(x.r.Context())
	x.cancel = cancel
	x.r = x.r.WithContext(ctx)
	var expires <-chan time.Time
	if !x.identity.Expires.IsZero() {
		t := time.NewTimer(time.Until(x.identity.Expires.Add(leeway)))
		expires = t.C
		stop = func() { t.Stop() }
	} else {
		stop = func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-x.identity.Revoked:
			cancel(errRevoked)
		case <-expires:
			cancel(errExpired)
		case <-v.cut:
			cancel(errCut)
		case <-ctx.Done():
		}
		if _, ours := errors.AsType[*fault.Error](context.Cause(ctx)); ours { // not for a call that is over: a timer would hold on to it
			time.AfterFunc(lastWord, x.cutOff)
		}
	}()
	timer := stop
	return func() {
		timer()
		cancel(nil)
		<-done
	}
}

// cutOff makes what still writes fail.
func (x *exchange) cutOff() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		_ = x.control.SetWriteDeadline(time.Now())
	}
}

// end lets go of the connection; a handler that panicked has not hurt the daemon.
func (x *exchange) end() {
	p := recover()
	x.mu.Lock()
	begun := x.begun
	x.mu.Unlock()
	if p != nil && p != http.ErrAbortHandler {
		x.s.Log.Error("a request panicked", "path", x.path, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		if !begun {
			x.fail(fault.New(fault.Internal, "something went wrong inside the daemon"))
		}
	}
	x.mu.Lock()
	x.over = true
	x.mu.Unlock()
	select {
	case <-x.left: // a deadline of HTTP/2 that came after a reset would hold on to the stream
		if x.r.ProtoMajor > 1 {
			_ = x.control.SetReadDeadline(time.Time{})
			_ = x.control.SetWriteDeadline(time.Time{})
		}
	default:
	}
	if p != nil && begun {
		panic(http.ErrAbortHandler) // what is out is half an answer: it must not look whole
	}
}

// gone is why the credential let go of the request, or nil.
func (x *exchange) gone() *fault.Error {
	f, _ := errors.AsType[*fault.Error](context.Cause(x.r.Context()))
	return f
}

// refuse answers a request that was not served.
func (x *exchange) refuse(why *refusal) {
	x.s.served.refused.Add(1)
	if x.identity == nil && x.s.Refused != nil {
		x.s.Refused(x.from, why.fault)
	}
	if x.r.Body != http.NoBody && why.status != http.StatusUnauthorized {
		x.w.Header().Set("Connection", "close") // what was sent is not read to its end
	}
	x.answer(why.status, why.fault)
}

// fail answers with a fault.
func (x *exchange) fail(f *fault.Error) { x.answer(statusOf(f), f) }

func (x *exchange) answer(status int, f *fault.Error) {
	switch f.Code {
	case fault.Unauthenticated:
		x.challenge("invalid_token", "")
	case fault.Denied:
		if f.Reason == "role" || f.Reason == "scope" {
			x.challenge("insufficient_scope", x.scope())
		}
	}
	if f.RetryAfter > 0 {
		x.w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter))))
	}
	x.json(status, failure{f})
}

// failure is a fault as a body.
type failure struct {
	Error *fault.Error `json:"error"`
}

// json writes a whole answer.
func (x *exchange) json(status int, v any) {
	raw, err := encode(v)
	if err != nil {
		x.s.Log.Error("an answer cannot be written", "path", x.path, "err", err)
		status, raw = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written"}}`)
	}
	x.raw(status, "application/json", raw)
}

// raw writes a body that is there already. A client that takes nothing of it for a while is cut off.
func (x *exchange) raw(status int, kind string, body []byte) {
	x.w.Header().Set("Content-Type", kind)
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead {
		return
	}
	_, _ = x.w.Write(body) // a client that has gone needs none
}

// encode is how values are written: as every plane has them, without escapes for the sake of HTML.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// recorder counts what goes out and gives each piece of it its time.
type recorder struct {
	http.ResponseWriter
	x *exchange
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.x.first() {
		w.x.s.served.total[min(status/100, 5)].Add(1)
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	written := 0
	for len(b) > 0 {
		piece := b[:min(len(b), 64<<10)]
		if w.x.gone() == nil {
			_ = w.x.control.SetWriteDeadline(time.Now().Add(takeFor))
		}
		n, err := w.ResponseWriter.Write(piece)
		if written += n; err != nil {
			return written, err
		}
		b = b[len(piece):]
	}
	return written, nil
}

// first reports whether nothing is out yet, and that something is now.
func (x *exchange) first() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	was := x.begun
	x.begun = true
	return !was
}
