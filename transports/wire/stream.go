package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"sync"

	"github.com/omnitron-dev/omnitron/core/fault"
)

const (
	softItems = 256 << 10 // bytes of unread items at which a stream holds up its connection
	hardItems = 32 << 20  // bytes at which a stream whose connection cannot be held up ends
)

// waiter is somebody who waits for the answer of a call, and for its items if it is a stream.
type waiter struct {
	stream   bool
	answered chan struct{} // closed when result and err are set
	result   json.RawMessage
	err      error

	mu    sync.Mutex
	items []json.RawMessage
	size  int           // bytes of items
	more  chan struct{} // an item has come
}

func newWaiter(stream bool) *waiter {
	return &waiter{stream: stream, answered: make(chan struct{}), more: make(chan struct{}, 1)}
}

// finish is called once: by whoever took the waiter off the list.
func (w *waiter) finish(result json.RawMessage, err error) {
	w.result, w.err = result, err
	close(w.answered)
}

func (w *waiter) unread() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *waiter) put(item []byte) {
	w.mu.Lock()
	w.items = append(w.items, bytes.Clone(item))
	w.size += len(item)
	w.mu.Unlock()
	signal(w.more)
}

func (w *waiter) all() []json.RawMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	items := w.items
	w.items, w.size = nil, 0
	return items
}

// item hands an item to its stream, and waits while that has too many. It reports false when the connection is over.
func (c *Client) item(id uint64, item []byte) bool {
	for {
		c.mu.Lock()
		w, unary, over := c.waiting[id], c.unary, c.err != nil
		c.mu.Unlock()
		switch {
		case over:
			return false
		case w == nil || !w.stream:
			return true // given up meanwhile
		}
		unread := w.unread()
		if unread < softItems || unary > 0 && unread < hardItems {
			w.put(item)
			return true
		}
		if unary > 0 {
			if c.abandon(id) == nil {
				return true
			}
			w.finish(nil, fault.New(fault.Limited, "the stream was read too slowly while other calls shared its connection").
				WithReason("slow_reader").WithHint("give the stream a connection of its own"))
			return true
		}
		c.held.Store(true)
		<-c.moved
		c.held.Store(false)
	}
}

// Stream makes a streaming call and gives its items. The last pair may carry an error, as Call would give it; a stream
// that ended well just ends. Leaving the loop cancels the call.
func (c *Client) Stream(ctx context.Context, method string, params any) iter.Seq2[json.RawMessage, error] {
	return c.StreamTo(ctx, method, params, nil)
}

// StreamTo is Stream that also gives the stream's answer, unless end is nil: how many items there were, and how many
// were lost.
func (c *Client) StreamTo(ctx context.Context, method string, params any, end *StreamEnd) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		w := newWaiter(true)
		id, err := c.start(ctx, w, method, params)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.abandon(id)
		for {
			over := false
			select {
			case <-w.more:
			case <-w.answered:
				over = true
			case <-ctx.Done():
				yield(nil, ended(ctx))
				return
			}
			for _, item := range w.all() {
				if !yield(item, nil) {
					return
				}
			}
			signal(c.moved)
			if over {
				if w.err != nil {
					yield(nil, w.err)
				} else if end != nil {
					_ = json.Unmarshal(w.result, end) // a unary answer leaves it zero
				}
				return
			}
		}
	}
}
