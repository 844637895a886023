package tools

import (
	"context"

	"github.com/omnitron-dev/omnitron/core/fault"
)

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
