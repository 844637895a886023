package mcp

import (
	"context"
	"sync"
	"sync/atomic"
)

// flight is one request that is being worked on.
type flight struct {
	request   *request
	ctx       context.Context
	key       string
	cancel    context.CancelFunc
	cancelled atomic.Bool
	reserved  bool // takes a place of the reserve
	listens   bool // has no end of its own
	alone     bool // nothing else that will end was in flight when it began
}

// flights are the requests in flight on one connection. They are registered by the reading loop, before their goroutine
// exists, so that no cancellation comes too early to find them.
type flights struct {
	mu       sync.Mutex
	open     map[string]*flight
	ordinary int
	reserved int
	standing int // those of them that have no end of their own
}

// begin registers a request. It is not ok when its id is in use, and full when there is no place for it.
func (f *flights) begin(fl *flight, limit int) (ok, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, used := f.open[fl.key]; used {
		return false, false
	}
	switch {
	case fl.reserved && f.reserved < reserve:
		f.reserved++
	case !fl.reserved && f.ordinary < limit:
		f.ordinary++
	default:
		return false, true
	}
	if f.open == nil {
		f.open = map[string]*flight{}
	}
	f.open[fl.key] = fl
	if fl.listens {
		f.standing++
	}
	fl.alone = !fl.listens && f.ordinary+f.reserved-f.standing == 1
	return true, false
}

// full reports whether the ordinary places are taken.
func (f *flights) full(limit int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ordinary >= limit
}

// end takes a request out and reports whether it may still be answered: not after a cancellation.
func (f *flights) end(fl *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[fl.key] == fl {
		delete(f.open, fl.key)
	}
	if fl.reserved {
		f.reserved--
	} else {
		f.ordinary--
	}
	if fl.listens {
		f.standing--
	}
	return !fl.cancelled.Load()
}

// cancel stops the request of a key; nothing of it is sent from here on and its id is free. Its place is taken until it
// has really ended.
func (f *flights) cancel(key string) {
	f.mu.Lock()
	fl := f.open[key]
	if fl != nil {
		fl.cancelled.Store(true)
		delete(f.open, key)
	}
	f.mu.Unlock()
	if fl != nil {
		fl.cancel()
	}
}

// busy reports whether something is in flight that will be answered.
func (f *flights) busy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range f.open {
		if !fl.listens {
			return true
		}
	}
	return false
}

// stop cancels the requests that are meant.
func (f *flights) stop(meant func(*flight) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range f.open {
		if meant(fl) {
			fl.cancelled.Store(true)
			fl.cancel()
		}
	}
}
