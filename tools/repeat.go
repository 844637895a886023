package tools

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/policy"
)

// repeat gives a call with a known idempotency key the answer that the first one got.
func (r *Registry) repeat(ctx context.Context, c *call) (context.Context, error) {
	if c.controls.IdempotencyKey == "" || c.controls.DryRun {
		return ctx, nil
	}
	digest, err := policy.Digest(c.in)
	if err != nil {
		return ctx, err
	}
	answer, err := r.repeats.claim(c.key(), digest)
	switch {
	case err != nil:
		return ctx, err
	case answer != nil:
		c.decision = Repeated
		c.finish(*answer)
	default:
		c.claimed = true
	}
	return ctx, nil
}

// remember keeps the answer of a call that had its effect, and frees the key of one that had none.
func (r *Registry) remember(c *call, err error) {
	if !c.claimed {
		return
	}
	out, ok := c.answer.(op.Outcome)
	if err != nil || !ok || out.Status != op.Done && out.Status != op.Running {
		r.repeats.drop(c.key())
		return
	}
	result, err := json.Marshal(out.Result)
	if err != nil {
		r.repeats.drop(c.key())
		return
	}
	if out.Result != nil {
		out.Result = json.RawMessage(result) // what the handler answered with may change later
	}
	r.repeats.keep(c.key(), out)
}

func (c *call) key() repeatKey {
	return repeatKey{c.caller.Principal(), c.ID(), c.controls.IdempotencyKey}
}

type repeatKey struct{ principal, method, key string }

// repeats remembers answers by idempotency key, for as long as the daemon lives and at most KeyLife.
type repeats struct {
	limits Limits
	now    func() time.Time

	mu    sync.Mutex
	calls map[repeatKey]*repeated
	order []repeatKey // by age, forgotten ones included
}

type repeated struct {
	digest string
	at     time.Time
	answer *op.Outcome // nil while the first call is on its way
}

func newRepeats(l Limits, now func() time.Time) *repeats {
	return &repeats{limits: l, now: now, calls: map[repeatKey]*repeated{}}
}

// claim gives the answer of an earlier call with the key, or nil: then the key is the caller's until keep or drop.
func (r *repeats) claim(k repeatKey, digest string) (*op.Outcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forget(now)
	old := r.calls[k]
	switch {
	case old == nil:
		if r.limits.KeysAtOne > 0 && len(r.calls) >= r.limits.KeysAtOne {
			return nil, fault.New(fault.Limited, "no more idempotency keys can be remembered").WithReason("keys").WithRetryAfter(60)
		}
		r.calls[k] = &repeated{digest: digest, at: now}
		r.order = append(r.order, k)
		return nil, nil
	case old.digest != digest:
		return nil, fault.New(fault.Conflict, "the idempotency key %q was used with another input", k.key).
			WithReason("key_reused").WithHint("take a new key for a new call")
	case old.answer == nil:
		return nil, fault.New(fault.Conflict, "the first call with the idempotency key %q is still on its way", k.key).
			WithReason("in_progress").WithRetryAfter(1)
	}
	return old.answer, nil
}

// forget drops answers that are too old, and then the oldest while there are too many.
func (r *repeats) forget(now time.Time) {
	for len(r.order) > 0 {
		k := r.order[0]
		old := r.calls[k]
		full := r.limits.KeysAtOne > 0 && len(r.calls) >= r.limits.KeysAtOne
		if old != nil && (old.answer == nil || !full && now.Sub(old.at) < r.limits.KeyLife) {
			return
		}
		r.order = r.order[1:]
		delete(r.calls, k)
	}
}

func (r *repeats) keep(k repeatKey, answer op.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[k].answer = &answer
}

func (r *repeats) drop(k repeatKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.calls, k)
}
