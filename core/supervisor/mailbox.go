package supervisor

import "sync"

// mailbox hands functions to the one goroutine that owns an app's state. Posting never blocks: the senders are timers,
// watchers and other runners, and a runner that waited for another one's mailbox could wait for ever.
type mailbox struct {
	mu     sync.Mutex
	queue  []func()
	signal chan struct{}
}

func newMailbox() *mailbox { return &mailbox{signal: make(chan struct{}, 1)} }

func (m *mailbox) post(fn func()) {
	m.mu.Lock()
	m.queue = append(m.queue, fn)
	m.mu.Unlock()
	select {
	case m.signal <- struct{}{}:
	default:
	}
}

// take empties the mailbox.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}
