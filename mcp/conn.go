package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/session"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/lines"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	codeNoResource = -32002                 // in the era with a handshake; without one it is invalid params
	reserve        = 8                      // places in flight for asking a busy daemon how it is
	maxQueue       = 1 << 20                // bytes that wait for a slow reader before those who write wait too
	grace          = 500 * time.Millisecond // for answers that are on their way when a client stops sending
)

// conn is one connection.
type conn struct {
	srv     *Server
	session *session.Session
	rwc     io.ReadWriteCloser
	out     *lines.Writer // nil where each request has a way back of its own
	events  Out           // takes what belongs to no request
	caller  op.Caller
	launch  Launch
	surface *surface
	log     *slog.Logger
	hangUp  func()
	places  int             // requests in flight; 0 on a connection that may only look whether the daemon is well
	life    context.Context // ends with the connection; what it started beside requests lives by it

	dismissed atomic.Bool

	flights flights
	calls   sync.WaitGroup // requests in flight
	watches sync.WaitGroup // what lasts as long as the connection
	results *results
	subs    subscriptions
	asked   questions

	mu      sync.Mutex
	client  string // what it called itself in a handshake
	version string // agreed in a handshake
	elicits bool   // said in a handshake
	modern  bool   // a request of the era without one has come
}

// ServeConn serves one connection until the peer leaves or ctx ends, and closes it. The first line may have been read
// already. The caller comes from the plane's evidence; what the first message says of a launch can only lower it. When it
// returns everything that the connection started has ended. It returns nil when the peer left in good order.
func (s *Server) ServeConn(ctx context.Context, rwc io.ReadWriteCloser, first []byte, caller op.Caller) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := &conn{srv: s, rwc: rwc, life: ctx, hangUp: sync.OnceFunc(func() { _ = rwc.Close() })}
	if c.places = s.o.MaxFlight; wire.IsReserved(ctx) {
		c.places = 0
	}
	c.out = lines.NewWriter(rwc, maxQueue, s.o.Stall, c.hangUp)
	c.events, c.results = inLine{c.out}, &results{}
	defer context.AfterFunc(ctx, c.hangUp)()
	defer c.hangUp()
	c.session = s.o.Sessions.Of(caller.Session)
	if c.session == nil {
		c.session = s.o.Sessions.Open(caller, c.dismiss)
		defer c.session.Close()
	}
	c.caller = c.session.Caller()
	c.log = s.o.Log.With("caller", caller.Principal(), "session", c.caller.Session)

	in := wire.NewReader(rwc, s.o.MaxLine)
	defer in.Release()
	r := &reading{conn: c, in: in, stop: stop, end: make(chan error, 1)}
	r.run(ctx, first)
	err := <-r.end
	c.calls.Wait()
	c.watches.Wait()
	c.out.Drain()
	return err
}

// Dismissed is the method of the last line on a connection that a person has ended. omnitron mcp connects again after
// every other end.
const Dismissed = "notifications/omnitron/dismissed"

// lastWord is how long a client may take to read that it was dismissed.
const lastWord = time.Second

// dismiss stops what the client has in flight, takes nothing more from it, tells it why, and hangs up. Whoever says so
// does not wait for it.
func (c *conn) dismiss() {
	c.dismissed.Store(true)
	c.flights.stop(func(*flight) bool { return true })
	late := time.AfterFunc(lastWord, c.hangUp)
	go func() {
		defer late.Stop()
		defer c.hangUp()
		_ = c.out.Write([]byte(`{"jsonrpc":"2.0","method":"` + Dismissed + `"}`)) // one that has gone needs no telling
		c.out.Drain()
	}()
}

// await waits for what is in flight, at most for d.
func (c *conn) await(d time.Duration) {
	done := make(chan struct{})
	go func() {
		c.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(d):
	}
}

// take handles one message of the peer, and gives it back when it is a request that is to be served.
func (c *conn) take(ctx context.Context, m wire.Message, out Out) *flight {
	if m.Method == "" {
		c.asked.answered(m)
		return nil
	}
	if m.ID == nil {
		if m.Method == "notifications/cancelled" {
			if id := object.Get(m.Params, "requestId"); id != nil {
				c.subs.end(idKey(id))
				c.flights.cancel(idKey(id))
			}
		}
		return nil
	}
	r := c.request(m)
	r.out = out
	if r.modern {
		c.introduce(r.client)
	}
	switch {
	case r.wrong != nil:
		out.Post(ErrorLine(m.ID, r.wrong))
		return nil
	case m.Method == "initialize":
		c.greet(ctx, r)
		return nil
	case m.Method == "ping" && !r.modern:
		out.Post(append(head(nil, m.ID), "{}}"...))
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{request: r, ctx: ctx, key: idKey(m.ID), cancel: cancel, reserved: c.urgent(m), listens: m.Method == "subscriptions/listen"}
	ok, full := c.flights.begin(f, c.places)
	switch {
	case full:
		cancel()
		out.Post(c.limited(r))
	case !ok:
		cancel()
		out.Post(ErrorLine(m.ID, &wire.Error{Code: wire.CodeInvalidRequest, Message: "a request with this id is in flight"}))
	default:
		c.calls.Add(1)
		return f
	}
	return nil
}

// introduce keeps what the client calls itself. In the era without a handshake each request says it.
func (c *conn) introduce(client string) {
	c.mu.Lock()
	news := client != "" && client != c.client
	if news {
		c.client = client
	}
	c.mu.Unlock()
	if news {
		caller := c.caller
		caller.Client = client
		c.session.Became(caller)
	}
}

// urgent reports calls that may use the reserve when all other places are taken.
func (c *conn) urgent(m wire.Message) bool {
	if m.Method != "tools/call" || !c.flights.full(c.places) {
		return false
	}
	name := object.String(m.Params, "name")
	return name == "daemon_status" || name == "daemon_ping"
}

var spares = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// serve answers one request, unless it is cancelled meanwhile.
func (c *conn) serve(f *flight) {
	defer c.calls.Done()
	defer f.cancel()
	buf := spares.Get().(*[]byte)
	line, failed := c.answer(f.ctx, f.request, head((*buf)[:0], f.request.ID))
	if failed != nil {
		line = ErrorLine(f.request.ID, failed)
	} else {
		line = append(line, '}')
	}
	if c.flights.end(f) {
		if err := f.request.out.Answer(line); err != nil {
			c.hangUp()
		}
	}
	if cap(line) <= lines.Keep {
		*buf = line
		spares.Put(buf)
	}
}

// answer appends the result of a request to line.
func (c *conn) answer(ctx context.Context, r *request, line []byte) (out []byte, failed *wire.Error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a request panicked", "method", r.Method, "err", fmt.Sprint(p))
			out, failed = nil, &wire.Error{Code: wire.CodeOf("internal"), Message: "something went wrong inside the daemon"}
		}
	}()
	if r.modern && !r.sound { // capabilities are missing: the library has the words
		return c.forward(ctx, r, line)
	}
	switch {
	case c.extra(r):
		return c.forward(ctx, r, line)
	case r.Method == "tools/call":
		return c.callTool(ctx, r, line)
	case r.Method == "tools/list":
		return c.listTools(r, line)
	case r.Method == "resources/subscribe" && !r.modern:
		return c.subscribe(ctx, r, line)
	case r.Method == "resources/unsubscribe" && !r.modern:
		c.subs.remove(object.String(r.Params, "uri"))
		return append(line, "{}"...), nil
	case r.Method == "subscriptions/listen" && r.modern:
		return c.listen(ctx, r, line)
	}
	return c.forward(ctx, r, line)
}

// head begins an answer; the result and a closing brace follow.
func head(dst []byte, id json.RawMessage) []byte {
	return append(append(append(dst, `{"jsonrpc":"2.0","id":`...), id...), `,"result":`...)
}

// maxMessage is how many bytes the message of an error may have; what is longer quotes what a client sent.
const maxMessage = 4 << 10

// ErrorLine is a whole answer of the protocol's own kind of failure; an id that could not be made out is null. Messages
// repeat what the client said, and a model may be shown them: nothing hidden stays in them.
func ErrorLine(id json.RawMessage, e *wire.Error) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	b := append(append([]byte(`{"jsonrpc":"2.0","id":`), id...), `,"error":{"code":`...)
	b = answer.AppendString(fmt.Appendf(b, `%d,"message":`, e.Code), answer.Text(e.Message, maxMessage))
	if len(e.Data) > 0 {
		b = append(append(b, `,"data":`...), answer.JSON(e.Data)...)
	}
	return append(b, "}}"...)
}
