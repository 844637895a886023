package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/transports/wire"
)

// patience is how long the goroutine that reads works on a request itself before another one reads on in its place.
const patience = time.Millisecond

// reading takes messages one after the other. One goroutine at a time has it.
type reading struct {
	conn   *conn
	in     *wire.Reader
	parser wire.Parser
	opened bool
	stop   context.CancelFunc // of all that the connection began
	end    chan error         // has what the end of the stream means
}

// run has the reading until the stream ends or it is taken over. What must not be overtaken happens here. A request that is
// alone is served here too, which saves the way to another thread and back; when that takes long, somebody else reads on
// meanwhile, so that a cancellation and the end are seen. All others have goroutines of their own.
func (r *reading) run(ctx context.Context, line []byte) {
	c := r.conn
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a connection panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			r.over(errors.New("something went wrong inside the daemon"))
		}
	}()
	var late *time.Timer
	for {
		f, more := r.next(ctx, line)
		if !more {
			return
		}
		switch line = nil; {
		case f == nil:
		case !f.alone || r.in.More():
			go c.serve(f)
		default:
			if late == nil {
				late = time.AfterFunc(patience, func() { r.run(ctx, nil) })
			} else {
				late.Reset(patience)
			}
			if c.serve(f); !late.Stop() {
				return
			}
		}
	}
}

// over ends the connection: what is on its way has a moment, what goes on is cancelled. Whoever began with the reading may be
// in one of those calls, so that it cannot be the one to do so.
func (r *reading) over(err error) {
	c := r.conn
	c.flights.stop(func(f *flight) bool { return f.listens })
	if err == nil && c.flights.busy() {
		c.await(grace)
	}
	c.out.Drain() // before stop hangs up: the last thing said may be why
	r.stop()
	select {
	case r.end <- err:
	default: // told already
	}
}

// next takes the next message, which may be line, and gives the request that it is, if it is one to be served. There is no
// more when the stream has ended.
func (r *reading) next(ctx context.Context, line []byte) (f *flight, more bool) {
	c := r.conn
	if line == nil {
		var err error
		if line, err = r.in.Next(); err != nil {
			r.in.Release() // before the answer, after which the next of its kind may come
			r.over(c.ended(ctx, err))
			return nil, false
		}
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return nil, true
	}
	m, bad := r.parser.Parse(line)
	if bad == nil { // what is refused costs no memory
		m = m.Clone()
	}
	if !r.opened {
		r.opened = true
		if err := c.open(m); err != nil {
			c.out.Post(ErrorLine(m.ID, wire.FromFault(fault.From(err))))
			c.out.Drain()
			r.over(err)
			return nil, false
		}
	}
	switch {
	case c.dismissed.Load():
	case bad != nil:
		c.out.Post(ErrorLine(m.ID, bad))
	default:
		return c.take(ctx, m, c.events), true
	}
	return nil, true
}

// ended says what an end of the stream means.
func (c *conn) ended(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, wire.ErrTooLong):
		c.out.Post(ErrorLine(nil, &wire.Error{Code: wire.CodeInvalidRequest, Message: fmt.Sprintf("the message is longer than %d bytes", c.srv.o.MaxLine)}))
		c.out.Drain()
		return err
	case errors.Is(err, io.EOF):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("cannot read from the client: %w", err)
}

// open takes the launch out of the first message and fixes what the connection may do.
func (c *conn) open(m wire.Message) error {
	if raw := object.Get(object.Get(m.Params, "_meta"), MetaLaunch); raw != nil {
		if err := wire.Strict(raw, &c.launch); err != nil { // a misspelt read_only must not end in a connection that may write
			return wrongLaunch("cannot read %s: it has role, read_only, profile and toolsets", MetaLaunch)
		}
		c.caller.Plane = "stdio" // nobody but omnitron mcp says so
	}
	var err error
	if c.caller, err = c.srv.lower(c.caller, c.launch); err != nil {
		return err
	}
	if c.surface, err = c.srv.surfaceFor(c.launch, c.caller); err != nil {
		return err
	}
	c.session.Became(c.caller)
	return nil
}
