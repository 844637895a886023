package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
)

// maxArgs bounds the arguments in a record; of larger ones it keeps size and digest.
const maxArgs = 16 << 10

// note records the call. What is about to change something is on record before anything happens to it: no record, no
// effect. Its number orders the commands. Other calls are recorded by settle, behind the call.
func (r *Registry) note(ctx context.Context, c *call) (context.Context, error) {
	c.entry = c.describe()
	if !c.changes() {
		return ctx, nil
	}
	id, err := r.Ledger.Begin(ctx, c.entry)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx, ctx.Err()
	default:
		return ctx, fault.Wrap(err, fault.Internal, "the call cannot be recorded, so it was not carried out").
			WithReason("audit_unavailable").WithHint("omnitron doctor")
	}
	c.record = id
	return op.WithSeq(ctx, id), nil
}

func (c *call) describe() Entry {
	return Entry{
		At: c.start, Call: c.id, Caller: c.caller, Method: c.ID(), Effect: c.Effect,
		Targets: targetNames(c.targets), Args: c.args(),
	}
}

// args is the input as it may be kept: without secrets, and not larger than a record should be. An input that was
// refused has no form in which secrets could be told from the rest, and is not kept.
func (c *call) args() json.RawMessage {
	if c.in == nil {
		return nil
	}
	args := c.Method.in.Redact(c.in)
	if len(args) <= maxArgs {
		return args
	}
	sum := sha256.Sum256(args)
	return fmt.Appendf(nil, `{"omitted_bytes":%d,"sha256":"%s"}`, len(args), hex.EncodeToString(sum[:]))
}
