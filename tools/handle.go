package tools

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/redact"
	"github.com/omnitron-dev/omnitron/tools/clean"
	"github.com/omnitron-dev/omnitron/tools/schema"
)

// handle runs the method. A panic in it is an error like any other: the daemon goes on.
// A pause that came while the call was decided still stops it.
func (r *Registry) handle(ctx context.Context, c *call) (context.Context, error) {
	if err := r.admit(c); err != nil {
		return ctx, err
	}
	c.hide = func() *redact.Matcher { return r.secrets(c) }
	own, over := c.outlive(ctx)
	defer over()
	out, err := c.run(own)
	if err != nil {
		return own, err
	}
	switch {
	case c.Stream:
		c.answer = c.ended
	case !c.Controlled():
		c.answer = schema.Complete(out)
	case c.Job:
		ref := out.(op.JobRef) // describe has seen to it
		c.answer = op.Outcome{Status: op.Running, Job: &ref}
	default:
		c.answer = op.Outcome{Status: op.Done, Result: schema.Complete(out)}
	}
	return ctx, nil
}

func (c *call) run(ctx context.Context) (out any, err error) {
	defer rescue(&err)
	return c.handler.Handle(ctx, c.in, c.hand)
}

// hand passes one item of a stream on and counts it.
func (c *call) hand(item any) error {
	if l, ok := item.(op.Lossy); ok {
		c.ended.Dropped += l.Lost()
	}
	item = schema.Complete(item)
	if m := c.hide(); m != nil {
		item = clean.Answer(m, item)
	}
	if err := c.emit(item); err != nil {
		return err
	}
	c.ended.Count++
	return nil
}

// panicked is a panic as an error, for the log.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func rescue(err *error) {
	if v := recover(); v != nil {
		*err = &panicked{v, debug.Stack()}
	}
}

// outlive gives what changes something, and is on record, a context that does not end because its caller's credential was
// ended: half a change helps nobody, and the record says who made it. Every other end of ctx is its end too.
func (c *call) outlive(ctx context.Context) (context.Context, func()) {
	if c.record == 0 || !c.changes() {
		return ctx, func() {}
	}
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if why := context.Cause(ctx); !fault.Is(why, fault.Unauthenticated) {
			cancel(why)
		}
	})
	end := func() { stop(); cancel(nil) }
	at, timed := ctx.Deadline()
	if !timed {
		return own, end
	}
	own, late := context.WithDeadline(own, at)
	return own, func() { late(); end() }
}
