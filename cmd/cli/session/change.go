package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// grace is the time that the daemon has to say by itself that a wait is over.
const grace = 2 * time.Second

// Change makes a call that changes something. When the daemon dies meanwhile and comes back, it goes on: the effect
// happens once, because of the key that the call carries. Faults: those of the method; unavailable, when the daemon does
// not come back; conflict (superseded), when somebody else has said something different meanwhile.
func (s *Session) Change(ctx context.Context, id string, in map[string]any) (json.RawMessage, error) {
	spec, ok := s.Spec(id)
	if !ok || spec.Service == "daemon" || in["dry_run"] == true { // the first: the end of the daemon may be what was asked for
		return s.Call(ctx, id, in)
	}
	c := &changing{Session: s, began: s.Now(), sent: map[string]bool{}}
	if c.key, _ = in["idempotency_key"].(string); c.key == "" {
		c.key = rand.Text()
	}
	if n, ok := in["timeout_s"].(int64); ok && n > 0 {
		limit := time.Duration(n) * time.Second
		c.until = c.began.Add(limit)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit+grace, impatient(limit))
		defer cancel()
	}
	ctx, cancel := s.Bounded(ctx)
	defer cancel()
	raw, err := c.call(ctx, id, in)
	return raw, s.late(ctx, err)
}

// changing is a change that may take several calls, because daemons died.
type changing struct {
	*Session
	key   string // of the first call; those after it have keys that begin with it
	calls int
	sent  map[string]bool // each call, as the record has it
	began time.Time
	until time.Time // zero: as long as it takes
}

// call makes a call, as often as the daemon goes away and comes back. All have one key, so that there is one effect.
func (c *changing) call(ctx context.Context, id string, in map[string]any) (json.RawMessage, error) {
	in = maps.Clone(in)
	in["idempotency_key"] = c.key
	if c.calls++; c.calls > 1 {
		in["idempotency_key"] = fmt.Sprintf("%s+%d", c.key, c.calls)
		if !c.until.IsZero() {
			in["timeout_s"] = int64(max(1, c.until.Sub(c.Now()).Round(time.Second)/time.Second))
		}
	}
	c.sent[call(id, in)] = true
	for again := false; ; again = true {
		raw, err := c.Call(ctx, id, in)
		if again && reason(err) == "outcome_unknown" { // it was begun, and may have had its effect
			return c.resume(ctx, id, in, err)
		}
		if hangs(err) {
			_, made := errors.AsType[unanswered](err)
			return nil, c.hung(err, id, in, made || again)
		}
		if !Lost(err) {
			return raw, err
		}
		if err := c.back(ctx, err); err != nil {
			return nil, err
		}
	}
}

// hung says what became of a change whose daemon hangs. When it was made, nobody knows whether it was begun, and that is found out
// so: made again with its key it has its effect once, and answers what became of it.
func (c *changing) hung(err error, id string, in map[string]any, made bool) error {
	f := *Fault(err)
	if !made {
		f.Message += "; " + id + " was not begun"
		return &f
	}
	f.Message += "; whether " + id + " was begun is not known"
	return f.WithHint("%s\nonce it answers, the same call with its key tells, and has its effect once: %s", f.Hint, fault.Call{Method: id, Input: in})
}
