package wire

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"sync/atomic"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// call is one call in flight.
type call struct {
	s      *server
	id     string // as it was written
	method string
	params json.RawMessage
	stop   context.CancelCauseFunc
	items  atomic.Int64 // sent
	over   atomic.Bool  // the handler has returned
}

func (c *call) run(ctx context.Context) {
	defer c.s.ended()
	defer c.stop(nil)
	out, err := c.handle(ctx)
	c.over.Store(true)
	c.s.answered(c)
	f := newFrame()
	defer f.free()
	c.answer(ctx, f, out, err)
	_ = c.s.out.send(context.Background(), f.bytes()) // a broken connection is the read loop's matter
}

func (c *call) handle(ctx context.Context) (out any, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.s.log.Error("handler panicked", "method", Quote(c.method, MaxMethod), "err", r, "stack", string(debug.Stack()))
			out, err = nil, fault.New(fault.Internal, "something went wrong inside the daemon").WithReason("panic")
		}
	}()
	return c.s.handle(ctx, c.method, c.params, func(item any) error { return c.emit(ctx, item) })
}

// emit sends one item. It blocks while the reader is slow, and that is the stream's back-pressure.
func (c *call) emit(ctx context.Context, item any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.over.Load() {
		return errors.New("cannot send an item of a call that is over")
	}
	f := newFrame()
	defer f.free()
	if err := f.item(json.RawMessage(c.id), item); err != nil {
		return err
	}
	c.items.Add(1)
	return c.s.out.send(ctx, f.bytes())
}

func (c *call) answer(ctx context.Context, f *frame, out any, err error) {
	id := json.RawMessage(c.id)
	if err == nil {
		dropped, counts := out.(int64)
		if n := c.items.Load(); n > 0 || counts || out == nil {
			out = StreamEnd{Count: n, Dropped: dropped}
		}
		err = f.result(id, out)
	}
	if err != nil {
		f.error(id, FromFault(c.fault(ctx, err)))
	}
}

// fault is what the caller is told of err. Whoever ended the context knows best why the handler gave up.
func (c *call) fault(ctx context.Context, err error) *fault.Error {
	f, is := errors.AsType[*fault.Error](err)
	why, _ := errors.AsType[*fault.Error](context.Cause(ctx))
	switch {
	case ctx.Err() != nil && why != nil && (!is || f.Code == fault.Cancelled):
		return why
	case is:
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Deadline, "the call took too long")
	case errors.Is(err, context.Canceled):
		return fault.Wrap(err, fault.Cancelled, "the call was cancelled")
	}
	c.s.log.Error("call failed", "method", Quote(c.method, MaxMethod), "err", err)
	return fault.From(err)
}
