// Package mailbox hands functions to the one goroutine that owns some state.
package mailbox

import "sync"

// Box hands functions to the goroutine that owns an app's state. Posting never blocks: the senders are timers,
// watchers and other runners, and a runner that waited for another one's mailbox could wait for ever.
type Box struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	Signal chan struct{} // there may be something
}

// New makes an empty one.
func New() *Box { return &Box{Signal: make(chan struct{}, 1)} }

// Post reports false when nobody reads the mailbox any more; fn is then not called.
func (m *Box) Post(fn func()) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, fn)
	m.mu.Unlock()
	select {
	case m.Signal <- struct{}{}:
	default:
	}
	return true
}

// Close ends the mailbox and gives what was still in it.
func (m *Box) Close() []func() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	return m.Take()
}

// Take empties the mailbox.
func (m *Box) Take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}
