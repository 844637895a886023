// Package bridge lets a client that starts a program (omnitron mcp) speak with the daemon's socket over its standard
// streams. It outlives the daemon: when a connection breaks it makes a new one, repeats the handshake and the
// subscriptions on it, and tells the client of the calls that were in flight.
package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

const (
	maxQueue  = 16                     // messages of the client that wait while they cannot be sent on
	maxOpen   = 512                    // requests in flight
	lastWords = 700 * time.Millisecond // for answers that are on their way when the client has stopped sending
	stuck     = 100 * time.Millisecond // for what is being written to a client that does not read
	connectIn = 15 * time.Second       // until a request is told that there is no daemon
	greetIn   = 10 * time.Second       // until a new connection has to have answered
	firstWait = 50 * time.Millisecond  // between attempts to connect; doubled up to lastWait
	lastWait  = time.Second
)

// Daemon is how the daemon is reached.
type Daemon struct {
	Dial    func(ctx context.Context) (io.ReadWriteCloser, error) // connects to its socket
	Ensure  func(ctx context.Context) error                       // starts it when it is absent
	Version string                                                // of this program
}

// request is one that the daemon has not answered yet.
type request struct {
	line []byte // with its newline
	wire.Message
	sent   bool // on its way; what listens is sent again on a new connection, everything else is told of the loss
	stands bool // the stream of news that it asked for was acknowledged
}

// message is what waits for its turn: a line of the client, or the end of one that was sent in part.
type message struct {
	line []byte
	link *link // of the rest of a line; else nil
}

type bridge struct {
	Daemon
	launch mcp.Launch
	log    *slog.Logger

	outMu sync.Mutex
	out   io.Writer

	want    chan struct{} // somebody needs a connection
	waiting atomic.Int64  // messages that serve has to send before others

	mu       sync.Mutex
	link     *link
	tried    int           // failed attempts to connect that somebody waited for
	why      error         // of the last one
	changed  chan struct{} // closed and replaced when link or tried changes
	open     map[string]request
	greeting []byte            // the client's initialize
	greeted  bool              // its initialized came
	subs     map[string][]byte // its resources/subscribe, by address
}

// Run passes messages on between a client and the daemon until the client's stream ends (nil, within a second), the
// launch is refused, a person disconnects the client (denied, disconnected) or ctx ends. Nothing but messages goes to out.
func Run(ctx context.Context, in io.Reader, out io.Writer, d Daemon, launch mcp.Launch, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b := &bridge{Daemon: d, launch: launch, log: log, out: out, want: make(chan struct{}, 1), changed: make(chan struct{}),
		open: map[string]request{}, subs: map[string][]byte{}}
	queue := make(chan message, maxQueue)
	go func() { // reads on although everything else may be waiting, so that the end is seen at once
		cancel(b.listen(ctx, in, queue))
	}()
	var connecting sync.WaitGroup
	connecting.Go(func() {
		if err := b.connect(ctx); err != nil {
			cancel(err)
		}
	})
	b.serve(ctx, queue)
	cancel(errEnd)
	done := make(chan struct{})
	go func() {
		connecting.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(stuck):
	}
	if err := context.Cause(ctx); !errors.Is(err, errEnd) {
		return err
	}
	return nil
}

// errEnd is the good end: the client has stopped sending.
var errEnd = errors.New("the client has left")

// listen reads the client's lines and sends them on, as long as that takes no waiting: what does is left to serve. After
// their end the last answers have a moment to arrive.
func (b *bridge) listen(ctx context.Context, in io.Reader, queue chan<- message) error {
	defer close(queue)
	r := wire.NewReader(in, wire.MaxLine)
	defer r.Release()
	var parser wire.Parser
	for {
		line, err := r.Next()
		switch {
		case errors.Is(err, wire.ErrTooLong):
			b.say(mcp.ErrorLine(nil, &wire.Error{Code: wire.CodeInvalidRequest, Message: fmt.Sprintf("the message is longer than %d bytes", wire.MaxLine)}))
			return fmt.Errorf("cannot go on with the client: %w", err)
		case err != nil:
			return b.finish(ctx)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		next := message{line: append(append(make([]byte, 0, len(line)+1), line...), '\n')}
		if b.waiting.Load() == 0 {
			var done bool
			if next, done = b.pass(&parser, next.line); done {
				continue
			}
		}
		b.waiting.Add(1)
		select {
		case queue <- next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pass sends a line on if there is a connection and room in it, and tells whether that was all. What it gives else has to
// wait its turn.
func (b *bridge) pass(parser *wire.Parser, line []byte) (rest message, done bool) {
	m, bad := parser.Parse(line)
	if bad != nil {
		return message{line: line}, false
	}
	b.mu.Lock()
	l := b.link
	ready := l != nil
	if ready && m.Request() {
		_, twice := b.open[string(m.ID)]
		if ready = !twice && len(b.open) < maxOpen; ready {
			b.open[string(m.ID)] = request{line: line, Message: m, sent: true}
		}
	}
	if ready {
		b.note(m, line)
	}
	b.mu.Unlock()
	if !ready {
		return message{line: line}, false
	}
	left := l.try(line)
	return message{left, l}, len(left) == 0
}

// finish waits for what is in flight, but not long.
func (b *bridge) finish(ctx context.Context) error {
	late := time.After(lastWords)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for idle := 0; idle < 2; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late:
			return errEnd
		case <-tick.C:
		}
		if b.waiting.Load() > 0 || b.busy() {
			idle = 0
		} else {
			idle++
		}
	}
	return errEnd
}

func (b *bridge) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.open {
		if r.Method != "subscriptions/listen" {
			return true
		}
	}
	return false
}

// serve handles one after the other what listen could not send on at once.
func (b *bridge) serve(ctx context.Context, queue <-chan message) {
	var parser wire.Parser
	for {
		select {
		case next, ok := <-queue:
			if !ok {
				<-ctx.Done() // the last answers
				return
			}
			if next.link != nil {
				next.link.send(next.line)
			} else if m, bad := parser.Parse(next.line); bad != nil {
				b.say(mcp.ErrorLine(m.ID, bad))
			} else {
				b.take(ctx, m, next.line)
			}
			b.waiting.Add(-1)
		case <-ctx.Done():
			return
		}
	}
}

// take passes one message on.
func (b *bridge) take(ctx context.Context, m wire.Message, line []byte) {
	if !m.Request() {
		b.mu.Lock()
		b.note(m, line)
		l := b.link
		b.mu.Unlock()
		if l != nil {
			l.send(line)
		}
		return
	}
	b.mu.Lock()
	full := len(b.open) >= maxOpen
	_, twice := b.open[string(m.ID)]
	if !full && !twice {
		b.open[string(m.ID)] = request{line: line, Message: m}
	}
	b.mu.Unlock()
	switch {
	case twice:
		b.say(mcp.ErrorLine(m.ID, &wire.Error{Code: wire.CodeInvalidRequest, Message: "a request with this id is in flight"}))
		return
	case full:
		b.say(mcp.FaultLine(m, b.Version, fault.New(fault.Limited, "%d requests are in flight", maxOpen).WithReason("in_flight").WithRetryAfter(1)))
		return
	}
	l, err := b.await(ctx)
	if err != nil {
		if b.answered(m.ID) {
			b.say(mcp.FaultLine(m, b.Version, unreachable(err)))
		}
		return
	}
	b.mu.Lock()
	b.note(m, line)
	r, open := b.open[string(m.ID)]
	if r.sent = true; open && b.link == l {
		b.open[string(m.ID)] = r
	}
	gone := open && b.link != l
	b.mu.Unlock()
	switch {
	case gone: // the connection broke in this moment
		b.answered(m.ID)
		b.take(ctx, m, line)
	case open:
		l.send(line)
	}
}

// note remembers what a new connection has to be told again. It is called with the lock held.
func (b *bridge) note(m wire.Message, line []byte) {
	switch m.Method {
	case "initialize":
		b.greeting = line
	case "notifications/initialized":
		b.greeted = true
	case "notifications/cancelled":
		delete(b.open, string(object.Get(m.Params, "requestId")))
	case "resources/subscribe":
		if uri := object.String(m.Params, "uri"); len(b.subs) < maxOpen {
			b.subs[uri] = m.Params
		}
	case "resources/unsubscribe":
		delete(b.subs, object.String(m.Params, "uri"))
	}
}

// answered takes a request out and reports whether it was still open.
func (b *bridge) answered(id []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.open[string(id)]
	delete(b.open, string(id))
	return ok
}

// say writes one line to the client.
func (b *bridge) say(line []byte) {
	b.outMu.Lock()
	defer b.outMu.Unlock()
	if _, err := b.out.Write(append(line, '\n')); err != nil {
		b.log.Debug("cannot write to the client", "err", err)
	}
}

func unreachable(err error) *fault.Error {
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == fault.Unavailable {
		return f
	}
	return fault.Wrap(err, fault.Unavailable, "the daemon is not reachable: %v", err).WithReason("daemon").
		WithHint("%s, and when it answers, call again", fault.Do("daemon.status")).WithRetryAfter(1)
}
