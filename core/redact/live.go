package redact

import (
	"sync"
	"sync/atomic"
)

// Live makes matchers of values that change. The zero value knows none.
type Live struct {
	values func() [][]byte
	fresh  atomic.Bool
	now    atomic.Pointer[Matcher]
	mu     sync.Mutex // held while one is made
}

// NewLive gives a Live of what values gives.
func NewLive(values func() [][]byte) *Live { return &Live{values: values} }

// Stale says that the values have changed. The next matcher knows them.
func (l *Live) Stale() { l.fresh.Store(false) }

// Matcher gives the matcher of the values as they are now. nil knows none.
func (l *Live) Matcher() *Matcher {
	if l == nil || l.values == nil {
		return nil
	}
	if l.fresh.Load() {
		return l.now.Load()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fresh.Swap(true) { // first: values that change from here on make it stale again
		l.now.Store(New(l.values()))
	}
	return l.now.Load()
}

// String gives a text without the secrets in it.
func (l *Live) String(text string) string { return l.Matcher().String(text) }
