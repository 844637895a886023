package supervisor

import "sync"

// mailbox hands functions to the one goroutine that owns an app's state. Posting never blocks: the senders are timers,
// watchers and other runners, and a runner that waited for another one's mailbox could wait for ever.
type mailbox struct {
	mu     sync.Mutex
	queue  []func()
	closed bool
	signal chan struct{}
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

// post reports false when nobody reads the mailbox any more; fn is then not called.
func (m *mailbox) post(fn func()) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, fn)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
	return true
}

// close ends the mailbox and gives what was still in it.
func (m *mailbox) close() []func() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	return m.take()
}

// take empties the mailbox.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}
